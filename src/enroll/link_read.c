/* SPDX-License-Identifier: Apache-2.0 */
/* A question as HTTP/1.1, and what its answer says. What cannot be made sense of is a failure of
 * that server, with its status and the first line of what it says, and the next one is asked. */
#include "link_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LINK_REFUSAL_BYTES_MAX 2048 /* of the text of a refusal; more is not read */

/* --- the question --- */

static const char *link_method(enum est_operation operation)
{
	static const char *const methods[] = {
#define X(name, method, segment, type) [EST_##name] = method,
		EST_OPERATION_LIST(X)
#undef X
	};
	return methods[operation];
}

static bool link_add_headers(struct link *l, struct http_head *head)
{
	bool ok = http_header_add(head, STR("User-Agent"), STR("ringmain/" RINGMAIN_VERSION)) &&
		  http_header_add(head, STR("Accept"), STR("*/*"));
	if (l->etag[0] != '\0')
		ok = ok && http_header_add(head, STR("If-None-Match"), str_of(l->etag));
	if (l->authorization.len > 0)
		ok = ok && http_header_add(head, STR("Authorization"), l->authorization);
	if (l->body.len > 0)
		ok = ok && http_header_add(head, STR("Content-Type"), STR(EST_REQUEST_TYPE)) &&
		     http_header_add(head, STR("Content-Transfer-Encoding"), STR("base64"));
	return ok;
}

bool link_write(struct link *l)
{
	struct http_head *head = calloc(1, sizeof(*head));
	if (!head)
		return false;
	head->method = str_of(link_method(l->operation));
	head->path = str_of(l->path);
	head->authority = l->servers[l->at];
	head->version = HTTP_1_1;
	head->framing = l->body.len > 0 ? HTTP_FRAMING_LENGTH : HTTP_FRAMING_NONE;
	head->body_bytes = l->body.len;
	uint32_t stream = http_open(l->http);
	bool ok = stream > 0 && link_add_headers(l, head) &&
		  http_write_head(l->http, stream, head, &l->conn.out) &&
		  http_write_body(l->http, stream, l->body, &l->conn.out) == l->body.len &&
		  http_write_end(l->http, stream, NULL, &l->conn.out);
	free(head);
	l->began_ns = l->heard_ns = l->loop->now_ns;
	l->heard = false;
	return ok;
}

/* --- what the head says --- */

