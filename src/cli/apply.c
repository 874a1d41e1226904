/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain apply`, `delete` and `rollback`: what changes the mesh's objects. */
#include "cli/commands.h"

#include "base/usage.h"
#include "command.h"
#include "publish.h"
#include <stdio.h>

#define APPLY_BYTES_MAX (1u << 30)

static const char apply_usage[] =
	"Publishes services, policies, routes and limits to the mesh. Each row of the files "
	"becomes one\n"
	"object, new or changed; others stay. All of them are checked together with everything\n"
	"that stands and with what the nodes tell of themselves, then signed and written at once,\n"
	"or not at all. Two who apply at the same time do not overwrite each other: the second is\n"
	"told what the first has changed.\n"
	"\n"
	"usage: ringmain apply -f FILE|DIR [-f ...] [OPTION...]\n"
	"\n"
	"  -f, --file FILE    a mesh file, or a directory whose *.conf are read in order of their "
	"names\n"
	"  --dry-run          check, tell what would be changed, write nothing\n"
	"  --prune            take away what is in none of the files\n"
	"  --why TEXT         why, for the history: one line\n"
	"  --if-revision N    only if revision N stands; 0: only if nothing does\n"
	"  --replace-all      publish the files as everything there is, whatever stands in the "
	"store: the way\n"
	"                     out when that was damaged, or signed by nobody who is known\n"
	"  -o, --output json  for programs (table)\n"
	"  -c, --config FILE  the operator's file; $RINGMAIN_OPERATOR_CONF, "
	"~/.config/ringmain/operator.conf,\n"
	"                     /etc/ringmain/operator.conf\n"
	"\n"
	"Exit status: 0 published, or nothing to change; 1 refused, and nothing written; 2 wrong "
	"usage.\n";

static const char delete_usage[] =
	"Takes objects out of the mesh. Refused while others name them.\n"
	"\n"
	"usage: ringmain delete KIND/NAME... [OPTION...]\n"
	"\n"
	"  --dry-run          check, tell what would be taken away, write nothing\n"
	"  --why TEXT         why, for the history: one line\n"
	"  --if-revision N    only if revision N stands\n"
	"  -o, --output json  for programs (table)\n"
	"  -c, --config FILE  the operator's file; see ringmain apply --help\n"
	"\n"
	"example: ringmain delete policy/web-uses-orders service/orders\n"
	"\n"
	"Exit status: 0 taken away, 1 refused, and nothing written, 2 wrong usage.\n";

static const char rollback_usage[] =
	"Makes the mesh's objects what they were at a revision, by a new revision: nothing of the "
	"history\n"
	"is lost. Checked as any other change; `ringmain history` has the numbers.\n"
	"\n"
	"usage: ringmain rollback REVISION [OPTION...]\n"
	"\n"
	"  --dry-run          check, tell what would be changed, write nothing\n"
	"  --why TEXT         why, for the history (\"back to revision N\")\n"
	"  -o, --output json  for programs (table)\n"
	"  -c, --config FILE  the operator's file; see ringmain apply --help\n"
	"\n"
	"Exit status: 0 done, or nothing to change; 1 refused, and nothing written; 2 wrong "
	"usage.\n";

static struct publish_options apply_options(const struct command *c)
{
	return (struct publish_options){.dry_run = c->dry_run,
		.json = command_wants(c, "json"),
		.replace_all = c->replace_all,
		.has_if_revision = c->has_if_revision,
		.if_revision = c->if_revision,
		.why = str_of(c->why)};
}

static int apply_publish(const struct command *c, struct edit_wish *wish,
	const struct bundle *files, const struct publish_options *o)
{
	struct publisher p;
	int status = 1;
	if (publisher_open(&p, c->name, c->conf_path, PUBLISHER_WRITES))
		status = publish_run(&p, wish, files, o);
	publisher_close(&p);
	return status;
}

static int apply_rows(const struct command *c, struct bundle *files, struct arena *arena)
{
	struct conf_object *rows = NULL;
	struct edit_wish wish = {.kind = EDIT_PUT, .prune = c->prune};
	struct publish_options o = apply_options(c);
	if (!command_rows(c, files, arena, &rows, &wish.row_count))
		return 1;
	if (wish.row_count == 0) {
		fprintf(stderr, "%s: there is nothing in the files\n", c->name);
		return 1;
	}
	wish.rows = rows;
	return apply_publish(c, &wish, files, &o);
}

int cli_apply_main(int argc, char **argv)
{
	struct command c;
	struct bundle files;
	struct arena arena;
	int stop = command_read(argc, argv, "cfohDPWIR", "table json", apply_usage, &c);
	if (stop)
		return stop - 1;
	int wrong = command_files_wrong(&c);
	if (wrong)
		return wrong;
	bundle_init(&files);
	arena_init(&arena, APPLY_BYTES_MAX);
	int status = apply_rows(&c, &files, &arena);
	arena_done(&arena);
	bundle_done(&files);
	return status;
}

/* "service/orders", of a kind that there is. */
static int apply_key_wrong(const struct command *c, struct str key)
{
	char kinds[128];
	if (!object_key_valid(key))
		return usage_wrong(c->name, "\"" STR_FMT "\" is not KIND/NAME", STR_ARG(key));
	if (conf_kind_find(object_key_kind(key)))
		return 0;
	return usage_wrong(c->name, "\"" STR_FMT "\": the kinds are: %s", STR_ARG(key),
		conf_kind_names(kinds, sizeof(kinds)));
}

int cli_delete_main(int argc, char **argv)
{
	struct command c;
	struct arena arena;
	int stop = command_read(argc, argv, "cohDWI", "table json", delete_usage, &c);
	if (stop)
		return stop - 1;
	if (c.word_count == 0)
		return usage_wrong(c.name, "what? KIND/NAME...");
	arena_init(&arena, APPLY_BYTES_MAX);
	struct str *keys = arena_take(&arena, c.word_count * sizeof(*keys));
	int status = keys ? 0 : 1;
	for (uint32_t i = 0; status == 0 && i < c.word_count; i++) {
		keys[i] = str_of(c.words[i]);
		status = apply_key_wrong(&c, keys[i]);
	}
	if (status == 0) {
		struct edit_wish wish = {
			.kind = EDIT_TAKE, .keys = keys, .key_count = c.word_count};
		struct publish_options o = apply_options(&c);
		status = apply_publish(&c, &wish, NULL, &o);
	}
	arena_done(&arena);
	return status;
}

int cli_rollback_main(int argc, char **argv)
{
	struct command c;
	struct edit_wish wish = {.kind = EDIT_ROLL_BACK};
	char why[64];
	int stop = command_read(argc, argv, "cohDW", "table json", rollback_usage, &c);
	if (stop)
		return stop - 1;
	if (c.word_count != 1)
		return usage_wrong(c.name, "to which revision? ringmain history has the numbers");
	if (!str_to_u64(str_of(c.words[0]), &wish.target) || wish.target == 0)
		return usage_wrong(c.name, "a revision is a number, not \"%s\"", c.words[0]);
	snprintf(why, sizeof(why), "back to revision %llu", (unsigned long long)wish.target);
	struct publish_options o = apply_options(&c);
	if (!c.why)
		o.why = str_of(why);
	return apply_publish(&c, &wish, NULL, &o);
}
