/* SPDX-License-Identifier: Apache-2.0 */
/* The routes in force, and where one request would go by them: by the same matcher that the data
 * path uses, of the plan that it uses. */
#include "balance/split.h"
#include "base/error.h"
#include "mesh/limit.h"
#include "mesh/policy.h"
#include "mesh/rollout.h"
#include "page.h"
#include "page_authz.h"
#include "page_question.h"
#include "page_service.h"
#include "page_words.h"

#define PAGE_ROUTES_MAX (64u << 20)

static const char *const page_actions[] = {
	[ROUTE_FORWARD] = "forward", [ROUTE_REDIRECT] = "redirect", [ROUTE_RESPOND] = "respond"};

static void page_put_text(struct json *j, const char *key, struct str value)
{
	page_put_str(j, key, value.len ? value : STR_NONE);
}

/* --- rules --- */

void page_put_conditions(struct json *j, const struct route_when *when)
{
	struct page_words w;
	json_key(j, "match");
	json_open(j, '[');
	for (int what = ROUTE_MISS_FROM; what <= ROUTE_MISS_COOKIE; what++) {
		uint32_t count = page_condition_count(when, (enum route_miss)what);
		for (uint32_t i = 0; what != ROUTE_MISS_OPAQUE && i < count; i++) {
			page_say_condition(&w, when, (enum route_miss)what, i);
			if (w.len > 0)
				json_str(j, page_words_str(&w));
		}
	}
	json_close(j, ']');
}

/* What a rule does besides choosing a leg. */
static void page_put_action(struct json *j, const struct route_rule *rule)
{
	struct page_words w;
	page_put_str(j, "action", str_of(page_actions[rule->action]));
	if (rule->action != ROUTE_FORWARD)
		page_put_u64(j, "status", rule->status);
	if (rule->timeout_ms > 0)
		page_put_u64(j, "timeout_ms", rule->timeout_ms);
	page_say_retry(&w, &rule->retry);
	page_put_text(j, "retries", page_words_str(&w));
	page_say_fault(&w, &rule->fault);
	page_put_text(j, "fault", page_words_str(&w));
	page_say_mirrors(&w, rule->mirrors, rule->mirror_count);
	page_put_text(j, "mirror", page_words_str(&w));
	page_say_sticky(&w, &rule->sticky);
	page_put_text(j, "sticky", page_words_str(&w));
}

static void page_put_leg_name(
	struct json *j, const struct service *service, struct str version, uint32_t weight)
{
	page_put_str(j, "service", service ? service->name : STR_NONE);
	page_put_text(j, "version", version);
	page_put_u64(j, "weight", weight);
}

