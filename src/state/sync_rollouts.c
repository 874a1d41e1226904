/* SPDX-License-Identifier: Apache-2.0 */
/* How far rollouts are. What may happen stands in the objects, which are signed; how far it is in a
 * stream of each, which any node may write. So an entry is believed only to be what it says: it
 * names a step of the rule, and has a higher place than what was known. What is not readable is
 * refused, and a place that nobody could write behind is refused loudly. */
#include "sync_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "conf/rollouts.h"
#include "state/layout.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ROLLOUTS_BEAT_NS      CLOCK_S
#define ROLLOUTS_BEAT_NODE_NS (2 * CLOCK_MS)
#define ROLLOUTS_NODES_NEAR   64 /* with more, each of those who watch looks less often */
/* but no less often than that, while it goes on: hints get lost, and a rollback must not wait */
#define ROLLOUTS_LOOK_MAX_NS (30 * CLOCK_S)
/* An answer that ends the connection is not asked for again before that */
#define ROLLOUTS_QUIET_NS  (300 * CLOCK_S)
#define ROLLOUTS_ARENA_MAX (1u << 20)
#define ROLLOUTS_BEGIN_NS  (1500 * CLOCK_MS)

bool rollout_is_over(const struct rollout_progress *p)
{
	return p && (p->state == ROLLOUT_DONE || p->state == ROLLOUT_ROLLED_BACK);
}

uint64_t rollouts_beat_ns(const struct sync *s)
{
	uint64_t beat_ns = s->mirror.node_count * ROLLOUTS_BEAT_NODE_NS;
	return beat_ns > ROLLOUTS_BEAT_NS ? beat_ns : ROLLOUTS_BEAT_NS;
}

/* How often one who watches looks. Whoever carries it on looks with every beat. */
static uint64_t rollouts_look_ns(struct sync *s, const struct sync_rollout *r)
{
	const struct rollout_progress *p = rollout_progress_of(s, r);
	bool is_over = rollout_is_over(p);
	uint64_t beat_ns = rollouts_beat_ns(s), ns = beat_ns;
	if (r->part == ROLLOUT_WATCHES && s->mirror.node_count > ROLLOUTS_NODES_NEAR)
		ns = ns * s->mirror.node_count / ROLLOUTS_NODES_NEAR;
	if (!is_over && ns > ROLLOUTS_LOOK_MAX_NS)
		ns = beat_ns > ROLLOUTS_LOOK_MAX_NS ? beat_ns : ROLLOUTS_LOOK_MAX_NS;
	if (r->part == ROLLOUT_WATCHES && is_over && ns < s->lease_ns / 3)
		ns = s->lease_ns / 3;
	return sync_jitter(s, ns, 8);
}

uint64_t rollouts_now_ms(const struct sync *s)
{
	const struct rollouts *rs = &s->rollouts;
	return rs->time_ms + (s->loop->now_ns - rs->time_ns) / CLOCK_MS;
}

const struct rollout_progress *rollout_progress_of(
	const struct sync *s, const struct sync_rollout *r)
{
	const struct mirror_rollout *known = mirror_find_rollout(&s->mirror, r->rule.service);
	return known && rollout_belongs(&r->rule, &known->progress) ? &known->progress : NULL;
}

/* --- the objects --- */

static struct sync_rollout *rollouts_find(struct sync *s, struct str service)
{
	ROLLOUTS_EACH(s, r)
	{
		if (str_eq(r->rule.service, service))
			return r;
	}
	return NULL;
}

static struct sync_rollout *rollouts_numbered(struct sync *s, uint64_t number)
{
	ROLLOUTS_EACH(s, r)
	{
		if (r->number == number)
			return r;
	}
	return NULL;
}

static void rollout_free(struct sync *s, struct sync_rollout *r)
{
	carry_end(s, r);
	list_remove(&r->node);
	s->rollouts.count--;
	map_done(&r->before);
	arena_done(&r->arena);
	free(r);
}

