/* SPDX-License-Identifier: Apache-2.0 */
#include "rollout_change.h"

#include "conf/rollouts.h"
#include <errno.h>
#include <stdlib.h>

/* An attempt's number is never that of an earlier one, even if the store has forgotten those: it is
 * the seconds since 2026. */
#define CHANGE_EPOCH_S	 UINT64_C(1767225600)
#define CHANGE_STEPS	 "1,5,25,50,100"
#define CHANGE_WORDS_MAX 16

/* --- what there is --- */

struct change_versions {
	struct str all[CHANGE_WORDS_MAX];
	uint32_t count;
	bool has_to; /* some node tells of the version that the calls come to */
};

static bool change_has(const struct change_versions *v, struct str version)
{
	for (uint32_t i = 0; i < v->count; i++) {
		if (str_eq(v->all[i], version))
			return true;
	}
	return false;
}

static void change_add(struct change_versions *v, struct str version)
{
	if (version.len > 0 && v->count < CHANGE_WORDS_MAX && !change_has(v, version))
		v->all[v->count++] = version;
}

/* As the nodes tell; not all, when there are many: `to` is looked for in what they tell itself. */
static struct change_versions change_versions(
	const struct published *s, struct str service, struct str to)
{
	struct change_versions v = {0};
	for (uint32_t i = 0; i < s->node_count; i++) {
		const struct record *record = &s->nodes[i].record;
		if (!s->nodes[i].is_readable)
			continue;
		for (uint32_t k = 0; k < record->endpoint_count; k++) {
			const struct record_endpoint *e = &record->endpoints[k];
			if (!str_eq(e->service, service))
				continue;
			change_add(&v, e->version);
			v.has_to = v.has_to || (to.len > 0 && str_eq(e->version, to));
		}
	}
	return v;
}

/* "v1, v2"; "v1, v2, ..." when there may be more; "none" */
static const char *change_words(const struct change_versions *v, char text[512])
{
	size_t len = 0;
	snprintf(text, 512, "none");
	for (uint32_t i = 0; i < v->count && len < 512; i++)
		len += (size_t)snprintf(
			text + len, 512 - len, "%s" STR_FMT, i ? ", " : "", STR_ARG(v->all[i]));
	if (v->count == CHANGE_WORDS_MAX && len < 512)
		snprintf(text + len, 512 - len, ", ...");
	return text;
}

/* Objects may have endpoints that no node tells of. */
static bool change_has_endpoints(const struct published *s, struct str service)
{
	char key[128];
	int len = snprintf(key, sizeof(key), "service/" STR_FMT, STR_ARG(service));
	const struct object *o = len > 0 && (size_t)len < sizeof(key)
					 ? object_set_find(&s->set, (struct str){key, (size_t)len})
					 : NULL;
	return o && memmem(o->text.at, o->text.len, "endpoints", strlen("endpoints"));
}

/* --- start --- */

/* Where all calls are now, by the rollout that is over; empty: there was none. */
static struct str change_in_force(const struct rollout_known *k)
{
	if (!k || !k->is_rule || rollout_known_is_open(k))
		return STR("");
	return rollout_percent(&k->rule, rollout_known_progress(k)) == 100 ? k->rule.to
									   : k->rule.from;
}

static int change_find_from(const struct rollout_line *line, const struct change_versions *v,
	const struct rollout_known *k, struct str *ret_from, struct err *err)
{
	char words[512];
	struct str to = str_of(line->to), others[2] = {0}, in_force = change_in_force(k);
	uint32_t count = 0;
	if (!line->from && str_eq(in_force, to))
		return err_set(err, EINVAL,
			"all calls of %s go to %s already, by the rollout that is over; with "
			"--from "
			"VERSION they would go there first",
			line->service, line->to);
	if (line->from || in_force.len > 0) {
		*ret_from = line->from ? str_of(line->from) : in_force;
		return 0;
	}
	for (uint32_t i = 0; i < v->count; i++) {
		if (!str_eq(v->all[i], to) && count < ARRAY_LEN(others))
			others[count++] = v->all[i];
	}
	*ret_from = others[0];
	if (count == 1)
		return 0;
	return err_set(err, EINVAL,
		"--from is missing: which version do the calls leave? Nodes tell of these of %s: "
		"%s",
		line->service, change_words(v, words));
}

static int change_check_to(const struct rollout_line *line, const struct published *s,
	const struct change_versions *v, struct err *err)
{
	char words[512];
	if (line->hold || v->has_to || change_has_endpoints(s, str_of(line->service)))
		return 0;
	return err_set(err, EINVAL,
		"no endpoint of %s has the version %s; there are: %s. Start its workloads first, "
		"or give --hold to prepare the rollout before",
		line->service, line->to, change_words(v, words));
}

