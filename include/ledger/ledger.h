/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that the proxy process and the state process share: what the data path may spend of limits
 * that hold for the whole mesh, and what it has seen of versions that are being rolled out. Made by
 * the keeper, so it outlives both. Neither waits for the other; and neither believes the other:
 * what one reads it bounds, whatever stands there. Atomic words only, no lock.
 *
 * There is nothing to be held on to: every call finds its slot by the id, so a slot that was idle
 * may become another's at any time. Times are CLOCK_MONOTONIC, ns, the same in both processes. */
#pragma once

#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

/* The first 16 bytes of a SHA-256 of what it stands for; the same on every node. Never all zero. */
struct ledger_id {
	uint64_t word[2];
};

struct ledger;

/* A memfd of the right size, all of it there, which can neither shrink nor grow. -errno. */
int ledger_create(struct err *err) MUST_CHECK;
/* Refuses one of another size or form (-EINVAL). `fd` stays the caller's. */
int ledger_map(int fd, struct ledger **ret_ledger, struct err *err) MUST_CHECK;
/* The proxy process, before anybody of it takes or adds: slots that the one before was making when
 * it died can be had again. */
void ledger_mend(struct ledger *l);
/* NULL: nothing is done. */
void ledger_unmap(struct ledger *l);

/* --- tokens: one slot for each key of each limit that holds for the whole mesh --- */

#define LEDGER_LIMITS	     16384
#define LEDGER_WINDOW_MS_MIN 100

struct ledger_limit_rule {
	struct ledger_id id; /* of limit, its numbers and the values of its key */
	uint32_t amount;     /* tokens in a window, of the whole mesh */
	uint32_t window_ms;  /* LEDGER_WINDOW_MS_MIN or more */
};

enum ledger_taken {
	LEDGER_TAKEN,
	LEDGER_SPENT, /* none is left for here now */
	LEDGER_AWAY,  /* the store has not answered for too long, or never: as the limit says */
	LEDGER_FULL,  /* no slot: more keys are in use than there are slots */
};

struct ledger_left {
	uint32_t remaining; /* tokens in this window as far as this node knows */
	uint64_t reset_ns;  /* when the window ends; within one window from now */
};

/* One token. Whether or not there is one, the wish is counted, from which the state process sees
 * how much is wanted here. By any worker at any time; a few atomic operations.
 *
 * A key that nobody asked for in this window here has no tokens yet, and its first call must not
 * wait for the store: so many are lent (ledger_limit_credit()), and taken from the store after. */
enum ledger_taken ledger_limit_take(struct ledger *l, const struct ledger_limit_rule *rule,
	uint64_t now_ns, struct ledger_left *ret_left);
/* A token that was taken and is not used after all; in another window than it was taken, nothing.
 */
void ledger_limit_put_back(struct ledger *l, const struct ledger_limit_rule *rule, uint64_t now_ns);
/* What the limit lets through in the time that an answer of the store takes: at least one, at most
 * an eighth. By so much per node may a window go beyond the amount, when a node that knows nothing
 * of it begins to lend while others have taken all; the next window pays. */
uint32_t ledger_limit_credit(uint32_t amount, uint32_t window_ms);

/* The state process's side is in ledger/lease.h. */

/* --- figures: one slot for each version of a rollout that is called from here --- */

#define LEDGER_FIGURES	 256
#define LEDGER_LATENCIES 64 /* the last one has no upper bound */

struct ledger_sums {
	uint64_t calls, failed; /* since the slot was made */
	uint64_t latencies[LEDGER_LATENCIES];
};

/* The proxy, any worker: one call of that version. False: no slot, all were in use in the last ten
 * minutes. */
bool ledger_figure_add(struct ledger *l, const struct ledger_id *id, bool failed,
	uint64_t latency_ns, uint64_t now_ns);
/* The state process: false, there is none. Numbers are of different moments, each never less than
 * before as long as the slot is the same: one that lay idle may have been given up and made anew.
 */
bool ledger_figure_read(struct ledger *l, const struct ledger_id *id, struct ledger_sums *ret_sums);
/* The upper bound of a bucket, ns; grows by about a fifth each from 0.1 ms on. UINT64_MAX: none. */
uint64_t ledger_latency_bound_ns(uint32_t bucket);
