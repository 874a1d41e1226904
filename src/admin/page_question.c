/* SPDX-License-Identifier: Apache-2.0 */
#include "page_question.h"

#include "codec/http.h"
#include "mesh/header.h"
#include "mesh/policy.h"
#include <errno.h>

#define PAGE_QUESTION_BYTES_MAX 65536

/* at == NULL: no text that a request could bring, or out of memory. */
struct str page_decode(struct arena *a, struct str text)
{
	char *plain = arena_take(a, text.len + 1);
	size_t len = 0;
	for (size_t i = 0; plain && i < text.len; i++) {
		unsigned char c = (unsigned char)text.at[i];
		if (c == '%') {
			int high = i + 2 < text.len ? str_hex(text.at[i + 1]) : -1;
			int low = i + 2 < text.len ? str_hex(text.at[i + 2]) : -1;
			if (high < 0 || low < 0)
				return STR_NONE;
			c = (unsigned char)(high * 16 + low);
			i += 2;
		}
		if (c < ' ' || c == 0x7f)
			return STR_NONE;
		plain[len++] = (char)c;
	}
	return (struct str){plain, len};
}

struct str page_cut(struct str *text, char end)
{
	const char *at = text->len ? memchr(text->at, end, text->len) : NULL;
	struct str part = {text->at, at ? (size_t)(at - text->at) : text->len};
	size_t used = part.len + (at ? 1 : 0);
	*text = (struct str){text->at + used, text->len - used};
	return part;
}

/* What a request could not bring, or no rule would see. */
static bool page_question_header_passes(struct str name, struct err *err)
{
	if (!http_request_name_valid(name))
		err_set(err, EINVAL,
			"header: \"" STR_FMT "\" is no name that a proxy would let through: "
			"letters, digits and '-'",
			STR_ARG(name));
	else if (str_eq_nocase(name, STR("host")))
		err_set(err, EINVAL, "header: give the host as host");
	else if (header_is_hop(name) || header_is_ours(name))
		err_set(err, EINVAL,
			"header: \"" STR_FMT "\" is the proxies' own, and no rule sees it; leave "
			"it out",
			STR_ARG(name));
	return !err->text[0];
}

static bool page_question_header(struct page_question *q, struct str line, struct err *err)
{
	bool has_colon = line.len > 0 && memchr(line.at, ':', line.len);
	struct str value = line, name = str_trim(page_cut(&value, ':'));
	if (!has_colon || name.len == 0) {
		err_set(err, EINVAL, "\"" STR_FMT "\" is no header: \"name: value\"",
			STR_ARG(line));
		return false;
	}
	if (!page_question_header_passes(name, err))
		return false;
	if (q->header_count == PAGE_QUESTION_HEADERS_MAX) {
		err_set(err, EINVAL, "more than %d headers", PAGE_QUESTION_HEADERS_MAX);
		return false;
	}
	q->headers[q->header_count++] = (struct route_header){name, str_trim(value)};
	return true;
}

static bool page_question_claim(struct page_question *q, struct str text, struct err *err)
{
	bool has_value = text.len > 0 && memchr(text.at, '=', text.len);
	struct str value = text, name = page_cut(&value, '=');
	if (!has_value || name.len == 0) {
		err_set(err, EINVAL, "\"" STR_FMT "\" is no claim: name=value", STR_ARG(text));
		return false;
	}
	if (str_eq(name, STR("iss")))
		q->issuer = value;
	if (q->claim_count == PAGE_QUESTION_CLAIMS_MAX) {
		err_set(err, EINVAL, "more than %d claims", PAGE_QUESTION_CLAIMS_MAX);
		return false;
	}
	/* those of one name together */
	uint32_t at = q->claim_count++;
	for (uint32_t i = at; i > 0 && !str_eq(q->claims[at - 1].name, name); i--) {
		if (str_eq(q->claims[i - 1].name, name))
			at = i;
	}
	memmove(&q->claims[at + 1], &q->claims[at],
		(q->claim_count - 1 - at) * sizeof(q->claims[0]));
	q->claims[at] = (struct policy_claim){name, value};
	return true;
}

