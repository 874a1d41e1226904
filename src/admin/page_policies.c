/* SPDX-License-Identifier: Apache-2.0 */
#include "page_policies.h"

#include "page.h"

const char *page_action_name(enum policy_action action)
{
	static const char *const names[] = {
		[POLICY_ALLOW] = "allow", [POLICY_DENY] = "deny", [POLICY_AUDIT] = "audit"};
	return names[action];
}

const char *page_mode_name(enum policy_mode mode)
{
	return mode == POLICY_AUDITED ? "audit" : "enforce";
}

const char *page_default_name(enum policy_default by)
{
	static const char *const names[] = {[POLICY_DEFAULT_MESH] = "mesh",
		[POLICY_DEFAULT_DENY] = "deny",
		[POLICY_DEFAULT_AUTHENTICATED] = "authenticated"};
	return names[by];
}

const char *page_mesh_default(const struct snapshot *s)
{
	return s->default_allow ? "authenticated" : "deny";
}

const char *page_default_where(enum policy_default by)
{
	return by == POLICY_DEFAULT_MESH ? "mesh.default_policy" : "services.default_policy";
}

const char *page_condition_name(enum policy_condition condition)
{
	static const char *const names[] = {
		[POLICY_NO_CONDITION] = "none",
		[POLICY_FROM] = "from",
		[POLICY_NOT_FROM] = "not_from",
		[POLICY_PORTS] = "ports",
		[POLICY_NOT_PORTS] = "not_ports",
		[POLICY_METHODS] = "methods",
		[POLICY_NOT_METHODS] = "not_methods",
		[POLICY_PATHS] = "paths",
		[POLICY_NOT_PATHS] = "not_paths",
		[POLICY_HOSTS] = "hosts",
		[POLICY_NOT_HOSTS] = "not_hosts",
		[POLICY_HEADER] = "headers",
		[POLICY_TOKEN] = "token",
		[POLICY_ISSUERS] = "token.issuers",
		[POLICY_AUDIENCES] = "token.audiences",
		[POLICY_CLAIM] = "token.claims",
	};
	return names[condition];
}

/* --- conditions --- */

/* As it is written in the configuration. */
static void page_say_path(struct page_words *w, const struct route_path *path)
{
	bool is_all = path->kind == ROUTE_PATH_PREFIX && path->text.len == 0;
	if (is_all)
		page_say(w, "*");
	else
		page_say(w, STR_FMT "%s", STR_ARG(path->text),
			path->kind == ROUTE_PATH_PREFIX ? "/*" : "");
}

static void page_say_paths(
	struct page_words *w, const char *key, const struct route_path *paths, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		page_say(w, "%s ", i ? " or" : key);
		page_say_path(w, &paths[i]);
	}
}

static void page_say_ports(
	struct page_words *w, const char *key, const uint16_t *ports, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		page_say(w, "%s %u", i ? " or" : key, ports[i]);
}

static void page_say_sources(
	struct page_words *w, const char *key, const struct source *sources, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (i == 0 || !str_eq(sources[i].entry, sources[i - 1].entry))
			page_say(w, "%s " STR_FMT, i ? " or" : key, STR_ARG(sources[i].entry));
	}
	if (count == 0)
		page_say(w, "%s any identity", key);
}

/* With an index one item of it. */
static void page_say_operation(struct page_words *w, const struct policy_operations *o,
	enum policy_condition list, const char *key, const uint32_t *index)
{
	uint32_t first = index ? *index : 0;
	if (list == POLICY_PORTS)
		page_say_ports(w, key, o->ports + first, index ? 1 : o->port_count);
	else if (list == POLICY_METHODS)
		page_say_list(w, key, o->methods + first, index ? 1 : o->method_count);
	else if (list == POLICY_PATHS)
		page_say_paths(w, key, o->paths + first, index ? 1 : o->path_count);
	else
		page_say_list(w, key, o->hosts + first, index ? 1 : o->host_count);
}

