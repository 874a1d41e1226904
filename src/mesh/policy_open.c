/* SPDX-License-Identifier: Apache-2.0 */
/* Whether anything depends on a token that nobody has looked at: rules that ask for one are weighed
 * by themselves, as though it said what they ask for, and then with the others and without them.
 * What a good one says makes some of them match, so that the verdict is one of those between. */
#include "policy_private.h"

static void policy_weigh_best(struct policy_weighing *w, const struct policy_weighing *more)
{
	if (more->policy)
		policy_weigh(w, more->policy, more->place, more->rank);
}

static void policy_weigh_more(struct policy_weighed *weighed, const struct policy_weighed *more)
{
	policy_weigh_best(&weighed->enforced, &more->enforced);
	policy_weigh_best(&weighed->whole, &more->whole);
	if (more->noted && (!weighed->noted || more->noted_place < weighed->noted_place)) {
		weighed->noted = more->noted;
		weighed->noted_place = more->noted_place;
	}
}

static void policy_weigh_open(struct policy_weighed *weighed, struct policy_open *open,
	const struct service *service, const struct policy_request *request)
{
	struct policy_asked asked = policy_asked_of(request);
	asked.open = open;
	if (service->policy_index) {
		policy_index_ask(weighed, open, service, request);
		return;
	}
	for (uint32_t i = 0; i < service->policy_count; i++) {
		policy_count_allows(weighed, service->policies[i]);
		policy_judge(weighed, service, i, &asked);
	}
}

static bool policy_is_by_token(const struct policy *p)
{
	return p && p->token.is_wanted;
}

bool policy_wants_token(const struct snapshot *s, const struct service *service,
	const struct policy_request *request, struct policy_verdict *ret_verdict)
{
	struct policy_weighed without = {0}, most;
	struct policy_open open = {0};
	policy_weigh_open(&without, &open, service, request);
	most = without;
	policy_weigh_more(&most, &open.allow);
	policy_weigh_more(&without, &open.rest);
	*ret_verdict = policy_conclude(s, service, request, &without);
	if (!ret_verdict->allowed)
		return policy_conclude(s, service, request, &most).allowed;
	policy_weigh_more(&most, &open.rest);
	return policy_is_by_token(most.enforced.policy) || policy_is_by_token(most.whole.policy) ||
	       policy_is_by_token(most.noted);
}
