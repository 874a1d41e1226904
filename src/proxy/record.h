/* SPDX-License-Identifier: Apache-2.0 */
/* What happened, told to the counters and the access log: each request once, each TCP connection at
 * its opening and its closing, its bytes also in between, each refusal with its one reason. */
#pragma once

#include "authorise.h"
#include "codec/http.h"

struct record_http {
	uint64_t start_ns, start_wall_ns;
	struct str method, path, authority, user_agent, request_id, route;
	const struct authorisation *authorisation; /* NULL: policy was not asked */
	struct str limit, shadow_limit;		   /* which refused, which would have; or empty */
	uint16_t status;
	enum reason reason;
	const char *details; /* instead of the reason's name, when not NULL */
	uint64_t request_bytes, response_bytes;
	uint32_t attempt_count;
	bool is_sent;	/* its head at least, at some try */
	bool is_mirror; /* a copy for a mirror: counted by itself */
};
void record_request(struct worker *w, struct call *c, const struct record_http *r);

/* Policy lets a call in, of itself or because what would refuse it is on trial: kept for those who
 * make policies of what there is. `http` as policy saw it; NULL: opaque bytes. */
void record_let_in(struct worker *w, const struct call *c, const struct route_request *http);

struct record_tcp {
	uint64_t start_ns, start_wall_ns;
	const struct authorisation *authorisation; /* NULL: policy was not asked */
	struct str route;			   /* the rule's name, or empty */
	struct str limit, shadow_limit;
	enum reason reason;
	const char *details;
	uint64_t received_bytes, sent_bytes;	       /* from and towards the client */
	uint64_t told_received_bytes, told_sent_bytes; /* of these counted before */
};
void record_tcp_open(struct worker *w, const struct call *c, const struct record_tcp *r);
/* Counts what has come since it was last counted. */
void record_tcp_bytes(struct worker *w, const struct call *c, const struct record_tcp *r);
void record_tcp_close(struct worker *w, const struct call *c, const struct record_tcp *r);
/* Never let in: one closing line, no series. */
void record_refused(struct worker *w, const struct call *c, const struct record_tcp *r);
