/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a request would be let in, and by which rule: by the same function that the data path
 * asks, of the plan that it uses. */
#include "page_authz.h"

#include "base/error.h"
#include "page_policies.h"
#include "page_service.h"

#define PAGE_AUTHZ_MAX	  (64u << 20)
#define PAGE_MACHINES_MAX 8

/* --- judging --- */

/* That of all its endpoints, and of its workloads here; 0: they have several, or there are none. */
static uint16_t page_common_port(const struct snapshot *s, const struct service *service)
{
	uint16_t port = 0;
	for (uint32_t i = 0; i < service->endpoint_count; i++) {
		if (port != 0 && service->endpoints[i].address.port != port)
			return 0;
		port = service->endpoints[i].address.port;
	}
	for (uint32_t i = 0; i < s->workload_count; i++) {
		const struct workload *w = &s->workloads[i];
		if (w->service != service || w->port == 0)
			continue;
		if (port != 0 && w->port != port)
			return 0;
		port = w->port;
	}
	return port;
}

/* A token of nobody named is of the one issuer that the rules know, if there is one. */
static struct str page_only_issuer(const struct service *service)
{
	struct str only = STR("");
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct policy_token_rule *t = &service->policies[i]->token;
		for (uint32_t k = 0; t->is_wanted && k < t->issuer_count; k++) {
			if (only.len > 0 && !str_eq(only, t->issuers[k]))
				return STR("");
			only = t->issuers[k];
		}
	}
	return only;
}

static enum page_barrier page_barrier_of(
	const struct page_judgement *judgement, const struct page_question *q)
{
	const struct policy_request *r = &judgement->request;
	if (r->http && q->is_path_refused)
		return PAGE_BARRIER_PATH;
	bool is_strict = service_mtls(judgement->service, r->port) == MTLS_STRICT;
	return r->source_id.len == 0 && is_strict ? PAGE_BARRIER_MTLS : PAGE_BARRIER_NONE;
}

void page_judge(const struct snapshot *s, const struct service *service,
	const struct page_question *q, struct page_judgement *ret)
{
	*ret = (struct page_judgement){.snapshot = s, .service = service};
	ret->http = page_question_request(q, s);
	ret->request = (struct policy_request){.source_id = q->source_id,
		.client = q->client,
		.port = q->port ? q->port : page_common_port(s, service),
		.http = ret->http.is_http ? &ret->http : NULL};
	if (service_mtls(service, ret->request.port) == MTLS_DISABLED && !q->is_neighbour)
		ret->request.source_id = STR("");
	/* as on the data path, where a token that cannot help is none */
	bool counts = policy_wants_token(s, service, &ret->request, &ret->verdict) ||
		      ret->verdict.allowed;
	if (page_question_token(q, &ret->token) && counts)
		ret->request.token = &ret->token;
	if (ret->token.issuer.len == 0)
		ret->token.issuer = page_only_issuer(service);
	if (ret->request.token)
		ret->verdict = policy_check(s, service, &ret->request);
	ret->barrier = page_barrier_of(ret, q);
	if (ret->barrier == PAGE_BARRIER_NONE && !ret->request.http)
		ret->needs_http = policy_check_bytes(s, service, &ret->verdict);
	if (ret->needs_http)
		ret->barrier = PAGE_BARRIER_HTTP;
	ret->allowed = ret->verdict.allowed && ret->barrier == PAGE_BARRIER_NONE;
}

/* --- the verdict --- */

void page_put_decider(struct json *j, const char *key, const char *where_key,
	const struct policy *p, enum policy_default by)
{
	page_put_str(j, key, p ? p->name : STR("default"));
	page_put_str(j, where_key, p ? p->where : str_of(page_default_where(by)));
}

static const char *page_part_name(enum policy_part part)
{
	static const char *const names[] = {
		[POLICY_PART_DECIDES] = "decides",
		[POLICY_PART_MISSED] = "missed",
		[POLICY_PART_LESS_EXACT] = "less exact",
		[POLICY_PART_OUTVOTED] = "outvoted",
		[POLICY_PART_LATER] = "later",
		[POLICY_PART_AUDITED] = "audited",
		[POLICY_PART_NOTED] = "noted",
	};
	return names[part];
}

