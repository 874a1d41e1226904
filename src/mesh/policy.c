/* SPDX-License-Identifier: Apache-2.0 */
/* One rule against one request, in three values, and all rules of a service one after the other.
 * Bytes are compared, never patterns: no name, method or path ever becomes an expression. */
#include "policy_private.h"

/* Parts between commas of a header's value, and blanks around them: each rule looks at them. */
#define POLICY_PARTS_MAX 256

/* In this order: of conditions that must all be so the least holds, of those of which one is enough
 * the greatest. */
static enum policy_truth policy_all(enum policy_truth a, enum policy_truth b)
{
	return a < b ? a : b;
}

static enum policy_truth policy_any(enum policy_truth a, enum policy_truth b)
{
	return a > b ? a : b;
}

static enum policy_truth policy_not(enum policy_truth a)
{
	return (enum policy_truth)(POLICY_TRUE - a);
}

static enum policy_truth policy_known(bool is_so)
{
	return is_so ? POLICY_TRUE : POLICY_FALSE;
}

/* --- who --- */

/* Somebody without identity may be anybody who has one, but is no address that it does not have.
 * Who has one may be of a service of which nothing is known. */
static enum policy_truth policy_source(
	const struct source *source, const struct policy_request *request)
{
	bool is_about_address = source->kind == SOURCE_ANONYMOUS || source->kind == SOURCE_RANGE;
	if (source_names(source, request->source_id, &request->client))
		return POLICY_TRUE;
	if (request->source_id.len > 0)
		return source_may_name(source, request->source_id) ? POLICY_UNKNOWN : POLICY_FALSE;
	bool is_unknown =
		!is_about_address || (source->kind == SOURCE_RANGE && request->client.family == 0);
	return is_unknown ? POLICY_UNKNOWN : POLICY_FALSE;
}

/* Who may be the one that is named may be him exactly: no address is more exact than that. Of an
 * allow rule only what is so counts. */
static uint32_t policy_source_rank(
	const struct source *source, enum policy_truth truth, enum policy_action action)
{
	if (truth == POLICY_TRUE)
		return source_rank(source);
	return truth == POLICY_UNKNOWN && action != POLICY_ALLOW ? SOURCE_RANK_ID : 0;
}

static enum policy_truth policy_sources(const struct source *sources, uint32_t count,
	const struct policy_request *request, enum policy_action action, uint32_t *rank)
{
	enum policy_truth truth = POLICY_FALSE;
	for (uint32_t i = 0; i < count; i++) {
		enum policy_truth one = policy_source(&sources[i], request);
		uint32_t its_rank = policy_source_rank(&sources[i], one, action);
		if (its_rank > *rank)
			*rank = its_rank;
		truth = policy_any(truth, one);
	}
	return truth;
}

enum policy_truth policy_ask_from(
	const struct policy *p, const struct policy_asked *asked, uint32_t *ret_rank)
{
	const struct policy_request *request = asked->request;
	const struct source *from = asked->source ? asked->source : p->from;
	uint32_t not_rank = 0, from_count = asked->source ? 1 : p->from_count;
	enum policy_truth truth;
	*ret_rank = SOURCE_RANK_LEAST;
	if (p->from_count > 0)
		truth = policy_sources(from, from_count, request, p->action, ret_rank);
	else if (p->action == POLICY_ALLOW)
		truth = policy_known(request->source_id.len > 0);
	else
		truth = POLICY_TRUE;
	if (p->action == POLICY_DENY && p->from_count == 0)
		*ret_rank = POLICY_RANK_GUARD;
	return policy_all(truth, policy_not(policy_sources(p->not_from, p->not_from_count, request,
					 p->action, &not_rank)));
}

/* --- what --- */

struct policy_asked policy_asked_of(const struct policy_request *request)
{
	struct policy_asked asked = {.request = request};
	if (request->http) {
		asked.is_odd = path_is_odd(request->http->path);
		asked.host = policy_host_of(request->http->authority);
	}
	return asked;
}

static enum policy_truth policy_path(
	const struct route_path *path, const struct policy_asked *asked)
{
	if (route_path_matches(path, asked->request->http->path))
		return POLICY_TRUE;
	return path_lenient_matches(path, asked->request->http->path, asked->is_odd)
		       ? POLICY_UNKNOWN
		       : POLICY_FALSE;
}

static enum policy_truth policy_paths(
	const struct policy_operations *o, const struct policy_asked *asked)
{
	enum policy_truth truth = POLICY_FALSE;
	if (asked->request->http->path.len == 0)
		return POLICY_UNKNOWN;
	if (asked->path)
		return policy_path(asked->path, asked);
	for (uint32_t i = 0; i < o->path_count && truth != POLICY_TRUE; i++)
		truth = policy_any(truth, policy_path(&o->paths[i], asked));
	return truth;
}

