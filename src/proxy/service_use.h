/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine has under way to one service, all workers together, and how much of it may be
 * sent again. Plans share it by the service's name, so that it goes on from one to the next. */
#pragma once

#include "balance/breaker.h"
#include "balance/budget.h"
#include "mesh/identity.h"
#include "proxy/proxy.h"

struct call;
struct worker;

struct service_use {
	struct service_use *before; /* made before it; the control thread's, as: */
	uint32_t plan_count;	    /* that know the service */
	struct breaker breaker;
	struct budget budget;
	uint8_t name_len;
	char name[IDENTITY_SERVICE_MAX];
};

/* The plan's services get theirs: those of the plan before (NULL: none), or others. False: out of
 * memory. Control thread, as the next. */
bool service_uses_link(struct plan *plan, const struct plan *before) MUST_CHECK;
void service_uses_leave(struct plan *plan);

/* One that counts against a limit, from its taking to its giving. */
struct service_hold {
	struct service_use *use; /* NULL: none */
	struct worker *worker;
};

/* For a call of a local workload to a service of its plan (NULL: no service); of others nothing is
 * counted. False: it would be more than the service's limit, and is counted as refused. The hold is
 * empty before. */
bool service_hold_take(struct service_hold *h, struct worker *w, const struct call *c,
	const struct service *service, enum breaker_limit limit) MUST_CHECK;
/* The same, but nobody is refused yet. */
bool service_hold_try(struct service_hold *h, struct worker *w, const struct call *c,
	const struct service *service, enum breaker_limit limit) MUST_CHECK;
/* It may be empty. */
void service_hold_give(struct service_hold *h, enum breaker_limit limit);
