/* SPDX-License-Identifier: Apache-2.0 */
/* The first certificate of a machine, step by step:
 *
 *     LOOKING ─▶ MEETING ─▶ ENROLLING ─▶ LISTS ─▶ DONE
 *        │          │         │ ▲
 *        │          │         └─┘ not yet: after a wait
 *        └──────────┴──────────┴──────────┴─────▶ FAILED
 *
 * LOOKING asks whoever answers for the anchors, and sends nothing but that; of what comes, only the
 * one anchor of the fingerprint is believed. MEETING asks again, on a connection to a server that
 * this anchor vouches for, so that what else is published is not somebody else's. The token is sent
 * in ENROLLING only, on that same connection. What is got is put on disk in the end: anchors first.
 * Whatever step it ends at, the next run goes on: the key is pending and the same, and so is the
 * request that the authority sees. */
#pragma once

#include "keys/keep.h"
#include "link.h"
#include <stdio.h>

#define JOIN_KINDS 2 /* task kinds, from kind_first on, a multiple of it */
/* "Too much to do" so often, and it is given up; approval by hand is waited for. */
#define JOIN_TRIES_MAX	10
#define JOIN_WAIT_MIN_S 5
#define JOIN_WAIT_MAX_S 3600

enum join_state {
	JOIN_LOOKING,
	JOIN_MEETING,
	JOIN_ENROLLING,
	JOIN_LISTS,
	JOIN_DONE,
	JOIN_FAILED,
	JOIN_STATE_COUNT
};

/* All of it outlives the join. */
struct join_settings {
	const struct str *servers;
	uint32_t server_count;
	struct str label, fingerprint;
	struct str node, trust_domain; /* "vm-a", "prod.example" */
	struct str token;
	struct keep *keep;
	FILE *out; /* progress, a line each */
};

struct join;

int join_new(struct loop *loop, uint16_t kind_first, const struct join_settings *settings,
	struct join **ret_join, struct err *err) MUST_CHECK;
void join_step(struct task *t);
/* DONE and FAILED: nothing moves any more, and it can be freed. */
enum join_state join_state(const struct join *j);
/* When FAILED: why, and what to do. */
const char *join_why(const struct join *j);
/* Ends it: FAILED, once its socket is closed. */
void join_close(struct join *j);
void join_free(struct join *j);
