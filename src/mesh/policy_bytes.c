/* SPDX-License-Identifier: Apache-2.0 */
/* Opaque bytes to a service whose rules ask for what only HTTP has. */
#include "mesh/policy.h"

/* The first rules that ask for more of a request than bytes have; NULL: none. */
struct policy_need {
	const struct policy *enforced, *audited;
};

static struct policy_need policy_need_http(const struct service *service)
{
	struct policy_need need = {NULL, NULL};
	for (uint32_t i = 0; i < service->policy_count && !need.enforced; i++) {
		const struct policy *p = service->policies[i];
		if (p->action == POLICY_AUDIT || !policy_asks_http(p))
			continue;
		if (p->mode == POLICY_ENFORCED)
			need.enforced = p;
		else if (!need.audited)
			need.audited = p;
	}
	return need;
}

const struct policy *policy_check_bytes(
	const struct snapshot *s, const struct service *service, struct policy_verdict *v)
{
	struct policy_need need = policy_need_http(service);
	const struct policy *by = need.enforced ? need.enforced : need.audited;
	if (!by || (v->policy && !v->allowed && !policy_asks_http(v->policy)))
		return NULL;
	if (need.enforced && !s->is_audited) {
		by = v->allowed || !v->policy ? by : v->policy;
		*v = (struct policy_verdict){.policy = v->policy, .by = v->by};
		return by;
	}
	if (v->allowed && !v->would_deny) {
		v->would_deny = true;
		v->audited = by;
	}
	return NULL;
}
