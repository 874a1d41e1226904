/* SPDX-License-Identifier: Apache-2.0 */
/* What became of one request or one opaque connection, kept for a while by the worker that had it:
 * who asked for what, and which rule let it in or refused it. */
#pragma once

#include "base/address.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

/* What is kept of it in words, the most needful first: of what does not fit the end is cut. */
enum decision_text {
	DECISION_ID, /* of the request; none of opaque bytes */
	DECISION_SERVICE,
	DECISION_POLICY, /* the rule, or "default"; empty: nobody was asked here */
	DECISION_WHERE,
	DECISION_AUDITED, /* it would have been refused by this one; empty: by none */
	DECISION_AUDITED_WHERE,
	DECISION_NOTED, /* the audit rule that matches; empty: none */
	DECISION_NOTED_WHERE,
	DECISION_SOURCE, /* the caller's identity; empty: none */
	DECISION_METHOD,
	DECISION_HOST,
	DECISION_PATH, /* without its query */
	DECISION_DETAILS,
};
#define DECISION_TEXTS	   (DECISION_DETAILS + 1)
#define DECISION_BYTES	   320
#define DECISION_TEXT_MAX  160
#define DECISION_ID_MAX	   64
#define DECISION_FOUND_MAX 8	/* of one id: it goes with a request through the mesh */
#define DECISION_KEPT_MAX  1024 /* by a worker, of those let in, and of the others */

struct decision {
	uint64_t wall_ns;     /* when it was recorded */
	uint64_t connection;  /* its number in the access log */
	uint64_t plan_number; /* of the plan that it was decided by */
	const char *reason,
		*reason_text; /* "POLICY_DENIED", and that for people; not of the plan */
	struct address client, upstream;
	uint16_t port;	 /* of the workload that it was for; 0: none of this machine */
	uint16_t status; /* of the response; 0: none, or opaque bytes */
	bool is_http, is_outbound;
	bool is_here;	 /* decided by this machine; else by that at `upstream` */
	bool is_refused; /* by policy */
	bool is_mirror;
	bool is_cut;   /* of who, whom or what: what it would come to now cannot be told */
	uint16_t used; /* of the text */
	uint8_t lens[DECISION_TEXTS];
	char text[DECISION_BYTES];
};

static inline struct str decision_text(const struct decision *d, enum decision_text which)
{
	size_t start = 0;
	for (int i = 0; i < (int)which; i++)
		start += d->lens[i];
	return (struct str){d->text + start, d->lens[which]};
}
/* Texts are put in the order of their enum, each once at most. */
void decision_put(struct decision *d, enum decision_text which, struct str value);