/* Methods have a letter case, and servers that put it aside. */
static enum policy_truth policy_methods(
	const struct policy_operations *o, const struct policy_asked *asked)
{
	struct str method = asked->request->http->method;
	enum policy_truth truth = method.len > 0 ? POLICY_FALSE : POLICY_UNKNOWN;
	for (uint32_t i = 0; i < o->method_count; i++) {
		if (str_eq(o->methods[i], method))
			return POLICY_TRUE;
		if (str_eq_nocase(o->methods[i], method))
			truth = POLICY_UNKNOWN;
	}
	return truth;
}

static enum policy_truth policy_ports(
	const struct policy_operations *o, const struct policy_asked *asked)
{
	if (asked->request->port == 0)
		return POLICY_UNKNOWN;
	for (uint32_t i = 0; i < o->port_count; i++) {
		if (o->ports[i] == asked->request->port)
			return POLICY_TRUE;
	}
	return POLICY_FALSE;
}

static enum policy_truth policy_hosts(
	const struct policy_operations *o, const struct policy_asked *asked)
{
	return policy_host_ask(o->hosts, o->host_count, &asked->host);
}

/* Of each list one is enough; `is_not`: none may be. */
static enum policy_truth policy_operations(
	const struct policy_operations *o, const struct policy_asked *asked, bool is_not)
{
	static const struct {
		size_t count;
		bool is_http;
		enum policy_truth (*ask)(
			const struct policy_operations *o, const struct policy_asked *asked);
	} lists[] = {
		{offsetof(struct policy_operations, port_count), false, policy_ports},
		{offsetof(struct policy_operations, path_count), true, policy_paths},
		{offsetof(struct policy_operations, method_count), true, policy_methods},
		{offsetof(struct policy_operations, host_count), true, policy_hosts},
	};
	enum policy_truth all = POLICY_TRUE;
	for (size_t i = 0; i < ARRAY_LEN(lists) && all != POLICY_FALSE; i++) {
		if (*(const uint32_t *)((const char *)o + lists[i].count) == 0)
			continue;
		enum policy_truth one = lists[i].is_http && !asked->request->http
						? POLICY_UNKNOWN
						: lists[i].ask(o, asked);
		all = policy_all(all, is_not ? policy_not(one) : one);
	}
	return all;
}

/* --- headers, claims --- */

static bool policy_is_wide_blank(char c)
{
	return c == ' ' || c == '\t' || (unsigned char)c >= 0x80;
}

/* Blanks beyond ASCII are taken off by many a server, each in the character set that it thinks of:
 * so anything there may be one. Of a value no more than so many are looked at. */
static struct str policy_trim_wide(struct str s, uint32_t *left)
{
	for (; s.len > 0 && *left > 0 && policy_is_wide_blank(s.at[0]); --*left)
		s = (struct str){s.at + 1, s.len - 1};
	for (; s.len > 0 && *left > 0 && policy_is_wide_blank(s.at[s.len - 1]); --*left)
		s.len--;
	return s;
}

/* Whether one of the parts between commas is so: a server may take the value for a list. One may be
 * where there are more than are worth looking at; `left`: so many still are. */
static bool policy_part_matches(const struct route_field *f, struct str value, uint32_t *left)
{
	for (; value.len > 0; --*left) {
		const char *comma = memchr(value.at, ',', value.len);
		size_t len = comma ? (size_t)(comma - value.at) : value.len;
		struct str part = policy_trim_wide((struct str){value.at, len}, left);
		if (*left == 0 || route_text_matches(f, part))
			return true;
		len += comma ? 1 : 0;
		value = (struct str){value.at + len, value.len - len};
	}
	return false;
}

static char policy_name_char(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c == '_' ? '-' : c);
}

static bool policy_is_same_char(char a, char b)
{
	return a == b || policy_name_char(a) == policy_name_char(b);
}

/* As servers do who make variables of headers: letter case aside, and "_" is "-". */
static bool policy_name_may_be(struct str a, struct str b)
{
	size_t i = 0;
	if (a.len != b.len)
		return false;
	while (i < a.len && policy_is_same_char(a.at[i], b.at[i]))
		i++;
	return i == a.len;
}

/* All of its values, or none, or nobody knows which one the server takes. It may also take several
 * for one with commas in it. Each rule looks at them: as soon as it is clear that nobody knows, at
 * no more of them, and of all together at no more parts than of one. */
