/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_reference.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* --- three values --- */

enum answer { NO, PERHAPS, YES };

static enum answer reference_not(enum answer a)
{
	return a == YES ? NO : a == NO ? YES : PERHAPS;
}

static enum answer reference_and(enum answer a, enum answer b)
{
	if (a == NO || b == NO)
		return NO;
	return a == YES && b == YES ? YES : PERHAPS;
}

static enum answer reference_or(enum answer a, enum answer b)
{
	return reference_not(reference_and(reference_not(a), reference_not(b)));
}

static bool reference_is(struct str a, const char *b)
{
	return a.len == strlen(b) && memcmp(a.at, b, a.len) == 0;
}

static bool reference_begins(struct str a, struct str b)
{
	return a.len >= b.len && (b.len == 0 || memcmp(a.at, b.at, b.len) == 0);
}

/* --- who --- */

static bool reference_in(const struct address *a, const struct address_range *r)
{
	if (a->family != r->base.family)
		return false;
	for (unsigned bit = 0; bit < r->prefix_len; bit++) {
		if ((a->ip[bit / 8] >> (7 - bit % 8) & 1) !=
			(r->base.ip[bit / 8] >> (7 - bit % 8) & 1))
			return false;
	}
	return true;
}

/* One entry as it was written. `rank`: how exact it is when it is so. */
static enum answer reference_entry(
	const struct snapshot *s, struct str entry, const struct policy_request *r, uint64_t *rank)
{
	struct address_range range;
	bool nobody = r->source_id.len == 0;
	char text[512];
	*rank = 1;
	if (reference_is(entry, "anonymous"))
		return nobody ? YES : NO;
	if (reference_is(entry, "*"))
		return nobody ? PERHAPS : YES;
	if (address_range_parse(entry, &range)) {
		*rank = 2 + range.prefix_len;
		if (!nobody)
			return NO;
		return r->client.family == 0		  ? PERHAPS
		       : reference_in(&r->client, &range) ? YES
							  : NO;
	}
	bool is_whole = entry.len > 9 && memcmp(entry.at, "spiffe://", 9) == 0;
	bool is_path = memchr(entry.at, '/', entry.len) != NULL;
	snprintf(text, sizeof(text), "%s%.*s%s%.*s", is_whole ? "" : "spiffe://",
		is_whole ? 0 : (int)s->trust_domain.len, s->trust_domain.at,
		is_whole  ? ""
		: is_path ? "/"
			  : "/service/",
		STR_ARG(entry));
	size_t len = strlen(text);
	*rank = UINT64_C(1) << 40;
	if (nobody)
		return PERHAPS;
	if (text[len - 1] == '*') {
		*rank = len;
		return r->source_id.len > len - 1 && memcmp(r->source_id.at, text, len - 1) == 0
			       ? YES
			       : NO;
	}
	for (uint32_t i = 0; !is_path && i < s->service_count; i++) {
		const struct service *service = &s->services[i];
		if (service->is_implicit)
			continue;
		for (uint32_t k = 0; str_eq(service->name, entry) && k < service->id_count; k++) {
			if (str_eq(service->ids[k], r->source_id))
				return YES;
		}
		if (str_eq(service->name, entry))
			return NO;
	}
	bool is_declared = false;
	for (uint32_t i = 0; i < s->service_count; i++)
		is_declared = is_declared || (!s->services[i].is_implicit &&
						     str_eq(s->services[i].ids[0], r->source_id));
	if (reference_is(r->source_id, text))
		return YES;
	return is_path || is_declared ? NO : PERHAPS;
}

static enum answer reference_from(const struct snapshot *s, const struct policy *p,
	const struct policy_request *r, uint64_t *rank)
{
	enum answer a = NO;
	bool denies = p->action != POLICY_ALLOW;
	uint64_t ignored;
	*rank = 1;
	for (uint32_t i = 0; i < p->from_count; i++) {
		uint64_t its;
		enum answer one = reference_entry(s, p->from[i].entry, r, &its);
		if (one == PERHAPS && denies)
			its = UINT64_C(1) << 40;
		if ((one == YES || (one == PERHAPS && denies)) && its > *rank)
			*rank = its;
		a = reference_or(a, one);
	}
	if (p->from_count == 0) {
		a = denies || r->source_id.len > 0 ? YES : NO;
		*rank = p->action == POLICY_DENY ? UINT64_C(1) << 50 : 1;
	}
	for (uint32_t i = 0; i < p->not_from_count; i++)
		a = reference_and(
			a, reference_not(reference_entry(s, p->not_from[i].entry, r, &ignored)));
	return a;
}