void page_say_policy_condition(struct page_words *w, const struct policy *p,
	enum policy_condition condition, uint32_t index)
{
	const char *key = page_condition_name(condition);
	*w = (struct page_words){.len = 0};
	switch (condition) {
	case POLICY_NO_CONDITION:
		return;
	case POLICY_FROM:
		page_say_sources(w, key, p->from, p->from_count);
		return;
	case POLICY_NOT_FROM:
		page_say_sources(w, key, &p->not_from[index], 1);
		return;
	case POLICY_PORTS:
	case POLICY_METHODS:
	case POLICY_PATHS:
	case POLICY_HOSTS:
		page_say_operation(w, &p->to, condition, key, NULL);
		return;
	case POLICY_NOT_PORTS:
	case POLICY_NOT_METHODS:
	case POLICY_NOT_PATHS:
	case POLICY_NOT_HOSTS:
		page_say_operation(
			w, &p->not_to, (enum policy_condition)(condition - 1), key, &index);
		return;
	case POLICY_HEADER:
		page_say_field(w, "header", &p->headers.at[index]);
		return;
	case POLICY_TOKEN:
		page_say(w, "a token");
		return;
	case POLICY_ISSUERS:
		page_say_list(w, "issuer", p->token.issuers, p->token.issuer_count);
		return;
	case POLICY_AUDIENCES:
		page_say_list(w, "audience", p->token.audiences, p->token.audience_count);
		return;
	case POLICY_CLAIM:
		page_say_field(w, "claim", &p->token.claims.at[index]);
		return;
	}
}

/* --- facts --- */

static void page_say_headers(
	struct page_words *w, const struct route_request *http, struct str name)
{
	for (uint32_t i = 0; http && i < http->header_count; i++) {
		const struct route_header *h = route_header_at(http, i);
		if (str_eq_nocase(h->name, name))
			page_say(w, "%s\"" STR_FMT "\"", w->len ? " and " : "", STR_ARG(h->value));
	}
}

static void page_say_claims(struct page_words *w, const struct policy_token *token, struct str name)
{
	for (uint32_t i = 0; token && i < token->claim_count; i++) {
		if (str_eq(token->claims[i].name, name))
			page_say(w, "%s\"" STR_FMT "\"", w->len ? " and " : "",
				STR_ARG(token->claims[i].value));
	}
}

static void page_say_caller(struct page_words *w, const struct policy_request *request)
{
	char text[ADDRESS_TEXT_MAX];
	if (request->source_id.len > 0) {
		page_say(w, STR_FMT, STR_ARG(request->source_id));
		return;
	}
	page_say(w, "anonymous");
	if (request->client.family != 0)
		page_say(w, " at %s", address_ip_text(&request->client, text));
}

static void page_say_http_fact(
	struct page_words *w, const struct route_request *http, enum policy_condition list)
{
	struct str fact = list == POLICY_METHODS ? http->method
			  : list == POLICY_PATHS ? http->path
						 : http->authority;
	page_say(w, STR_FMT, STR_ARG(fact));
}

void page_say_policy_fact(struct page_words *w, const struct policy_request *request,
	const struct policy *p, enum policy_condition condition, uint32_t index)
{
	*w = (struct page_words){.len = 0};
	switch (condition) {
	case POLICY_NO_CONDITION:
	case POLICY_TOKEN:
		return;
	case POLICY_FROM:
	case POLICY_NOT_FROM:
		page_say_caller(w, request);
		return;
	case POLICY_PORTS:
	case POLICY_NOT_PORTS:
		if (request->port != 0)
			page_say(w, "%u", request->port);
		return;
	case POLICY_METHODS:
	case POLICY_NOT_METHODS:
		if (request->http)
			page_say_http_fact(w, request->http, POLICY_METHODS);
		return;
	case POLICY_PATHS:
	case POLICY_NOT_PATHS:
		if (request->http)
			page_say_http_fact(w, request->http, POLICY_PATHS);
		return;
	case POLICY_HOSTS:
	case POLICY_NOT_HOSTS:
		if (request->http)
			page_say_http_fact(w, request->http, POLICY_HOSTS);
		return;
	case POLICY_HEADER:
		page_say_headers(w, request->http, p->headers.at[index].name);
		return;
	case POLICY_ISSUERS:
		if (request->token)
			page_say(w, STR_FMT, STR_ARG(request->token->issuer));
		return;
	case POLICY_AUDIENCES:
		page_say_claims(w, request->token, STR("aud"));
		return;
	case POLICY_CLAIM:
		page_say_claims(w, request->token, p->token.claims.at[index].name);
		return;
	}
}

/* --- JSON --- */