static bool page_question_number(struct page_question *q, struct str value, struct err *err)
{
	uint64_t port;
	if (!str_to_u64(value, &port) || port == 0 || port > UINT16_MAX) {
		err_set(err, EINVAL, "port: 1 to 65535, not \"" STR_FMT "\"", STR_ARG(value));
		return false;
	}
	q->port = (uint16_t)port;
	return true;
}

static bool page_question_client(struct page_question *q, struct str value, struct err *err)
{
	if (address_parse(value, &q->client))
		return true;
	err_set(err, EINVAL, "client: an address, not \"" STR_FMT "\"", STR_ARG(value));
	return false;
}

static bool page_question_take(
	struct page_question *q, struct str key, struct str value, struct err *err)
{
	static const struct {
		const char *key;
		bool (*take)(struct page_question *q, struct str value, struct err *err);
	} read[] = {{"header", page_question_header}, {"claim", page_question_claim},
		{"port", page_question_number}, {"client", page_question_client}};
	for (size_t i = 0; i < ARRAY_LEN(read); i++) {
		if (str_eq(key, str_of(read[i].key)))
			return read[i].take(q, value, err);
	}
	if (str_eq(key, STR("from")))
		q->from = value;
	else if (str_eq(key, STR("to")))
		q->to = value;
	else if (str_eq(key, STR("method")))
		q->method = value;
	else if (str_eq(key, STR("path")))
		q->path = value;
	else if (str_eq(key, STR("host")))
		q->host = value;
	else if (str_eq(key, STR("tcp")))
		q->is_tcp = true;
	else
		err_set(err, EINVAL,
			"\"" STR_FMT "\" is none of from, to, method, path, host, header, claim, "
			"port, client and tcp",
			STR_ARG(key));
	return !err->text[0];
}

/* Unless one is asked for it is the service's name, whatever that is. */
static bool page_question_normalise_host(struct page_question *q, struct err *err)
{
	bool is_asked = q->host.len > 0;
	struct str host = arena_str(&q->arena, is_asked ? q->host : q->to);
	if (!host.at) {
		err_set(err, ENOMEM, "out of memory");
		return false;
	}
	if (!http_authority_normalise(&host) && is_asked) {
		err_set(err, EINVAL,
			"host: \"" STR_FMT "\" is none that a proxy would let through: "
			"a name or an address, and a port if need be",
			STR_ARG(q->host));
		return false;
	}
	q->host = host;
	return true;
}

static bool page_question_method(const struct page_question *q, struct err *err)
{
	if (http_method_passes(q->method))
		return true;
	err_set(err, EINVAL,
		"method: \"" STR_FMT
		"\" is none that a proxy would let through: one that is known, in "
		"capitals, and neither CONNECT nor TRACE",
		STR_ARG(q->method));
	return false;
}

/* As the proxy does it before it looks for a rule. */
static bool page_question_normalise(struct page_question *q, struct err *err)
{
	char *path = arena_take(&q->arena, q->path.len + 1);
	size_t len;
	if (!path) {
		err_set(err, ENOMEM, "out of memory");
		return false;
	}
	q->asked_path = q->path;
	/* "*" is the server as a whole, which has options and nothing else */
	bool is_target = !str_eq(q->path, STR("*")) || str_eq(q->method, STR("OPTIONS"));
	q->is_path_refused = !is_target || !path_normalise(q->path, path, &len);
	if (!q->is_path_refused)
		q->path = (struct str){path, len};
	return page_question_method(q, err) && page_question_normalise_host(q, err);
}

