/* SPDX-License-Identifier: Apache-2.0 */
/* One request and the limits of the service that it is for: asked once, on the service's own
 * machine, after policy. Responses tell how much is left, in the three fields of
 * draft-ietf-httpapi-ratelimit-headers as they were up to its sixth version: RateLimit-Limit (what
 * a full bucket holds), RateLimit-Remaining and RateLimit-Reset (seconds until it is full, rounded
 * up), of the limit that has least left; a refusal also Retry-After. What a workload says there of
 * its own limits stays. */
#pragma once

#include "exchange.h"
#include "limiter.h"

struct exchange_limit {
	struct str name;   /* of the limit that refused, else that has least left; empty: none */
	struct str shadow; /* the first that would have refused; empty: none */
	struct str body;   /* of the answer, if refused */
	bool is_counted;   /* by one that is in force: the rest is meant */
	uint64_t quota, remaining, reset_s, retry_s;
};

/* NONE, or RATE_LIMITED, or OVERLOAD. For another machine's workload: its own machine asks. */
enum reason exchange_ask_limits(struct exchange *x);
/* The limit that refused it, for the access log; or empty. */
struct str exchange_limit_named(const struct exchange *x);
/* Adds what is left, as far as there is room for more headers. */
void exchange_limit_response(const struct exchange *x, struct http_head *head);
/* What a refusal says, and what its headers tell; how many of them. */
#define EXCHANGE_LIMIT_HEADERS 4
const char *exchange_limit_text(const struct exchange *x);
uint16_t exchange_limit_refusal(
	struct exchange *x, struct http_header ret_headers[EXCHANGE_LIMIT_HEADERS]);

/* Tells the other machine the rule that the request goes by, when a limit there is by it, and
 * nothing else of that name. */
enum reason exchange_tell_route(struct exchange *x);
