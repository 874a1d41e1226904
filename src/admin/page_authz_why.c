/* SPDX-License-Identifier: Apache-2.0 */
/* /authz/why: what the workers have decided of one request, and what that would be now. */
#include "page_authz.h"
#include <stdlib.h>

#define PAGE_WHY_MAX (4u << 20)

static void page_put_optional(struct json *j, const char *key, struct str value)
{
	if (value.len > 0)
		page_put_str(j, key, value);
}

/* Whether a rule asks for what is not kept of a request. */
static bool page_asks_more(const struct service *service)
{
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct policy *p = service->policies[i];
		if (p->headers.count > 0 || p->token.is_wanted)
			return true;
	}
	return false;
}

/* Only of what was decided here, by other rules than those of now, and is known whole. */
static void page_put_now(const struct page_source *source, struct json *j, const struct decision *d)
{
	const struct plan *plan = source->proxy->plan;
	struct str name = decision_text(d, DECISION_SERVICE);
	const struct service *service = snapshot_service(plan->snapshot, name);
	bool is_asked = d->is_here && d->plan_number != plan->number;
	page_put_bool(j, "is_old", is_asked);
	if (!is_asked || d->is_cut || !service)
		return;
	struct page_question q = {
		.from = STR(""),
		.to = name,
		.path = decision_text(d, DECISION_PATH),
		.asked_path = decision_text(d, DECISION_PATH),
		.is_tcp = !d->is_http,
		.method = decision_text(d, DECISION_METHOD),
		.host = decision_text(d, DECISION_HOST),
		.port = d->port,
		.client = d->client,
		.issuer = STR(""),
		.source_id = decision_text(d, DECISION_SOURCE),
	};
	struct page_judgement now;
	page_judge(plan->snapshot, service, &q, &now);
	json_key(j, "now");
	json_open(j, '{');
	page_put_bool(j, "identity", q.source_id.len > 0);
	page_put_judgement(j, &now);
	page_put_bool(j, "unsure", page_asks_more(service));
	json_close(j, '}');
}

static void page_put_decision_rules(struct json *j, const struct decision *d)
{
	page_put_optional(j, "policy", decision_text(d, DECISION_POLICY));
	page_put_optional(j, "where", decision_text(d, DECISION_WHERE));
	page_put_optional(j, "audited", decision_text(d, DECISION_AUDITED));
	page_put_optional(j, "audited_where", decision_text(d, DECISION_AUDITED_WHERE));
	page_put_optional(j, "noted", decision_text(d, DECISION_NOTED));
	page_put_optional(j, "noted_where", decision_text(d, DECISION_NOTED_WHERE));
}

static void page_put_decision(
	const struct page_source *source, struct json *j, const struct decision *d)
{
	struct str from = decision_text(d, DECISION_SOURCE);
	json_open(j, '{');
	page_put_time(j, "time", d->wall_ns);
	page_put_bool(j, "http", d->is_http);
	page_put_bool(j, "outbound", d->is_outbound);
	page_put_bool(j, "mirror", d->is_mirror);
	page_put_u64(j, "connection", d->connection);
	page_put_str(j, "from", from.len ? from : STR_NONE);
	page_put_address(j, "client", &d->client);
	page_put_optional(j, "service", decision_text(d, DECISION_SERVICE));
	if (d->port != 0)
		page_put_u64(j, "port", d->port);
	page_put_optional(j, "method", decision_text(d, DECISION_METHOD));
	page_put_optional(j, "host", decision_text(d, DECISION_HOST));
	page_put_optional(j, "path", decision_text(d, DECISION_PATH));
	page_put_bool(j, "here", d->is_here);
	page_put_bool(j, "refused", d->is_refused);
	page_put_u64(j, "status", d->status);
	page_put_str(j, "reason", str_of(d->reason));
	page_put_str(j, "reason_text", str_of(d->reason_text));
	page_put_optional(j, "details", decision_text(d, DECISION_DETAILS));
	page_put_address(j, "upstream", &d->upstream);
	page_put_decision_rules(j, d);
	page_put_bool(j, "cut", d->is_cut);
	page_put_now(source, j, d);
	json_close(j, '}');
}