/* "Fri, 27 Nov 2026 13:00:00 GMT" (RFC 9110 5.6.7, the one form that may still be sent). */
static bool link_date(struct str text, int64_t *ret_s)
{
	char copy[40];
	struct tm tm = {0};
	if (text.len >= sizeof(copy))
		return false;
	snprintf(copy, sizeof(copy), STR_FMT, STR_ARG(text));
	const char *end = strptime(copy, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (!end || *end != '\0')
		return false;
	*ret_s = (int64_t)timegm(&tm);
	return true;
}

static void link_take_date(struct link *l, const struct http_head *head, int64_t *ret_theirs_s)
{
	int64_t ours_s = (int64_t)(l->loop->wall_ns / CLOCK_S);
	*ret_theirs_s = ours_s;
	if (!link_date(http_header_get(head, "date"), ret_theirs_s))
		return;
	l->has_skew = true;
	l->skew_s = ours_s - *ret_theirs_s;
}

static uint32_t link_retry_after(struct str text, int64_t theirs_s)
{
	uint64_t seconds;
	int64_t at_s;
	if (str_to_u64(text, &seconds))
		return seconds < UINT32_MAX ? (uint32_t)seconds : UINT32_MAX;
	if (!link_date(text, &at_s) || at_s <= theirs_s)
		return 0;
	return at_s - theirs_s < UINT32_MAX ? (uint32_t)(at_s - theirs_s) : UINT32_MAX;
}

static enum link_outcome link_outcome_of(uint16_t status, bool asked_for_change)
{
	if (status == 200)
		return LINK_ANSWERED;
	if (status == 304 && asked_for_change)
		return LINK_UNCHANGED;
	if (status == 202 || status == 429 || status == 503)
		return LINK_LATER;
	if (status == 204 || status == 404)
		return LINK_ABSENT;
	return LINK_REFUSED;
}

static struct str link_parameter(struct str type, struct str name)
{
	while (type.len > 0) {
		const char *semicolon = memchr(type.at, ';', type.len);
		size_t len = semicolon ? (size_t)(semicolon - type.at) : type.len;
		struct str part = str_trim((struct str){type.at, len});
		if (part.len > name.len && part.at[name.len] == '=' &&
			str_eq_nocase((struct str){part.at, name.len}, name)) {
			struct str value = {part.at + name.len + 1, part.len - name.len - 1};
			if (value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"')
				value = (struct str){value.at + 1, value.len - 2};
			return value;
		}
		size_t used = semicolon ? len + 1 : len;
		type = (struct str){type.at + used, type.len - used};
	}
	return STR_NONE;
}

/* The parameter may be missing: there are servers which leave it out. */
static bool link_type_fits(enum est_operation operation, struct str type)
{
	const char *semicolon = type.len > 0 ? memchr(type.at, ';', type.len) : NULL;
	struct str media = {type.at, semicolon ? (size_t)(semicolon - type.at) : type.len};
	struct str kind = link_parameter(type, STR("smime-type"));
	struct str wanted = operation == EST_CRLS ? STR("crls-only") : STR("certs-only");
	return str_eq_nocase(str_trim(media), STR("application/pkcs7-mime")) &&
	       (kind.len == 0 || str_eq_nocase(kind, wanted));
}

static void link_take_head(struct link *l, const struct http_head *head)
{
	struct link_answer *a = &l->answer;
	struct str etag = http_header_get(head, "etag");
	struct str type = http_header_get(head, "content-type");
	char shown[LINK_SHOWN_MAX + 1];
	int64_t theirs_s;
	link_take_date(l, head, &theirs_s);
	a->status = head->status;
	a->outcome = link_outcome_of(head->status, l->etag[0] != '\0');
	a->retry_after_s = link_retry_after(http_header_get(head, "retry-after"), theirs_s);
	a->etag[0] = '\0';
	if (etag.len < sizeof(a->etag))
		snprintf(a->etag, sizeof(a->etag), STR_FMT, STR_ARG(etag));
	l->text_len = 0;
	if (a->outcome == LINK_ANSWERED && !link_type_fits(l->operation, type))
		link_fail(l, "answers with \"%s\": no EST server?", link_shown(type, shown));
}

/* --- the body --- */

static bool link_keep(struct link *l, struct str bytes)
{
	if (l->text_size - l->text_len <= bytes.len) {
		size_t size = 2 * l->text_size + bytes.len + 4096;
		char *text = realloc(l->text, size);
		if (!text)
			return false;
		l->text = text;
		l->text_size = size;
	}
	memcpy(l->text + l->text_len, bytes.at, bytes.len);
	l->text_len += bytes.len;
	return true;
}

static void link_take_body(struct link *l, struct str bytes)
{
	size_t max =
		l->answer.outcome == LINK_ANSWERED ? EST_BODY_BYTES_MAX : LINK_REFUSAL_BYTES_MAX;
	bool fits = bytes.len <= max - l->text_len;
	if (!fits)
		bytes.len = max - l->text_len;
	if (!link_keep(l, bytes))
		link_fail(l, "out of memory for the answer");
	else if (!fits && l->answer.outcome == LINK_ANSWERED)
		link_fail(l, "an answer of more than %u KiB", EST_BODY_BYTES_MAX >> 10);
}

const char *link_shown(struct str text, char shown[LINK_SHOWN_MAX + 1])
{
	size_t len = 0;
	text = str_trim(text);
	for (; len < text.len && len < LINK_SHOWN_MAX; len++) {
		char c = text.at[len];
		if (c == '\n' || c == '\r')
			break;
		shown[len] = c >= ' ' && c <= '~' ? c : '?';
	}
	shown[len] = '\0';
	return shown;
}

/* What the server says in a refusal, for people. */
static void link_tell_why(struct link *l)
{
	struct link_answer *a = &l->answer;
	char shown[LINK_SHOWN_MAX + 1];
	const char *text = link_shown((struct str){l->text, l->text_len}, shown);
	const char *what = a->outcome == LINK_LATER    ? (a->status == 202 ? "waits for approval"
									   : "has too much to do")
			   : a->outcome == LINK_ABSENT ? "has no such thing"
						       : "refuses";
	if (a->outcome == LINK_ANSWERED || a->outcome == LINK_UNCHANGED)
		a->why[0] = '\0';
	else
		snprintf(a->why, sizeof(a->why), STR_FMT " %s (%u)%s%s", STR_ARG(l->servers[l->at]),
			what, a->status, text[0] ? ": " : "", text);
}

static void link_end(struct link *l)
{
	l->answer.body = (struct str){l->text, l->text_len};
	link_tell_why(l);
	bool keep = http_reusable(l->http) && !l->conn.eof;
	/* A server that fails inside: another one may be well. */
	if (l->answer.status >= 500)
		l->at = (l->at + 1) % l->server_count;
	link_answered(l, keep && l->answer.status < 500);
}

/* --- events --- */

static void link_bad(struct link *l, enum http_bad bad)
{
	if (bad == HTTP_BAD_TRUNCATED)
		link_fail(l, "the server closed the connection without a whole answer");
	else
		link_fail(l, "answer not understood: %s", http_bad_text(bad));
}

static void link_take(struct link *l, const struct http_event *event)
{
	switch (event->kind) {
	case HTTP_EVENT_HEAD:
		link_take_head(l, event->head);
		break;
	case HTTP_EVENT_BODY:
		link_take_body(l, event->body);
		break;
	case HTTP_EVENT_END:
		link_end(l);
		break;
	case HTTP_EVENT_BAD:
		link_bad(l, event->bad);
		break;
	case HTTP_EVENT_MORE:
	case HTTP_EVENT_WAIT:
	case HTTP_EVENT_INTERIM:
	case HTTP_EVENT_TRAILERS:
		break;
	}
}

static void link_feed(struct link *l)
{
	struct http_event event;
	size_t used = 0;
	do {
		const uint8_t *bytes = NULL;
		size_t len = conn_input(&l->conn, &bytes);
		if (len > 0) {
			l->heard = true;
			l->heard_ns = l->loop->now_ns;
		}
		used = http_feed(l->http, bytes, len, &event);
		/* The body points into the input: first the event, then the input's end. */
		struct conn *c = &l->conn;
		bool before = l->up;
		link_take(l, &event);
		if (before && l->up)
			conn_consume(c, used);
	} while (l->state == LINK_ASKING && (event.kind != HTTP_EVENT_MORE || used > 0));
}

void link_read(struct link *l)
{
	struct http_event event;
	link_feed(l);
	if (l->state != LINK_ASKING)
		return;
	if (l->conn.failure != CONN_FAILURE_NONE) {
		link_fail_as_conn(l);
	} else if (l->conn.eof) {
		http_feed_eof(l->http, &event);
		link_take(l, &event);
		if (l->state == LINK_ASKING)
			link_fail(l, "the server closed the connection");
	}
}
