/* SPDX-License-Identifier: Apache-2.0 */
/* The state process's side of tokens: which slots are asked for, what they hold, and what they get.
 * Everything that is seen here was written by the proxy process, and is bounded before it is given
 * out; nothing here waits for that process, or goes on for long because of it.
 *
 * Windows are numbers: the store's time in units of the limit's window, so the same on every node.
 * A slot has room for two, the one that runs and its neighbour; what is granted for a window is
 * spent in that window only. */
#pragma once

#include "ledger/ledger.h"

/* The store's clock minus ours, which tells the data path its windows. */
void lease_set_clock(struct ledger *l, int64_t clock_ns);
int64_t lease_clock(const struct ledger *l);
/* Until when the data path may think that the store is there; 0: it is not. */
void lease_set_believed(struct ledger *l, uint64_t until_ns);
uint64_t lease_window(const struct ledger *l, uint64_t now_ns, uint32_t window_ms);

/* The slots from 64 * `word` on, as bits, that were asked for since the last call. */
#define LEASE_WORDS (LEDGER_LIMITS / 64)
uint64_t lease_take_wanted(struct ledger *l, uint32_t word);

/* Whose a slot is. */
struct lease_slot {
	uint32_t index;
	uint32_t turn; /* another one: another key's */
	struct ledger_limit_rule rule;
};
/* False: nobody's, or its rule is none. */
bool lease_look(const struct ledger *l, uint32_t index, struct lease_slot *ret_slot);
/* Whether it is still the same one's. */
bool lease_same(const struct ledger *l, const struct lease_slot *slot);

struct lease_hand {
	uint32_t tokens; /* left of what was granted in this window */
	uint32_t lent;	 /* without having been granted; not more than the amount */
	bool is_told;	 /* lease_tell() was called for this window */
};
struct lease_hand lease_hand(
	const struct ledger *l, const struct lease_slot *slot, uint64_t window);
/* Wishes that got no token since the slot is this one's; counts up, unless the proxy lies. */
uint64_t lease_refused(const struct ledger *l, const struct lease_slot *slot);

/* Adds tokens for a window. What stood there of a window two before is gone. */
void lease_grant(struct ledger *l, const struct lease_slot *slot, uint64_t window, uint32_t tokens);
/* Takes at most `most` tokens back that are not spent; how many. */
uint32_t lease_take_back(
	struct ledger *l, const struct lease_slot *slot, uint64_t window, uint32_t most);
/* What the store still has of this window, and how much may be lent in it in all from now on. */
void lease_tell(struct ledger *l, const struct lease_slot *slot, uint64_t window, uint32_t unleased,
	uint32_t credit);
/* The store does not tell of this key in this window. */
void lease_set_away(struct ledger *l, const struct lease_slot *slot, uint64_t window);