static int page_compare_decisions(const void *a, const void *b)
{
	const struct decision *const *x = a, *const *y = b;
	return (*x)->wall_ns < (*y)->wall_ns ? -1 : (*x)->wall_ns > (*y)->wall_ns;
}

/* The oldest first, so that a request's way is seen. Returns how many. */
static uint32_t page_put_decisions(const struct page_source *source, struct json *j)
{
	const struct reports *r = source->reports;
	uint32_t count = 0, most = r ? r->count * DECISION_FOUND_MAX : 0;
	const struct decision **found = calloc(most + 1u, sizeof(*found));
	json_key(j, "decisions");
	json_open(j, '[');
	if (!found)
		j->cut = true;
	for (uint32_t i = 0; found && r && i < r->count; i++) {
		for (uint32_t k = 0; r->of[i] && k < r->of[i]->decisions.found_count; k++)
			found[count++] = &r->of[i]->decisions.found[k];
	}
	if (count > 0)
		qsort(found, count, sizeof(struct decision *), page_compare_decisions);
	for (uint32_t i = 0; i < count; i++)
		page_put_decision(source, j, found[i]);
	json_close(j, ']');
	free(found);
	return count;
}

/* That of the worker that forgets soonest; nothing: none has forgotten any. */
static void page_put_since(const struct page_source *source, struct json *j)
{
	const struct reports *r = source->reports;
	uint64_t since_ns = 0, let_in_since_ns = 0;
	for (uint32_t i = 0; r && i < r->count; i++) {
		const struct report_decisions *d = r->of[i] ? &r->of[i]->decisions : NULL;
		if (d && d->since_ns > since_ns)
			since_ns = d->since_ns;
		if (d && d->let_in_since_ns > let_in_since_ns)
			let_in_since_ns = d->let_in_since_ns;
	}
	page_put_time(j, "started", source->proxy->start_wall_ns);
	if (since_ns > 0)
		page_put_time(j, "since", since_ns);
	if (let_in_since_ns > 0)
		page_put_time(j, "let_in_since", let_in_since_ns);
	page_put_u64(j, "workers", r ? r->count : 0);
	page_put_u64(j, "workers_answered", r ? reports_answered(r) : 0);
}

/* False: there is none. */
static bool page_why_id(struct arena *arena, struct str path, struct str *ret_id)
{
	struct str value = page_query(path), key = page_cut(&value, '=');
	*ret_id = page_decode(arena, value);
	if (ret_id->len > DECISION_ID_MAX)
		ret_id->len = DECISION_ID_MAX; /* as it is kept */
	return str_eq(key, STR("id")) && ret_id->at && ret_id->len > 0;
}

static void page_why(
	const struct page_source *source, struct str id, struct page_response *response)
{
	const struct conf *conf = source->proxy->plan->conf;
	struct json j;
	if (page_asks_workers(source, response)) {
		response->asked_id_len = (uint8_t)id.len;
		memcpy(response->asked_id, id.at, id.len);
		return;
	}
	json_init(&j, PAGE_WHY_MAX);
	json_open(&j, '{');
	page_put_u64(&j, "generation", source->proxy->plan->generation);
	page_put_str(&j, "id", id);
	page_put_optional(&j, "access_log", conf->access_log);
	uint32_t count = page_put_decisions(source, &j);
	page_put_bool(&j, "known", count > 0);
	page_put_since(source, &j);
	json_close(&j, '}');
	page_json(response, &j);
}

void page_authz_why(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	struct arena arena;
	struct str id;
	arena_init(&arena, 65536);
	if (!source->proxy->plan)
		page_text(response, 503, "no configuration in force\n");
	else if (!page_why_id(&arena, request->path, &id))
		page_text(response, 400, "of which request? ?id=ID\n");
	else
		page_why(source, id, response);
	arena_done(&arena);
}
