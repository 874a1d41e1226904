/* SPDX-License-Identifier: Apache-2.0 */
/* Slots are found by open addressing. Two that look for the same new id agree on the first slot
 * that can be had, and the one that comes second waits for the other's few stores. If that one is
 * put to sleep just there, the id gets two slots: the later one is found by nobody after, and is
 * idle soon. */
#include "slots.h"

/* How often in all a look-up looks again at slots that are MAKING. */
#define LEDGER_WAITS 1000u

static struct ledger_head *ledger_at(const struct ledger_table *t, uint64_t start, uint32_t probe)
{
	return (struct ledger_head *)(void *)(t->at + (start + probe) % t->count * t->bytes);
}

static uint64_t ledger_start(const struct ledger_table *t, const struct ledger_id *id)
{
	/* The words are of a digest: a multiplication each mixes the seed in well enough. */
	uint64_t mixed = (id->word[0] ^ t->seed) * 0x9e3779b97f4a7c15ull;
	mixed = (mixed ^ mixed >> 29 ^ id->word[1]) * 0xbf58476d1ce4e5b9ull;
	return (mixed ^ mixed >> 32) % t->count;
}

static uint32_t ledger_state(uint64_t claim)
{
	return ledger_below(claim);
}

static bool ledger_is(const struct ledger_head *slot, const struct ledger_id *id)
{
	return ledger_word_get(&slot->id[0]) == id->word[0] &&
	       ledger_word_get(&slot->id[1]) == id->word[1];
}

static bool ledger_idle(
	const struct ledger_table *t, const struct ledger_head *slot, uint64_t now_ns)
{
	uint64_t used_ns = ledger_word_get(&slot->used_ns);
	return used_ns < now_ns && now_ns - used_ns > t->idle_ns;
}

static void ledger_touch(struct ledger_head *slot, uint64_t now_ns)
{
	uint64_t used_ns = ledger_word_get(&slot->used_ns);
	if (used_ns > now_ns || now_ns - used_ns > LEDGER_USED_NS)
		ledger_word_set(&slot->used_ns, now_ns);
}

/* Not MAKING, if that can be had soon. */
static uint64_t ledger_claim_settled(const struct ledger_head *slot, uint32_t *waits)
{
	uint64_t claim = ledger_word_get(&slot->claim);
	while (ledger_state(claim) == LEDGER_MAKING && *waits > 0) {
		--*waits;
		claim = ledger_word_get(&slot->claim);
	}
	return claim;
}

/* One look. The slot of the id with its claim; else NULL, and what could be had in *ret_other. */
static struct ledger_head *ledger_scan(const struct ledger_table *t, const struct ledger_id *id,
	uint64_t now_ns, uint32_t *waits, uint64_t *ret_claim, struct ledger_head **ret_other)
{
	uint64_t start = ledger_start(t, id);
	*ret_other = NULL;
	for (uint32_t i = 0; i < t->probes; i++) {
		struct ledger_head *slot = ledger_at(t, start, i);
		uint64_t claim = ledger_claim_settled(slot, waits);
		uint32_t state = ledger_state(claim);
		bool is_used = state != LEDGER_FREE && state != LEDGER_MAKING;
		if (is_used && ledger_is(slot, id)) {
			*ret_claim = claim;
			return slot;
		}
		if (!*ret_other &&
			(state == LEDGER_FREE || (is_used && ledger_idle(t, slot, now_ns)))) {
			*ret_other = slot;
			*ret_claim = claim;
		}
		if (state == LEDGER_FREE)
			break;
	}
	return NULL;
}

static bool ledger_begin(
	struct ledger_head *slot, uint64_t claim, const struct ledger_id *id, uint64_t now_ns)
{
	uint32_t turn = ledger_above(claim) + 1;
	if (!atomic_compare_exchange_strong(&slot->claim, &claim, ledger_pair(turn, LEDGER_MAKING)))
		return false;
	ledger_word_set(&slot->used_ns, now_ns);
	ledger_word_set(&slot->id[0], id->word[0]);
	ledger_word_set(&slot->id[1], id->word[1]);
	return true;
}

struct ledger_head *ledger_find_slot(const struct ledger_table *t, const struct ledger_id *id,
	uint64_t now_ns, uint32_t *ret_turn, enum ledger_found *ret_found)
{
	uint32_t waits = LEDGER_WAITS;
	for (int i = 0; i < 8; i++) {
		uint64_t claim = 0;
		struct ledger_head *other,
			*slot = ledger_scan(t, id, now_ns, &waits, &claim, &other);
		if (slot) {
			ledger_touch(slot, now_ns);
			*ret_turn = ledger_above(claim);
			*ret_found = LEDGER_FOUND;
			return slot;
		}
		if (!other)
			return NULL;
		if (ledger_begin(other, claim, id, now_ns)) {
			*ret_turn = ledger_above(claim) + 1;
			*ret_found = LEDGER_NEW;
			return other;
		}
	}
	return NULL; /* eight times another was faster */
}

void ledger_made(struct ledger_head *slot, uint32_t turn)
{
	ledger_word_set(&slot->claim, ledger_pair(turn, LEDGER_USED));
}

const struct ledger_head *ledger_look_slot(const struct ledger_table *t, const struct ledger_id *id)
{
	uint32_t waits = LEDGER_WAITS;
	uint64_t claim;
	struct ledger_head *other;
	return ledger_scan(t, id, 0, &waits, &claim, &other);
}

static void ledger_mend_table(const struct ledger_table *t)
{
	for (uint32_t i = 0; i < t->count; i++) {
		struct ledger_head *slot = ledger_at(t, 0, i);
		uint64_t claim = ledger_word_get(&slot->claim);
		if (ledger_state(claim) != LEDGER_MAKING)
			continue;
		/* Idle, and of an id that nobody has. */
		ledger_word_set(&slot->used_ns, 0);
		ledger_word_set(&slot->id[0], 0);
		ledger_word_set(&slot->id[1], 0);
		ledger_made(slot, ledger_above(claim));
	}
}

void ledger_mend(struct ledger *l)
{
	struct ledger_table limits = ledger_limits(l), figures = ledger_figures(l);
	ledger_mend_table(&limits);
	ledger_mend_table(&figures);
}
