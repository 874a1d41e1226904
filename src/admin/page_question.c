/* SPDX-License-Identifier: Apache-2.0 */
#include "page_question.h"

#include "mesh/policy.h"
#include <errno.h>

#define PAGE_QUESTION_BYTES_MAX 65536

/* at == NULL: no text that a request could bring, or out of memory. */
static struct str page_decode(struct arena *a, struct str text)
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

/* Takes what is before `end`, or all, off the front. */
static struct str page_cut(struct str *text, char end)
{
	const char *at = text->len ? memchr(text->at, end, text->len) : NULL;
	struct str part = {text->at, at ? (size_t)(at - text->at) : text->len};
	size_t used = part.len + (at ? 1 : 0);
	*text = (struct str){text->at + used, text->len - used};
	return part;
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
	if (q->header_count == PAGE_QUESTION_HEADERS_MAX) {
		err_set(err, EINVAL, "more than %d headers", PAGE_QUESTION_HEADERS_MAX);
		return false;
	}
	q->headers[q->header_count++] = (struct route_header){name, str_trim(value)};
	return true;
}

static bool page_question_take(
	struct page_question *q, struct str key, struct str value, struct err *err)
{
	if (str_eq(key, STR("header")))
		return page_question_header(q, value, err);
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
			"\"" STR_FMT "\" is none of from, to, method, path, host, header and tcp",
			STR_ARG(key));
	return !err->text[0];
}

/* As the proxy does it before it looks for a rule. */
static bool page_question_normalise(struct page_question *q, struct err *err)
{
	char *path = arena_take(&q->arena, q->path.len + 1);
	char *host = arena_take(&q->arena, q->host.len + 1);
	size_t len;
	if (!path || !host) {
		err_set(err, ENOMEM, "out of memory");
		return false;
	}
	if (!path_normalise(q->path, path, &len)) {
		err_set(err, EINVAL,
			"\"" STR_FMT "\" is no path that a proxy would let through: it begins with "
			"'/', without broken or hidden parts",
			STR_ARG(q->path));
		return false;
	}
	q->path = (struct str){path, len};
	for (size_t i = 0; i < q->host.len; i++) {
		char c = q->host.at[i];
		host[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
	}
	q->host.at = host;
	return true;
}

bool page_question_read(struct page_question *q, struct str query, struct err *err)
{
	*q = (struct page_question){.method = STR("GET"), .path = STR("/")};
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
	if (q->host.len == 0)
		q->host = q->to;
	return page_question_normalise(q, err);
}

void page_question_done(struct page_question *q)
{
	arena_done(&q->arena);
}

struct route_request page_question_request(
	const struct page_question *q, const struct snapshot *s, struct str source_id)
{
	const struct service *service = snapshot_service(s, q->to);
	struct str query = q->path, path = page_cut(&query, '?');
	return (struct route_request){
		.source_id = source_id,
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