static void page_put_rule(struct json *j, const struct route_rule *rule)
{
	json_open(j, '{');
	page_put_str(j, "name", rule->name);
	page_put_conditions(j, &rule->when);
	page_put_action(j, rule);
	json_key(j, "split");
	json_open(j, '[');
	for (uint32_t i = 0; i < rule->leg_count; i++) {
		const struct route_leg *leg = &rule->legs[i];
		json_open(j, '{');
		page_put_leg_name(j, leg->service, leg->version, leg->weight);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

/* --- rollouts --- */

static void page_put_rollout(struct json *j, const struct rollout *r)
{
	json_open(j, '{');
	page_put_str(j, "service", r->service->name);
	page_put_str(j, "from", r->from);
	page_put_str(j, "to", r->to);
	page_put_u64(j, "percent", r->percent);
	page_put_u64(j, "share", r->share);
	page_put_str(j, "state", r->state);
	page_put_str(j, "order", r->order);
	page_put_u64(j, "step", r->step);
	page_put_u64(j, "steps", r->step_count);
	page_put_text(j, "why", r->why);
	json_close(j, '}');
}

/* Those that have divided legs of the rule. */
static void page_put_dividers(struct json *j, const struct route_rule *rule)
{
	json_key(j, "rollouts");
	json_open(j, '[');
	for (uint32_t i = 0; i < rule->leg_count; i++) {
		const struct rollout *r = rule->legs[i].rollout;
		bool is_first = r != NULL;
		for (uint32_t k = 0; k < i && is_first; k++)
			is_first = rule->legs[k].rollout != r;
		if (is_first)
			page_put_rollout(j, r);
	}
	json_close(j, ']');
}

static bool page_is_wanted(const struct route *route, struct str name)
{
	return name.len == 0 || str_eq(route->service->name, name);
}

void page_routes(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	const struct plan *plan = source->proxy->plan;
	struct str query = page_query(request->path), key = STR("service="), name = STR("");
	if (!plan) {
		page_text(response, 503, "no configuration in force\n");
		return;
	}
	if (query.len > 0) {
		if (!str_starts(query, key) || query.len == key.len) {
			page_text(response, 400, "?service=NAME, or no query for all\n");
			return;
		}
		name = (struct str){query.at + key.len, query.len - key.len};
	}
	struct json j;
	json_init(&j, PAGE_ROUTES_MAX);
	json_open(&j, '{');
	page_put_u64(&j, "generation", plan->snapshot->generation);
	json_key(&j, "routes");
	json_open(&j, '[');
	for (uint32_t i = 0; i < plan->snapshot->route_count; i++) {
		const struct route *route = &plan->snapshot->routes[i];
		if (!page_is_wanted(route, name))
			continue;
		json_open(&j, '{');
		page_put_str(&j, "service", route->service->name);
		json_key(&j, "rules");
		json_open(&j, '[');
		for (uint32_t k = 0; k < route->rule_count; k++)
			page_put_rule(&j, &route->rules[k]);
		json_close(&j, ']');
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_key(&j, "rollouts");
	json_open(&j, '[');
	for (uint32_t i = 0; i < plan->snapshot->rollout_count; i++) {
		const struct rollout *r = &plan->snapshot->rollouts[i];
		if (name.len == 0 || str_eq(r->service->name, name))
			page_put_rollout(&j, r);
	}
	json_close(&j, ']');
	json_close(&j, '}');
	page_json(response, &j);
}

/* --- explaining: which rule --- */

static void page_put_verdict(struct json *j, const struct route_rule *rule,
	const struct route_request *request, const struct route_verdict *verdict)
{
	struct page_words w;
	json_open(j, '{');
	page_put_str(j, "name", rule->name);
	page_put_bool(j, "matches", verdict->miss == ROUTE_MISS_NONE);
	if (verdict->miss != ROUTE_MISS_NONE) {
		page_put_str(j, "missed", str_of(page_miss_name(verdict->miss)));
		page_say_condition(&w, &rule->when, verdict->miss, verdict->index);
		page_put_str(j, "wanted", page_words_str(&w));
		page_say_fact(&w, request, &rule->when, verdict->miss, verdict->index);
		page_put_text(j, "has", page_words_str(&w));
	}
	json_close(j, '}');
}

/* The rules up to the one that decides, which it returns; NULL: none does. */
static const struct route_rule *page_put_rules(struct json *j, const struct snapshot *s,
	const struct route *route, const struct route_request *request, size_t *ret_prefix_len)
{
	const struct route_rule *found =
		route ? route_match(s, route, request, ret_prefix_len) : NULL;
	json_key(j, "rules");
	json_open(j, '[');
	for (uint32_t i = 0; route && i < route->rule_count; i++) {
		struct route_verdict verdict = route_ask(s, &route->rules[i], request);
		page_put_verdict(j, &route->rules[i], request, &verdict);
		if (&route->rules[i] == found)
			break;
	}
	json_close(j, ']');
	return found;
}

/* --- explaining: where to --- */

/* What comes in plain text has an identity all the same when the caller is on the service's own
 * machine. */
static void page_put_neighbour(struct json *j, const struct snapshot *s,
	const struct service *service, const struct policy_request *as_anybody,
	struct str source_id)
{
	struct policy_request known = *as_anybody;
	known.source_id = source_id;
	struct policy_verdict verdict = policy_check(s, service, &known);
	if (verdict.allowed == policy_check(s, service, as_anybody).allowed)
		return;
	json_key(j, "neighbour");
	json_open(j, '{');
	page_put_bool(j, "allowed", verdict.allowed);
	page_put_decider(j, "policy", "policy_where", verdict.policy, verdict.by);
	json_close(j, '}');
}

/* By the rules of the mesh, which the service's own machines ask. In the plain they see nobody who
 * is on another one. */
static void page_put_policies(struct json *j, const struct snapshot *s,
	const struct service *service, const struct route_request *request)
{
	struct policy_request asked = {
		.source_id = request->source_id, .http = request->is_http ? request : NULL};
	if (service_is_mtls(service, MTLS_DISABLED))
		asked.source_id = STR("");
	struct policy_verdict verdict = policy_check(s, service, &asked);
	page_put_bool(j, "allowed", verdict.allowed);
	page_put_decider(j, "policy", "policy_where", verdict.policy, verdict.by);
	page_put_bool(j, "would_deny", verdict.would_deny);
	if (verdict.would_deny)
		page_put_decider(
			j, "audited", "audited_where", verdict.audited, service->policy_default);
	page_put_bool(j, "identity", asked.source_id.len > 0);
	if (!str_eq(asked.source_id, request->source_id))
		page_put_neighbour(j, s, service, &asked, request->source_id);
	json_key(j, "policies");
	json_open(j, '[');
	for (uint32_t i = 0; i < service->policy_count; i++)
		json_str(j, service->policies[i]->name);
	json_close(j, ']');
}

/* Those that its machines would ask. */
static void page_put_leg_limits(struct json *j, const struct snapshot *s,
	const struct service *service, const struct route_request *request)
{
	const struct limit_request asked = {.asks = *request};
	json_key(j, "limits");
	json_open(j, '[');
	for (uint32_t i = 0; i < service->limit_count; i++) {
		if (limit_matches(s, service->limits[i], &asked))
			json_str(j, service->limits[i]->name);
	}
	json_close(j, ']');
}

static void page_put_way(const struct page_source *source, struct json *j,
	const struct route_leg *leg, const struct route_request *request)
{
	json_open(j, '{');
	page_put_leg_name(j, leg->service, leg->version, leg->weight);
	if (leg->service) {
		page_put_policies(j, source->proxy->plan->snapshot, leg->service, request);
		page_put_leg_limits(j, source->proxy->plan->snapshot, leg->service, request);
		page_put_balance(source, j, leg->service, leg->version, request);
	}
	json_close(j, '}');
}

static void page_put_legs(const struct page_source *source, struct json *j,
	const struct service *service, const struct route_rule *rule,
	const struct route_request *becomes)
{
	const struct route_leg whole = {.service = service, .version = STR(""), .weight = 1};
	bool has_legs = rule && rule->leg_count > 0;
	json_key(j, "split");
	json_open(j, '[');
	for (uint32_t i = 0; i < (has_legs ? rule->leg_count : 1); i++)
		page_put_way(source, j, has_legs ? &rule->legs[i] : &whole, becomes);
	json_close(j, ']');
}

/* The leg that the request sticks to, from 1 on. */
static void page_put_stuck(
	struct json *j, const struct route_rule *rule, const struct route_request *request)
{
	struct str value = route_sticky_value(&rule->sticky, request);
	if (value.len == 0 || rule->leg_count < 2)
		return;
	page_put_str(j, "sticks_by", value);
	page_put_u64(j, "sticks_to", split_sticky(value, rule->legs, rule->leg_count) + 1);
}

static void page_put_forward(const struct page_source *source, struct json *j,
	struct page_question *q, const struct route_rule *rule, const struct route_request *request,
	size_t prefix_len)
{
	const struct service *service = snapshot_service(source->proxy->plan->snapshot, q->to);
	struct route_request becomes = *request;
	char *path = arena_take(&q->arena, route_path_bytes(&rule->target, request->path));
	if (rule->target.host.len > 0)
		becomes.authority = rule->target.host;
	if (path)
		becomes.path = (struct str){
			path, route_path_write(&rule->target, request->path, prefix_len, path)};
	if (!str_eq(becomes.path, request->path))
		page_put_str(j, "becomes_path", becomes.path);
	if (!str_eq(becomes.authority, request->authority))
		page_put_str(j, "becomes_host", becomes.authority);
	page_put_stuck(j, rule, request);
	page_put_dividers(j, rule);
	page_put_legs(source, j, service, rule, &becomes);
}

static void page_put_asked(
	struct json *j, const struct page_question *q, const struct route_request *request)
{
	page_put_text(j, "from", request->source_id);
	page_put_str(j, "to", q->to);
	page_put_bool(j, "http", request->is_http);
	if (!request->is_http)
		return;
	page_put_str(j, "method", request->method);
	page_put_str(j, "path", q->path);
	page_put_str(j, "host", request->authority);
}

/* Of each service that the request may go to the workers are asked. */
static bool page_explain_asks(const struct page_source *source, struct page_question *q,
	const struct service *service, struct page_response *response)
{
	const struct snapshot *s = source->proxy->plan->snapshot;
	struct route_request request = page_question_request(q, s);
	size_t prefix_len;
	if (!page_asks_workers(source, response))
		return false;
	const struct route_rule *rule =
		service->route ? route_match(s, service->route, &request, &prefix_len) : NULL;
	if (!rule || rule->leg_count == 0)
		page_asks_about(response, service);
	for (uint32_t i = 0; rule && i < rule->leg_count; i++) {
		if (rule->legs[i].service)
			page_asks_about(response, rule->legs[i].service);
	}
	return true;
}

static void page_explain_to(const struct page_source *source, struct page_question *q,
	const struct service *service, struct json *j)
{
	const struct snapshot *s = source->proxy->plan->snapshot;
	struct route_request request = page_question_request(q, s);
	size_t prefix_len;
	page_put_u64(j, "generation", s->generation);
	page_put_asked(j, q, &request);
	page_put_u64(j, "addresses", service->address_count);
	page_put_bool(j, "has_route", service->route != NULL);
	const struct route_rule *rule = page_put_rules(j, s, service->route, &request, &prefix_len);
	page_put_str(j, "rule", rule ? rule->name : STR_NONE);
	if (!rule) {
		page_put_legs(source, j, service, NULL, &request);
		return;
	}
	page_put_action(j, rule);
	if (rule->action == ROUTE_FORWARD)
		page_put_forward(source, j, q, rule, &request, prefix_len);
}

void page_explain(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	const struct plan *plan = source->proxy->plan;
	struct page_question q;
	struct err err;
	if (!plan) {
		page_text(response, 503, "no configuration in force\n");
		return;
	}
	bool is_good = page_question_read(&q, page_query(request->path), &err) &&
		       page_question_passes(&q, &err) &&
		       page_question_caller(&q, plan->snapshot, &err);
	const struct service *service = is_good ? snapshot_service(plan->snapshot, q.to) : NULL;
	if (!is_good) {
		page_text(response, 400, "%s\n", err.text);
	} else if (!service) {
		page_no_service(response, plan->snapshot, q.to);
	} else if (!page_explain_asks(source, &q, service, response)) {
		struct json j;
		json_init(&j, PAGE_ROUTES_MAX);
		json_open(&j, '{');
		page_explain_to(source, &q, service, &j);
		json_close(&j, '}');
		page_json(response, &j);
	}
	page_question_done(&q);
}
