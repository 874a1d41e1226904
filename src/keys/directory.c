/* SPDX-License-Identifier: Apache-2.0 */
#include "directory.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One look under way. */
struct directory_look {
	const char *dir;
	struct directory *found;
};

static bool directory_ends(const char *name, const char *ending)
{
	size_t len = strlen(name), ending_len = strlen(ending);
	return len > ending_len && strcmp(name + len - ending_len, ending) == 0;
}

/* Hidden names are temporary files and what ..data links to. */
static int directory_is_seen(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* Takes the texts over. */
static int directory_add(struct directory_look *l, struct directory_entry e, struct err *err)
{
	if (e.name && e.chain && e.key) {
		l->found->list[l->found->count++] = e;
		return 0;
	}
	free(e.name);
	free(e.chain);
	free(e.key);
	free(e.roots);
	return err_set(err, ENOMEM, "out of memory");
}

/* "<dir>/<name><tail>"; NULL: out of memory. */
static char *directory_path(const char *dir, const char *name, const char *tail)
{
	char *path;
	return asprintf(&path, "%s/%s%s", dir, name, tail) < 0 ? NULL : path;
}

/* A link that leads nowhere counts: what it led to is being replaced. */
static bool directory_has(const char *dir, const char *name, const char *tail)
{
	struct stat st;
	char *path = directory_path(dir, name, tail);
	bool found = path && lstat(path, &st) == 0;
	free(path);
	return found;
}

/* `stem` and .crt and .key. */
static int directory_add_pair(struct directory_look *l, const char *stem, struct err *err)
{
	char *name;
	if (asprintf(&name, "%s.crt", stem) < 0)
		return err_set(err, ENOMEM, "out of memory");
	return directory_add(l,
		(struct directory_entry){.name = name,
			.chain = directory_path(l->dir, stem, ".crt"),
			.key = directory_path(l->dir, stem, ".key")},
		err);
}

static int directory_look_file(struct directory_look *l, const char *name, struct err *err)
{
	char stem[NAME_MAX + 1];
	/* All three endings have four letters. */
	snprintf(stem, sizeof(stem), "%.*s", (int)strlen(name) - 4, name);
	if (directory_ends(name, ".crt"))
		return directory_add_pair(l, stem, err);
	/* A certificate that is missing beside its key may be about to come. */
	if (directory_ends(name, ".key"))
		return directory_has(l->dir, stem, ".crt") ? 0 : directory_add_pair(l, stem, err);
	return directory_add(l,
		(struct directory_entry){.name = strdup(name),
			.chain = directory_path(l->dir, name, ""),
			.key = directory_path(l->dir, name, "")},
		err);
}

/* What the files of a layout are called; the anchors by one of two names. */
static const struct directory_layout {
	const char *chain, *key, *roots[2];
} directory_layouts[] = {
	{"/tls.crt", "/tls.key", {"/ca.crt", NULL}},
	{"/svid.pem", "/svid_key.pem", {"/bundle.pem", "/svid_bundle.pem"}},
};

static char *directory_find_roots(
	const char *dir, const char *name, const struct directory_layout *layout)
{
	for (size_t i = 0; i < ARRAY_LEN(layout->roots); i++) {
		if (layout->roots[i] && directory_has(dir, name, layout->roots[i]))
			return directory_path(dir, name, layout->roots[i]);
	}
	return NULL;
}

static int directory_look_below(struct directory_look *l, const char *name, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(directory_layouts); i++) {
		const struct directory_layout *layout = &directory_layouts[i];
		if (!directory_has(l->dir, name, layout->chain) &&
			!directory_has(l->dir, name, layout->key))
			continue;
		return directory_add(l,
			(struct directory_entry){.name = strdup(name),
				.chain = directory_path(l->dir, name, layout->chain),
				.key = directory_path(l->dir, name, layout->key),
				.roots = directory_find_roots(l->dir, name, layout)},
			err);
	}
	return 0;
}

static bool directory_is_below(const char *dir, const char *name)
{
	struct stat st;
	char *path = directory_path(dir, name, "");
	bool below = path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
	free(path);
	return below;
}

static int directory_look(struct directory_look *l, const char *name, struct err *err)
{
	if (strcmp(name, "roots.pem") == 0 || strcmp(name, "roots") == 0)
		return 0;
	if (directory_is_below(l->dir, name))
		return directory_look_below(l, name, err);
	if (directory_ends(name, ".crt") || directory_ends(name, ".key") ||
		directory_ends(name, ".pem"))
		return directory_look_file(l, name, err);
	return 0;
}

int directory_list(const char *dir, uint32_t count_max, struct directory *ret, struct err *err)
{
	struct dirent **names;
	struct directory_look l = {.dir = dir, .found = ret};
	*ret = (struct directory){0};
	int count = scandir(dir, &names, directory_is_seen, alphasort);
	if (count < 0)
		return err_set(err, errno, "%s: %m", dir);
	ret->list = calloc((size_t)count + 1, sizeof(*ret->list));
	int r = ret->list ? 0 : err_set(err, ENOMEM, "out of memory");
	for (int i = 0; i < count; i++) {
		if (r == 0)
			r = directory_look(&l, names[i]->d_name, err);
		free(names[i]);
	}
	free(names);
	if (r == 0 && ret->count > count_max)
		r = err_set(err, E2BIG, "%s: more than %u certificates", dir, count_max);
	if (r < 0)
		directory_free(ret);
	return r;
}

void directory_free(struct directory *d)
{
	for (uint32_t i = 0; i < d->count; i++) {
		free(d->list[i].name);
		free(d->list[i].chain);
		free(d->list[i].key);
		free(d->list[i].roots);
	}
	free(d->list);
	*d = (struct directory){0};
}
