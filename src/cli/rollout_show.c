/* SPDX-License-Identifier: Apache-2.0 */
#include "rollout_show.h"

#include "base/json.h"
#include "base/table.h"
#include "show.h"
#include <stdarg.h>

#define SHOW_JSON_MAX (64u << 20)

static const char *rollout_show_mark(const struct rollout_known *k)
{
	const struct rollout_progress *p = rollout_known_progress(k);
	if (!k->is_rule || k->is_unread || (p && p->state == ROLLOUT_ROLLED_BACK))
		return "× ";
	return p && p->state == ROLLOUT_HELD ? "‼ " : "";
}

/* "stepping", or what the operator has said since. */
static const char *rollout_show_state(const struct rollout_known *k)
{
	const struct rollout_progress *p = rollout_known_progress(k);
	if (!k->is_rule)
		return "unreadable";
	switch (k->rule.order) {
	case ROLLOUT_PROMOTE:
		return "promoted";
	case ROLLOUT_ABORT:
		return "aborted";
	case ROLLOUT_PAUSE:
		if (!p && !k->is_unread)
			return "on hold";
		break;
	case ROLLOUT_RUN:
		break;
	}
	if (k->is_unread)
		return "unreadable";
	return p ? rollout_state_name(p->state) : "waiting";
}

static uint32_t rollout_show_percent(const struct rollout_known *k)
{
	return rollout_percent(&k->rule, rollout_known_progress(k));
}

/* "3/5 25 %", "0/5 0 %". */
static void rollout_cell_step(struct table *t, const struct rollout_known *k)
{
	const struct rollout_progress *p = rollout_known_progress(k);
	table_cell(
		t, "%u/%u %u %%", p ? p->step + 1 : 0, k->rule.step_count, rollout_show_percent(k));
}

static int64_t rollout_show_seconds(const struct rollouts *r, const struct rollout_progress *p)
{
	return p->since_ms < r->now_ms ? (int64_t)((r->now_ms - p->since_ms) / 1000) : 0;
}

static void rollout_cell_age(
	struct table *t, const struct rollouts *r, const struct rollout_progress *p)
{
	char age[32];
	table_cell(t, "%s", p ? show_duration(rollout_show_seconds(r, p), age) : "-");
}

/* "99.92 %", never 100 when one failed. */
static const char *rollout_show_share(const struct rollout_tally *tally, char text[32])
{
	if (tally->calls == 0)
		return "-";
	uint64_t good = tally->failed < tally->calls ? tally->calls - tally->failed : 0;
	uint32_t share = (uint32_t)((double)good * 10000 / (double)tally->calls);
	snprintf(text, 32, "%u.%02u %%", share / 100, share % 100);
	return text;
}

static const char *rollout_show_p99(const struct rollout_tally *tally, char text[32])
{
	if (tally->calls == 0)
		return "-";
	if (tally->p99_us < 10000)
		snprintf(text, 32, "%llu.%llums", (unsigned long long)tally->p99_us / 1000,
			(unsigned long long)tally->p99_us % 1000 / 100);
	else
		snprintf(text, 32, "%llums", (unsigned long long)tally->p99_us / 1000);
	return text;
}

static void rollout_headings(struct table *t, uint32_t count, const char *const *names)
{
	table_init(t, count);
	for (uint32_t i = 0; i < count; i++)
		table_cell(t, "%s", names[i]);
}

static void rollout_row(struct table *t, const struct rollouts *r, const struct rollout_known *k)
{
	const struct rollout_progress *p = rollout_known_progress(k);
	table_cell_str(t, object_key_name(k->object->key));
	if (k->is_rule)
		table_cell(t, STR_FMT " → " STR_FMT, STR_ARG(k->rule.from), STR_ARG(k->rule.to));
	else
		table_cell(t, "-");
	table_cell(t, "%s%s", rollout_show_mark(k), rollout_show_state(k));
	if (k->is_rule && !k->is_unread)
		rollout_cell_step(t, k);
	else
		table_cell(t, "-");
	rollout_cell_age(t, r, k->is_rule ? p : NULL);
	table_cell_str(t, p ? p->node : STR_NONE);
}

static bool rollout_is_wanted(const struct rollout_known *k, struct str service)
{
	return service.len == 0 || str_eq(object_key_name(k->object->key), service);
}

