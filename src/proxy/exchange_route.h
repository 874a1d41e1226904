/* SPDX-License-Identifier: Apache-2.0 */
/* One request by the rule that it goes by: chosen once, before its first try. What is needed of the
 * rule later on is copied, since the plan that it stands in may go meanwhile. */
#pragma once

#include "exchange.h"
#include "mesh/route.h"
#include "routing.h"

enum exchange_delay {
	EXCHANGE_DELAY_NONE,
	EXCHANGE_DELAY_DUE,
	EXCHANGE_DELAY_TAKEN, /* it has begun; x->again_ns is its end */
};

struct exchange_route {
	struct str name; /* of the rule */
	struct call_lead lead;
	uint32_t timeout_ms; /* 0: the node's */
	struct route_retry retry;
	uint32_t retry_count;	    /* so far */
	struct route_edit response; /* what is changed in its headers */
	struct str path, authority; /* as they were asked for */
	struct http_head *answer;   /* in place of the service's; NULL: it is forwarded */
	struct str answer_body;
	struct call_lead *mirrors; /* those that get a copy, once it is sent */
	uint32_t mirror_count;
	struct list gathering;	   /* of struct mirror, while the request is read */
	enum exchange_delay delay; /* by the rule's fault */
	struct routing_fault fault;
};

/* What the request is, for rules and limits. */
struct route_request exchange_facts(const struct exchange *x);
/* What is asked of policy for it. `ret_request` holds part of that. */
struct authorise_asks exchange_asks(
	struct exchange *x, const struct plan *plan, struct route_request *ret_request);
/* The same facts of any head. */
struct route_request exchange_head_facts(struct str source_id, const struct http_head *head);
/* Of a call that has a route: what the caller's own proxy answers, or what becomes of the request.
 * The path is in normal form. */
enum reason exchange_choose(struct exchange *x);
/* One of the endpoints that its call, or the rule, leads to. */
enum reason exchange_pick(struct exchange *x);
/* The rule was chosen, and is not asked again. */
bool exchange_is_chosen(const struct exchange *x);
/* Writes its route's answer. False, with no harm done: there is no room now. */
bool exchange_write_answer(struct exchange *x) MUST_CHECK;
/* Changes a response's headers, as the rule wants it. False: there is no room for more. */
bool exchange_edit_response(struct exchange *x, struct http_head *head) MUST_CHECK;
