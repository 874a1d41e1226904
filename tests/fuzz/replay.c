/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target once over each file of the given files and directories, so that every corpus
 * is a normal test, with any compiler. */
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define REPLAY_PATH_MAX 4096

static int replay_file(const char *path, size_t size)
{
	FILE *file = fopen(path, "rb");
	/* Its exact size, for the sanitizer to see a byte too many. */
	uint8_t *bytes = malloc(size + !size);
	int failed = 1;
	if (file && bytes && fread(bytes, 1, size, file) == size) {
		LLVMFuzzerTestOneInput(bytes, size);
		failed = 0;
	}
	if (failed)
		fprintf(stderr, "%s: cannot be read\n", path);
	free(bytes);
	if (file)
		fclose(file);
	return failed;
}

static int replay_path(const char *path, unsigned *count);

static int replay_directory(const char *path, unsigned *count)
{
	DIR *directory = opendir(path);
	int failed = !directory;
	struct dirent *entry;
	while (directory && (entry = readdir(directory))) {
		char name[REPLAY_PATH_MAX];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		failed |= replay_path(name, count);
	}
	if (directory)
		closedir(directory);
	return failed;
}

static int replay_path(const char *path, unsigned *count)
{
	struct stat st;
	if (stat(path, &st) != 0) {
		perror(path);
		return 1;
	}
	if (S_ISDIR(st.st_mode))
		return replay_directory(path, count);
	(*count)++;
	return replay_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
	unsigned count = 0;
	int failed = 0;
	for (int i = 1; i < argc; i++)
		failed |= replay_path(argv[i], &count);
	printf("%u inputs\n", count);
	return failed || count == 0;
}
