/* SPDX-License-Identifier: Apache-2.0 */
/* Carrying a rollout on. With each beat whoever does so reads what all nodes have seen, has it
 * judged (room rollout), and writes how far it is, even when that is the same as before: by that
 * the others know that somebody does. When nothing has been written for a while, by the store's
 * clock, any of them begins the next term.
 *
 * A new one knows nothing of what the one before had counted: the step's time and figures begin
 * anew, so a step becomes longer by that, and none is passed over.
 *
 * What the store has lost is written again by those who know it: else a rollout that is over would
 * begin anew. Of several who know different things the one with the highest place ends up on top,
 * since it finds the others' below what it knows. */
#include "sync_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "state/layout.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CARRY_KEPT	 "32"	       /* entries of the stream */
#define CARRY_BEATS	 4	       /* so many without an entry, and it is carried on no more, */
#define CARRY_SILENCE_NS (4 * CLOCK_S) /* but at least so long */
#define CARRY_TAKES_MAX	 3	       /* so many refused in vain, and it is said */

static const char *const rollout_part_names[] = {"WATCHES", "TAKES", "CARRIES"};

static void carry_move(struct sync_rollout *r, enum rollout_part part)
{
	static const unsigned allowed[] = {
		[ROLLOUT_WATCHES] = 1u << ROLLOUT_TAKES,
		[ROLLOUT_TAKES] = 1u << ROLLOUT_WATCHES | 1u << ROLLOUT_CARRIES,
		[ROLLOUT_CARRIES] = 1u << ROLLOUT_WATCHES,
	};
	ASSERT(rollout_part_names[part] && allowed[r->part] & 1u << part);
	r->part = part;
}

static void carry_forget(struct sync_rollout *r)
{
	r->watch = (struct rollout_watch){0};
	r->total = (struct rollout_figures){0};
	r->judged = (struct rollout_judged){0};
	r->told_count = 0;
	r->judged_ns = 0;
	figures_forget(r);
}

void carry_end(struct sync *s, struct sync_rollout *r)
{
	r->is_writing = false;
	if (r->part != ROLLOUT_WATCHES)
		carry_move(r, ROLLOUT_WATCHES);
	carry_forget(r);
}

/* --- writing --- */

/* One entry at this place: what it says stands in r->written_text. */
static bool carry_write(struct sync *s, struct sync_rollout *r, struct mirror_place place)
{
	char key[LAYOUT_KEY_MAX], id[48], ms[24];
	int id_len = snprintf(id, sizeof(id), "%" PRIu64 "-%" PRIu64, place.term, place.entry);
	int ms_len = snprintf(ms, sizeof(ms), "%" PRIu64, rollouts_now_ms(s));
	struct str words[] = {STR("XADD"), sync_key(s, key, "rollout", r->rule.service),
		STR("MAXLEN"), STR("~"), STR(CARRY_KEPT), {id, (size_t)id_len}, STR("progress"),
		{r->written_text, r->written_len}, STR("time"), {ms, (size_t)ms_len}};
	r->written = place;
	r->is_writing = sync_ask_of(s, SYNC_TAG_ROLLOUT_WRITE, r->number, words, ARRAY_LEN(words));
	return r->is_writing;
}

static void carry_publish(struct sync *s, const struct sync_rollout *r)
{
	char channel[LAYOUT_KEY_MAX], message[ROLLOUT_WORD_MAX + 16];
	int len = snprintf(message, sizeof(message), "rollout " STR_FMT, STR_ARG(r->rule.service));
	struct str words[] = {
		STR("PUBLISH"), sync_key(s, channel, "news", STR_NONE), {message, (size_t)len}};
	(void)sync_ask(s, SYNC_TAG_NEWS, words, ARRAY_LEN(words));
}

static void carry_text(struct sync *s, struct sync_rollout *r, const struct rollout_progress *next)
{
	struct rollout_progress mine = *next;
	char text[ROLLOUT_TEXT_MAX];
	if (!rollout_is_over(next) || next->node.len == 0)
		mine.node = s->node;
	struct str written = rollout_progress_write(&mine, text);
	memcpy(r->written_text, written.at, written.len);
	r->written_len = written.len;
}

/* --- taking it --- */

/* One look; `told_count` 0: without figures. */
static void carry_turn(struct sync *s, const struct sync_rollout *r,
	const struct rollout_progress *progress, struct rollout_watch *watch, uint32_t told_count,
	struct rollout_turn *ret_turn)
{
	uint64_t bounds_ns[ROLLOUT_LATENCIES];
	figures_bounds(bounds_ns);
	struct rollout_seen seen = {.now_ms = rollouts_now_ms(s),
		.total = &r->total,
		.bounds_ns = bounds_ns,
		.told_count = told_count,
		.silent_count = told_count ? s->figures.looked - told_count : 0};
	rollout_look(&r->rule, progress, watch, &seen, ret_turn);
}

