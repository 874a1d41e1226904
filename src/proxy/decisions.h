/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's last decisions: two rings, so that many requests that are let in do not push out the
 * few that are not. Fixed size, nothing is allocated and nothing waits where they are written. */
#pragma once

#include "proxy/decision.h"
#include "record.h"

struct decision_ring {
	struct decision at[DECISION_KEPT_MAX];
	uint64_t count; /* that there ever were */
};
struct decisions {
	struct decision_ring let_in, others;
};

/* NULL: out of memory. */
struct decisions *decisions_new(void);
void decisions_free(struct decisions *decisions);

void decisions_add_http(struct worker *w, const struct call *c, const struct record_http *r);
void decisions_add_tcp(struct worker *w, const struct call *c, const struct record_tcp *r);
/* Those of the id that a report asks about, the newest first, and how far back it goes. */
void decisions_report(const struct worker *w, struct report *report);