static enum policy_truth policy_header(
	const struct route_field *f, const struct policy_request *request)
{
	uint32_t is_so = 0, may_be = 0, count = 0, left = POLICY_PARTS_MAX;
	if (!request->http)
		return POLICY_UNKNOWN;
	for (uint32_t i = 0; i < request->http->header_count; i++) {
		const struct route_header *h = route_header_at(request->http, i);
		if (!policy_name_may_be(h->name, f->name))
			continue;
		bool matches = route_text_matches(f, h->value);
		count++;
		is_so += matches && str_eq_nocase(h->name, f->name);
		may_be += matches || policy_part_matches(f, h->value, &left);
		if (is_so < count && may_be > 0)
			return POLICY_UNKNOWN;
	}
	bool may_be_joined = count > 1 && f->text.len > 0 && memchr(f->text.at, ',', f->text.len);
	if (is_so < count && may_be_joined)
		return POLICY_UNKNOWN;
	return policy_known(count > 0 && is_so == count);
}

static enum policy_truth policy_headers(
	const struct policy *p, const struct policy_request *request)
{
	enum policy_truth all = POLICY_TRUE;
	for (uint32_t i = 0; i < p->headers.count && all != POLICY_FALSE; i++) {
		const struct route_field *f = &p->headers.at[i];
		enum policy_truth one = policy_header(f, request);
		all = policy_all(all, f->invert ? policy_not(one) : one);
	}
	return all;
}

static bool policy_claim(const struct route_field *f, const struct policy_token *token)
{
	for (uint32_t i = 0; i < token->claim_count; i++) {
		if (str_eq(token->claims[i].name, f->name) &&
			route_text_matches(f, token->claims[i].value))
			return true;
	}
	return false;
}

static bool policy_is_one_of(const struct str *list, uint32_t count, struct str word)
{
	for (uint32_t i = 0; i < count; i++) {
		if (str_eq(list[i], word))
			return true;
	}
	return count == 0;
}

static bool policy_audience(const struct policy_token_rule *rule, const struct policy_token *token)
{
	for (uint32_t i = 0; i < token->claim_count; i++) {
		if (str_eq(token->claims[i].name, STR("aud")) &&
			policy_is_one_of(
				rule->audiences, rule->audience_count, token->claims[i].value))
			return true;
	}
	return rule->audience_count == 0;
}

static enum policy_truth policy_token(
	const struct policy_token_rule *rule, const struct policy_request *request)
{
	const struct policy_token *token = request->token;
	if (!rule->is_wanted)
		return POLICY_TRUE;
	if (!token)
		return POLICY_UNKNOWN;
	if (!policy_is_one_of(rule->issuers, rule->issuer_count, token->issuer) ||
		!policy_audience(rule, token))
		return POLICY_FALSE;
	for (uint32_t i = 0; i < rule->claims.count; i++) {
		const struct route_field *f = &rule->claims.at[i];
		if (policy_claim(f, token) == f->invert)
			return POLICY_FALSE;
	}
	return POLICY_TRUE;
}

/* --- a rule --- */

bool policy_matches(const struct policy *p, const struct policy_asked *asked, uint32_t *ret_rank)
{
	const struct policy_request *request = asked->request;
	struct policy_asked whole = *asked;
	whole.path = NULL;
	enum policy_truth truth = policy_ask_from(p, asked, ret_rank);
	if (truth != POLICY_FALSE)
		truth = policy_all(truth, policy_operations(&p->to, asked, false));
	if (truth != POLICY_FALSE)
		truth = policy_all(truth, policy_operations(&p->not_to, &whole, true));
	if (truth != POLICY_FALSE)
		truth = policy_all(truth, policy_headers(p, request));
	if (truth != POLICY_FALSE && !asked->open)
		truth = policy_all(truth, policy_token(&p->token, request));
	return p->action == POLICY_ALLOW ? truth == POLICY_TRUE : truth != POLICY_FALSE;
}

bool policy_matches_caller(
	const struct policy *p, const struct policy_asked *asked, uint32_t *ret_rank)
{
	enum policy_truth truth = policy_ask_from(p, asked, ret_rank);
	if (p->to.port_count > 0)
		truth = policy_all(truth, policy_ports(&p->to, asked));
	if (p->not_to.port_count > 0)
		truth = policy_all(truth, policy_not(policy_ports(&p->not_to, asked)));
	return p->action == POLICY_ALLOW ? truth == POLICY_TRUE : truth != POLICY_FALSE;
}

/* --- all of them --- */

bool policy_outweighs(
	const struct policy_weighing *w, const struct policy *p, uint32_t place, uint32_t rank)
{
	if (!w->policy || rank != w->rank)
		return !w->policy || rank > w->rank;
	return p->action == w->policy->action ? place < w->place : p->action == POLICY_DENY;
}

bool policy_matters(
	const struct policy_weighed *weighed, const struct policy *p, uint32_t place, uint32_t rank)
{
	if (p->action == POLICY_AUDIT)
		return !weighed->noted || place < weighed->noted_place;
	return policy_outweighs(&weighed->whole, p, place, rank) ||
	       (p->mode == POLICY_ENFORCED && policy_outweighs(&weighed->enforced, p, place, rank));
}