static bool rollout_table(FILE *out, const struct rollouts *r, struct str service)
{
	static const char *const names[] = {
		"SERVICE", "VERSIONS", "STATE", "STEP", "FOR", "CARRIED BY"};
	struct table t;
	bool is_any = false;
	rollout_headings(&t, ARRAY_LEN(names), names);
	for (uint32_t i = 0; i < r->count; i++) {
		if (!rollout_is_wanted(&r->all[i], service))
			continue;
		rollout_row(&t, r, &r->all[i]);
		is_any = true;
	}
	if (is_any)
		table_print(&t, out, 0);
	table_done(&t);
	return is_any;
}

bool rollout_show_list(FILE *out, const struct rollouts *r)
{
	return rollout_table(out, r, STR(""));
}

/* --- one of them --- */

static void rollout_figures_row(
	struct table *t, struct str version, const char *word, const struct rollout_tally *tally)
{
	char text[32];
	table_cell(t, STR_FMT " (%s)", STR_ARG(version), word);
	table_cell(t, "%llu", (unsigned long long)tally->calls);
	table_cell(t, "%llu", (unsigned long long)tally->failed);
	table_cell(t, "%s", rollout_show_share(tally, text));
	table_cell(t, "%s", rollout_show_p99(tally, text));
}

/* What is asked, as the last row. */
static void rollout_wanted_row(struct table *t, const struct rollout_rule *rule)
{
	table_cell(t, STR_FMT " (wanted)", STR_ARG(rule->to));
	table_cell(t, "%u", rule->calls_min);
	table_cell(t, "-");
	if (rule->success_tenths > 0)
		table_cell(t, "%u.%u0 %%", rule->success_tenths / 10, rule->success_tenths % 10);
	else
		table_cell(t, "-");
	if (rule->p99_ms > 0)
		table_cell(t, "%ums", rule->p99_ms);
	else
		table_cell(t, "-");
}

static void rollout_figures(FILE *out, const struct rollout_known *k)
{
	static const char *const names[] = {"IN THIS STEP", "CALLS", "FAILED", "SERVED", "P99"};
	struct table t;
	rollout_headings(&t, ARRAY_LEN(names), names);
	rollout_figures_row(&t, k->rule.to, "new", &k->judged.to);
	rollout_figures_row(&t, k->rule.from, "old", &k->judged.from);
	rollout_wanted_row(&t, &k->rule);
	table_print(&t, out, 4);
	table_done(&t);
}

static void rollout_say_nobody(FILE *out, const struct rollout_known *k)
{
	if (k->rule.order == ROLLOUT_PAUSE)
		fprintf(out, "    before the first step; ringmain rollout resume " STR_FMT "\n",
			STR_ARG(k->rule.service));
	else
		fputs("    no node carries it on yet\n", out);
}

static void rollout_say_waiting(FILE *out, const struct rollout_known *k)
{
	if (!k->is_judged) {
		fprintf(out, "    " STR_FMT " has told nothing lately\n", STR_ARG(k->entry.node));
		return;
	}
	fprintf(out, "    now: " STR_FMT "\n",
		STR_ARG(k->judged.why.len ? k->judged.why : STR("-")));
}

static void rollout_detail(FILE *out, const struct rollout_known *k)
{
	const struct rollout_progress *p = k->is_rule ? rollout_known_progress(k) : NULL;
	fprintf(out, STR_FMT "\n", STR_ARG(object_key_name(k->object->key)));
	if (!k->is_rule) {
		fprintf(out, "    × its object is not taken: %s\n", k->why.text);
		return;
	}
	if (k->is_unread) {
		fprintf(out,
			"    × how far it is cannot be read: %s\n"
			"    DEL its key rollout:" STR_FMT "; machines write it anew\n",
			k->unread_why.text, STR_ARG(k->rule.service));
		return;
	}
	if (!p) {
		rollout_say_nobody(out, k);
		return;
	}
	fprintf(out, "    why: " STR_FMT "\n", STR_ARG(p->why.len ? p->why : STR("-")));
	if (!rollout_known_is_open(k))
		return;
	rollout_say_waiting(out, k);
	if (k->is_judged)
		rollout_figures(out, k);
}

