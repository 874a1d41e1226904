/* SPDX-License-Identifier: Apache-2.0 */
/* How one version of a service takes over from another: step by step, each judged by what callers
 * saw of both. Pure.
 *
 * Operators say in a signed object what may happen (struct rollout_rule). How far it is
 * (struct rollout_progress) is written by whichever node carries the rollout on, and unsigned: a
 * node can choose no other percentage than one of the rule's steps, none of another service, and
 * nothing against the operator's order, which counts whatever the progress says.
 *
 *                    ┌── figures good, step's time over: the next step ──┐
 *                    ▼                                                   │
 *      (none) ──▶ STEPPING ──────────────────────────────────────────────┘
 *                  │ │ │  └── last step good ──▶ DONE: all calls to `to`
 *                  │ │ └── figures bad ──▶ ROLLED_BACK: all calls to `from`
 *                  │ └── both versions are bad ◀──▶ HELD: stays as it is
 *                  └── the operator's word ◀──▶ PAUSED: stays as it is
 *
 * From everywhere: promoted ──▶ DONE, aborted ──▶ ROLLED_BACK. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define ROLLOUT_STEPS_MAX 20
#define ROLLOUT_WHY_MAX	  200 /* bytes */
#define ROLLOUT_WORD_MAX  63  /* bytes of a service, version, node */

/* The operator's word. */
enum rollout_order {
	ROLLOUT_RUN,
	ROLLOUT_PAUSE,	 /* stays at its step, whatever the figures; 0 % before the first */
	ROLLOUT_PROMOTE, /* all to `to`, at once */
	ROLLOUT_ABORT,	 /* all to `from`, at once */
};
const char *rollout_order_name(enum rollout_order order); /* "run" */

struct rollout_rule {
	struct str service, from, to;	  /* versions */
	uint64_t attempt;		  /* one more begins the same anew */
	uint8_t steps[ROLLOUT_STEPS_MAX]; /* percent, rising, the last 100 */
	uint32_t step_count;		  /* at least 1 */
	uint32_t every_ms;		  /* a step's time, at least */
	uint32_t success_tenths; /* 995: of 1,000 calls so many must be served; 0: not asked */
	uint32_t p99_ms;	 /* 0: not asked */
	uint32_t calls_min;	 /* of the new version in a step, before it goes on */
	enum rollout_order order;
};

enum rollout_state {
	ROLLOUT_STEPPING,
	ROLLOUT_PAUSED,
	ROLLOUT_HELD,
	ROLLOUT_DONE,
	ROLLOUT_ROLLED_BACK,
};
const char *rollout_state_name(enum rollout_state state); /* "rolled-back" */

struct rollout_progress {
	uint64_t attempt;
	struct str from, to;
	enum rollout_state state;
	uint32_t step;	   /* index; of DONE and ROLLED_BACK the last one that it was in */
	uint64_t since_ms; /* by the store's clock: of the step, or of the state */
	struct str node;   /* that carries it on */
	struct str why;	   /* of the last change, for people; printable, no line end */
};

/* Whether it is of this rule: of this attempt, these versions, and one of its steps, unless it is
 * over, which it stays whatever the steps are now. What is not is as good as none. */
bool rollout_belongs(const struct rollout_rule *rule, const struct rollout_progress *progress);
/* What share of the calls goes to `to` now, in percent. `progress` NULL: none is known: 0, as
 * before the first step. */
uint32_t rollout_percent(const struct rollout_rule *rule, const struct rollout_progress *progress);

/* --- figures --- */

/* As the ledger has them: LEDGER_LATENCIES. */
#define ROLLOUT_LATENCIES 64

/* What callers saw of one version. Only ever grows, from any number on. */
struct rollout_sums {
	uint64_t calls, failed;
	uint64_t latencies[ROLLOUT_LATENCIES]; /* by their upper bounds; the last one has none */
};
struct rollout_figures {
	struct rollout_sums to, from;
};

/* Adds to the total what a node has told now and had not told before (NULL: it is heard for the
 * first time; nothing is added, for it is not known of when it is). Numbers that went back are
 * those of a slot that was begun anew: all of it is added. No sum of hostile numbers runs over. */
void rollout_figures_add(struct rollout_figures *total, const struct rollout_figures *before,
	const struct rollout_figures *now);