bool page_question_read(struct page_question *q, struct str query, struct err *err)
{
	*q = (struct page_question){
		.method = STR("GET"), .path = STR("/"), .issuer = STR(""), .source_id = STR("")};
	*err = (struct err){0};
	arena_init(&q->arena, PAGE_QUESTION_BYTES_MAX);
	while (query.len > 0) {
		struct str value = page_cut(&query, '&'), key = page_cut(&value, '=');
		struct str plain = page_decode(&q->arena, value);
		if (!plain.at) {
			err_set(err, EINVAL, STR_FMT ": no text", STR_ARG(key));
			return false;
		}
		if (!page_question_take(q, key, plain, err))
			return false;
	}
	if (q->to.len == 0) {
		err_set(err, EINVAL, "to which service? ?from=NAME&to=NAME&method=GET&path=/");
		return false;
	}
	return page_question_normalise(q, err);
}

void page_question_done(struct page_question *q)
{
	arena_done(&q->arena);
}

bool page_question_passes(const struct page_question *q, struct err *err)
{
	if (q->is_path_refused)
		err_set(err, EINVAL,
			"\"" STR_FMT "\" is no path that a proxy would let through: it begins with "
			"'/', without broken or hidden parts",
			STR_ARG(q->path));
	return !q->is_path_refused;
}

/* Of a range only one address is somebody. */
static bool page_question_address(
	struct page_question *q, const struct address_range *range, struct err *err)
{
	uint8_t whole = range->base.family == AF_INET ? 32 : 128;
	if (range->prefix_len != whole) {
		err_set(err, EINVAL, "from: which address of " STR_FMT "?", STR_ARG(q->from));
		return false;
	}
	q->client = range->base;
	return true;
}

bool page_question_caller(struct page_question *q, const struct snapshot *s, struct err *err)
{
	q->source_id = STR("");
	uint32_t count = q->from.len > 0 ? source_count(s, q->from) : 0;
	if (q->from.len == 0)
		return true;
	if (count == 0) {
		err_set(err, EINVAL,
			"from: \"" STR_FMT "\" is no service, identity or address, nor anonymous",
			STR_ARG(q->from));
		return false;
	}
	struct source *sources = arena_take(&q->arena, count * sizeof(*sources));
	if (!sources || !source_read(s, q->from, &q->arena, sources)) {
		err_set(err, ENOMEM, "out of memory");
		return false;
	}
	switch (sources->kind) {
	case SOURCE_ANONYMOUS:
		return true;
	case SOURCE_RANGE:
		return page_question_address(q, &sources->range, err);
	case SOURCE_ID:
	case SOURCE_UNDECLARED:
		q->is_undeclared = sources->kind == SOURCE_UNDECLARED;
		q->source_id = sources->text;
		return true;
	case SOURCE_ANY:
	case SOURCE_UNDER:
		break;
	}
	err_set(err, EINVAL, "from: \"" STR_FMT "\" is many callers; ask for one",
		STR_ARG(q->from));
	return false;
}

bool page_question_token(const struct page_question *q, struct policy_token *ret_token)
{
	*ret_token = (struct policy_token){.issuer = q->issuer,
		.subject = STR(""),
		.claims = q->claims,
		.claim_count = q->claim_count};
	for (uint32_t i = 0; i < q->claim_count; i++) {
		if (str_eq(q->claims[i].name, STR("sub")))
			ret_token->subject = q->claims[i].value;
	}
	return q->claim_count > 0;
}

struct str page_query(struct str path)
{
	const char *mark = path.len ? memchr(path.at, '?', path.len) : NULL;
	return mark ? (struct str){mark + 1, path.len - (size_t)(mark + 1 - path.at)} : STR("");
}

struct route_request page_question_request(const struct page_question *q, const struct snapshot *s)
{
	const struct service *service = snapshot_service(s, q->to);
	struct str query = q->path, path = page_cut(&query, '?');
	return (struct route_request){
		.source_id = q->source_id,
		.is_http = !q->is_tcp && service && service->protocol != PROTOCOL_TCP,
		.method = q->method,
		.path = path,
		.query = query,
		.authority = q->host,
		.headers = q->headers,
		.header_bytes = sizeof(q->headers[0]),
		.header_count = q->header_count,
	};
}
