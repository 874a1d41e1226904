/* SPDX-License-Identifier: Apache-2.0 */
/* What callers see of versions that are being rolled out. Each node tells what its own proxy has
 * counted (the ledger), under a key of its own that ends when it is not told again; whoever carries
 * rollouts on reads those of all nodes, and adds up what each has told more than the last time. */
#include "sync_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "ledger/figure_id.h"
#include "state/layout.h"
#include <stdio.h>
#include <stdlib.h>

#define FIGURES_TELL_NS	  (50 * CLOCK_MS) /* after there is something new to tell of */
#define FIGURES_AGAIN_NS  (4 * CLOCK_S)	  /* told again even when nothing has changed */
#define FIGURES_EXPIRY_NS (15 * CLOCK_S)
#define FIGURES_EXPIRIES  10 /* at least so many times the time until it is told again */
#define FIGURES_ARENA_MAX (4u * ROLLOUT_TOLD_BYTES_MAX)

_Static_assert(
	(unsigned)ROLLOUT_LATENCIES == (unsigned)LEDGER_LATENCIES, "figures are the ledger's");

/* What a node told of one rollout at the last look. */
struct figures_of {
	struct map_node node;	 /* in sync_rollout.before */
	struct figures_of *next; /* in a list of those that are to be freed */
	char name[RECORD_NODE_MAX + 1];
	struct rollout_figures figures;
};

void figures_bounds(uint64_t ret_bounds_ns[ROLLOUT_LATENCIES])
{
	for (uint32_t i = 0; i < ROLLOUT_LATENCIES; i++)
		ret_bounds_ns[i] = ledger_latency_bound_ns(i);
}

/* --- telling --- */

static void figures_of_version(const struct sync *s, const struct rollout_rule *rule,
	struct str version, struct rollout_sums *ret_sums)
{
	struct ledger_sums sums = {0};
	struct ledger_id id =
		ledger_figure_id(rule->service, rule->from, rule->to, rule->attempt, version);
	*ret_sums = (struct rollout_sums){0};
	if (!s->ledger || !ledger_figure_read(s->ledger, &id, &sums))
		return;
	ret_sums->calls = sums.calls;
	ret_sums->failed = sums.failed;
	memcpy(ret_sums->latencies, sums.latencies, sizeof(ret_sums->latencies));
}

/* In the arena, of those that are not over: nobody judges these any more. */
static struct str figures_own(const struct sync *s, struct arena *arena)
{
	uint32_t count = 0;
	struct rollout_told *told = arena_take(arena, (s->rollouts.count + 1) * sizeof(*told));
	if (!told)
		return STR_NONE;
	ROLLOUTS_EACH(s, r)
	{
		if (rollout_is_over(rollout_progress_of(s, r)))
			continue;
		struct rollout_told *t = &told[count++];
		t->service = r->rule.service;
		t->attempt = r->rule.attempt;
		figures_of_version(s, &r->rule, r->rule.to, &t->figures.to);
		figures_of_version(s, &r->rule, r->rule.from, &t->figures.from);
		t->is_judged = r->part == ROLLOUT_CARRIES && r->judged_ns != 0;
		t->judged = r->judged;
	}
	return rollout_told_text(arena, told, count);
}

static uint64_t figures_expiry_ns(const struct sync *s)
{
	uint64_t ns = FIGURES_EXPIRIES * rollouts_beat_ns(s);
	return ns > FIGURES_EXPIRY_NS ? ns : FIGURES_EXPIRY_NS;
}

static void figures_write(struct sync *s, struct str text)
{
	char key[LAYOUT_KEY_MAX], ms[24];
	struct figures *f = &s->figures;
	bool is_same = f->told && str_eq(str_of(f->told), text);
	if (is_same && f->told_ns != 0 && s->loop->now_ns - f->told_ns < FIGURES_AGAIN_NS)
		return;
	int len = snprintf(ms, sizeof(ms), "%llu", figures_expiry_ns(s) / CLOCK_MS);
	struct str words[] = {STR("SET"), sync_key(s, key, "figures", s->node), text, STR("PX"),
		{ms, (size_t)len}};
	if (!sync_ask(s, SYNC_TAG_OWN_FIGURES, words, ARRAY_LEN(words)))
		return;
	f->told_ns = s->loop->now_ns;
	if (is_same)
		return;
	free(f->told);
	f->told = strndup(text.at, text.len);
}