/* --- paths --- */

#define WORDS_MAX 64
#define WORD_MAX  64
struct words {
	char at[WORDS_MAX][WORD_MAX];
	int count;
	bool is_odd;
};

/* Characters, with ESCAPED on those that were written as escapes. */
#define ESCAPED 0x100
static int reference_decode(struct str text, int *chars)
{
	int count = 0;
	for (size_t i = 0; i < text.len; i++)
		chars[count++] = (unsigned char)text.at[i];
	for (int i = 0; i + 2 < count; i++) {
		int high = chars[i + 1] < 128 ? str_hex((char)chars[i + 1]) : -1;
		int low = chars[i + 2] < 128 ? str_hex((char)chars[i + 2]) : -1;
		if ((chars[i] & 0xff) != '%' || high < 0 || low < 0)
			continue;
		chars[i] = (high * 16 + low) | ESCAPED;
		memmove(&chars[i + 1], &chars[i + 3], (size_t)(count - i - 3) * sizeof(int));
		count -= 2;
		i--; /* it may be a percent sign itself */
	}
	return count;
}

static void reference_end_word(struct words *w, const int *chars, int count)
{
	int len = 0;
	while (len < count && (chars[len] & 0xff) != ';')
		len++;
	while (len > 0 && strchr(". ", chars[len - 1] & 0xff))
		len--;
	if (len == 0) {
		w->is_odd = w->is_odd || count > 0;
		return;
	}
	char *word = w->at[w->count++];
	for (int i = 0; i < len; i++)
		word[i] = (char)((chars[i] & 0xff) < 128 ? tolower(chars[i] & 0xff)
							 : (chars[i] & 0xff));
	word[len] = '\0';
}

/* The segments that a lenient server sees. */
static void reference_words(struct str path, struct words *w)
{
	static int chars[512];
	int start = 0;
	int count = reference_decode(path, chars);
	w->count = 0;
	w->is_odd = false;
	for (int i = 0; i <= count; i++) {
		int c = i < count ? chars[i] & 0xff : '?';
		bool is_end = c == '?' || c == '#' || c == 0;
		if (!is_end && c != '/' && c != '\\')
			continue;
		w->is_odd = w->is_odd || (i < count && chars[i] != '/');
		reference_end_word(w, chars + start, i - start);
		start = i + 1;
		if (is_end)
			return;
	}
}

/* How many of the words `at` on it takes; -1: it is not there. */
static int reference_take(const struct words *path, int at, struct str text)
{
	static struct words want;
	reference_words(text, &want);
	for (int i = 0; i < want.count; i++) {
		if (at + i >= path->count || strcmp(path->at[at + i], want.at[i]) != 0)
			return -1;
	}
	return want.count;
}

static struct str reference_cut(struct str *text)
{
	const char *slash = text->len ? memchr(text->at, '/', text->len) : NULL;
	struct str part = {text->at, slash ? (size_t)(slash - text->at) : text->len};
	size_t used = part.len + (slash ? 1 : 0);
	*text = (struct str){text->at + used, text->len - used};
	return part;
}

static bool reference_template(struct str template, struct str path)
{
	for (;;) {
		bool is_last = !memchr(template.at, '/', template.len);
		bool is_path_last = path.len == 0 || !memchr(path.at, '/', path.len);
		struct str want = reference_cut(&template), part = reference_cut(&path);
		if (is_last && reference_is(want, "*"))
			return true;
		bool is_any = want.len > 0 && want.at[0] == '{';
		if (is_any ? part.len == 0 : !str_eq(want, part))
			return false;
		if (is_last || is_path_last)
			return is_last && is_path_last;
	}
}