static struct sync_rollout *rollout_new(struct sync *s)
{
	struct sync_rollout *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	arena_init(&r->arena, ROLLOUTS_ARENA_MAX);
	map_init(&r->before);
	r->number = ++s->rollouts.last_number;
	list_add_last(&s->rollouts.all, &r->node);
	s->rollouts.count++;
	return r;
}

/* One that the rules of this program do not take is none: it stays where it is. */
static void rollouts_take_object(struct sync *s, const struct object *o)
{
	struct err err;
	struct rollout_rule rule;
	struct arena arena;
	struct sync_rollout *r = rollouts_find(s, object_key_name(o->key));
	if (r)
		r->is_found = true;
	if (r && memcmp(r->digest, o->digest, sizeof(r->digest)) == 0)
		return;
	arena_init(&arena, ROLLOUTS_ARENA_MAX);
	int result = conf_rollout_rule(o->text, &arena, &rule, &err);
	if (result == 0 && !r && s->rollouts.count >= ROLLOUT_TOLD_MAX)
		result = err_set(&err, E2BIG, "more than %d rollouts", ROLLOUT_TOLD_MAX);
	if (result == 0 && !r && !(r = rollout_new(s)))
		result = err_set(&err, ENOMEM, "out of memory");
	if (result < 0) {
		arena_done(&arena);
		sync_refuse(s, s->rollouts.why, sizeof(s->rollouts.why),
			"rollout of " STR_FMT " is not carried on by this node: %s",
			STR_ARG(object_key_name(o->key)), err.text);
		return;
	}
	arena_done(&r->arena);
	r->arena = arena;
	r->rule = rule;
	r->is_found = true;
	memcpy(r->digest, o->digest, sizeof(r->digest));
	/* Those who know how far it is come before those who would begin it. */
	r->begin_ns = s->loop->now_ns + sync_jitter(s, ROLLOUTS_BEGIN_NS, 3);
	r->look_ns = s->loop->now_ns;
}

/* What is known of rollouts that are no more. */
static void rollouts_forget(struct sync *s)
{
	struct list *it = s->mirror.rollouts.next;
	while (it != &s->mirror.rollouts) {
		struct mirror_rollout *known = CONTAINER_OF(it, struct mirror_rollout, node);
		it = it->next;
		if (!rollouts_find(s, str_of(known->service)))
			mirror_remove_rollout(&s->mirror, known);
	}
}

/* --- what is known --- */

static void rollout_log(const struct sync_rollout *r, const struct rollout_progress *p,
	uint32_t percent_before, bool is_moved)
{
	uint32_t percent = rollout_percent(&r->rule, p);
	if (!is_moved)
		log_info("state", "rollout of " STR_FMT ": " STR_FMT " carries it on",
			STR_ARG(r->rule.service), STR_ARG(p->node));
	else if (percent != percent_before)
		log_info("state", "rollout of " STR_FMT ": " STR_FMT " %u %% -> %u %%: " STR_FMT,
			STR_ARG(r->rule.service), STR_ARG(r->rule.to), percent_before, percent,
			STR_ARG(p->why));
	else
		log_info("state", "rollout of " STR_FMT ": %s at %u %%: " STR_FMT,
			STR_ARG(r->rule.service), rollout_state_name(p->state), percent,
			STR_ARG(p->why));
}

bool rollout_take(
	struct sync *s, struct sync_rollout *r, struct mirror_place place, struct str text)
{
	struct err err;
	const struct rollout_progress *p = rollout_progress_of(s, r);
	struct rollout_progress before = {0};
	bool had_one = p;
	uint32_t percent = rollout_percent(&r->rule, p);
	if (p)
		before = (struct rollout_progress){
			.attempt = p->attempt, .state = p->state, .step = p->step};
	int result = mirror_take_rollout(&s->mirror, r->rule.service, place, text, &err);
	if (result < 0) {
		sync_refuse(s, r->why, sizeof(r->why),
			"how far the rollout of " STR_FMT " is, as its stream says, is refused: %s",
			STR_ARG(r->rule.service), err.text);
		return false;
	}
	p = rollout_progress_of(s, r);
	if (result == MIRROR_TAKEN && p)
		rollout_log(r, p, percent,
			!had_one || before.state != p->state || before.step != p->step);
	return true;
}