static int change_check_open(const struct rollout_known *k, struct err *err)
{
	const struct rollout_progress *p = k ? rollout_known_progress(k) : NULL;
	if (!k || !rollout_known_is_open(k))
		return 0;
	return err_set(err, EINVAL,
		"%.*s is under way from " STR_FMT " to " STR_FMT ", at step %u of %u; promote or "
		"abort it first",
		STR_ARG(k->rule.service), STR_ARG(k->rule.from), STR_ARG(k->rule.to),
		p ? p->step + 1 : 0, k->rule.step_count);
}

static uint64_t change_attempt(
	const struct rollouts *standing, const struct rollout_known *k, uint64_t now_s)
{
	uint64_t attempt = now_s > CHANGE_EPOCH_S ? (now_s - CHANGE_EPOCH_S) % INT32_MAX : 1;
	uint64_t last = standing->last_attempt;
	if (k && k->is_rule && k->rule.attempt > last)
		last = k->rule.attempt;
	/* behind the last number that there is, any other one will do */
	if (last >= attempt && last < INT32_MAX)
		attempt = last + 1;
	return attempt;
}

/* In quotes, as libconfig reads it. */
static void change_put(FILE *out, const char *key, struct str value)
{
	fprintf(out, " %s = \"", key);
	for (size_t i = 0; i < value.len; i++) {
		if (value.at[i] == '"' || value.at[i] == '\\')
			fputc('\\', out);
		fputc(value.at[i] == '\n' ? ' ' : value.at[i], out);
	}
	fputs("\";", out);
}

/* "x-canary: yes", or a name alone: whatever its value. */
static void change_put_preview(FILE *out, const struct rollout_line *line)
{
	if (line->preview_count == 0)
		return;
	fputs(" preview = { headers = (", out);
	for (uint32_t i = 0; i < line->preview_count; i++) {
		struct str header = str_of(line->previews[i]);
		const char *colon = memchr(header.at, ':', header.len);
		struct str name = {header.at, colon ? (size_t)(colon - header.at) : header.len};
		fputs(i ? ", {" : " {", out);
		change_put(out, "name", str_trim(name));
		if (colon)
			change_put(out, "exact", str_trim(str_of(colon + 1)));
		else
			fputs(" present = true;", out);
		fputs(" }", out);
	}
	fputs(" ); };", out);
}

static void change_put_start(FILE *out, const struct rollout_line *line, struct str from,
	const char *steps, uint64_t attempt)
{
	fputs("rollouts = ( {", out);
	change_put(out, "service", str_of(line->service));
	change_put(out, "from", from);
	change_put(out, "to", str_of(line->to));
	fprintf(out, " attempt = %llu; steps = [ %s ];", (unsigned long long)attempt, steps);
	if (line->every)
		change_put(out, "every", str_of(line->every));
	if (line->success)
		change_put(out, "success", str_of(line->success));
	if (line->p99)
		change_put(out, "p99", str_of(line->p99));
	if (line->calls_min)
		fprintf(out, " calls_min = %s;", line->calls_min);
	change_put_preview(out, line);
	if (line->hold)
		fputs(" order = \"pause\";", out);
	fputs(" } );\n", out);
}

static int change_check_numbers(const char *option, const char *words, bool many, struct err *err)
{
	bool is_good = *words != '\0';
	for (const char *at = words; *at && is_good; at++) {
		is_good = (*at >= '0' && *at <= '9') ||
			  (many && *at == ',' && at > words && at[-1] != ',' && at[1]);
	}
	if (is_good && strlen(words) < 256)
		return 0;
	return err_set(err, EINVAL, "%s: %s, not \"%.200s\"", option,
		many ? "numbers such as " CHANGE_STEPS : "a number", words);
}