void page_put_policy_conditions(struct json *j, const char *key, const struct policy *p)
{
	struct page_words w;
	json_key(j, key);
	json_open(j, '[');
	for (int c = POLICY_PORTS; c < POLICY_CONDITIONS; c++) {
		enum policy_condition condition = (enum policy_condition)c;
		/* any condition of it says that one is wanted */
		if (condition == POLICY_TOKEN &&
			policy_condition_count(p, POLICY_ISSUERS) +
					policy_condition_count(p, POLICY_AUDIENCES) +
					policy_condition_count(p, POLICY_CLAIM) >
				0)
			continue;
		for (uint32_t i = 0; i < policy_condition_count(p, condition); i++) {
			page_say_policy_condition(&w, p, condition, i);
			json_str(j, page_words_str(&w));
		}
	}
	json_close(j, ']');
}

void page_put_sources(struct json *j, const char *key, const struct source *sources, uint32_t count)
{
	json_key(j, key);
	if (count == 0) {
		json_str(j, STR_NONE);
		return;
	}
	json_open(j, '[');
	for (uint32_t i = 0; i < count; i++) {
		if (i == 0 || !str_eq(sources[i].entry, sources[i - 1].entry))
			json_str(j, sources[i].entry);
	}
	json_close(j, ']');
}

static void page_put_texts(struct json *j, const char *key, const struct str *list, uint32_t count)
{
	json_key(j, key);
	if (count == 0) {
		json_str(j, STR_NONE);
		return;
	}
	json_open(j, '[');
	for (uint32_t i = 0; i < count; i++)
		json_str(j, list[i]);
	json_close(j, ']');
}

/* An absent list asks for nothing, so it is shown as null and not as empty. */
static void page_put_operations(struct json *j, const struct policy_operations *o, bool is_not)
{
	json_key(j, is_not ? "not_ports" : "ports");
	if (o->port_count == 0)
		json_str(j, STR_NONE);
	else
		json_open(j, '[');
	for (uint32_t i = 0; i < o->port_count; i++)
		json_u64(j, o->ports[i]);
	if (o->port_count > 0)
		json_close(j, ']');
	page_put_texts(j, is_not ? "not_methods" : "methods", o->methods, o->method_count);
	json_key(j, is_not ? "not_paths" : "paths");
	if (o->path_count == 0)
		json_str(j, STR_NONE);
	else
		json_open(j, '[');
	for (uint32_t i = 0; i < o->path_count; i++) {
		struct page_words w = {.len = 0};
		page_say_path(&w, &o->paths[i]);
		json_str(j, page_words_str(&w));
	}
	if (o->path_count > 0)
		json_close(j, ']');
	page_put_texts(j, is_not ? "not_hosts" : "hosts", o->hosts, o->host_count);
}

static void page_put_fields(
	struct json *j, const char *key, const char *place, const struct route_fields *fields)
{
	json_key(j, key);
	json_open(j, '[');
	for (uint32_t i = 0; i < fields->count; i++) {
		struct page_words w = {.len = 0};
		page_say_field(&w, place, &fields->at[i]);
		json_str(j, page_words_str(&w));
	}
	json_close(j, ']');
}

void page_put_fault(struct json *j, const struct policy *p)
{
	if (p->fault.len > 0)
		page_put_str(j, "fault", p->fault);
}

void page_put_policy(struct json *j, const struct policy *p)
{
	json_open(j, '{');
	page_put_str(j, "name", p->name);
	page_put_str(j, "where", p->where);
	page_put_fault(j, p);
	page_put_str(j, "action", str_of(page_action_name(p->action)));
	page_put_str(j, "mode", str_of(page_mode_name(p->mode)));
	page_put_sources(j, "from", p->from, p->from_count);
	page_put_sources(j, "not_from", p->not_from, p->not_from_count);
	page_put_operations(j, &p->to, false);
	page_put_operations(j, &p->not_to, true);
	page_put_fields(j, "headers", "header", &p->headers);
	json_key(j, "token");
	if (p->token.is_wanted) {
		json_open(j, '{');
		page_put_texts(j, "issuers", p->token.issuers, p->token.issuer_count);
		page_put_texts(j, "audiences", p->token.audiences, p->token.audience_count);
		page_put_fields(j, "claims", "claim", &p->token.claims);
		json_close(j, '}');
	} else {
		json_str(j, STR_NONE);
	}
	json_close(j, '}');
}