/* --- asking --- */

static void rollouts_ask_time(struct sync *s)
{
	if (!s->rollouts.is_time_asked)
		s->rollouts.is_time_asked = sync_ask(s, SYNC_TAG_TIME, &STR("TIME"), 1);
}

static void rollout_ask(struct sync *s, struct sync_rollout *r)
{
	char key[LAYOUT_KEY_MAX];
	struct str words[] = {STR("XREVRANGE"), sync_key(s, key, "rollout", r->rule.service),
		STR("+"), STR("-"), STR("COUNT"), STR("1")};
	if (r->is_asked) {
		r->again = true;
		return;
	}
	if (s->loop->now_ns < r->quiet_ns) {
		r->look_ns = r->quiet_ns;
		return;
	}
	rollouts_ask_time(s);
	r->again = false;
	r->is_asked = sync_ask_of(s, SYNC_TAG_ROLLOUT, r->number, words, ARRAY_LEN(words));
	r->look_ns = s->loop->now_ns + rollouts_look_ns(s, r);
}

void rollouts_hint(struct sync *s, struct str service)
{
	struct sync_rollout *r = rollouts_find(s, service);
	if (r)
		rollout_ask(s, r);
}

void rollouts_look(struct sync *s)
{
	ROLLOUTS_EACH(s, r)
	rollout_ask(s, r);
}

/* --- following the objects --- */

static void rollouts_follow(struct sync *s)
{
	struct list *it;
	if (s->rollouts.object_count == s->mirror.object_count)
		return;
	s->rollouts.object_count = s->mirror.object_count;
	s->rollouts.why[0] = '\0';
	ROLLOUTS_EACH(s, r)
	r->is_found = false;
	OBJECT_EACH (&s->mirror.objects, o) {
		if (str_eq(object_key_kind(o->key), STR("rollout")))
			rollouts_take_object(s, o);
	}
	for (it = s->rollouts.all.next; it != &s->rollouts.all;) {
		struct sync_rollout *r = CONTAINER_OF(it, struct sync_rollout, node);
		it = it->next;
		if (!r->is_found)
			rollout_free(s, r);
	}
	rollouts_forget(s);
	if (s->rollouts.count == 0)
		return;
	/* Those who know how far they are look before anybody begins. */
	rollouts_look(s);
	figures_tell_soon(s);
}

/* --- answers --- */

/* [ [ id, [ field, value, ... ] ] ], of which these two fields count. */
static bool rollout_read(const redisReply *reply, struct mirror_place *ret_place,
	struct str *ret_text, uint64_t *ret_ms)
{
	const redisReply *entry = reply->element[0];
	*ret_text = STR_NONE;
	*ret_ms = 0;
	if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 ||
		entry->element[0]->type != REDIS_REPLY_STRING ||
		!mirror_place_parse(
			(struct str){entry->element[0]->str, entry->element[0]->len}, ret_place))
		return false;
	const redisReply *fields = entry->element[1];
	for (size_t i = 0; fields->type == REDIS_REPLY_ARRAY && i + 1 < fields->elements; i += 2) {
		const redisReply *name = fields->element[i], *value = fields->element[i + 1];
		if (name->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING)
			continue;
		struct str text = {value->str, value->len};
		if (str_eq((struct str){name->str, name->len}, STR("progress")))
			*ret_text = text;
		else if (str_eq((struct str){name->str, name->len}, STR("time")))
			(void)str_to_u64(text, ret_ms);
	}
	return true;
}

/* Nobody could write behind it: who did this must not win, so nobody writes until it is mended. */
static bool rollout_refuse_absurd(
	struct sync *s, struct sync_rollout *r, const struct mirror_place *place)
{
	char key[LAYOUT_KEY_MAX];
	if (place->term <= ROLLOUT_TERM_MAX)
		return false;
	struct str name = sync_key(s, key, "rollout", r->rule.service);
	sync_refuse(s, r->why, sizeof(r->why),
		"the stream of the rollout of " STR_FMT
		" has an entry with an absurd number, behind which nobody can write; DEL " STR_FMT,
		STR_ARG(r->rule.service), STR_ARG(name));
	return true;
}

