/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of versions. A slot that is made anew begins with nothing; an addition that comes from
 * before its change of owner, ten minutes late, would be one call too many. */
#include "slots.h"

static const uint64_t ledger_bounds_ns[LEDGER_LATENCIES - 1] = {100000, 120000, 144000, 172800,
	207360, 248832, 298598, 358317, 429980, 515976, 619171, 743005, 891606, 1069927, 1283912,
	1540694, 1848832, 2218598, 2662317, 3194780, 3833736, 4600483, 5520579, 6624694, 7949632,
	9539558, 11447469, 13736962, 16484354, 19781224, 23737468, 28484961, 34181953, 41018343,
	49222011, 59066413, 70879695, 85055634, 102066760, 122480112, 146976134, 176371360,
	211645632, 253974758, 304769709, 365723650, 438868380, 526642056, 631970467, 758364560,
	910037472, 1092044966, 1310453959, 1572544750, 1887053700, 2264464440, 2717357328,
	3260828793, 3912994551, 4695593461, 5634712153, 6761654583, 8113985499};

uint64_t ledger_latency_bound_ns(uint32_t bucket)
{
	return bucket < LEDGER_LATENCIES - 1 ? ledger_bounds_ns[bucket] : UINT64_MAX;
}

/* The first bucket whose bound is not below. */
static uint32_t ledger_bucket(uint64_t latency_ns)
{
	uint32_t low = 0, high = LEDGER_LATENCIES - 1;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (ledger_bounds_ns[middle] < latency_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void ledger_figure_clear(struct ledger_figure *f)
{
	ledger_word_set(&f->calls, 0);
	ledger_word_set(&f->failed, 0);
	for (uint32_t i = 0; i < LEDGER_LATENCIES; i++)
		ledger_word_set(&f->latencies[i], 0);
}

bool ledger_figure_add(struct ledger *l, const struct ledger_id *id, bool failed,
	uint64_t latency_ns, uint64_t now_ns)
{
	struct ledger_table table = ledger_figures(l);
	enum ledger_found found;
	uint32_t turn;
	struct ledger_head *head = ledger_find_slot(&table, id, now_ns, &turn, &found);
	if (!head)
		return false;
	struct ledger_figure *f = CONTAINER_OF(head, struct ledger_figure, head);
	if (found == LEDGER_NEW) {
		ledger_figure_clear(f);
		ledger_made(head, turn);
	}
	/* Calls first, and read last: so who reads never sees more of the rest. */
	atomic_fetch_add_explicit(&f->calls, 1, memory_order_release);
	atomic_fetch_add_explicit(
		&f->latencies[ledger_bucket(latency_ns)], 1, memory_order_release);
	if (failed)
		atomic_fetch_add_explicit(&f->failed, 1, memory_order_release);
	return true;
}

bool ledger_figure_read(struct ledger *l, const struct ledger_id *id, struct ledger_sums *ret_sums)
{
	struct ledger_table table = ledger_figures(l);
	const struct ledger_head *head = ledger_look_slot(&table, id);
	if (!head)
		return false;
	const struct ledger_figure *f = CONTAINER_OF(head, struct ledger_figure, head);
	ret_sums->failed = ledger_word_get(&f->failed);
	for (uint32_t i = 0; i < LEDGER_LATENCIES; i++)
		ret_sums->latencies[i] = ledger_word_get(&f->latencies[i]);
	ret_sums->calls = ledger_word_get(&f->calls);
	return true;
}