static bool figures_are_open(const struct sync *s)
{
	ROLLOUTS_EACH(s, r)
	{
		if (!rollout_is_over(rollout_progress_of(s, r)))
			return true;
	}
	return false;
}

static void figures_tell(struct sync *s)
{
	struct arena arena;
	if (!figures_are_open(s))
		return; /* what was told last ends by itself */
	arena_init(&arena, FIGURES_ARENA_MAX);
	struct str text = figures_own(s, &arena);
	if (text.at)
		figures_write(s, text);
	else
		sync_refuse(s, s->figures.why, sizeof(s->figures.why),
			"the mesh is not told what this node sees of rollouts: out of memory, or "
			"it is too much");
	arena_done(&arena);
}

void figures_tell_soon(struct sync *s)
{
	sync_soon(s, &s->figures.tell, FIGURES_TELL_NS);
}

void figures_step(struct sync *s)
{
	if (!s->figures.tell.fired)
		return;
	timer_clear(s->loop, &s->figures.tell);
	if (s->rollouts.count == 0)
		return;
	if (sync_is_ready(s))
		figures_tell(s);
	sync_soon(s, &s->figures.tell, sync_jitter(s, rollouts_beat_ns(s), 4));
}

/* --- reading --- */

static struct figures_of *figures_find(const struct sync_rollout *r, uint64_t hash, struct str name)
{
	struct map_node *it = map_first(&r->before, hash);
	for (; it; it = map_next(it)) {
		struct figures_of *of = CONTAINER_OF(it, struct figures_of, node);
		if (str_eq(str_of(of->name), name))
			return of;
	}
	return NULL;
}

/* With no memory for it, it is heard for the first time once more. */
static void figures_take_told(
	struct sync_rollout *r, struct str name, const struct rollout_told *told)
{
	uint64_t hash = hash_bytes(0x666967757265ull, name.at, name.len);
	struct figures_of *of = figures_find(r, hash, name);
	r->told_count++;
	rollout_figures_add(&r->total, of ? &of->figures : NULL, &told->figures);
	if (!of) {
		of = calloc(1, sizeof(*of));
		if (!of)
			return;
		memcpy(of->name, name.at, name.len);
		if (!map_add(&r->before, &of->node, hash)) {
			free(of);
			return;
		}
		of->next = r->befores;
		r->befores = of;
	}
	of->figures = told->figures;
}

void figures_forget(struct sync_rollout *r)
{
	while (r->befores) {
		struct figures_of *of = r->befores;
		r->befores = of->next;
		map_remove(&r->before, &of->node);
		free(of);
	}
}

static struct sync_rollout *figures_carried(struct sync *s, const struct rollout_told *told)
{
	ROLLOUTS_EACH(s, r)
	{
		if (r->part == ROLLOUT_CARRIES && r->rule.attempt == told->attempt &&
			str_eq(r->rule.service, told->service))
			return r;
	}
	return NULL;
}

static void figures_take_text(struct sync *s, struct str name, struct str text)
{
	struct rollout_told *told;
	struct arena arena;
	struct err err;
	uint32_t count;
	if (text.len == 0)
		return; /* it does not know of rollouts, or is silent */
	arena_init(&arena, FIGURES_ARENA_MAX);
	int result = rollout_told_parse(text, &arena, &told, &count, &err);
	if (result < 0) {
		sync_refuse(s, s->figures.node_why, sizeof(s->figures.node_why),
			"what node " STR_FMT " has seen of rollouts is refused: %s", STR_ARG(name),
			err.text);
		count = 0;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct sync_rollout *r = figures_carried(s, &told[i]);
		if (r && r->told_node != s->figures.looked) {
			r->told_node = s->figures.looked; /* twice in one text counts once */
			figures_take_told(r, name, &told[i]);
		}
	}
	arena_done(&arena);
}