static void page_put_missed(struct json *j, const struct policy *p, const struct policy_finding *f,
	const struct policy_request *request)
{
	struct page_words w;
	page_put_str(j, "missed", str_of(page_condition_name(f->missed)));
	page_put_bool(j, "unknown", f->is_unknown);
	page_say_policy_condition(&w, p, f->missed, f->index);
	page_put_str(j, "wanted", page_words_str(&w));
	page_say_policy_fact(&w, request, p, f->missed, f->index);
	page_put_str(j, "has", w.len > 0 ? page_words_str(&w) : STR_NONE);
}

static void page_put_finding(
	struct json *j, const struct policy *p, const struct page_judgement *judgement)
{
	struct policy_finding f = policy_find(p, &judgement->request);
	enum policy_part part = policy_part_of(&judgement->verdict, p, &f, &judgement->request);
	json_open(j, '{');
	page_put_str(j, "name", p->name);
	page_put_str(j, "where", p->where);
	page_put_str(j, "action", str_of(page_action_name(p->action)));
	page_put_str(j, "mode", str_of(page_mode_name(p->mode)));
	page_put_bool(j, "matches", f.matches);
	page_put_str(j, "part", str_of(page_part_name(part)));
	if (f.missed != POLICY_NO_CONDITION)
		page_put_missed(j, p, &f, &judgement->request);
	json_close(j, '}');
}

static const char *page_barrier_name(enum page_barrier barrier)
{
	static const char *const names[] = {[PAGE_BARRIER_NONE] = "none",
		[PAGE_BARRIER_PATH] = "path",
		[PAGE_BARRIER_MTLS] = "mtls",
		[PAGE_BARRIER_HTTP] = "http"};
	return names[barrier];
}

static void page_put_verdict(struct json *j, const struct page_judgement *judgement)
{
	const struct policy_verdict *v = &judgement->verdict;
	const struct service *service = judgement->service;
	page_put_bool(j, "allowed", judgement->allowed);
	page_put_str(j, "barrier", str_of(page_barrier_name(judgement->barrier)));
	if (judgement->needs_http)
		page_put_decider(j, "barrier_policy", "barrier_where", judgement->needs_http, 0);
	page_put_decider(j, "policy", "where", v->policy, v->by);
	if (v->policy)
		page_put_str(j, "action", str_of(page_action_name(v->policy->action)));
	page_put_bool(j, "would_deny", v->would_deny);
	if (v->would_deny)
		page_put_decider(
			j, "audited", "audited_where", v->audited, service->policy_default);
	if (v->noted)
		page_put_decider(j, "noted", "noted_where", v->noted, v->by);
	page_put_bool(j, "mesh_audit", judgement->snapshot->is_audited);
	page_put_str(j, "service_default", str_of(page_default_name(service->policy_default)));
	page_put_str(j, "mesh_default", str_of(page_mesh_default(judgement->snapshot)));
	page_put_bool(j, "foreign",
		judgement->request.source_id.len > 0 &&
			!source_is_own(judgement->snapshot, judgement->request.source_id));
}

void page_put_judgement(struct json *j, const struct page_judgement *judgement)
{
	const struct service *service = judgement->service;
	page_put_verdict(j, judgement);
	json_key(j, "rules");
	json_open(j, '[');
	bool is_asked = judgement->barrier != PAGE_BARRIER_PATH;
	for (uint32_t i = 0; is_asked && i < service->policy_count; i++)
		page_put_finding(j, service->policies[i], judgement);
	json_close(j, ']');
}

/* --- what was asked --- */

