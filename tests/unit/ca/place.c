/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include "base/assert.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

void place_init(struct place *p)
{
	*p = (struct place){.dir = "/tmp/ringmain-test-XXXXXX"};
	ASSERT(mkdtemp(p->dir));
}

static int place_remove(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

void place_done(struct place *p)
{
	ASSERT(nftw(p->dir, place_remove, 8, FTW_DEPTH | FTW_PHYS) == 0);
	for (size_t i = 0; i < ARRAY_LEN(p->path); i++)
		free(p->path[i]);
}

const char *place_path(struct place *p, const char *name)
{
	char **path = &p->path[p->turn++ % ARRAY_LEN(p->path)];
	free(*path);
	ASSERT(asprintf(path, "%s/%s", p->dir, name) > 0);
	return *path;
}

void place_write(struct place *p, const char *name, struct str text, mode_t mode)
{
	const char *path = place_path(p, name);
	FILE *f = fopen(path, "w");
	ASSERT(f && fwrite(text.at, 1, text.len, f) == text.len);
	ASSERT(fclose(f) == 0 && chmod(path, mode) == 0);
}

char *place_read(struct place *p, const char *name)
{
	FILE *f = fopen(place_path(p, name), "r");
	ASSERT(f);
	char *text = calloc(1, 65536);
	ASSERT(text);
	size_t len = fread(text, 1, 65535, f);
	ASSERT(len < 65535);
	fclose(f);
	return text;
}
