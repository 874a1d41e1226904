/* SPDX-License-Identifier: Apache-2.0 */
/* What this worker knows of the endpoints that it calls: kept by the service's name from one plan
 * to the next, made with the first call to one of the service's own addresses. */
#pragma once

#include "call.h"

/* The endpoints' figures under the call's plan; NULL: the plan is not the current one any more, or
 * there is no memory, and nothing is known. */
struct crowd *balancer_crowd(struct worker *w, const struct call *c, const struct service *service);
/* The endpoint that was picked has one more call. */
void balancer_begin(struct worker *w, struct load_call *call, struct crowd *crowd,
	const struct service *service, const struct endpoint *e);
/* How it went: the first time decides. A reason that is not the endpoint's doing says nothing. */
void balancer_judge(struct worker *w, struct load_call *call, enum outlier_verdict verdict);
void balancer_judge_reason(struct worker *w, struct load_call *call, enum reason reason);
/* Under a new plan: some of worker.stale_crowds follow it, or go. So many of them at most, and no
 * further one once about so many endpoints have been looked at. */
void balancer_look_again(struct worker *w, uint32_t max, uint32_t endpoint_max);
/* What is known of those that it asks for. */
void balancer_report(struct worker *w, struct report *report);
/* The worker's end. */
void balancer_done(struct worker *w);
