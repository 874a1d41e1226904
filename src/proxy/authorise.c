/* SPDX-License-Identifier: Apache-2.0 */
#include "authorise.h"

#include "tokens.h"

struct authorisation authorisation_none(void)
{
	const struct authorise_rule none = {STR(""), STR("")};
	return (struct authorisation){
		.reason = REASON_NONE, .decided = none, .audited = none, .noted = none};
}

static struct str authorise_default_where(enum policy_default by)
{
	return by == POLICY_DEFAULT_MESH ? STR("mesh.default_policy")
					 : STR("services.default_policy");
}

/* NULL: what holds where no rule matches. */
static struct authorise_rule authorise_rule_of(const struct policy *p, enum policy_default by)
{
	if (p)
		return (struct authorise_rule){p->name, p->where};
	return (struct authorise_rule){STR("default"), authorise_default_where(by)};
}

static struct policy_request authorise_request(
	const struct call *c, const struct authorise_asks *asks)
{
	return (struct policy_request){.source_id = c->source_id,
		.client = c->client,
		.port = c->target->port,
		.http = asks->http};
}

/* Who may nothing here, whatever a token says, makes nobody verify any. */
static struct policy_verdict authorise_ask(const struct call *c, const struct authorise_asks *asks)
{
	struct policy_request request = authorise_request(c, asks);
	const struct plan *plan = c->hold->plan;
	struct policy_verdict v;
	if (!asks->token || asks->token->text.len == 0)
		return policy_check(plan->snapshot, c->service, &request);
	if (policy_wants_token(plan->snapshot, c->service, &request, &v))
		request.token = tokens_verified(asks->worker, plan, asks->token);
	return request.token ? policy_check(plan->snapshot, c->service, &request) : v;
}

enum reason authorise(
	const struct call *c, const struct authorise_asks *asks, struct authorisation *ret)
{
	*ret = authorisation_none();
	if (c->way != CALL_WAY_LOCAL)
		return REASON_NONE;
	/* the certificate may have run out since the call came */
	ret->reason = c->direction == CALL_OUTBOUND ? outbound_check_proof(c) : REASON_NONE;
	if (ret->reason != REASON_NONE)
		return ret->reason;
	const struct snapshot *s = c->hold->plan->snapshot;
	struct policy_verdict v = authorise_ask(c, asks);
	const struct policy *needs_http = asks->http ? NULL : policy_check_bytes(s, c->service, &v);
	ret->decided = authorise_rule_of(needs_http ? needs_http : v.policy, v.by);
	if (v.would_deny)
		ret->audited = authorise_rule_of(v.audited, c->service->policy_default);
	if (v.noted)
		ret->noted = authorise_rule_of(v.noted, v.by);
	ret->reason = needs_http  ? REASON_POLICY_NEEDS_HTTP
		      : v.allowed ? REASON_NONE
				  : REASON_POLICY_DENIED;
	return ret->reason;
}

/* Plain text, or a caller of this machine whom nobody knows, to a port that takes neither now. */
static enum reason authorise_mode(const struct call *c)
{
	if (c->direction == CALL_OUTBOUND)
		return outbound_check_proof(c);
	return c->direction == CALL_INBOUND_PLAIN &&
			       service_mtls(c->service, c->target->port) == MTLS_STRICT
		       ? REASON_PLAINTEXT
		       : REASON_NONE;
}

/* Who calls whom now. */
static enum reason authorise_renew(struct worker *w, const struct call *c, struct call *ret_now)
{
	const struct snapshot *s = w->current->plan->snapshot;
	*ret_now = *c;
	ret_now->hold = w->current;
	ret_now->service = snapshot_service(s, c->service->name);
	if (!ret_now->service)
		return REASON_NO_SERVICE;
	if (c->direction == CALL_OUTBOUND) {
		outbound_identify(
			ret_now, c->source ? snapshot_workload_by_uid(s, c->source->uid) : NULL);
		outbound_prove(ret_now);
	}
	return authorise_mode(ret_now);
}

enum reason authorise_again(struct worker *w, const struct call *c,
	const struct authorise_asks *asks, struct authorisation *ret)
{
	struct call now;
	*ret = authorisation_none();
	if (c->way != CALL_WAY_LOCAL)
		return REASON_NONE;
	enum reason reason = authorise_renew(w, c, &now);
	return reason == REASON_NONE ? authorise(&now, asks, ret) : reason;
}

enum reason authorise_session(
	struct worker *w, const struct call *c, const struct route_request *last)
{
	struct call now;
	struct authorisation said;
	const struct authorise_asks asks = {.http = last};
	if (c->way != CALL_WAY_LOCAL)
		return REASON_NONE;
	enum reason reason = authorise_renew(w, c, &now);
	if (reason != REASON_NONE || (last && authorise(&now, &asks, &said) == REASON_NONE))
		return reason;
	if (last && !policy_asks_token(now.service))
		return REASON_POLICY_DENIED;
	const struct policy_request request = authorise_request(&now, &asks);
	return policy_might_allow(w->current->plan->snapshot, now.service, &request)
		       ? REASON_NONE
		       : REASON_POLICY_DENIED;
}

static bool authorise_is_same(const struct authorise_rule *a, const struct authorise_rule *b)
{
	return str_eq(a->name, b->name) && str_eq(a->where, b->where);
}

bool authorisation_equal(const struct authorisation *a, const struct authorisation *b)
{
	return a->reason == b->reason && authorise_is_same(&a->decided, &b->decided) &&
	       authorise_is_same(&a->audited, &b->audited) &&
	       authorise_is_same(&a->noted, &b->noted);
}

static void authorise_copy_rule(struct authorise_rule *rule, struct arena *arena)
{
	if (rule->name.len == 0)
		return;
	rule->name = arena_str(arena, rule->name);
	rule->where = arena_str(arena, rule->where);
}

struct authorisation authorisation_copy(const struct authorisation *from, struct arena *arena)
{
	struct authorisation copy = *from;
	authorise_copy_rule(&copy.decided, arena);
	authorise_copy_rule(&copy.audited, arena);
	authorise_copy_rule(&copy.noted, arena);
	return copy;
}

bool authorise_is_denial(enum reason reason)
{
	return reason == REASON_POLICY_DENIED || reason == REASON_POLICY_NEEDS_HTTP;
}
