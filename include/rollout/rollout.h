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
 *                  │   │  └── last step good, or promoted ──▶ DONE: all calls to `to`
 *                  │   └── figures bad, or aborted ──▶ ROLLED_BACK: all calls to `from`
 *                  └── not to be told whose fault it is, as the rule says ◀──▶ HELD: as it is */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define ROLLOUT_STEPS_MAX 20
#define ROLLOUT_WHY_MAX	  200

/* The operator's word. */
enum rollout_order {
	ROLLOUT_RUN,
	ROLLOUT_PAUSE,	 /* stays at its step, whatever the figures; 0 % before the first */
	ROLLOUT_PROMOTE, /* all to `to`, at once */
	ROLLOUT_ABORT,	 /* all to `from`, at once */
};

struct rollout_rule {
	struct str service, from, to;	  /* versions */
	uint64_t attempt;		  /* one more begins the same anew */
	uint8_t steps[ROLLOUT_STEPS_MAX]; /* percent, rising, the last 100 */
	uint32_t step_count;
	uint32_t every_ms;	 /* a step's time, at least */
	uint32_t success_tenths; /* 995: of 1,000 calls so many must be served; 0: not asked */
	uint32_t p99_ms;	 /* 0: not asked */
	uint32_t calls_min;	 /* of the new version in a step, before it is judged */
	enum rollout_order order;
};

enum rollout_state {
	ROLLOUT_STEPPING,
	ROLLOUT_HELD,
	ROLLOUT_DONE,
	ROLLOUT_ROLLED_BACK,
};

struct rollout_progress {
	uint64_t attempt; /* of the rule that it belongs to; of another, it is none */
	struct str from, to;
	enum rollout_state state;
	uint32_t step;	   /* index; STEPPING, HELD */
	uint64_t since_ms; /* by the store's clock: of the step */
	struct str node;   /* that carries it on */
	struct str why;	   /* of the last change, for people */
};

/* What share of the calls goes to `to` now, in percent. `progress` NULL: none is known: 0, as
 * before the first step. */
uint32_t rollout_percent(const struct rollout_rule *rule, const struct rollout_progress *progress);
