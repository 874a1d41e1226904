/* SPDX-License-Identifier: Apache-2.0 */
/* What a caller may at best, when nothing is known of what it will ask. */
#include "policy_private.h"

bool policy_is_weighed_for_caller(const struct policy *p)
{
	return p->mode == POLICY_ENFORCED &&
	       (p->action == POLICY_ALLOW || (p->action == POLICY_DENY && !policy_asks_http(p)));
}

/* An allow rule may turn out to match whatever it asks of the request; a deny rule that asks
 * anything of it may turn out not to. */
void policy_judge_caller(struct policy_weighed *weighed, const struct service *service,
	uint32_t place, const struct policy_asked *asked)
{
	const struct policy *p = service->policies[place];
	uint32_t rank;
	weighed->steps++;
	if (policy_is_weighed_for_caller(p) && policy_matches_caller(p, asked, &rank))
		policy_weigh(&weighed->enforced, p, place, rank);
}

bool policy_might_allow(const struct snapshot *s, const struct service *service,
	const struct policy_request *request)
{
	struct policy_weighed weighed = {0};
	const struct policy_asked asked = {.request = request};
	if (service->policy_index) {
		policy_index_ask_caller(&weighed, service, request);
	} else {
		for (uint32_t i = 0; i < service->policy_count; i++) {
			policy_count_allows(&weighed, service->policies[i]);
			policy_judge_caller(&weighed, service, i, &asked);
		}
	}
	weighed.whole = weighed.enforced;
	return policy_conclude(s, service, request, &weighed).allowed;
}
