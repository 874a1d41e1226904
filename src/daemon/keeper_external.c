/* SPDX-License-Identifier: Apache-2.0 */
/* The authorities of servers outside of the mesh, which the proxy process cannot read itself: the
 * system's, and files of a directory that externals name. Which of them are wanted the keeper does
 * not know, for the mesh's objects may come from its store; so all are given, and nothing but
 * these: no object can have another file read. A file that is not there, or cannot be read, is left
 * out: the proxy process says which external lacks it. Read anew with the configuration. */
#include "keeper.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define KEEPER_OUTSIDE_FILES_MAX 256

/* "corp.pem" → "corp" */
static bool keeper_external_name(const char *file, struct str *ret_name)
{
	struct str name = str_of(file), end = STR(".pem");
	if (name.len <= end.len || file[0] == '.' ||
		!str_eq((struct str){name.at + name.len - end.len, end.len}, end))
		return false;
	*ret_name = (struct str){name.at, name.len - end.len};
	return true;
}

static int keeper_external_add_file(
	struct bundle *b, struct str name, const char *path, struct err *err)
{
	struct err why;
	int r = keeper_files_add_public(b, "outside", name, str_of(path), &why);
	if (r == -ENOMEM)
		return err_set(err, ENOMEM, "%s", why.text);
	if (r < 0)
		log_warning("keeper", "authorities of servers outside: %s", why.text);
	return 0;
}

static int keeper_external_add_all(struct bundle *b, const char *path, DIR *dir, struct err *err)
{
	char file[PATH_MAX];
	const struct dirent *entry;
	uint32_t count = 0;
	int r = 0;
	while (r == 0 && (entry = readdir(dir))) {
		struct str name;
		if (!keeper_external_name(entry->d_name, &name))
			continue;
		if (++count > KEEPER_OUTSIDE_FILES_MAX)
			return err_set(err, E2BIG, "outside.directory %s: more than %d files", path,
				KEEPER_OUTSIDE_FILES_MAX);
		int len = snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		if (len > 0 && len < (int)sizeof(file))
			r = keeper_external_add_file(b, name, file, err);
	}
	return r;
}

int keeper_external_add(const struct conf *conf, struct bundle *b, struct err *err)
{
	int r = 0;
	if (conf->outside_roots.len > 0 && access(conf->outside_roots.at, F_OK) == 0)
		r = keeper_external_add_file(b, STR(""), conf->outside_roots.at, err);
	DIR *dir = r < 0 || conf->outside_dir.len == 0 ? NULL : opendir(conf->outside_dir.at);
	if (!dir)
		return r;
	r = keeper_external_add_all(b, conf->outside_dir.at, dir, err);
	closedir(dir);
	return r;
}
