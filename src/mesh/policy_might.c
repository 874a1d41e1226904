/* SPDX-License-Identifier: Apache-2.0 */
/* What a caller may at best, when nothing is known of what it will ask. */
#include "policy_private.h"

/* With all that a rule asks of a request taken away: who calls and the port remain. */
static struct policy policy_of_bytes(const struct policy *p)
{
	struct policy bytes = *p;
	bytes.to.path_count = bytes.to.method_count = bytes.to.host_count = 0;
	bytes.not_to.path_count = bytes.not_to.method_count = bytes.not_to.host_count = 0;
	bytes.headers.count = 0;
	bytes.token.is_wanted = false;
	return bytes;
}

/* An allow rule may turn out to match whatever it asks of the request; a deny rule that asks
 * anything of it may turn out not to. */
static bool policy_might_match(
	const struct policy *p, const struct policy_request *request, uint32_t *ret_rank)
{
	const struct policy bytes = policy_of_bytes(p);
	return p->action != POLICY_AUDIT && p->mode == POLICY_ENFORCED &&
	       (p->action == POLICY_ALLOW || !policy_asks_http(p)) &&
	       policy_matches(&bytes, request, ret_rank);
}

bool policy_might_allow(const struct snapshot *s, const struct service *service,
	const struct policy_request *request)
{
	struct policy_weighed weighed = {0};
	const struct policy_request bytes = {
		.source_id = request->source_id, .client = request->client, .port = request->port};
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct policy *p = service->policies[i];
		uint32_t rank;
		policy_count_allows(&weighed, p);
		if (policy_might_match(p, &bytes, &rank))
			policy_weigh(&weighed.enforced, p, i, rank);
	}
	weighed.whole = weighed.enforced;
	return policy_conclude(s, service, &bytes, &weighed).allowed;
}
