/* SPDX-License-Identifier: Apache-2.0 */
/* How the ledger lies in its memory. Every word may hold anything at any time: the other process
 * may have been broken into.
 *
 * A slot's life. `claim` is a turn, which counts up with every new owner, and one of three states:
 *
 *     FREE ── claimed ──▶ MAKING ── id and rule stand there ──▶ USED ── idle, claimed ──▶ MAKING
 *
 * Never FREE again, so a look-up ends at the first FREE one. A slot lies at most LEDGER_PROBES
 * behind the place that its id is hashed to, with a seed, so that nobody can choose keys that fall
 * together.
 *
 * Words of a window carry its tag (window and turn): what was meant for another window, or another
 * owner of the slot, is neither spent nor believed; and a compare-and-exchange that began under
 * another tag fails. */
#pragma once

#include "ledger/ledger.h"
#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>

#define LEDGER_MAGIC	      0x1ed6e7a1u
#define LEDGER_VERSION	      1u
#define LEDGER_PROBES	      64u
#define LEDGER_IDLE_NS	      (30ull * 1000000000ull) /* of a limit's slot */
#define LEDGER_FIGURE_IDLE_NS (600ull * 1000000000ull)
#define LEDGER_USED_NS	      (100ull * 1000000ull) /* `used_ns` is so far behind */
/* A loop around a compare-and-exchange fails when another one succeeds; so often in a row only when
 * the other process does nothing else. */
#define LEDGER_TRIES 1000
#define LEDGER_LATE  4u /* windows; no thread sleeps through more of them */

enum ledger_claim { LEDGER_FREE, LEDGER_MAKING, LEDGER_USED };

typedef _Atomic uint64_t ledger_word;

/* Each word: the tag above, a number below. */
struct ledger_cell {
	ledger_word tokens;   /* to be spent */
	ledger_word lent;     /* what the data path has lent itself */
	ledger_word credit;   /* what it may lend itself in all; another tag: nothing known yet */
	ledger_word unleased; /* what the store still has */
};

/* What all slots begin with. */
struct ledger_head {
	ledger_word claim; /* turn above, enum ledger_claim below */
	ledger_word id[2];
	ledger_word used_ns; /* not older than LEDGER_USED_NS while it is used */
};

struct ledger_slot {
	alignas(64) struct ledger_head head;
	ledger_word rule;    /* amount above, window_ms below */
	ledger_word refused; /* wishes without a token */
	ledger_word away;    /* the tag of the window that the store does not tell of */
	alignas(64) struct ledger_cell cells[2]; /* of even and odd windows */
};

struct ledger_figure {
	alignas(64) struct ledger_head head;
	ledger_word calls, failed;
	ledger_word latencies[LEDGER_LATENCIES];
};

struct ledger {
	/* By its maker, before anybody maps it. */
	uint32_t magic, version;
	uint64_t seed;
	/* By the state process. */
	alignas(64) ledger_word clock; /* the store's clock minus ours, ns; two's complement */
	ledger_word believed_ns;       /* until when the store is thought to be there */
	/* Which limit slots were asked for since the state process has looked. */
	alignas(64) ledger_word wanted[LEDGER_LIMITS / 64];
	struct ledger_slot limits[LEDGER_LIMITS];
	struct ledger_figure figures[LEDGER_FIGURES];
};

static inline uint64_t ledger_word_get(const ledger_word *w)
{
	return atomic_load_explicit((ledger_word *)(uintptr_t)w, memory_order_acquire);
}

static inline void ledger_word_set(ledger_word *w, uint64_t value)
{
	atomic_store_explicit(w, value, memory_order_release);
}

static inline bool ledger_word_swap(ledger_word *w, uint64_t *expected, uint64_t value)
{
	return atomic_compare_exchange_weak_explicit(
		w, expected, value, memory_order_acq_rel, memory_order_acquire);
}

static inline uint64_t ledger_pair(uint32_t above, uint32_t below)
{
	return (uint64_t)above << 32 | below;
}

static inline uint32_t ledger_above(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

static inline uint32_t ledger_below(uint64_t word)
{
	return (uint32_t)word;
}

/* Never 0, as memory that nobody wrote to is. */
static inline uint32_t ledger_tag(uint64_t window, uint32_t turn)
{
	uint32_t tag = (uint32_t)window << 8 | (turn & 0xff);
	return tag ? tag : UINT32_MAX;
}

/* Whether the first is of a later window of the same owner, as a thread finds that slept. Further
 * on than LEDGER_LATE windows it is none that will come soon: the store's clock has gone back. */
static inline bool ledger_tag_later(uint32_t tag, uint32_t than)
{
	uint32_t windows = (tag - than) >> 8;
	return (tag & 0xff) == (than & 0xff) && windows > 0 && windows <= LEDGER_LATE;
}

/* What a tagged word says of this window, else 0. */
static inline uint32_t ledger_tagged(const ledger_word *w, uint32_t tag)
{
	uint64_t value = ledger_word_get(w);
	return ledger_above(value) == tag ? ledger_below(value) : 0;
}

/* The window in which a moment of ours lies, by the store's clock. */
static inline uint64_t ledger_window(uint64_t clock, uint64_t now_ns, uint32_t window_ms)
{
	return (now_ns + clock) / (window_ms * 1000000ull);
}

/* One of the two tables. */
struct ledger_table {
	char *at;
	size_t bytes; /* of a slot */
	uint32_t count, probes;
	uint64_t idle_ns, seed;
};
struct ledger_table ledger_limits(struct ledger *l);
struct ledger_table ledger_figures(struct ledger *l);

enum ledger_found {
	LEDGER_FOUND,
	LEDGER_NEW, /* it is MAKING: what stands in it is the caller's to fill, then ledger_made()
		     */
};
/* The slot of an id with its turn, or NULL: none, and none that could be had. */
struct ledger_head *ledger_find_slot(const struct ledger_table *t, const struct ledger_id *id,
	uint64_t now_ns, uint32_t *ret_turn, enum ledger_found *ret_found);
void ledger_made(struct ledger_head *slot, uint32_t turn);
/* The same, but only looks. */
const struct ledger_head *ledger_look_slot(
	const struct ledger_table *t, const struct ledger_id *id);