static void page_put_asked(
	struct json *j, const struct page_question *q, const struct page_judgement *judgement)
{
	const struct policy_request *r = &judgement->request;
	struct str from = q->source_id;
	char text[ADDRESS_TEXT_MAX];
	page_put_str(j, "from", from.len ? from : STR_NONE);
	if (q->is_undeclared) {
		struct str like = page_service_like(judgement->snapshot, q->from);
		page_put_str(j, "undeclared", q->from);
		page_put_str(j, "like", like.len ? like : STR_NONE);
	}
	page_put_str(j, "to", q->to);
	page_put_bool(j, "identity", r->source_id.len > 0);
	page_put_str(j, "mtls", str_of(mtls_mode_name(service_mtls(judgement->service, r->port))));
	if (r->client.family != 0)
		page_put_str(j, "client", str_of(address_ip_text(&r->client, text)));
	if (r->port != 0)
		page_put_u64(j, "port", r->port);
	page_put_bool(j, "http", r->http != NULL);
	if (!r->http)
		return;
	page_put_str(j, "method", r->http->method);
	page_put_str(j, "path", q->path);
	if (!str_eq(q->path, q->asked_path))
		page_put_str(j, "asked_path", q->asked_path);
	page_put_str(j, "host", r->http->authority);
}

/* A request is judged where the service is. */
static void page_put_machines(
	struct json *j, const struct snapshot *s, const struct service *service)
{
	uint32_t count = 0;
	json_key(j, "machines");
	json_open(j, '[');
	for (uint32_t i = 0; i < service->endpoint_count; i++) {
		const struct endpoint *e = &service->endpoints[i];
		char text[ADDRESS_TEXT_MAX];
		if (e->local || e->alternate || count++ >= PAGE_MACHINES_MAX)
			continue;
		json_str(j, str_of(address_ip_text(&e->address, text)));
	}
	json_close(j, ']');
	page_put_u64(j, "machine_count", count);
	page_put_bool(j, "here", page_service_is_here(s, service));
}

/* As the one of `q` it would go otherwise. */
static void page_put_otherwise(
	struct json *j, const struct page_question *q, const struct page_judgement *judgement)
{
	struct page_judgement of_it;
	page_judge(judgement->snapshot, judgement->service, q, &of_it);
	if (of_it.allowed == judgement->allowed)
		return;
	json_open(j, '{');
	page_put_str(j, "from", q->source_id);
	page_put_bool(j, "neighbour", q->is_neighbour);
	page_put_bool(j, "allowed", of_it.allowed);
	page_put_decider(j, "policy", "where", of_it.verdict.policy, of_it.verdict.by);
	json_close(j, '}');
}

/* Of a caller whose service has several identities those that it would go otherwise with; and what
 * comes in plain text has one all the same when the caller is on the same machine. */
static void page_put_others(
	struct json *j, const struct page_question *q, const struct page_judgement *judgement)
{
	const struct service *caller = snapshot_service(judgement->snapshot, q->from);
	struct page_question other = *q;
	json_key(j, "otherwise");
	json_open(j, '[');
	if (q->source_id.len > 0 && judgement->request.source_id.len == 0) {
		other.is_neighbour = true;
		page_put_otherwise(j, &other, judgement);
	}
	for (uint32_t i = 0; caller && i < caller->id_count; i++) {
		bool is_asked = str_eq(q->source_id, caller->ids[i]);
		other.source_id = caller->ids[i];
		if (!is_asked)
			page_put_otherwise(j, &other, judgement);
	}
	json_close(j, ']');
}

static void page_check_to(const struct snapshot *s, const struct service *service,
	const struct page_question *q, struct page_response *response)
{
	struct page_judgement judgement;
	struct json j;
	page_judge(s, service, q, &judgement);
	json_init(&j, PAGE_AUTHZ_MAX);
	json_open(&j, '{');
	page_put_u64(&j, "generation", s->generation);
	page_put_asked(&j, q, &judgement);
	page_put_machines(&j, s, service);
	page_put_others(&j, q, &judgement);
	page_put_judgement(&j, &judgement);
	json_close(&j, '}');
	page_json(response, &j);
}

void page_authz_check(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	const struct plan *plan = source->proxy->plan;
	struct page_question q;
	struct err err;
	if (!plan) {
		page_text(response, 503, "no configuration in force\n");
		return;
	}
	const struct snapshot *s = plan->snapshot;
	bool is_good = page_question_read(&q, page_query(request->path), &err) &&
		       page_question_caller(&q, s, &err);
	const struct service *service = is_good ? snapshot_service(s, q.to) : NULL;
	if (!is_good)
		page_text(response, 400, "%s\n", err.text);
	else if (!service)
		page_no_service(response, s, q.to);
	else
		page_check_to(s, service, &q, response);
	page_question_done(&q);
}