/* What is written at the beginning of a term: as it was, or what the machine makes of it without
 * figures. */
static void carry_first(struct sync *s, struct sync_rollout *r)
{
	const struct mirror_rollout *known = mirror_find_rollout(&s->mirror, r->rule.service);
	struct rollout_turn turn;
	carry_turn(s, r, known ? &known->progress : NULL, &r->watch, 0, &turn);
	ASSERT(turn.moves || known);
	carry_text(s, r, turn.moves ? &turn.next : &known->progress);
}

static void carry_say_spent(struct sync *s, struct sync_rollout *r)
{
	char key[LAYOUT_KEY_MAX];
	struct str name = sync_key(s, key, "rollout", r->rule.service);
	sync_refuse(s, r->write_why, sizeof(r->write_why),
		"the stream of the rollout of " STR_FMT
		" has the last number that there can be, behind which nobody can write; "
		"DEL " STR_FMT,
		STR_ARG(r->rule.service), STR_ARG(name));
}

static void carry_take(struct sync *s, struct sync_rollout *r)
{
	const struct mirror_rollout *known = mirror_find_rollout(&s->mirror, r->rule.service);
	struct mirror_place place = {r->last.term, 0};
	if (known && known->place.term > place.term)
		place.term = known->place.term;
	place.term++;
	if (place.term > ROLLOUT_TERM_MAX) {
		carry_say_spent(s, r);
		return;
	}
	carry_forget(r);
	carry_first(s, r);
	if (carry_write(s, r, place))
		carry_move(r, ROLLOUT_TAKES);
}

/* Nobody has written for a while: by the store's clock, or, whatever that says, by ours. */
static bool carry_is_silent(const struct sync *s, const struct sync_rollout *r)
{
	uint64_t silence_ns = CARRY_BEATS * rollouts_beat_ns(s);
	if (silence_ns < CARRY_SILENCE_NS)
		silence_ns = CARRY_SILENCE_NS;
	uint64_t now_ms = rollouts_now_ms(s);
	bool is_old = now_ms > r->last_ms && now_ms - r->last_ms >= silence_ns / CLOCK_MS;
	return is_old || s->loop->now_ns - r->last_new_ns >= 2 * silence_ns;
}

/* What the store has is less than what is known, or nothing. */
static bool carry_is_lost(const struct sync *s, const struct sync_rollout *r)
{
	const struct mirror_rollout *known = mirror_find_rollout(&s->mirror, r->rule.service);
	bool is_empty = r->last.term == 0 && r->last.entry == 0;
	return known && (is_empty || mirror_place_is_after(known->place, r->last));
}

/* There is something to be said without any figures: that it begins, or an operator's word. */
static bool carry_is_told(struct sync *s, const struct sync_rollout *r)
{
	struct rollout_watch watch = {0};
	struct rollout_turn turn;
	carry_turn(s, r, rollout_progress_of(s, r), &watch, 0, &turn);
	return turn.moves;
}

/* Whether it is for us to begin a term. */
static bool carry_is_due(struct sync *s, const struct sync_rollout *r)
{
	const struct rollout_progress *p = rollout_progress_of(s, r);
	bool is_known = mirror_find_rollout(&s->mirror, r->rule.service);
	if (carry_is_lost(s, r) || (r->is_garbled && is_known))
		return true;
	if (r->is_foreign && p)
		return s->loop->now_ns >= r->begin_ns;
	if (!p || rollout_is_over(p))
		return carry_is_told(s, r) && s->loop->now_ns >= r->begin_ns;
	return str_eq(p->node, s->node) || carry_is_silent(s, r);
}

static bool carry_is_agreed(const struct sync *s)
{
	return s->life == SYNC_RUNNING && s->objects.is_known && s->objects.why[0] == '\0';
}

/* Only by a rule that is the newest as far as the store knows, and not while that is being read:
 * what its stream says may be of a newer one. And only by those who know how many nodes there are:
 * with few the beat is short, and somebody who keeps that of many seems to be silent. */
static bool carry_may(const struct sync *s)
{
	return carry_is_agreed(s) && s->nodes.is_known && s->objects.state == OBJECTS_REST &&
	       s->objects.store_revision == mirror_revision(&s->mirror);
}