static bool reference_loose_template(struct str template, const struct words *path)
{
	bool is_fixed = true, is_so = true;
	int at = 0;
	while (template.len > 0) {
		struct str want = reference_cut(&template);
		if (template.len == 0 && reference_is(want, "*"))
			return is_so || path->is_odd;
		bool is_any = want.len > 0 && want.at[0] == '{';
		is_fixed = is_fixed && !is_any;
		int taken = is_any ? (at < path->count ? 1 : -1) : reference_take(path, at, want);
		if (taken < 0 && is_fixed)
			return false;
		is_so = is_so && taken >= 0;
		at += taken > 0 ? taken : 0;
	}
	return (is_so && at == path->count) || path->is_odd;
}

static enum answer reference_path(const struct route_path *p, struct str path)
{
	static struct words words;
	struct str text = p->text;
	bool is_so = false, may_be = false;
	reference_words(path, &words);
	int taken = p->kind == ROUTE_PATH_TEMPLATE ? -1 : reference_take(&words, 0, text);
	if (p->kind == ROUTE_PATH_EXACT) {
		is_so = str_eq(text, path);
		may_be = taken == words.count;
	} else if (p->kind == ROUTE_PATH_PREFIX) {
		is_so = reference_begins(path, text) &&
			(path.len == text.len || path.at[text.len] == '/');
		may_be = taken >= 0;
	} else {
		is_so = reference_template(text, path);
		may_be = reference_loose_template(text, &words);
	}
	return is_so ? YES : may_be ? PERHAPS : NO;
}

/* --- hosts --- */

static bool reference_digits(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (!isdigit((unsigned char)text.at[i]))
			return false;
	}
	return true;
}

/* Takes the port off; false: it is no plain authority. */
static bool reference_host(struct str *host)
{
	struct address ignored;
	bool is_v6 = host->len > 0 && host->at[0] == '[';
	const char *end = is_v6 ? memchr(host->at, ']', host->len) : NULL;
	const char *colon = host->len ? memrchr(host->at, ':', host->len) : NULL;
	if (colon && (!end || colon > end)) {
		struct str port = {colon + 1, (size_t)(host->at + host->len - colon) - 1};
		host->len = (size_t)(colon - host->at);
		if (!reference_digits(port))
			return false;
	}
	if (host->len > 1 && host->at[host->len - 1] == '.')
		host->len--;
	if (host->len == 0 || host->at[host->len - 1] == '.')
		return false;
	if (is_v6)
		return end && end == host->at + host->len - 1 && host->len > 2 &&
		       strspn(host->at + 1, "0123456789abcdef:.") >= host->len - 2;
	for (size_t i = 0; i < host->len; i++) {
		if (!islower((unsigned char)host->at[i]) && !isdigit((unsigned char)host->at[i]) &&
			!strchr("-._", host->at[i]))
			return false;
	}
	const char *dot = memrchr(host->at, '.', host->len);
	struct str last = *host;
	if (dot)
		last = (struct str){dot + 1, (size_t)(host->at + host->len - dot) - 1};
	bool is_hex = last.len >= 2 && last.at[0] == '0' && last.at[1] == 'x' &&
		      strspn(last.at + 2, "0123456789abcdef") >= last.len - 2;
	return address_parse(*host, &ignored) || !(is_hex || reference_digits(last));
}

static bool reference_address(struct str host, struct address *ret)
{
	if (host.len > 2 && host.at[0] == '[')
		host = (struct str){host.at + 1, host.len - 2};
	return address_parse(host, ret);
}

static enum answer reference_hosts(const struct policy_operations *o, struct str host)
{
	enum answer a = NO;
	if (!reference_host(&host))
		return PERHAPS;
	for (uint32_t i = 0; i < o->host_count; i++) {
		struct str want = o->hosts[i];
		struct address one, other;
		bool is_below = want.at[0] == '*';
		struct str end = is_below ? (struct str){want.at + 1, want.len - 1} : want;
		if (is_below ? host.len > end.len &&
					memcmp(host.at + host.len - end.len, end.at, end.len) == 0
			     : str_eq(host, want))
			return YES;
		if (reference_address(want, &one) && reference_address(host, &other) &&
			address_same_ip(&one, &other))
			a = PERHAPS;
	}
	return a;
}

