/* SPDX-License-Identifier: Apache-2.0 */
/* The choices that a route leaves: which rule, and which leg of it. */
#pragma once

#include "call.h"
#include "mesh/route.h"

/* The route that this call goes by; NULL: none. */
static inline const struct route *routing_of(const struct call *c)
{
	return c->picks ? c->dialled->route : NULL;
}
/* The leg that the request sticks to, or else whose turn it is in this worker; NULL: the rule has
 * none. */
const struct route_leg *routing_leg(struct worker *w, const struct route *route,
	const struct route_rule *rule, const struct route_request *request);
/* What the rule's fault does to the request whose turn it is in this worker: exact as a split is.
 */
struct routing_fault {
	uint32_t delay_ms;     /* 0: none */
	uint16_t abort_status; /* 0: none */
};
struct routing_fault routing_fault(
	struct worker *w, const struct route *route, const struct route_rule *rule);
/* Which of the rule's mirrors get a copy of the request whose turn it is in this worker, a bit for
 * each: exact as a split is. */
uint32_t routing_mirrors(
	struct worker *w, const struct route *route, const struct route_rule *rule);
/* Where the leg leads; its texts are the plan's. */
struct call_lead routing_lead(const struct call *c, const struct route_leg *leg);
/* With a rule that has retries: the service that was dialled has one more request, or one is to be
 * sent again. False: its budget is used up. */
void routing_count_request(struct worker *w, const struct call *c);
bool routing_may_retry(struct worker *w, const struct call *c) MUST_CHECK;
/* The worker's end. */
void routing_done(struct worker *w);
