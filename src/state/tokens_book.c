/* SPDX-License-Identifier: Apache-2.0 */
#include "tokens_book.h"

#include "base/clock.h"
#include <stdlib.h>

/* A number is made half a second before its window at the earliest, and nothing is asked of one
 * that is over. */
#define BOOK_KEEP_MS 10000u

bool book_init(struct book *b, struct ledger *l)
{
	*b = (struct book){.ledger = l};
	b->rows = calloc(LEDGER_LIMITS, sizeof(*b->rows));
	b->active = calloc(LEDGER_LIMITS, sizeof(*b->active));
	return b->rows && b->active;
}

void book_done(struct book *b)
{
	free(b->rows);
	free(b->active);
	b->rows = NULL;
	b->active = NULL;
}

/* --- tags: which command of which slot, and of which of its owners --- */

static uint64_t book_tag(const struct book_row *r, enum book_kind kind, uint64_t window)
{
	return (uint64_t)kind << 56 | (uint64_t)(r->slot.index & 0xffff) << 40 |
	       (uint64_t)(r->slot.turn & 0xff) << 32 | (window & UINT32_MAX);
}

static struct book_row *book_row_of(struct book *b, uint64_t tag)
{
	struct book_row *r = &b->rows[(tag >> 40 & 0xffff) % LEDGER_LIMITS];
	return (r->slot.turn & 0xff) == (tag >> 32 & 0xff) ? r : NULL;
}

/* The tag has the lower half of it. */
static uint64_t book_window_of(const struct book_row *r, uint64_t tag)
{
	for (size_t i = 0; i < ARRAY_LEN(r->tokens.windows); i++) {
		if ((r->tokens.windows[i].number & UINT32_MAX) == (tag & UINT32_MAX))
			return r->tokens.windows[i].number;
	}
	return UINT64_MAX;
}

/* --- commands --- */

static void book_put(struct book *b, const struct book_row *r, enum book_kind kind, uint64_t window,
	uint32_t count)
{
	uint32_t size = ARRAY_LEN(b->queue);
	if (b->queue_count == size)
		return; /* a number to be given back, at worst: lost for its window */
	b->queue[(b->queue_at + b->queue_count++) % size] =
		(struct book_command){.tag = book_tag(r, kind, window),
			.kind = kind,
			.id = r->slot.rule.id,
			.window = window,
			.count = count,
			.keep_ms = (uint64_t)r->slot.rule.window_ms + BOOK_KEEP_MS};
}

bool book_next(struct book *b, struct book_command *ret_command)
{
	if (b->queue_count == 0)
		return false;
	*ret_command = b->queue[b->queue_at];
	b->queue_at = (b->queue_at + 1) % ARRAY_LEN(b->queue);
	b->queue_count--;
	b->away_count++;
	return true;
}

static void book_give_back(struct book *b, struct book_row *r, const struct tokens_ask *ask)
{
	uint32_t count = lease_take_back(b->ledger, &r->slot, ask->window, ask->count);
	if (count == 0)
		return;
	tokens_given_back(&r->tokens, ask->window, count);
	b->back_total += count;
	book_put(b, r, BOOK_BACK, ask->window, count);
}

static void book_do(struct book *b, struct book_row *r, const struct tokens_ask *ask)
{
	switch (ask->kind) {
	case TOKENS_TAKE:
		if (ask->is_first)
			book_put(b, r, BOOK_BORN, ask->window, 0);
		book_put(b, r, BOOK_TAKE, ask->window, ask->count);
		break;
	case TOKENS_LOOK:
		book_put(b, r, BOOK_LOOK, ask->window, 0);
		break;
	case TOKENS_BACK:
		book_give_back(b, r, ask);
		break;
	}
}

/* --- the turn --- */

static void book_wake(struct book *b, uint32_t index)
{
	struct book_row *r = &b->rows[index];
	struct lease_slot slot;
	if (!lease_look(b->ledger, index, &slot))
		return;
	if (slot.turn != r->slot.turn || !lease_same(b->ledger, &r->slot)) {
		r->slot = slot;
		tokens_init(&r->tokens, slot.rule.amount, slot.rule.window_ms);
	}
	if (!r->is_active)
		b->active[b->active_count++] = (uint16_t)index;
	r->is_active = true;
}

void book_look(struct book *b)
{
	for (uint32_t w = 0; w < LEASE_WORDS; w++) {
		uint64_t bits = lease_take_wanted(b->ledger, w);
		for (; bits != 0; bits &= bits - 1)
			book_wake(b, w * 64 + (uint32_t)__builtin_ctzll(bits));
	}
}