bool rollout_show_status(FILE *out, const struct rollouts *r, struct str service)
{
	if (!rollout_table(out, r, service))
		return false;
	for (uint32_t i = 0; i < r->count; i++) {
		if (!rollout_is_wanted(&r->all[i], service))
			continue;
		fputc('\n', out);
		rollout_detail(out, &r->all[i]);
	}
	return true;
}

/* --- for programs --- */

static void rollout_put_str(struct json *j, const char *key, struct str value)
{
	json_key(j, key);
	json_str(j, value);
}

static void rollout_put_u64(struct json *j, const char *key, uint64_t value)
{
	json_key(j, key);
	json_u64(j, value);
}

static void rollout_put_tally(struct json *j, const char *key, const struct rollout_tally *tally)
{
	json_key(j, key);
	json_open(j, '{');
	rollout_put_u64(j, "calls", tally->calls);
	rollout_put_u64(j, "failed", tally->failed);
	rollout_put_u64(j, "p99_us", tally->p99_us);
	json_close(j, '}');
}

static void rollout_put_rule(struct json *j, const struct rollout_rule *rule)
{
	rollout_put_str(j, "from", rule->from);
	rollout_put_str(j, "to", rule->to);
	rollout_put_u64(j, "attempt", rule->attempt);
	rollout_put_str(j, "order", str_of(rollout_order_name(rule->order)));
	json_key(j, "steps");
	json_open(j, '[');
	for (uint32_t i = 0; i < rule->step_count; i++)
		json_u64(j, rule->steps[i]);
	json_close(j, ']');
	rollout_put_u64(j, "every_ms", rule->every_ms);
	rollout_put_u64(j, "success_tenths", rule->success_tenths);
	rollout_put_u64(j, "p99_ms", rule->p99_ms);
	rollout_put_u64(j, "calls_min", rule->calls_min);
}

static void rollout_put_progress(struct json *j, const struct rollout_progress *p)
{
	rollout_put_str(j, "progress", str_of(rollout_state_name(p->state)));
	rollout_put_u64(j, "step", p->step + 1u);
	rollout_put_u64(j, "since_ms", p->since_ms);
	rollout_put_str(j, "node", p->node);
	rollout_put_str(j, "why", p->why);
}

static void rollout_put(struct json *j, const struct rollout_known *k)
{
	const struct rollout_progress *p = k->is_rule ? rollout_known_progress(k) : NULL;
	json_open(j, '{');
	rollout_put_str(j, "service", object_key_name(k->object->key));
	rollout_put_u64(j, "revision", k->object->revision);
	rollout_put_str(j, "state", str_of(rollout_show_state(k)));
	if (!k->is_rule)
		rollout_put_str(j, "problem", str_of(k->why.text));
	else if (k->is_unread)
		rollout_put_str(j, "problem", str_of(k->unread_why.text));
	if (k->is_rule)
		rollout_put_rule(j, &k->rule);
	if (k->is_rule && !k->is_unread)
		rollout_put_u64(j, "percent", rollout_show_percent(k));
	if (p)
		rollout_put_progress(j, p);
	if (p && k->is_judged && rollout_known_is_open(k)) {
		json_key(j, "now");
		json_open(j, '{');
		rollout_put_u64(j, "counted_ms", k->judged.counted_ms);
		rollout_put_str(j, "waits_for", k->judged.why);
		rollout_put_tally(j, "to", &k->judged.to);
		rollout_put_tally(j, "from", &k->judged.from);
		json_close(j, '}');
	}
	json_close(j, '}');
}

bool rollout_show_json(FILE *out, const struct rollouts *r, struct str service)
{
	struct json j;
	bool is_any = false;
	json_init(&j, SHOW_JSON_MAX);
	json_open(&j, '{');
	rollout_put_u64(&j, "now_ms", r->now_ms);
	json_key(&j, "rollouts");
	json_open(&j, '[');
	for (uint32_t i = 0; i < r->count; i++) {
		if (!rollout_is_wanted(&r->all[i], service))
			continue;
		rollout_put(&j, &r->all[i]);
		is_any = true;
	}
	json_close(&j, ']');
	json_close(&j, '}');
	json_newline(&j);
	fwrite(j.text, 1, j.len, out);
	json_done(&j);
	return is_any;
}