void carry_consider(struct sync *s, struct sync_rollout *r)
{
	bool is_overtaken = mirror_place_is_after(r->last, r->written);
	if (r->part == ROLLOUT_CARRIES && !r->is_writing && (is_overtaken || carry_is_lost(s, r))) {
		log_info("state", "rollout of " STR_FMT ": %s", STR_ARG(r->rule.service),
			is_overtaken ? "another node carries it on"
				     : "the store has lost how far it is");
		carry_end(s, r);
	}
	if (r->part == ROLLOUT_WATCHES && s->loop->now_ns >= r->take_ns && carry_may(s) &&
		carry_is_due(s, r))
		carry_take(s, r);
}

/* --- carrying --- */

static void carry_keep_judged(
	struct sync *s, struct sync_rollout *r, const struct rollout_turn *turn)
{
	r->judged = turn->judged;
	snprintf(r->judged_why, sizeof(r->judged_why), STR_FMT, STR_ARG(turn->judged.why));
	r->judged.why = str_of(r->judged_why);
	r->judged_ns = s->loop->now_ns;
}

void carry_judge(struct sync *s, struct sync_rollout *r)
{
	const struct mirror_rollout *known = mirror_find_rollout(&s->mirror, r->rule.service);
	struct rollout_turn turn;
	if (r->part != ROLLOUT_CARRIES || r->is_writing || s->rollouts.time_ns == 0 || !known)
		return;
	if (!carry_is_agreed(s))
		carry_end(s, r);
	if (!carry_may(s))
		return; /* waits for: the next beat */
	carry_turn(s, r, &known->progress, &r->watch, r->told_count, &turn);
	carry_keep_judged(s, r, &turn);
	carry_text(s, r, turn.moves ? &turn.next : &known->progress);
	(void)carry_write(s, r, (struct mirror_place){r->written.term, r->written.entry + 1});
}

/* --- answers --- */

/* Another was first, which is seen with the next beat. Or the stream had a higher number once than
 * what stands in it, as after XTRIM or XDEL: then it takes none of those that anybody would try. */
static void carry_refused_take(struct sync *s, struct sync_rollout *r)
{
	char key[LAYOUT_KEY_MAX];
	uint64_t next_ns = s->loop->now_ns + rollouts_beat_ns(s);
	r->look_ns = r->look_ns < next_ns ? r->look_ns : next_ns;
	r->take_ns = next_ns; /* whatever is hinted at */
	if (++r->refused_takes < CARRY_TAKES_MAX)
		return;
	struct str name = sync_key(s, key, "rollout", r->rule.service);
	sync_refuse(s, r->write_why, sizeof(r->write_why),
		"the stream of the rollout of " STR_FMT
		" takes no entries, as if it had a higher one than can be seen; DEL " STR_FMT,
		STR_ARG(r->rule.service), STR_ARG(name));
}

static void carry_refused(struct sync *s, struct sync_rollout *r, const char *text)
{
	bool is_overtaken = strstr(text, "equal or smaller") != NULL;
	if (is_overtaken && r->part == ROLLOUT_CARRIES)
		log_info("state", "rollout of " STR_FMT ": another node carries it on",
			STR_ARG(r->rule.service));
	else if (!is_overtaken)
		sync_refuse(s, r->write_why, sizeof(r->write_why),
			"the store does not take how far the rollout of " STR_FMT " is: %s",
			STR_ARG(r->rule.service), text);
	bool was_taking = r->part == ROLLOUT_TAKES;
	carry_end(s, r);
	if (is_overtaken && was_taking)
		carry_refused_take(s, r);
	else if (is_overtaken)
		rollouts_hint(s, r->rule.service);
}

void carry_answer(struct sync *s, struct sync_rollout *r, const struct store_answer *answer)
{
	uint64_t change_count = s->mirror.change_count;
	bool is_begun = r->part == ROLLOUT_TAKES;
	if (!r->is_writing)
		return; /* of the past */
	r->is_writing = false;
	if (answer->failure == STORE_REFUSED) {
		carry_refused(s, r, answer->reply->str);
		return;
	}
	if (!rollout_take(s, r, r->written, (struct str){r->written_text, r->written_len})) {
		carry_end(s, r);
		return;
	}
	r->write_why[0] = '\0';
	r->refused_takes = 0;
	r->last = r->written;
	r->last_ms = rollouts_now_ms(s);
	r->last_new_ns = s->loop->now_ns;
	if (is_begun) {
		carry_move(r, ROLLOUT_CARRIES);
		r->look_ns = s->loop->now_ns; /* with every beat from now on */
	}
	/* A term's first entry may be new to others though it is not to us: what had been written
	 * before it, the connection may have broken before it was told. */
	if (is_begun || s->mirror.change_count != change_count)
		carry_publish(s, r);
	if (rollout_is_over(rollout_progress_of(s, r)))
		carry_end(s, r);
}
