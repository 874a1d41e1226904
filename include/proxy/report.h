/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker knows of endpoints from its own calls, and has decided lately: the control thread
 * hands it a report to fill in, which it does in its loop, between two turns, and gives it back.
 * Nothing is shared meanwhile.
 */
#pragma once

#include "balance/outlier.h"
#include "base/address.h"
#include "mesh/identity.h"
#include "proxy/decision.h"
#include <stdbool.h>
#include <stdint.h>

struct worker;

/* A worker looks at so many crowds and endpoints for one report. */
#define REPORT_ROWS_MAX 4096

struct report_row {
	uint8_t service_len;
	char service[IDENTITY_SERVICE_MAX];
	struct address address;
	uint32_t calls; /* under way */
	bool is_known;	/* it has answered, or failed to */
	uint64_t latency_ns;
	enum outlier_state state;
	enum outlier_cause cause; /* not IN */
	uint64_t left_ns;	  /* OUT: until a call may be the probe */
};

struct report_service {
	uint8_t len;
	char name[IDENTITY_SERVICE_MAX];
	uint32_t calls; /* told: under way, also to endpoints that have left */
};
#define REPORT_SERVICES_MAX 16

/* About one request, or one opaque connection. */
struct report_decisions {
	uint8_t id_len; /* asked; 0: about none */
	char id[DECISION_ID_MAX];
	/* told: */
	uint32_t found_count;
	struct decision found[DECISION_FOUND_MAX];
	/* since when all are kept, but those let in; and those; 0: all that there were */
	uint64_t since_ns, let_in_since_ns;
};

struct seen_view;

struct report {
	/* asked: of these; of none: of all endpoints that are ejected */
	uint32_t service_count;
	struct report_service services[REPORT_SERVICES_MAX];
	struct report_decisions decisions;
	/* asked: room for what was let in, from malloc(), the report's own; told: that; NULL: not
	 * asked */
	struct seen_view *seen;
	/* told: */
	bool is_cut; /* there were more */
	uint32_t row_count;
	struct report_row rows[REPORT_ROWS_MAX];
	bool is_abandoned; /* the control thread's: nobody waits for it any more */
};

/* NULL: out of memory. */
struct report *report_new(const struct str *services, uint32_t count);
void report_free(struct report *r);

/* From the control thread, one report at a time. False: the worker has another one. */
bool worker_ask(struct worker *w, struct report *report) MUST_CHECK;
/* It is filled in, and the caller's again. */
bool worker_has_answered(struct worker *w, struct report *report) MUST_CHECK;
/* The caller does not wait any longer: it is freed once the worker has given it back. */
void report_forget(struct report *r);
