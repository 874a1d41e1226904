/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger/lease.h"

#include "slots.h"

static struct ledger_cell *lease_cell(
	const struct ledger *l, const struct lease_slot *slot, uint64_t window)
{
	ASSERT(slot->index < LEDGER_LIMITS);
	return (struct ledger_cell *)(uintptr_t)&l->limits[slot->index].cells[window % 2];
}

/* --- for all slots --- */

void lease_set_clock(struct ledger *l, int64_t clock_ns)
{
	ledger_word_set(&l->clock, (uint64_t)clock_ns);
}

int64_t lease_clock(const struct ledger *l)
{
	return (int64_t)ledger_word_get(&l->clock);
}

void lease_set_believed(struct ledger *l, uint64_t until_ns)
{
	ledger_word_set(&l->believed_ns, until_ns);
}

uint64_t lease_window(const struct ledger *l, uint64_t now_ns, uint32_t window_ms)
{
	ASSERT(window_ms > 0);
	return ledger_window(ledger_word_get(&l->clock), now_ns, window_ms);
}

uint64_t lease_take_wanted(struct ledger *l, uint32_t word)
{
	ASSERT(word < LEASE_WORDS);
	if (ledger_word_get(&l->wanted[word]) == 0)
		return 0;
	return atomic_exchange(&l->wanted[word], 0);
}

/* --- one slot --- */

bool lease_look(const struct ledger *l, uint32_t index, struct lease_slot *ret_slot)
{
	ASSERT(index < LEDGER_LIMITS);
	const struct ledger_slot *s = &l->limits[index];
	uint64_t claim = ledger_word_get(&s->head.claim), rule = ledger_word_get(&s->rule);
	*ret_slot = (struct lease_slot){.index = index,
		.turn = ledger_above(claim),
		.rule = {.id = {{ledger_word_get(&s->head.id[0]), ledger_word_get(&s->head.id[1])}},
			.amount = ledger_above(rule),
			.window_ms = ledger_below(rule)}};
	return ledger_below(claim) == LEDGER_USED && ledger_word_get(&s->head.claim) == claim &&
	       ret_slot->rule.window_ms >= LEDGER_WINDOW_MS_MIN &&
	       (ret_slot->rule.id.word[0] | ret_slot->rule.id.word[1]) != 0;
}

bool lease_same(const struct ledger *l, const struct lease_slot *slot)
{
	struct lease_slot now;
	return lease_look(l, slot->index, &now) && now.turn == slot->turn &&
	       now.rule.id.word[0] == slot->rule.id.word[0] &&
	       now.rule.id.word[1] == slot->rule.id.word[1] &&
	       now.rule.amount == slot->rule.amount && now.rule.window_ms == slot->rule.window_ms;
}

struct lease_hand lease_hand(const struct ledger *l, const struct lease_slot *slot, uint64_t window)
{
	const struct ledger_cell *c = lease_cell(l, slot, window);
	uint32_t tag = ledger_tag(window, slot->turn);
	struct lease_hand hand = {.tokens = ledger_tagged(&c->tokens, tag),
		.lent = ledger_tagged(&c->lent, tag),
		.is_told = ledger_above(ledger_word_get(&c->credit)) == tag};
	if (hand.tokens > slot->rule.amount)
		hand.tokens = slot->rule.amount;
	if (hand.lent > slot->rule.amount)
		hand.lent = slot->rule.amount;
	return hand;
}

uint64_t lease_refused(const struct ledger *l, const struct lease_slot *slot)
{
	return ledger_word_get(&l->limits[slot->index].refused);
}

void lease_grant(struct ledger *l, const struct lease_slot *slot, uint64_t window, uint32_t tokens)
{
	ledger_word *word = &lease_cell(l, slot, window)->tokens;
	uint32_t tag = ledger_tag(window, slot->turn);
	uint64_t before = ledger_word_get(word);
	for (int i = 0; i < LEDGER_TRIES; i++) {
		uint64_t sum = tokens;
		sum += ledger_above(before) == tag ? ledger_below(before) : 0;
		if (sum > slot->rule.amount)
			sum = slot->rule.amount;
		if (ledger_word_swap(word, &before, ledger_pair(tag, (uint32_t)sum)))
			return;
	}
	/* Somebody does nothing but write there: it is lost, which is the safe side. */
}

uint32_t lease_take_back(
	struct ledger *l, const struct lease_slot *slot, uint64_t window, uint32_t most)
{
	ledger_word *word = &lease_cell(l, slot, window)->tokens;
	uint32_t tag = ledger_tag(window, slot->turn);
	uint64_t before = ledger_word_get(word);
	for (int i = 0; i < LEDGER_TRIES; i++) {
		uint32_t taken = ledger_below(before);
		if (ledger_above(before) != tag || taken == 0)
			return 0;
		if (taken > most)
			taken = most;
		if (ledger_word_swap(word, &before, before - taken))
			return taken;
	}
	return 0;
}

void lease_tell(struct ledger *l, const struct lease_slot *slot, uint64_t window, uint32_t unleased,
	uint32_t credit)
{
	struct ledger_cell *c = lease_cell(l, slot, window);
	uint32_t tag = ledger_tag(window, slot->turn);
	ledger_word_set(&c->unleased, ledger_pair(tag, unleased));
	ledger_word_set(&c->credit, ledger_pair(tag, credit));
}

void lease_set_away(struct ledger *l, const struct lease_slot *slot, uint64_t window)
{
	ledger_word_set(&l->limits[slot->index].away, ledger_tag(window, slot->turn));
}
