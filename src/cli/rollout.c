/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain rollout`: writes the signed objects that rollouts go by, as `ringmain apply` would, and
 * shows how far they are. How far that is, is the nodes' doing. */
#include "cli/commands.h"

#include "base/clock.h"
#include "base/usage.h"
#include "publish.h"
#include "rollout_change.h"
#include "rollout_show.h"
#include <errno.h>
#include <time.h>
#include <unistd.h>

#define ROLLOUT_BYTES_MAX (64u << 20)
#define ROLLOUT_WATCH_NS  (2 * CLOCK_S)
#define ROLLOUT_AWAY_MAX  30 /* looks in a row at a store that does not answer */

/* --- changing --- */

static int rollout_publish(struct publisher *p, const struct rollout_line *line,
	const struct rollouts *standing, const struct rollout_change *change, struct arena *arena,
	struct bundle *files)
{
	const struct rollout_known *k = rollout_read_find(standing, str_of(line->service));
	struct conf_object *rows = NULL;
	struct conf_report report;
	struct err err;
	struct edit_wish wish = {
		.kind = EDIT_PUT, .has_was = true, .was = k ? k->object->text : STR("")};
	const struct publish_options options = {.dry_run = line->dry_run,
		.json = line->json,
		.why = str_of(line->why ? line->why : change->why)};
	if (bundle_add(files, STR("mesh"), str_of(line->name), change->text, &err) < 0) {
		publisher_say(p, "%s", err.text);
		return 1;
	}
	conf_report_init(&report);
	int r = conf_objects_read(files, arena, &rows, &wish.row_count, &report);
	if (report.text)
		fputs(report.text, stderr);
	conf_report_done(&report);
	if (r < 0)
		return 1;
	wish.rows = rows;
	int status = publish_run(p, &wish, files, &options);
	if (status == 0 && line->verb == ROLLOUT_VERB_START && !line->json && !line->dry_run)
		printf("follow it: ringmain rollout status %s --watch\n", line->service);
	return status;
}

static int rollout_change_with(
	struct publisher *p, const struct rollout_line *line, const struct rollouts *standing)
{
	struct arena arena;
	struct bundle files;
	struct rollout_change change;
	struct err err;
	int status = 1;
	arena_init(&arena, ROLLOUT_BYTES_MAX);
	bundle_init(&files);
	if (standing->published.trust == PUBLISHED_BAD)
		publisher_say(p, "what stands in the store is not to be built upon: %s",
			standing->published.why.text);
	else if (rollout_change_make(
			 line, standing, clock_wall_ns() / CLOCK_S, &arena, &change, &err) < 0)
		publisher_say(p, "%s", err.text);
	else if (change.text.len > 0)
		status = rollout_publish(p, line, standing, &change, &arena, &files);
	else
		status = printf("%s\n", change.done) < 0;
	bundle_done(&files);
	arena_done(&arena);
	return status;
}

static int rollout_change(const struct rollout_line *line)
{
	struct publisher p;
	struct rollouts standing;
	struct err err;
	int status = 1;
	if (publisher_open(&p, line->name, line->conf_path, PUBLISHER_WRITES)) {
		if (rollout_read_all(&p, str_of(line->service), &standing, &err) < 0) {
			publisher_say(&p, "%s", err.text);
		} else {
			status = rollout_change_with(&p, line, &standing);
			rollout_read_done(&standing);
		}
	}
	publisher_close(&p);
	return status;
}

/* --- showing --- */

static struct str rollout_service(const struct rollout_line *line)
{
	return line->service ? str_of(line->service) : STR("");
}

static int rollout_print(
	struct publisher *p, const struct rollout_line *line, const struct rollouts *r)
{
	bool is_any;
	if (r->published.trust == PUBLISHED_BAD)
		publisher_say(p, "the objects in the store are refused by the nodes: %s",
			r->published.why.text);
	if (line->json)
		is_any = rollout_show_json(stdout, r, rollout_service(line));
	else if (line->verb == ROLLOUT_VERB_LIST)
		is_any = rollout_show_list(stdout, r);
	else
		is_any = rollout_show_status(stdout, r, rollout_service(line));
	if (r->published.trust == PUBLISHED_BAD)
		return 1;
	if (is_any || line->json)
		return is_any || !line->service ? 0 : 1;
	if (!line->service)
		return puts("no rollouts") < 0;
	publisher_say(p, "%s has no rollout; there are %u others", line->service, r->count);
	return 1;
}

/* Of those that are looked at: whether any goes on, and whether one went back. */
static bool rollout_is_over(
	const struct rollout_line *line, const struct rollouts *r, bool *ret_is_back)
{
	bool is_over = true;
	*ret_is_back = false;
	for (uint32_t i = 0; i < r->count; i++) {
		const struct rollout_known *k = &r->all[i];
		const struct rollout_progress *p = k->is_rule ? rollout_known_progress(k) : NULL;
		if (line->service &&
			!str_eq(object_key_name(k->object->key), str_of(line->service)))
			continue;
		is_over = is_over && !rollout_known_is_open(k);
		*ret_is_back = *ret_is_back || (p && p->state == ROLLOUT_ROLLED_BACK) ||
			       (k->is_rule && k->rule.order == ROLLOUT_ABORT);
	}
	return is_over;
}

static void rollout_sleep(void)
{
	const struct timespec pause = {.tv_sec = ROLLOUT_WATCH_NS / CLOCK_S};
	fflush(stdout);
	nanosleep(&pause, NULL);
}

static void rollout_clear(void)
{
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[2J", stdout);
	else
		putchar('\n');
}

static int rollout_watch(struct publisher *p, const struct rollout_line *line)
{
	uint32_t away = 0;
	for (bool is_first = true;; is_first = false) {
		struct rollouts r;
		struct err err;
		bool is_back = false;
		if (!is_first)
			rollout_sleep();
		if (rollout_read_all(p, STR(""), &r, &err) < 0) {
			publisher_say(p, "%s", err.text);
			if (is_first || ++away == ROLLOUT_AWAY_MAX)
				return 1;
			continue;
		}
		away = 0;
		if (!is_first)
			rollout_clear();
		int status = rollout_print(p, line, &r);
		bool is_over = status != 0 || rollout_is_over(line, &r, &is_back);
		rollout_read_done(&r);
		if (is_over)
			return status != 0 || is_back;
	}
}

static int rollout_show_once(struct publisher *p, const struct rollout_line *line)
{
	struct rollouts r;
	struct err err;
	if (rollout_read_all(p, STR(""), &r, &err) < 0) {
		publisher_say(p, "%s", err.text);
		return 1;
	}
	int status = rollout_print(p, line, &r);
	rollout_read_done(&r);
	return status;
}

static int rollout_show(const struct rollout_line *line)
{
	struct publisher p;
	int status = 1;
	if (publisher_open(&p, line->name, line->conf_path, PUBLISHER_READS))
		status = line->watch ? rollout_watch(&p, line) : rollout_show_once(&p, line);
	publisher_close(&p);
	return status;
}

int cli_rollout_main(int argc, char **argv)
{
	struct rollout_line line;
	int stop = rollout_line_read(argc, argv, &line);
	if (stop)
		return stop - 1;
	return line.verb == ROLLOUT_VERB_STATUS || line.verb == ROLLOUT_VERB_LIST
		       ? rollout_show(&line)
		       : rollout_change(&line);
}