/* In short, of one version since the step began. */
struct rollout_tally {
	uint64_t calls, failed;
	uint64_t p99_us; /* 0: no call */
};
/* `bounds_ns`: upper bounds of the buckets, rising. */
struct rollout_tally rollout_tally(
	const struct rollout_sums *sums, const uint64_t bounds_ns[ROLLOUT_LATENCIES]);

/* --- the machine --- */

/* What the node that carries a rollout on remembers from look to look. All zero: nothing, as after
 * it has begun or could not write. Its memory is nobody else's: with the node that carries on, a
 * step's time and figures begin anew. */
struct rollout_watch {
	bool is_begun;
	uint64_t attempt, since_ms; /* whose it is: of the progress ... */
	uint32_t step;
	enum rollout_state state;
	struct rollout_figures begun;	  /* totals as the step began */
	struct rollout_figures recent[2]; /* totals of the last moments, the older first */
	/* what the old version was like when it last had enough calls, in a step before: to compare
	 * with where it has none, at 100 % */
	struct rollout_sums old;
	uint64_t recent_ms;  /* when the newer was taken */
	uint64_t counted_ms; /* of the step's time, with fresh figures */
	uint64_t looked_ms;  /* 0: figures were not fresh then */
};

/* What is known at a look. */
struct rollout_seen {
	uint64_t now_ms; /* the store's clock */
	/* of all nodes, by rollout_figures_add() at each look; from zero on, or any number */
	const struct rollout_figures *total;
	const uint64_t *bounds_ns; /* ROLLOUT_LATENCIES */
	/* nodes whose figures are fresh and have this attempt; nodes of the mesh whose are not */
	uint32_t told_count, silent_count;
};

/* What the node that carries it on thinks, for `rollout status`. */
struct rollout_judged {
	uint32_t step;
	uint64_t counted_ms;
	struct rollout_tally to, from;
	struct str why; /* it does not go on yet; printable */
};

struct rollout_turn {
	bool moves;		      /* `next` is to be written, in place of what there was */
	struct rollout_progress next; /* `node` is left empty; texts are of the rule and of `why` */
	struct rollout_judged judged;
	char why[ROLLOUT_WHY_MAX + 1]; /* what both say */
};

/* One look, every few seconds. `progress` NULL: there is none. Without figures (told_count 0) it
 * obeys the operator and waits otherwise. Texts of `progress` must not be those of *ret_turn. */
void rollout_look(const struct rollout_rule *rule, const struct rollout_progress *progress,
	struct rollout_watch *watch, const struct rollout_seen *seen,
	struct rollout_turn *ret_turn);

/* --- as text, in the store and in the picture --- */

/*     rollout 1                      the format
 *     attempt 7
 *     from v1
 *     to v2
 *     state stepping
 *     step 2
 *     since 1764236129123
 *     node vm-a
 *     why 5 % was good for 1m: 1200 calls, 99.92 % served
 *
 * Unknown words begin lines of newer versions: they are passed over. */
#define ROLLOUT_TEXT_MAX 1024
/* Into `text`; returns its span. What does not print in `why` becomes '?'. */
struct str rollout_progress_write(
	const struct rollout_progress *progress, char text[ROLLOUT_TEXT_MAX]);
/* Spans are of `text`. -EINVAL with the line that is wrong. */
int rollout_progress_parse(
	struct str text, struct rollout_progress *ret_progress, struct err *err) MUST_CHECK;

/* What a node tells of one rollout: it does so as soon as the rollout is in force there, even if
 * nothing is called. */
struct rollout_told {
	struct str service;
	uint64_t attempt;
	struct rollout_figures figures;
	bool is_judged; /* it carries the rollout on: */
	struct rollout_judged judged;
};
#define ROLLOUT_TOLD_MAX       128
#define ROLLOUT_TOLD_BYTES_MAX 524288

/*     figures 1
 *     rollout orders 7
 *     to 1204 3 17=1000 18=204       calls, failed, latencies
 *     from 24004 3 16=24004
 *     judged 2 61000                 step, counted ms
 *     judged-to 50 0 180000          calls, failed, p99 us
 *     judged-from 950 1 170000
 *     why 50 of 100 calls
 *
 * at == NULL: the arena is exhausted, or there is too much of it. */
struct str rollout_told_text(
	struct arena *arena, const struct rollout_told *told, uint32_t told_count);
/* Everything into the arena. -EINVAL, nothing taken half; -ENOMEM. */
int rollout_told_parse(struct str text, struct arena *arena, struct rollout_told **ret_told,
	uint32_t *ret_count, struct err *err) MUST_CHECK;