void policy_weigh(struct policy_weighing *w, const struct policy *p, uint32_t place, uint32_t rank)
{
	if (!policy_outweighs(w, p, place, rank))
		return;
	w->rank = rank;
	w->place = place;
	w->policy = p;
}

struct policy_weighed *policy_weighed_for(
	struct policy_weighed *weighed, const struct policy_asked *asked, const struct policy *p)
{
	if (!asked->open || !p->token.is_wanted)
		return weighed;
	return p->action == POLICY_ALLOW ? &asked->open->allow : &asked->open->rest;
}

void policy_judge(struct policy_weighed *weighed, const struct service *service, uint32_t place,
	const struct policy_asked *asked)
{
	const struct policy *p = service->policies[place];
	uint32_t rank;
	weighed->steps++;
	if (!policy_matches(p, asked, &rank))
		return;
	weighed = policy_weighed_for(weighed, asked, p);
	if (p->action != POLICY_AUDIT) {
		policy_weigh(&weighed->whole, p, place, rank);
		if (p->mode == POLICY_ENFORCED)
			policy_weigh(&weighed->enforced, p, place, rank);
	} else if (!weighed->noted || place < weighed->noted_place) {
		weighed->noted = p;
		weighed->noted_place = place;
	}
}

void policy_count_allows(struct policy_weighed *weighed, const struct policy *p)
{
	weighed->whole.has_allow = weighed->whole.has_allow || p->action == POLICY_ALLOW;
	weighed->enforced.has_allow = weighed->enforced.has_allow ||
				      (p->action == POLICY_ALLOW && p->mode == POLICY_ENFORCED);
}

/* What one weighing comes to. */
static bool policy_outcome(const struct snapshot *s, const struct service *service,
	const struct policy_request *request, const struct policy_weighing *w,
	enum policy_default *ret_by)
{
	*ret_by = service->policy_default;
	if (w->policy)
		return w->policy->action == POLICY_ALLOW;
	if (!source_is_own(s, request->source_id) || service->policy_default == POLICY_DEFAULT_DENY)
		return false;
	if (service->policy_default == POLICY_DEFAULT_AUTHENTICATED)
		return true;
	return s->default_allow && !w->has_allow;
}

struct policy_verdict policy_conclude(const struct snapshot *s, const struct service *service,
	const struct policy_request *request, const struct policy_weighed *weighed)
{
	enum policy_default whole_by;
	struct policy_verdict v = {.noted = weighed->noted};
	v.allowed = policy_outcome(s, service, request, &weighed->enforced, &v.by);
	v.policy = weighed->enforced.policy;
	bool would = policy_outcome(s, service, request, &weighed->whole, &whole_by);
	if (v.allowed && !would) {
		v.would_deny = true;
		v.audited = weighed->whole.policy;
	} else if (!v.allowed && s->is_audited) {
		v.allowed = v.would_deny = true;
		v.audited = v.policy;
	}
	return v;
}

struct policy_verdict policy_check_each(const struct snapshot *s, const struct service *service,
	const struct policy_request *request)
{
	const struct policy_asked asked = policy_asked_of(request);
	struct policy_weighed weighed = {0};
	for (uint32_t i = 0; i < service->policy_count; i++) {
		policy_count_allows(&weighed, service->policies[i]);
		policy_judge(&weighed, service, i, &asked);
	}
	return policy_conclude(s, service, request, &weighed);
}

struct policy_verdict policy_check(const struct snapshot *s, const struct service *service,
	const struct policy_request *request)
{
	struct policy_weighed weighed = {0};
	if (!service->policy_index)
		return policy_check_each(s, service, request);
	policy_index_ask(&weighed, NULL, service, request);
	return policy_conclude(s, service, request, &weighed);
}

static bool policy_operations_ask_http(const struct policy_operations *o)
{
	return o->path_count > 0 || o->method_count > 0 || o->host_count > 0;
}

bool policy_asks_http(const struct policy *p)
{
	return policy_operations_ask_http(&p->to) || policy_operations_ask_http(&p->not_to) ||
	       p->headers.count > 0 || p->token.is_wanted;
}

bool policy_asks_header(const struct service *service, struct str name)
{
	if (!(policy_wants(service).headers & policy_header_bit(name)))
		return false;
	if (service->policy_index)
		return policy_index_asks_header(service->policy_index, name);
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct route_fields *headers = &service->policies[i]->headers;
		for (uint32_t k = 0; k < headers->count; k++) {
			if (str_eq_nocase(headers->at[k].name, name))
				return true;
		}
	}
	return false;
}
