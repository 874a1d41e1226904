/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy's side of tokens: find the slot, spend a token of this window, or lend one. */
#include "slots.h"

#define LEDGER_ANSWER_MS 40u /* a turn of the state process and the store's answer, generously */

uint32_t ledger_limit_credit(uint32_t amount, uint32_t window_ms)
{
	uint64_t credit = (uint64_t)amount * LEDGER_ANSWER_MS / (window_ms ? window_ms : 1);
	if (credit > amount / 8)
		credit = amount / 8;
	if (credit == 0)
		credit = amount > 0;
	return (uint32_t)credit;
}

static struct ledger_slot *ledger_limit_find(
	struct ledger *l, const struct ledger_limit_rule *rule, uint64_t now_ns, uint32_t *ret_turn)
{
	struct ledger_table table = ledger_limits(l);
	enum ledger_found found;
	struct ledger_head *head = ledger_find_slot(&table, &rule->id, now_ns, ret_turn, &found);
	if (!head)
		return NULL;
	struct ledger_slot *slot = CONTAINER_OF(head, struct ledger_slot, head);
	if (found == LEDGER_NEW) {
		ledger_word_set(&slot->rule, ledger_pair(rule->amount, rule->window_ms));
		ledger_word_set(&slot->refused, 0);
		ledger_made(head, *ret_turn);
	}
	return slot;
}

/* Asked first: the line is shared by many, and written once a turn of the state process. */
static void ledger_limit_mark(struct ledger *l, const struct ledger_slot *slot)
{
	size_t index = (size_t)(slot - l->limits);
	ledger_word *word = &l->wanted[index / 64];
	uint64_t bit = 1ull << index % 64;
	if (!(ledger_word_get(word) & bit))
		atomic_fetch_or_explicit(word, bit, memory_order_acq_rel);
}

static bool ledger_limit_spend(struct ledger_cell *cell, uint32_t tag)
{
	uint64_t tokens = ledger_word_get(&cell->tokens);
	for (int i = 0; i < LEDGER_TRIES; i++) {
		if (ledger_above(tokens) != tag || ledger_below(tokens) == 0)
			return false;
		if (ledger_word_swap(&cell->tokens, &tokens, tokens - 1))
			return true;
	}
	return false;
}

/* What may be lent in this window: what the state process says, and before it says anything what
 * the rule gives; never more than that. */
static uint32_t ledger_limit_may_lend(
	const struct ledger_cell *cell, uint32_t tag, const struct ledger_limit_rule *rule)
{
	uint64_t credit = ledger_word_get(&cell->credit);
	uint32_t most = ledger_limit_credit(rule->amount, rule->window_ms);
	if (ledger_above(credit) != tag)
		return most;
	return ledger_below(credit);
}

static bool ledger_limit_lend(
	struct ledger_cell *cell, uint32_t tag, const struct ledger_limit_rule *rule)
{
	uint64_t lent = ledger_word_get(&cell->lent);
	for (int i = 0; i < LEDGER_TRIES; i++) {
		uint32_t count = ledger_above(lent) == tag ? ledger_below(lent) : 0;
		if (ledger_tag_later(ledger_above(lent), tag))
			return false; /* this thread slept: the window is over */
		if (count >= ledger_limit_may_lend(cell, tag, rule))
			return false;
		if (ledger_word_swap(&cell->lent, &lent, ledger_pair(tag, count + 1)))
			return true;
	}
	return false;
}

static uint32_t ledger_limit_remaining(
	const struct ledger_cell *cell, uint32_t tag, const struct ledger_limit_rule *rule)
{
	uint64_t remaining =
		(uint64_t)ledger_tagged(&cell->tokens, tag) + ledger_tagged(&cell->unleased, tag);
	if (ledger_above(ledger_word_get(&cell->credit)) != tag) {
		uint32_t lent = ledger_tagged(&cell->lent, tag);
		remaining = lent < rule->amount ? rule->amount - lent : 0;
	}
	return remaining < rule->amount ? (uint32_t)remaining : rule->amount;
}

enum ledger_taken ledger_limit_take(struct ledger *l, const struct ledger_limit_rule *rule,
	uint64_t now_ns, struct ledger_left *ret_left)
{
	ASSERT(rule->window_ms >= LEDGER_WINDOW_MS_MIN);
	uint64_t clock = ledger_word_get(&l->clock), window_ns = rule->window_ms * 1000000ull;
	uint64_t window = ledger_window(clock, now_ns, rule->window_ms);
	*ret_left =
		(struct ledger_left){.reset_ns = now_ns + window_ns - (now_ns + clock) % window_ns};
	uint32_t turn;
	struct ledger_slot *slot = ledger_limit_find(l, rule, now_ns, &turn);
	if (!slot)
		return LEDGER_FULL;
	uint32_t tag = ledger_tag(window, turn);
	struct ledger_cell *cell = &slot->cells[window % 2];
	ledger_limit_mark(l, slot);
	bool is_away =
		ledger_word_get(&l->believed_ns) <= now_ns || ledger_word_get(&slot->away) == tag;
	bool taken =
		!is_away && (ledger_limit_spend(cell, tag) || ledger_limit_lend(cell, tag, rule));
	if (!taken)
		atomic_fetch_add_explicit(&slot->refused, 1, memory_order_relaxed);
	if (is_away)
		return LEDGER_AWAY;
	ret_left->remaining = ledger_limit_remaining(cell, tag, rule);
	return taken ? LEDGER_TAKEN : LEDGER_SPENT;
}

/* To what was granted, if anything was; else it was lent. */
static void ledger_cell_put_back(struct ledger_cell *cell, uint32_t tag, uint32_t amount)
{
	uint64_t tokens = ledger_word_get(&cell->tokens), lent = ledger_word_get(&cell->lent);
	for (int i = 0; i < LEDGER_TRIES && ledger_above(tokens) == tag; i++) {
		if (ledger_below(tokens) >= amount ||
			ledger_word_swap(&cell->tokens, &tokens, tokens + 1))
			return;
	}
	for (int i = 0; i < LEDGER_TRIES && ledger_above(lent) == tag; i++) {
		if (ledger_below(lent) == 0 || ledger_word_swap(&cell->lent, &lent, lent - 1))
			return;
	}
}

void ledger_limit_put_back(struct ledger *l, const struct ledger_limit_rule *rule, uint64_t now_ns)
{
	uint64_t clock = ledger_word_get(&l->clock);
	uint64_t window = ledger_window(clock, now_ns, rule->window_ms);
	uint32_t turn;
	struct ledger_slot *slot = ledger_limit_find(l, rule, now_ns, &turn);
	if (slot)
		ledger_cell_put_back(
			&slot->cells[window % 2], ledger_tag(window, turn), rule->amount);
}
