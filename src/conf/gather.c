/* SPDX-License-Identifier: Apache-2.0 */
/* All that a parse needs from the machine, read once and put into a bundle, so that the parse
 * itself is pure and the proxy process opens no file. What cannot be looked up is left out: the
 * parse knows the line to blame. */
#include "parser.h"

#include "conf/objects.h"
#include "conf/run_dir.h"
#include "mesh/snapshot.h"
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define CONF_GATHER_PATH_MAX 4096

struct conf_gatherer {
	struct conf_parser parser;
	struct bundle *bundle;
	struct conf_report *report; /* of the caller */
};

/* An error of this file's own: the setting is in the node file. */
static int conf_gather_fail(
	struct conf_gatherer *g, const config_setting_t *setting, int result, const char *text)
{
	g->parser.report = g->report;
	if (setting)
		conf_error(&g->parser, setting, NULL, "%s", text);
	else
		conf_report_line(g->report, CONF_ERROR, g->parser.node.path, 0, "%s", text);
	return result;
}

static int conf_gather_add(
	struct conf_gatherer *g, struct str kind, struct str name, struct str text)
{
	struct err err;
	int r = bundle_add(g->bundle, kind, name, text, &err);
	return r < 0 ? conf_gather_fail(g, NULL, r, err.text) : 0;
}

static int conf_gather_file(
	struct conf_gatherer *g, const config_setting_t *setting, const char *path)
{
	struct err err;
	int r = bundle_add_file(g->bundle, STR("mesh"), path, &err);
	return r < 0 ? conf_gather_fail(g, setting, r, err.text) : 0;
}

static int conf_gather_filter(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);
	return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0;
}

/* By bytes: the order must not depend on the locale. */
static int conf_gather_compare(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int conf_gather_directory(
	struct conf_gatherer *g, const config_setting_t *setting, const char *path)
{
	struct dirent **entries;
	int r = 0, count = scandir(path, &entries, conf_gather_filter, conf_gather_compare);
	if (count < 0) {
		struct err err;
		r = err_set(&err, errno, "%s: %m", path);
		return conf_gather_fail(g, setting, r, err.text);
	}
	for (int i = 0; i < count; i++) {
		char name[CONF_GATHER_PATH_MAX];
		int len = snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		int one = len < 0 || (size_t)len >= sizeof(name)
				  ? conf_gather_fail(g, setting, -ENAMETOOLONG, "path too long")
				  : conf_gather_file(g, setting, name);
		r = r < 0 ? r : one;
		free(entries[i]);
	}
	free(entries);
	return r;
}

/* A path in the node file is relative to the node file's directory. */
static int conf_gather_mesh(struct conf_gatherer *g, uint32_t index)
{
	struct str file = g->parser.conf->mesh_files[index];
	const config_setting_t *mesh = conf_member(conf_file_root(&g->parser.node), "mesh");
	const config_setting_t *setting = conf_member(mesh, "files");
	if (config_setting_is_aggregate(setting))
		setting = config_setting_get_elem(setting, index);
	if (file.len == 0) /* of a wrong type, which the parse will say */
		return 0;
	struct str node = g->parser.node.path;
	const char *slash = node.len ? memrchr(node.at, '/', node.len) : NULL;
	bool is_relative = slash && file.len > 0 && file.at[0] != '/';
	char path[CONF_GATHER_PATH_MAX];
	struct stat st;
	snprintf(path, sizeof(path), "%.*s%.*s", is_relative ? (int)(slash - node.at) + 1 : 0,
		node.at, STR_ARG(file));
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return conf_gather_directory(g, setting, path);
	return conf_gather_file(g, setting, path);
}

static int conf_gather_user(struct conf_gatherer *g, struct str user)
{
	char name[256], memory[16384], uid[16];
	struct passwd entry, *found = NULL;
	uint64_t number;
	if (user.len == 0 || user.len >= sizeof(name) || str_to_u64(user, &number) ||
		bundle_find(g->bundle, "user", user))
		return 0;
	memcpy(name, user.at, user.len);
	name[user.len] = '\0';
	if (getpwnam_r(name, &entry, memory, sizeof(memory), &found) != 0 || !found)
		return 0;
	snprintf(uid, sizeof(uid), "%u", entry.pw_uid);
	return conf_gather_add(g, STR("user"), user, str_of(uid));
}

/* "uid mark" lines. */
static int conf_gather_marks(struct conf_gatherer *g, struct str run_dir)
{
	char path[CONF_GATHER_PATH_MAX];
	snprintf(path, sizeof(path), "%.*s/" RUN_DIR_MARKS, STR_ARG(run_dir));
	FILE *file = fopen(path, "re");
	unsigned uid, mark;
	int r = 0;
	if (!file)
		return 0;
	while (r == 0 && fscanf(file, "%u %u", &uid, &mark) == 2) {
		char name[16], text[16];
		snprintf(name, sizeof(name), "%u", uid);
		snprintf(text, sizeof(text), "%u", mark);
		r = conf_gather_add(g, STR("mark"), str_of(name), str_of(text));
	}
	fclose(file);
	return r;
}

static int conf_gather_addresses(struct conf_gatherer *g)
{
	struct ifaddrs *list;
	int r = 0;
	if (getifaddrs(&list) < 0)
		return conf_gather_fail(g, NULL, -errno, "this machine's addresses cannot be read");
	for (const struct ifaddrs *it = list; it && r == 0; it = it->ifa_next) {
		if (!it->ifa_addr ||
			(it->ifa_addr->sa_family != AF_INET && it->ifa_addr->sa_family != AF_INET6))
			continue;
		struct sockaddr_storage storage = {0};
		char text[ADDRESS_TEXT_MAX];
		memcpy(&storage, it->ifa_addr,
			it->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in)
							   : sizeof(struct sockaddr_in6));
		struct address a = address_of(&storage);
		r = conf_gather_add(g, STR("address"), str_of(address_ip_text(&a, text)), STR_NONE);
	}
	freeifaddrs(list);
	return r;
}