/* The last term there can be is known, and the stream is below it: an operator has deleted it, as
 * was asked for. It would be lost for ever, for nobody can write above; so it begins anew. */
static void rollout_unplace(struct sync *s, struct mirror_rollout *known, struct mirror_place place)
{
	if (known && known->place.term >= ROLLOUT_TERM_MAX &&
		mirror_place_is_after(known->place, place))
		mirror_unplace_rollout(&s->mirror, known);
}

/* An entry of another rule: then ours may be the older one, so the objects are looked at before
 * anybody writes by it. What is known of the rule in force stays: whoever wrote this has no more to
 * say than nothing. */
static bool rollout_is_foreign(
	struct sync *s, struct sync_rollout *r, struct mirror_place place, struct str text)
{
	struct err err;
	struct rollout_progress progress;
	bool is_foreign = rollout_progress_parse(text, &progress, &err) == 0 &&
			  !rollout_belongs(&r->rule, &progress);
	if (is_foreign && mirror_place_is_after(place, r->last)) {
		objects_look(s);
		r->begin_ns = s->loop->now_ns + sync_jitter(s, ROLLOUTS_BEGIN_NS, 3);
	}
	return is_foreign;
}

static void rollout_take_last(struct sync *s, struct sync_rollout *r, const redisReply *reply)
{
	struct mirror_place place = {0};
	struct str text;
	uint64_t ms = 0;
	struct mirror_rollout *known = mirror_find_rollout(&s->mirror, r->rule.service);
	bool is_empty = reply->elements == 0;
	r->is_known = r->is_garbled = false;
	if (!is_empty && !rollout_read(reply, &place, &text, &ms)) {
		sync_refuse(s, r->why, sizeof(r->why),
			"the stream of the rollout of " STR_FMT " is not readable",
			STR_ARG(r->rule.service));
		return;
	}
	if (rollout_refuse_absurd(s, r, &place))
		return;
	r->is_known = true;
	rollout_unplace(s, known, place);
	r->is_foreign = !is_empty && rollout_is_foreign(s, r, place, text);
	if (mirror_place_is_after(place, r->last) || mirror_place_is_after(r->last, place)) {
		r->last_new_ns = s->loop->now_ns;
		r->write_why[0] = '\0'; /* somebody could write */
		r->refused_takes = 0;
	}
	r->last = place;
	r->last_ms = ms;
	bool stays = r->is_foreign && rollout_progress_of(s, r);
	if (!is_empty && !stays && (!known || mirror_place_is_after(place, known->place)))
		r->is_garbled = !rollout_take(s, r, place, text);
	if (!r->is_garbled)
		r->why[0] = '\0';
}

static void rollout_answer(
	struct sync *s, struct sync_rollout *r, const struct store_answer *answer)
{
	r->is_asked = false;
	if (answer->failure == STORE_REFUSED || answer->reply->type != REDIS_REPLY_ARRAY) {
		r->is_known = false;
		sync_refuse(s, r->why, sizeof(r->why),
			"the store does not tell how far the rollout of " STR_FMT " is: %s",
			STR_ARG(r->rule.service),
			answer->failure == STORE_REFUSED ? answer->reply->str : "no stream");
	} else {
		rollout_take_last(s, r, answer->reply);
	}
	/* Hints may come without end: they must not keep anybody from its turn. */
	if (r->is_known && s->rollouts.time_ns != 0)
		carry_consider(s, r);
	if (r->again)
		rollout_ask(s, r);
}

