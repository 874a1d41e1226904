/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing is judged here: a rule is taken apart into rules of one condition each, and those are
 * asked of the function that decides. So it cannot say otherwise. */
#include "mesh/policy_explain.h"

#include "policy_private.h"

uint32_t policy_condition_count(const struct policy *p, enum policy_condition condition)
{
	const struct policy_token_rule *t = &p->token;
	switch (condition) {
	case POLICY_NO_CONDITION:
		return 0;
	case POLICY_FROM:
		return p->from_count > 0 || p->action == POLICY_ALLOW;
	case POLICY_NOT_FROM:
		return p->not_from_count;
	case POLICY_PORTS:
		return p->to.port_count > 0;
	case POLICY_NOT_PORTS:
		return p->not_to.port_count;
	case POLICY_METHODS:
		return p->to.method_count > 0;
	case POLICY_NOT_METHODS:
		return p->not_to.method_count;
	case POLICY_PATHS:
		return p->to.path_count > 0;
	case POLICY_NOT_PATHS:
		return p->not_to.path_count;
	case POLICY_HOSTS:
		return p->to.host_count > 0;
	case POLICY_NOT_HOSTS:
		return p->not_to.host_count;
	case POLICY_HEADER:
		return p->headers.count;
	case POLICY_TOKEN:
		return t->is_wanted;
	case POLICY_ISSUERS:
		return t->is_wanted && t->issuer_count > 0;
	case POLICY_AUDIENCES:
		return t->is_wanted && t->audience_count > 0;
	case POLICY_CLAIM:
		return t->is_wanted ? t->claims.count : 0;
	}
	return 0;
}

/* One list of them, or one item of it. */
static struct policy_operations policy_list_alone(
	const struct policy_operations *o, enum policy_condition list, const uint32_t *index)
{
	struct policy_operations one = {0};
	uint32_t first = index ? *index : 0;
	if (list == POLICY_PORTS) {
		one.ports = o->ports + first;
		one.port_count = index ? 1 : o->port_count;
	} else if (list == POLICY_METHODS) {
		one.methods = o->methods + first;
		one.method_count = index ? 1 : o->method_count;
	} else if (list == POLICY_PATHS) {
		one.paths = o->paths + first;
		one.path_count = index ? 1 : o->path_count;
	} else {
		one.hosts = o->hosts + first;
		one.host_count = index ? 1 : o->host_count;
	}
	return one;
}

/* A rule that asks for this and nothing else, not even for a caller. */
static struct policy policy_alone(
	const struct policy *p, enum policy_condition condition, uint32_t index)
{
	static struct source anybody[] = {{.kind = SOURCE_ANY}, {.kind = SOURCE_ANONYMOUS}};
	struct policy one = {.from = anybody, .from_count = ARRAY_LEN(anybody)};
	one.token.is_wanted = condition >= POLICY_TOKEN;
	switch (condition) {
	case POLICY_NO_CONDITION:
	case POLICY_TOKEN:
		break;
	case POLICY_FROM:
		one.from = p->from;
		one.from_count = p->from_count;
		break;
	case POLICY_NOT_FROM:
		one.not_from = &p->not_from[index];
		one.not_from_count = 1;
		break;
	case POLICY_PORTS:
	case POLICY_METHODS:
	case POLICY_PATHS:
	case POLICY_HOSTS:
		one.to = policy_list_alone(&p->to, condition, NULL);
		break;
	case POLICY_NOT_PORTS:
	case POLICY_NOT_METHODS:
	case POLICY_NOT_PATHS:
	case POLICY_NOT_HOSTS:
		one.not_to = policy_list_alone(
			&p->not_to, (enum policy_condition)(condition - 1), &index);
		break;
	case POLICY_HEADER:
		one.headers = (struct route_fields){&p->headers.at[index], 1};
		break;
	case POLICY_ISSUERS:
		one.token.issuers = p->token.issuers;
		one.token.issuer_count = p->token.issuer_count;
		break;
	case POLICY_AUDIENCES:
		one.token.audiences = p->token.audiences;
		one.token.audience_count = p->token.audience_count;
		break;
	case POLICY_CLAIM:
		one.token.claims = (struct route_fields){&p->token.claims.at[index], 1};
		break;
	}
	return one;
}

/* What cannot be known matches a rule that denies, and none that allows. Without `from` the one is
 * for everybody, and the other for identities: that is asked as it is. */
static enum policy_truth policy_ask_alone(const struct policy *p, enum policy_condition condition,
	uint32_t index, const struct policy_asked *asked)
{
	uint32_t rank;
	struct policy one = policy_alone(p, condition, index);
	one.action = one.from_count > 0 ? POLICY_DENY : p->action;
	bool may_be = policy_matches(&one, asked, &rank);
	one.action = one.from_count > 0 ? POLICY_ALLOW : p->action;
	bool is_so = policy_matches(&one, asked, &rank);
	return is_so ? POLICY_TRUE : may_be ? POLICY_UNKNOWN : POLICY_FALSE;
}

struct policy_finding policy_find(const struct policy *p, const struct policy_request *request)
{
	const struct policy_asked asked = policy_asked_of(request);
	struct policy_finding f = {0};
	f.matches = policy_matches(p, &asked, &f.rank);
	for (int c = POLICY_FROM; c < POLICY_CONDITIONS; c++) {
		enum policy_condition condition = (enum policy_condition)c;
		uint32_t count = policy_condition_count(p, condition);
		for (uint32_t i = 0; i < count; i++) {
			enum policy_truth truth = policy_ask_alone(p, condition, i, &asked);
			bool is_first = f.missed == POLICY_NO_CONDITION;
			if (truth == POLICY_TRUE || (truth == POLICY_UNKNOWN && !is_first))
				continue;
			f.missed = condition;
			f.index = i;
			f.is_unknown = truth == POLICY_UNKNOWN;
			if (truth == POLICY_FALSE)
				return f;
		}
	}
	return f;
}

uint32_t policy_steps(
	const struct service *service, const struct policy_request *request, bool of_caller)
{
	struct policy_weighed weighed = {0};
	if (!service->policy_index)
		return service->policy_count;
	if (of_caller)
		policy_index_ask_caller(&weighed, service, request);
	else
		policy_index_ask(&weighed, NULL, service, request);
	return weighed.steps;
}

enum policy_part policy_part_of(const struct policy_verdict *verdict, const struct policy *p,
	const struct policy_finding *finding, const struct policy_request *request)
{
	if (verdict->policy == p)
		return POLICY_PART_DECIDES;
	if (!finding->matches)
		return POLICY_PART_MISSED;
	if (p->action == POLICY_AUDIT)
		return POLICY_PART_NOTED;
	if (p->mode == POLICY_AUDITED || !verdict->policy)
		return POLICY_PART_AUDITED;
	struct policy_finding of_it = policy_find(verdict->policy, request);
	if (finding->rank < of_it.rank)
		return POLICY_PART_LESS_EXACT;
	return verdict->policy->action == p->action ? POLICY_PART_LATER : POLICY_PART_OUTVOTED;
}
