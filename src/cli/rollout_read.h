/* SPDX-License-Identifier: Apache-2.0 */
/* What the store holds of rollouts: the signed objects, how far they are, and what the nodes that
 * carry them on think. */
#pragma once

#include "published.h"
#include "rollout/rollout.h"

struct rollout_known {
	const struct object *object;
	bool is_rule; /* else why says what is wrong with the object */
	struct err why;
	struct rollout_rule rule;
	/* the last entry of the stream, whether or not it belongs to the rule */
	bool has_entry;
	struct rollout_progress entry;
	/* the connection broke on the stream, as on one that is longer than any that is ours: what
	 * the service's machines know is not known here */
	bool is_unread;
	struct err unread_why;
	bool is_judged; /* the node that carries it on has told lately what it thinks */
	struct rollout_judged judged;
};

struct rollouts {
	struct published published; /* with its nodes */
	struct rollout_known *all;  /* by service; in published.arena */
	uint32_t count;
	uint64_t now_ms; /* the store's clock */
	/* of the service that is asked about, whether or not it has an object now: the attempt that
	 * was last written of; 0: none */
	uint64_t last_attempt;
};

/* `service`: that is asked about; empty: none. -errno with err; rollout_read_done() is due if it is
 * 0. */
int rollout_read_all(struct publisher *p, struct str service, struct rollouts *ret_rollouts,
	struct err *err) MUST_CHECK;
void rollout_read_done(struct rollouts *r);
/* NULL: the service has none. */
const struct rollout_known *rollout_read_find(const struct rollouts *r, struct str service);
/* How far it is, or NULL: nobody has begun. */
const struct rollout_progress *rollout_known_progress(const struct rollout_known *k);
/* It is neither done nor rolled back. */
bool rollout_known_is_open(const struct rollout_known *k);