/* [ seconds, microseconds ] */
static void rollouts_take_time(struct sync *s, const struct store_answer *answer)
{
	uint64_t part[2];
	const redisReply *reply = answer->reply;
	s->rollouts.is_time_asked = false;
	if (answer->failure == STORE_REFUSED || reply->type != REDIS_REPLY_ARRAY ||
		reply->elements != 2)
		return;
	for (int i = 0; i < 2; i++) {
		const redisReply *number = reply->element[i];
		if (number->type != REDIS_REPLY_STRING ||
			!str_to_u64((struct str){number->str, number->len}, &part[i]) ||
			part[i] > UINT64_MAX / 4096)
			return;
	}
	s->rollouts.time_ms = part[0] * 1000 + part[1] / 1000;
	s->rollouts.time_ns = s->loop->now_ns;
}

void rollouts_answer(
	struct sync *s, enum sync_tag tag, uint64_t number, const struct store_answer *answer)
{
	if (tag == SYNC_TAG_TIME) {
		rollouts_take_time(s, answer);
		return;
	}
	struct sync_rollout *r = rollouts_numbered(s, number);
	if (!r)
		return; /* it is no more */
	if (tag == SYNC_TAG_ROLLOUT)
		rollout_answer(s, r, answer);
	else
		carry_answer(s, r, answer);
}

/* One that can write to the stream must not keep all else from being read: objects are asked for on
 * the same connection. */
void rollouts_unreadable(struct sync *s, uint64_t tag)
{
	char key[LAYOUT_KEY_MAX];
	struct sync_rollout *r = rollouts_numbered(s, tag >> SYNC_TAG_BITS);
	if ((tag & ((1u << SYNC_TAG_BITS) - 1)) != SYNC_TAG_ROLLOUT || !r)
		return;
	struct str name = sync_key(s, key, "rollout", r->rule.service);
	r->quiet_ns = s->loop->now_ns + ROLLOUTS_QUIET_NS;
	sync_refuse(s, r->why, sizeof(r->why),
		"the stream of the rollout of " STR_FMT
		" is too long to be read, and left alone for %llu s; DEL " STR_FMT,
		STR_ARG(r->rule.service), ROLLOUTS_QUIET_NS / CLOCK_S, STR_ARG(name));
}

void rollouts_lost(struct sync *s)
{
	s->rollouts.is_time_asked = false;
	s->rollouts.time_ns = 0;
	ROLLOUTS_EACH(s, r)
	{
		r->is_asked = r->again = r->is_known = false;
		carry_end(s, r);
	}
}

const char *rollouts_why(const struct sync *s)
{
	ROLLOUTS_EACH(s, r)
	{
		if (r->why[0] || r->write_why[0])
			return r->why[0] ? r->why : r->write_why;
	}
	return "";
}

/* --- the step --- */

static void rollouts_beat(struct sync *s)
{
	uint64_t next_ns = s->loop->now_ns + rollouts_beat_ns(s);
	bool is_carrying = false;
	ROLLOUTS_EACH(s, r)
	{
		if (s->loop->now_ns >= r->look_ns)
			rollout_ask(s, r);
		/* Whether it was hinted at just now or not: figures have a pace of their own. */
		is_carrying = is_carrying || r->part == ROLLOUT_CARRIES;
		next_ns = r->look_ns < next_ns ? r->look_ns : next_ns;
	}
	if (is_carrying)
		figures_read(s);
	uint64_t soonest_ns = s->loop->now_ns + ROLLOUTS_BEAT_NS / 8;
	timer_set(s->loop, &s->rollouts.beat, next_ns > soonest_ns ? next_ns : soonest_ns);
}

void rollouts_step(struct sync *s)
{
	rollouts_follow(s);
	if (s->rollouts.count == 0) {
		timer_clear(s->loop, &s->rollouts.beat);
		return;
	}
	if (s->rollouts.beat.fired || s->rollouts.beat.deadline_ns == 0)
		rollouts_beat(s);
}

void rollouts_init(struct sync *s)
{
	list_init(&s->rollouts.all);
}

void rollouts_done(struct sync *s)
{
	while (!list_empty(&s->rollouts.all))
		rollout_free(s, CONTAINER_OF(s->rollouts.all.next, struct sync_rollout, node));
}