/* --- operations --- */

static enum answer reference_method(const struct policy_operations *o, struct str method)
{
	enum answer a = method.len ? NO : PERHAPS;
	for (uint32_t i = 0; i < o->method_count; i++) {
		if (str_eq(o->methods[i], method))
			return YES;
		if (o->methods[i].len == method.len &&
			strncasecmp(o->methods[i].at, method.at, method.len) == 0)
			a = PERHAPS;
	}
	return a;
}

static void reference_operations(
	const struct policy_operations *o, const struct policy_request *r, enum answer answers[4])
{
	const struct route_request *http = r->http;
	answers[0] = r->port ? NO : PERHAPS;
	for (uint32_t i = 0; i < o->port_count && r->port; i++) {
		if (o->ports[i] == r->port)
			answers[0] = YES;
	}
	answers[1] = answers[2] = answers[3] = PERHAPS;
	if (!http)
		return;
	answers[1] = http->path.len ? NO : PERHAPS;
	for (uint32_t i = 0; i < o->path_count && http->path.len; i++)
		answers[1] = reference_or(answers[1], reference_path(&o->paths[i], http->path));
	answers[2] = reference_method(o, http->method);
	answers[3] = reference_hosts(o, http->authority);
}

static enum answer reference_to(
	const struct policy_operations *o, const struct policy_request *r, bool is_not)
{
	const uint32_t counts[4] = {o->port_count, o->path_count, o->method_count, o->host_count};
	enum answer answers[4], all = YES;
	reference_operations(o, r, answers);
	for (int i = 0; i < 4; i++) {
		if (counts[i] > 0)
			all = reference_and(all, is_not ? reference_not(answers[i]) : answers[i]);
	}
	return all;
}

/* --- headers, tokens --- */

static bool reference_text(const struct route_field *f, struct str value)
{
	switch (f->kind) {
	case ROUTE_TEXT_PRESENT:
		return true;
	case ROUTE_TEXT_EXACT:
		return str_eq(value, f->text);
	case ROUTE_TEXT_PREFIX:
		return reference_begins(value, f->text);
	case ROUTE_TEXT_SUFFIX:
		return value.len >= f->text.len &&
		       memcmp(value.at + value.len - f->text.len, f->text.at, f->text.len) == 0;
	}
	return false;
}

static bool reference_part(const struct route_field *f, struct str value)
{
	char text[256], *next = text;
	snprintf(text, sizeof(text), "%.*s", STR_ARG(value));
	for (char *part; value.len > 0 && (part = strsep(&next, ","));) {
		if ((next || *part || part == text) && reference_text(f, str_trim(str_of(part))))
			return true;
	}
	return false;
}

/* 0: another header; 1: for some servers this one; 2: this one. */
static int reference_name(struct str name, struct str want)
{
	bool is_same = name.len == want.len;
	bool is_near = is_same;
	for (size_t i = 0; is_near && i < name.len; i++) {
		int a = tolower(name.at[i]), b = tolower(want.at[i]);
		is_same = is_same && a == b;
		is_near = (a == '_' ? '-' : a) == (b == '_' ? '-' : b);
	}
	return is_near ? is_same ? 2 : 1 : 0;
}

static enum answer reference_header(const struct route_field *f, const struct route_request *http)
{
	int yes = 0, perhaps = 0, count = 0;
	if (!http)
		return PERHAPS;
	for (uint32_t i = 0; i < http->header_count; i++) {
		const struct route_header *h = &((const struct route_header *)http->headers)[i];
		int name = reference_name(h->name, f->name);
		bool is_so = reference_text(f, h->value);
		count += name > 0;
		yes += name == 2 && is_so;
		perhaps += name > 0 && (is_so || reference_part(f, h->value));
	}
	bool is_joined = count > 1 && f->text.len && memchr(f->text.at, ',', f->text.len);
	if (count > 0 && yes == count)
		return YES;
	return yes + perhaps > 0 || is_joined ? PERHAPS : NO;
}

static bool reference_list_has(const struct str *list, uint32_t count, struct str word)
{
	bool has = count == 0;
	for (uint32_t i = 0; i < count; i++)
		has = has || str_eq(list[i], word);
	return has;
}

