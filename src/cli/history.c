/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/table.h"
#include "base/usage.h"
#include "command.h"
#include "published.h"
#include <stdio.h>

#define HISTORY_BYTES_MAX (1u << 30)
#define HISTORY_JSON_MAX  (64u << 20)
#define HISTORY_MOST	  100000
#define HISTORY_DEFAULT	  20
#define HISTORY_WHAT_MAX  3

static const char history_usage[] =
	"Shows who has changed the mesh's objects, when, why, and what, the newest first. The "
	"store "
	"keeps\n"
	"about the last thousand revisions.\n"
	"\n"
	"usage: ringmain history [KIND/NAME] [-n N] [-o table|json] [-c FILE]\n"
	"\n"
	"  -n, --number N     how many revisions (20); 0: all that there are\n"
	"  -o, --output json  for programs\n"
	"  -c, --config FILE  the operator's file (see ringmain apply --help), or a node's\n"
	"\n"
	"Exit status: 0 shown, 1 not possible, 2 wrong usage.\n";

struct history {
	struct publisher *p;
	struct str key; /* empty: all */
	uint64_t most;
	const struct edit_entry *entries; /* newest first */
	uint32_t entry_count;
};

/* Whether the entry is about the key. */
static bool history_matches(const struct history *h, const struct edit_entry *e)
{
	struct str rest = e->change;
	struct change c;
	if (h->key.len == 0)
		return true;
	while (change_next(&rest, &c) == 0) {
		if (str_eq(c.key, h->key))
			return true;
	}
	return false;
}

/* "create service/orders, change policy/x and 3 more". Returns text. */
static const char *history_what(const struct edit_entry *e, char *text, size_t size)
{
	struct str rest = e->change;
	struct change c;
	uint32_t count = 0;
	size_t len = 0;
	text[0] = '\0';
	for (; change_next(&rest, &c) == 0; count++) {
		if (count < HISTORY_WHAT_MAX && len < size)
			len += (size_t)snprintf(text + len, size - len, "%s%s " STR_FMT,
				count ? ", " : "", edit_verb_name(edit_verb(&c)), STR_ARG(c.key));
	}
	if (count > HISTORY_WHAT_MAX && len < size)
		snprintf(text + len, size - len, " and %u more", count - HISTORY_WHAT_MAX);
	return text;
}

/* Whether the head can be read; whether a known key has signed it. */
static bool history_head(const struct history *h, const struct edit_entry *e, struct head *ret_head,
	bool *ret_verified)
{
	struct err why;
	*ret_head = (struct head){0};
	*ret_verified =
		head_verify(e->head, publisher_mesh(h->p), h->p->keys, ret_head, &why) == 0 &&
		ret_head->revision == e->revision;
	return *ret_verified || head_parse(e->head, ret_head, &why) == 0;
}

static void history_row(struct table *t, const struct history *h, const struct edit_entry *e)
{
	struct head head;
	bool is_verified;
	char when[25] = "-", what[1024];
	bool has_keys = operator_keys_count(h->p->keys) > 0;
	table_cell(t, "%llu", (unsigned long long)e->revision);
	if (history_head(h, e, &head, &is_verified)) {
		clock_format(head.time_s * CLOCK_S, when);
		table_cell(t, "%.10s %.8sZ", when, when + 11);
		table_cell(t, STR_FMT "%s", STR_ARG(head.who),
			is_verified || !has_keys ? "" : " × not verified");
	} else {
		table_cell(t, "-");
		table_cell(t, "× no head");
	}
	table_cell(t, "%s", history_what(e, what, sizeof(what)));
	table_cell(t, STR_FMT, STR_ARG(head.why));
}

static uint32_t history_print_table(const struct history *h)
{
	static const char *const headings[] = {"REVISION", "WHEN", "WHO", "WHAT", "WHY"};
	struct table t;
	uint32_t count = 0;
	table_init(&t, ARRAY_LEN(headings));
	for (size_t i = 0; i < ARRAY_LEN(headings); i++)
		table_cell(&t, "%s", headings[i]);
	for (uint32_t i = 0; i < h->entry_count && count < h->most; i++) {
		if (!history_matches(h, &h->entries[i]))
			continue;
		history_row(&t, h, &h->entries[i]);
		count++;
	}
	if (count > 0)
		table_print(&t, stdout, 0);
	table_done(&t);
	return count;
}

static void history_json_entry(struct json *j, const struct history *h, const struct edit_entry *e)
{
	struct head head;
	bool is_verified;
	struct str rest = e->change;
	struct change c;
	history_head(h, e, &head, &is_verified);
	json_open(j, '{');
	json_key(j, "revision");
	json_u64(j, e->revision);
	json_key(j, "time");
	json_u64(j, head.time_s);
	json_key(j, "who");
	json_str(j, head.who);
	json_key(j, "why");
	json_str(j, head.why);
	json_key(j, "key_id");
	json_str(j, str_of(head.key_id));
	json_key(j, "verified");
	json_bool(j, is_verified);
	json_key(j, "changes");
	json_open(j, '[');
	while (change_next(&rest, &c) == 0) {
		json_open(j, '{');
		json_key(j, "verb");
		json_str(j, str_of(edit_verb_name(edit_verb(&c))));
		json_key(j, "key");
		json_str(j, c.key);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

static void history_print_json(const struct history *h)
{
	struct json j;
	uint32_t count = 0;
	json_init(&j, HISTORY_JSON_MAX);
	json_open(&j, '{');
	json_key(&j, "revisions");
	json_open(&j, '[');
	for (uint32_t i = 0; i < h->entry_count && count < h->most; i++) {
		if (history_matches(h, &h->entries[i])) {
			history_json_entry(&j, h, &h->entries[i]);
			count++;
		}
	}
	json_close(&j, ']');
	json_close(&j, '}');
	json_newline(&j);
	fwrite(j.text, 1, j.len, stdout);
	json_done(&j);
}

static int history_run(struct history *h, const struct command *c)
{
	struct arena arena;
	struct edit_entry *entries = NULL;
	struct err err;
	arena_init(&arena, HISTORY_BYTES_MAX);
	uint32_t most = h->key.len || h->most > HISTORY_MOST ? HISTORY_MOST : (uint32_t)h->most;
	int r = published_load_entries(h->p, 0, most, &arena, &entries, &h->entry_count, &err);
	h->entries = entries;
	if (r < 0)
		publisher_say(h->p, "%s", err.text);
	else if (command_wants(c, "json"))
		history_print_json(h);
	else if (history_print_table(h) == 0)
		puts(h->key.len ? "nothing of it is in the history" : "nothing was published yet");
	arena_done(&arena);
	return r < 0 ? 1 : 0;
}

int cli_history_main(int argc, char **argv)
{
	struct command c;
	struct publisher p;
	int stop = command_read(argc, argv, "cohn", "table json", history_usage, &c);
	if (stop)
		return stop - 1;
	struct history h = {.p = &p,
		.key = c.word_count ? str_of(c.words[0]) : STR_NONE,
		.most = c.has_number && c.number == 0 ? HISTORY_MOST
			: c.has_number		      ? c.number
						      : HISTORY_DEFAULT};
	if (c.word_count > 1)
		return usage_wrong(c.name, "an argument too many");
	if (h.key.len && !object_key_valid(h.key))
		return usage_wrong(c.name, "KIND/NAME, not \"%s\"", c.words[0]);
	int status = 1;
	if (publisher_open(&p, c.name, c.conf_path, PUBLISHER_READS))
		status = history_run(&h, &c);
	publisher_close(&p);
	return status;
}