static void figures_end(struct sync *s, bool is_whole)
{
	s->figures.state = FIGURES_REST;
	ROLLOUTS_EACH(s, r)
	{
		if (is_whole && r->part == ROLLOUT_CARRIES && r->reading == s->figures.reading)
			carry_judge(s, r);
	}
}

/* The next names in their order, from the last one on; at its end they are all read. */
static void figures_ask(struct sync *s)
{
	struct figures *f = &s->figures;
	char key[LAYOUT_KEY_MAX], end[16];
	/* What one node writes all others read: no more than shows that it is too long. */
	int end_len = snprintf(end, sizeof(end), "%d", ROLLOUT_TOLD_BYTES_MAX);
	f->batch_count = f->answered = 0;
	while (f->batch_count < FIGURES_BATCH) {
		const struct mirror_node *next = mirror_after(&s->mirror, str_of(f->last));
		if (!next)
			break;
		struct str name = next->record.node;
		if (mirror_compare(name, str_of(f->last)) <= 0)
			break; /* it begins again */
		struct str words[] = {STR("GETRANGE"), sync_key(s, key, "figures", name), STR("0"),
			{end, (size_t)end_len}};
		if (!sync_ask(s, SYNC_TAG_FIGURES, words, ARRAY_LEN(words))) {
			f->is_cut = true;
			break;
		}
		char *to = f->batch[f->batch_count++];
		memcpy(to, name.at, name.len);
		to[name.len] = '\0';
		memcpy(f->last, to, name.len + 1);
	}
	if (f->batch_count == 0)
		figures_end(s, !f->is_cut);
}

void figures_read(struct sync *s)
{
	struct figures *f = &s->figures;
	uint64_t least_ns = rollouts_beat_ns(s) * 3 / 4;
	if (f->state != FIGURES_REST || !sync_is_ready(s) ||
		(f->read_ns != 0 && s->loop->now_ns - f->read_ns < least_ns))
		return;
	f->state = FIGURES_READING;
	f->read_ns = s->loop->now_ns;
	f->reading++;
	f->looked = 0;
	f->is_cut = false;
	f->last[0] = '\0';
	ROLLOUTS_EACH(s, r)
	{
		r->told_count = r->told_node = 0;
		r->reading = f->reading;
	}
	figures_ask(s);
}

/* --- answers --- */

static void figures_take_own(struct sync *s, const struct store_answer *answer)
{
	struct figures *f = &s->figures;
	if (answer->failure == STORE_OK) {
		f->why[0] = '\0';
		return;
	}
	f->told_ns = 0;
	sync_refuse(s, f->why, sizeof(f->why),
		"the store does not take what this node sees of rollouts: %s", answer->reply->str);
}

void figures_answer(struct sync *s, enum sync_tag tag, const struct store_answer *answer)
{
	struct figures *f = &s->figures;
	if (tag == SYNC_TAG_OWN_FIGURES) {
		figures_take_own(s, answer);
		return;
	}
	if (f->state != FIGURES_READING || f->answered >= f->batch_count)
		return;
	struct str name = str_of(f->batch[f->answered++]);
	f->looked++;
	if (answer->failure == STORE_OK && answer->reply->type == REDIS_REPLY_STRING)
		figures_take_text(s, name, (struct str){answer->reply->str, answer->reply->len});
	if (f->answered == f->batch_count)
		figures_ask(s);
}

void figures_lost(struct sync *s)
{
	s->figures.state = FIGURES_REST;
	s->figures.told_ns = s->figures.read_ns = 0;
	if (s->rollouts.count > 0)
		figures_tell_soon(s);
}

void figures_done(struct sync *s)
{
	free(s->figures.told);
	s->figures.told = NULL;
}