static enum answer reference_token(
	const struct policy_token_rule *t, const struct policy_token *token)
{
	bool is_for = t->audience_count == 0;
	if (!t->is_wanted || !token)
		return t->is_wanted ? PERHAPS : YES;
	for (uint32_t i = 0; i < token->claim_count; i++) {
		is_for = is_for || (reference_is(token->claims[i].name, "aud") &&
					   reference_list_has(t->audiences, t->audience_count,
						   token->claims[i].value));
	}
	bool is_so = is_for && reference_list_has(t->issuers, t->issuer_count, token->issuer);
	for (uint32_t k = 0; k < t->claims.count; k++) {
		const struct route_field *f = &t->claims.at[k];
		bool has = false;
		for (uint32_t i = 0; i < token->claim_count; i++)
			has = has || (str_eq(token->claims[i].name, f->name) &&
					     reference_text(f, token->claims[i].value));
		is_so = is_so && has != f->invert;
	}
	return is_so ? YES : NO;
}

/* --- rules, and all of them --- */

static bool reference_matches(const struct snapshot *s, const struct policy *p,
	const struct policy_request *r, uint64_t *rank)
{
	enum answer a = reference_from(s, p, r, rank);
	a = reference_and(a, reference_to(&p->to, r, false));
	a = reference_and(a, reference_to(&p->not_to, r, true));
	for (uint32_t i = 0; i < p->headers.count; i++) {
		enum answer one = reference_header(&p->headers.at[i], r->http);
		a = reference_and(a, p->headers.at[i].invert ? reference_not(one) : one);
	}
	a = reference_and(a, reference_token(&p->token, r->token));
	return p->action == POLICY_ALLOW ? a == YES : a != NO;
}

/* With or without the rules that are on trial. */
static bool reference_decide(const struct snapshot *s, const struct service *service,
	const struct policy_request *r, bool is_whole, const struct policy **ret_policy)
{
	const struct policy *best = NULL;
	uint64_t best_rank = 0;
	bool has_allow = false;
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct policy *p = service->policies[i];
		uint64_t rank;
		if (p->action == POLICY_AUDIT || (p->mode == POLICY_AUDITED && !is_whole))
			continue;
		has_allow = has_allow || p->action == POLICY_ALLOW;
		if (!reference_matches(s, p, r, &rank))
			continue;
		bool is_better = !best || rank > best_rank ||
				 (rank == best_rank && p->action == POLICY_DENY &&
					 best->action == POLICY_ALLOW);
		best = is_better ? p : best;
		best_rank = is_better ? rank : best_rank;
	}
	*ret_policy = best;
	if (best)
		return best->action == POLICY_ALLOW;
	char own[300];
	int own_len = snprintf(own, sizeof(own), "spiffe://" STR_FMT "/", STR_ARG(s->trust_domain));
	bool is_ours = r->source_id.len > (size_t)own_len &&
		       strncmp(r->source_id.at, own, (size_t)own_len) == 0;
	switch (service->policy_default) {
	case POLICY_DEFAULT_DENY:
		return false;
	case POLICY_DEFAULT_AUTHENTICATED:
		return is_ours;
	case POLICY_DEFAULT_MESH:
		break;
	}
	return is_ours && s->default_allow && !has_allow;
}

struct policy_verdict policy_reference(const struct snapshot *s, const struct service *service,
	const struct policy_request *request)
{
	struct policy_verdict v = {.by = service->policy_default};
	const struct policy *whole;
	uint64_t rank;
	bool enforced = reference_decide(s, service, request, false, &v.policy);
	bool would = reference_decide(s, service, request, true, &whole);
	v.allowed = enforced || s->is_audited;
	if (!enforced && s->is_audited) {
		v.would_deny = true;
		v.audited = v.policy;
	} else if (enforced && !would) {
		v.would_deny = true;
		v.audited = whole;
	}
	for (uint32_t i = 0; !v.noted && i < service->policy_count; i++) {
		const struct policy *p = service->policies[i];
		if (p->action == POLICY_AUDIT && reference_matches(s, p, request, &rank))
			v.noted = p;
	}
	return v;
}
