/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that the proxy process and the state process share: what the data path may spend of limits
 * that hold for the whole mesh, and what it has seen of versions that are being rolled out. Made by
 * the keeper, so it outlives both. Neither waits for the other; and neither believes the other:
 * what one reads it bounds, whatever stands there. Atomic words only, no lock.
 *
 * Times are CLOCK_MONOTONIC, ns, the same in both processes. */
#pragma once

#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

/* The first 16 bytes of a SHA-256 of what it stands for; the same on every node. Never all zero. */
struct ledger_id {
	uint64_t word[2];
};

struct ledger;

/* A memfd of the right size, which can neither shrink nor grow. -errno. */
int ledger_create(struct err *err) MUST_CHECK;
/* Refuses one of another size or form (-EINVAL). `fd` stays the caller's. */
int ledger_map(int fd, struct ledger **ret_ledger, struct err *err) MUST_CHECK;
/* NULL: nothing is done. */
void ledger_unmap(struct ledger *l);

/* --- tokens: one slot for each key of each limit that holds for the whole mesh --- */

#define LEDGER_LIMITS 16384

struct ledger_limit; /* a slot; valid as long as the ledger is mapped */

struct ledger_limit_rule {
	struct ledger_id id; /* of limit, its numbers and the values of its key */
	uint32_t amount;     /* tokens in a window, of the whole mesh */
	uint32_t window_ms;
};

enum ledger_taken {
	LEDGER_TAKEN,
	LEDGER_SPENT, /* none is left here now */
	LEDGER_AWAY,  /* the store has not answered for too long, or never: as the limit says */
};

struct ledger_left {
	uint32_t remaining; /* tokens in this window as far as this node knows */
	uint64_t reset_ns;  /* when the window ends */
};

/* The proxy: the slot of a key, a new one when there was none; NULL: all are in use. May be called
 * by several workers at once. */
struct ledger_limit *ledger_limit_open(
	struct ledger *l, const struct ledger_limit_rule *rule, uint64_t now_ns);
/* One token. Whether or not there is one, the wish is counted, from which the state process sees
 * how much is wanted here. */
enum ledger_taken ledger_limit_take(
	struct ledger_limit *limit, uint64_t now_ns, struct ledger_left *ret_left);

/* The state process's side is in ledger/lease.h. */

/* --- figures: one slot for each version of a rollout that is called from here --- */

#define LEDGER_FIGURES	 256
#define LEDGER_LATENCIES 64 /* the last one has no upper bound */

struct ledger_figure; /* a slot */

struct ledger_sums {
	uint64_t calls, failed; /* since the slot was made */
	uint64_t latencies[LEDGER_LATENCIES];
};

/* The proxy: as ledger_limit_open(). */
struct ledger_figure *ledger_figure_open(
	struct ledger *l, const struct ledger_id *id, uint64_t now_ns);
void ledger_figure_add(struct ledger_figure *figure, bool failed, uint64_t latency_ns);
/* The state process: false, there is none. Numbers are of different moments, each never less than
 * before as long as the slot is the same. */
bool ledger_figure_read(struct ledger *l, const struct ledger_id *id, struct ledger_sums *ret_sums);
/* The upper bound of a bucket, ns; grows by about a fifth each from 0.1 ms on. */
uint64_t ledger_latency_bound_ns(uint32_t bucket);