/* False: the row rests, or is another's. */
static bool book_step(struct book *b, struct book_row *r, uint64_t now_ns)
{
	uint64_t window = lease_window(b->ledger, now_ns, r->slot.rule.window_ms);
	if (!lease_same(b->ledger, &r->slot))
		return false;
	struct lease_hand hand = lease_hand(b->ledger, &r->slot, window);
	struct lease_hand next = lease_hand(b->ledger, &r->slot, window + 1);
	struct tokens_seen seen = {.now_ns = now_ns,
		.store_ns = now_ns + (uint64_t)lease_clock(b->ledger),
		.hand = hand.tokens,
		.lent = hand.lent,
		.next_hand = next.tokens,
		.refused = lease_refused(b->ledger, &r->slot)};
	struct tokens_ask asks[TOKENS_ASKS];
	uint32_t count = tokens_step(&r->tokens, &seen, asks);
	for (uint32_t i = 0; i < count; i++)
		book_do(b, r, &asks[i]);
	return !tokens_idle(&r->tokens, now_ns);
}

static bool book_has_room(const struct book *b)
{
	return b->queue_count + b->away_count + 2 * TOKENS_ASKS <= BOOK_COMMANDS;
}

void book_turn(struct book *b, uint64_t now_ns)
{
	book_look(b);
	for (uint32_t left = b->active_count; left > 0 && book_has_room(b); left--) {
		if (b->cursor >= b->active_count)
			b->cursor = 0;
		struct book_row *r = &b->rows[b->active[b->cursor]];
		if (book_step(b, r, now_ns)) {
			b->cursor++;
			continue;
		}
		r->is_active = false;
		b->active[b->cursor] = b->active[--b->active_count];
	}
}

bool book_is_busy(const struct book *b)
{
	return b->active_count > 0 || b->away_count > 0 || b->queue_count > 0;
}

/* --- answers --- */

static void book_tell(
	struct book *b, struct book_row *r, uint64_t window, const struct tokens_told *told)
{
	/* Another's by now: what was got is lost for its window. */
	if (told->is_old || !lease_same(b->ledger, &r->slot))
		return;
	if (told->granted > 0)
		lease_grant(b->ledger, &r->slot, window, told->granted);
	lease_tell(b->ledger, &r->slot, window, told->unleased, told->credit);
	b->granted_total += told->granted;
	if (told->back > 0)
		book_put(b, r, BOOK_BACK, window, told->back);
}

static void book_take_number(
	struct book *b, struct book_row *r, uint64_t tag, int64_t number, uint64_t now_ns)
{
	uint64_t window = book_window_of(r, tag);
	struct tokens_told told;
	switch ((enum book_kind)(tag >> 56)) {
	case BOOK_TAKE:
		told = tokens_taken(&r->tokens, window, number, now_ns);
		book_tell(b, r, window, &told);
		if (told.is_anew)
			book_put(b, r, BOOK_KEEP, window, 0);
		break;
	case BOOK_LOOK:
		told = tokens_looked(&r->tokens, window, number, now_ns);
		book_tell(b, r, window, &told);
		break;
	case BOOK_BACK:
		/* It was gone meanwhile: what we made has no end. */
		if (number < 0 && window != UINT64_MAX)
			book_put(b, r, BOOK_KEEP, window, 0);
		break;
	case BOOK_BORN:
	case BOOK_KEEP:
		break;
	}
}

void book_answer(
	struct book *b, uint64_t tag, enum book_outcome outcome, int64_t number, uint64_t now_ns)
{
	struct book_row *r = book_row_of(b, tag);
	enum book_kind kind = (enum book_kind)(tag >> 56);
	b->away_count -= b->away_count > 0;
	if (!r)
		return;
	uint64_t window = book_window_of(r, tag);
	if (outcome == BOOK_TOLD) {
		book_take_number(b, r, tag, number, now_ns);
	} else if (kind == BOOK_TAKE || kind == BOOK_LOOK) {
		tokens_failed(&r->tokens, window);
		if (outcome == BOOK_GARBLED && window != UINT64_MAX)
			lease_set_away(b->ledger, &r->slot, window);
	}
}

bool book_is_write(uint64_t tag)
{
	enum book_kind kind = (enum book_kind)(tag >> 56);
	return kind == BOOK_TAKE || kind == BOOK_BACK;
}

void book_lost(struct book *b)
{
	for (uint32_t i = 0; i < b->active_count; i++) {
		struct tokens *t = &b->rows[b->active[i]].tokens;
		for (size_t w = 0; w < ARRAY_LEN(t->windows); w++)
			tokens_failed(t, t->windows[w].number);
	}
	b->queue_count = b->away_count = 0;
}