static int conf_gather_named(struct conf_gatherer *g)
{
	const struct conf *c = g->parser.conf;
	int r = 0, one;
	for (uint32_t i = 0; i < c->mesh_file_count; i++) {
		one = conf_gather_mesh(g, i);
		r = r < 0 ? r : one;
	}
	one = conf_gather_user(g, c->user);
	r = r < 0 ? r : one;
	for (uint32_t i = 0; i < c->workload_count; i++) {
		one = conf_gather_user(g, c->workloads[i].user);
		r = r < 0 ? r : one;
	}
	one = conf_gather_marks(g, c->run_dir);
	r = r < 0 ? r : one;
	one = conf_gather_addresses(g);
	return r < 0 ? r : one;
}

int conf_gather(const char *path, struct bundle *b, struct conf_report *report)
{
	struct err err;
	int r = bundle_add_file(b, STR("conf"), path, &err);
	if (r < 0) {
		conf_report_line(report, CONF_ERROR, STR_NONE, 0, "%s", err.text);
		return r;
	}
	/* A first reading, only for what the file names; its complaints are left to the parse. */
	struct conf_report silent;
	struct conf conf = {0};
	struct conf_gatherer g = {
		.parser = {.bundle = b, .report = &silent, .conf = &conf, .arena = &conf.arena},
		.bundle = b,
		.report = report};
	conf_report_init(&silent);
	arena_init(&conf.arena, 64u << 20);
	if (conf_file_open(&g.parser.node, bundle_next(b, "conf", NULL), &silent)) {
		conf_read_root(&g.parser, &conf_node_root, conf_file_root(&g.parser.node), &conf);
		r = conf_gather_named(&g);
	}
	conf_file_close(&g.parser.node);
	arena_done(&conf.arena);
	conf_report_done(&silent);
	/* There will be no parse: what is wrong with the files that are there is said now. */
	if (r < 0)
		conf_parse_partial(b, report);
	return r;
}

int conf_gather_marks_of(const struct conf *conf, struct bundle *b, struct conf_report *report)
{
	struct conf_gatherer g = {.bundle = b, .report = report};
	return conf_gather_marks(&g, conf->run_dir);
}

int conf_objects_gather(const char *path, struct bundle *b, struct conf_report *report)
{
	struct conf_gatherer g = {.bundle = b, .report = report};
	struct stat st;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return conf_gather_directory(&g, NULL, path);
	return conf_gather_file(&g, NULL, path);
}
