/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain diff`: the objects that would change, before and after, as files in two directories for
 * the system's diff. */
#include "cli/commands.h"

#include "base/usage.h"
#include "command.h"
#include "published.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIFF_BYTES_MAX (1u << 30)
#define DIFF_TROUBLE   2

static const char diff_usage[] =
	"Shows what `ringmain apply` would change, object by object, with the system's diff.\n"
	"\n"
	"usage: ringmain diff -f FILE|DIR [-f ...] [--prune] [-c FILE]\n"
	"\n"
	"  -f, --file FILE    as for ringmain apply\n"
	"  --prune            with what --prune would take away\n"
	"  -c, --config FILE  the operator's file (see ringmain apply --help), or a node's\n"
	"\n"
	"Exit status: 0 the same, 1 there are differences, 2 trouble or wrong usage.\n";

/* Two directories, "published" and "files", below one that is made for it. */
struct diff_place {
	char dir[64];
	const char *name; /* of the command */
};

static int diff_fail(const struct diff_place *place, const char *path)
{
	fprintf(stderr, "%s: %s: %s\n", place->name, path, strerror(errno));
	return -1;
}

static void diff_path(const struct diff_place *place, const char *side, struct str key, char *path)
{
	struct str kind = object_key_kind(key), name = object_key_name(key);
	int len = snprintf(path, PATH_MAX, "%s/%s", place->dir, side);
	if (key.len > 0)
		snprintf(path + len, (size_t)(PATH_MAX - len), "/" STR_FMT "." STR_FMT,
			STR_ARG(kind), STR_ARG(name));
}

static int diff_make(struct diff_place *place)
{
	const char *parent = getenv("TMPDIR");
	char path[PATH_MAX];
	snprintf(place->dir, sizeof(place->dir), "%.40s/ringmain-diff-XXXXXX",
		parent && parent[0] == '/' && strlen(parent) <= 40 ? parent : "/tmp");
	if (!mkdtemp(place->dir))
		return diff_fail(place, place->dir);
	diff_path(place, "published", STR_NONE, path);
	if (mkdir(path, 0700) < 0)
		return diff_fail(place, path);
	diff_path(place, "files", STR_NONE, path);
	return mkdir(path, 0700) < 0 ? diff_fail(place, path) : 0;
}

/* What the store holds is shown on a terminal, which is not to take it for orders. */
static bool diff_fill(int fd, struct str text)
{
	char *copy = malloc(text.len + 1);
	if (!copy)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.at[i];
		bool is_order = (c < ' ' && c != '\n' && c != '\t') || c == 0x7f;
		copy[i] = is_order ? '?' : text.at[i];
	}
	ssize_t n = write(fd, copy, text.len);
	free(copy);
	return n == (ssize_t)text.len;
}

static int diff_write(const struct diff_place *place, const char *side, const struct object *object)
{
	char path[PATH_MAX];
	if (!object)
		return 0;
	diff_path(place, side, object->key, path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return diff_fail(place, path);
	bool is_whole = diff_fill(fd, object->text);
	close(fd);
	return is_whole ? 0 : diff_fail(place, path);
}

static void diff_remove(
	const struct diff_place *place, const struct change *changes, uint32_t change_count)
{
	static const char *const sides[] = {"published", "files"};
	char path[PATH_MAX];
	for (size_t s = 0; s < ARRAY_LEN(sides); s++) {
		for (uint32_t i = 0; i < change_count; i++) {
			diff_path(place, sides[s], changes[i].key, path);
			unlink(path);
		}
		diff_path(place, sides[s], STR_NONE, path);
		rmdir(path);
	}
	rmdir(place->dir);
}

/* Its exit status. */
static int diff_spawn(const struct diff_place *place)
{
	extern char **environ;
	char *const words[] = {(char *)(uintptr_t) "diff", (char *)(uintptr_t) "-u",
		(char *)(uintptr_t) "-N", (char *)(uintptr_t) "-r", (char *)(uintptr_t) "published",
		(char *)(uintptr_t) "files", NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int status = 0;
	fflush(stdout);
	if (posix_spawn_file_actions_init(&actions) != 0)
		return DIFF_TROUBLE;
	errno = posix_spawn_file_actions_addchdir_np(&actions, place->dir);
	if (errno == 0)
		errno = posix_spawnp(&pid, "diff", &actions, NULL, words, environ);
	bool is_spawned = errno == 0;
	posix_spawn_file_actions_destroy(&actions);
	if (!is_spawned) {
		diff_fail(place, "diff");
		return DIFF_TROUBLE;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : DIFF_TROUBLE;
}

static int diff_show(struct publisher *p, const struct object_set *before, const struct edit *edit)
{
	struct diff_place place = {.name = p->command};
	if (edit->change_count == 0)
		return 0;
	int r = diff_make(&place);
	for (uint32_t i = 0; r == 0 && i < edit->change_count; i++) {
		struct str key = edit->changes[i].key;
		r = diff_write(&place, "published", object_set_find(before, key));
		if (r == 0)
			r = diff_write(&place, "files", object_set_find(&edit->after, key));
	}
	int status = r == 0 ? diff_spawn(&place) : DIFF_TROUBLE;
	diff_remove(&place, edit->changes, edit->change_count);
	return status;
}

static int diff_publish(struct publisher *p, const struct edit_wish *wish, struct arena *arena)
{
	struct published s;
	struct edit edit;
	struct edit_stamp stamp = {.who = STR("nobody"), .revision = 1};
	struct err err;
	int status = DIFF_TROUBLE;
	if (published_load(p, false, &s, &err) < 0) {
		publisher_say(p, "%s", err.text);
		return DIFF_TROUBLE;
	}
	if (s.trust == PUBLISHED_BAD)
		publisher_say(p, "warning: what stands in the store is not to be believed: %s",
			s.why.text);
	if (edit_make(wish, &stamp, &s.set, NULL, 0, arena, &edit, &err) < 0) {
		publisher_say(p, "%s", err.text);
	} else {
		status = diff_show(p, &s.set, &edit);
		edit_done(&edit);
	}
	published_done(&s);
	return status;
}

static int diff_rows(const struct command *c, struct bundle *files, struct arena *arena)
{
	struct conf_object *rows = NULL;
	struct edit_wish wish = {.kind = EDIT_PUT, .prune = c->prune};
	struct publisher p;
	int status = DIFF_TROUBLE;
	if (!command_rows(c, files, arena, &rows, &wish.row_count))
		return DIFF_TROUBLE;
	wish.rows = rows;
	if (publisher_open(&p, c->name, c->conf_path, PUBLISHER_READS))
		status = diff_publish(&p, &wish, arena);
	publisher_close(&p);
	return status;
}

int cli_diff_main(int argc, char **argv)
{
	struct command c;
	struct bundle files;
	struct arena arena;
	int stop = command_read(argc, argv, "cfhP", "", diff_usage, &c);
	if (stop)
		return stop - 1;
	int wrong = command_files_wrong(&c);
	if (wrong)
		return wrong;
	bundle_init(&files);
	arena_init(&arena, DIFF_BYTES_MAX);
	int status = diff_rows(&c, &files, &arena);
	arena_done(&arena);
	bundle_done(&files);
	return status;
}