static int change_start(const struct rollout_line *line, const struct rollouts *standing,
	uint64_t now_s, struct arena *arena, struct rollout_change *c, struct err *err)
{
	const char *steps = line->steps ? line->steps : CHANGE_STEPS;
	const struct rollout_known *k = rollout_read_find(standing, str_of(line->service));
	struct change_versions v =
		change_versions(&standing->published, str_of(line->service), str_of(line->to));
	struct str from = STR("");
	int r = change_check_numbers("--steps", steps, true, err);
	if (r == 0 && line->calls_min)
		r = change_check_numbers("--calls-min", line->calls_min, false, err);
	if (r == 0)
		r = change_check_open(k, err);
	if (r == 0)
		r = change_find_from(line, &v, k, &from, err);
	if (r == 0)
		r = change_check_to(line, &standing->published, &v, err);
	if (r < 0)
		return r;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	if (!out)
		return err_set(err, ENOMEM, "out of memory");
	change_put_start(out, line, from, steps, change_attempt(standing, k, now_s));
	bool is_whole = !ferror(out);
	is_whole = fclose(out) == 0 && is_whole;
	c->text = is_whole ? arena_str(arena, (struct str){text, len}) : STR_NONE;
	free(text);
	snprintf(c->why, sizeof(c->why), "rollout of %.63s: " STR_FMT " to %.40s", line->service,
		(int)(from.len < 40 ? from.len : 40), from.at, line->to);
	return c->text.at ? 0 : err_set(err, ENOMEM, "out of memory");
}

/* --- orders --- */

static const struct {
	enum rollout_verb verb;
	enum rollout_order order;
	const char *done; /* "it is paused already" */
} change_orders[] = {
	{ROLLOUT_VERB_PAUSE, ROLLOUT_PAUSE, "paused"},
	{ROLLOUT_VERB_RESUME, ROLLOUT_RUN, "going on"},
	{ROLLOUT_VERB_PROMOTE, ROLLOUT_PROMOTE, "promoted"},
	{ROLLOUT_VERB_ABORT, ROLLOUT_ABORT, "aborted"},
};

/* Orders that nothing would come of. */
static int change_check_order(
	const struct rollout_known *k, enum rollout_order order, struct err *err)
{
	const struct rollout_progress *p = rollout_known_progress(k);
	bool goes_on = order == ROLLOUT_PAUSE || order == ROLLOUT_RUN;
	if (!k->is_rule)
		return err_set(err, EINVAL, "its object is not taken: %.300s", k->why.text);
	if (!goes_on || rollout_known_is_open(k))
		return 0;
	if (p && (p->state == ROLLOUT_DONE || p->state == ROLLOUT_ROLLED_BACK))
		return err_set(err, EINVAL,
			"the rollout of " STR_FMT " is over (%s: " STR_FMT
			"); begin another one with `ringmain rollout start`",
			STR_ARG(k->rule.service), rollout_state_name(p->state),
			(int)(p->why.len < 150 ? p->why.len : 150), p->why.at);
	return err_set(err, EINVAL,
		"the rollout of " STR_FMT " is over: %sed by the operator; begin another one with "
		"`ringmain rollout start`",
		STR_ARG(k->rule.service), k->rule.order == ROLLOUT_ABORT ? "abort" : "promot");
}

static void change_say_done(const struct rollout_known *k, const struct rollout_line *line,
	const char *done, struct rollout_change *c)
{
	const struct rollout_progress *p = rollout_known_progress(k);
	if (line->verb == ROLLOUT_VERB_RESUME && p && p->state == ROLLOUT_HELD)
		snprintf(c->done, sizeof(c->done),
			"the rollout of %s is held, and goes on by itself when that clears up; "
			"pause and resume it to begin the step anew now",
			line->service);
	else
		snprintf(c->done, sizeof(c->done), "the rollout of %s is %s already", line->service,
			done);
}

static int change_order(const struct rollout_line *line, const struct rollouts *standing,
	struct arena *arena, struct rollout_change *c, struct err *err)
{
	const struct rollout_known *k = rollout_read_find(standing, str_of(line->service));
	size_t i = 0;
	while (change_orders[i].verb != line->verb)
		i++;
	if (!k)
		return err_set(err, ENOENT,
			"%s has no rollout; `ringmain rollout start %s --to VERSION` begins one",
			line->service, line->service);
	int r = change_check_order(k, change_orders[i].order, err);
	if (r < 0)
		return r;
	if (k->rule.order == change_orders[i].order) {
		change_say_done(k, line, change_orders[i].done, c);
		return 0;
	}
	c->text = conf_rollout_ordered(k->object->text, change_orders[i].order, arena);
	snprintf(c->why, sizeof(c->why), "rollout of %.63s: %s", line->service,
		rollout_order_name(change_orders[i].order));
	return c->text.at ? 0 : err_set(err, ENOMEM, "out of memory");
}

int rollout_change_make(const struct rollout_line *line, const struct rollouts *standing,
	uint64_t now_s, struct arena *arena, struct rollout_change *ret_change, struct err *err)
{
	*ret_change = (struct rollout_change){.text = STR("")};
	if (line->verb == ROLLOUT_VERB_START)
		return change_start(line, standing, now_s, arena, ret_change, err);
	return change_order(line, standing, arena, ret_change, err);
}
