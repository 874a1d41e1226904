/* SPDX-License-Identifier: Apache-2.0 */
/* First the fields are walked once and what they say is noted (h1_fields); then the whole is
 * judged, so that the verdict does not depend on the order of the fields; last the fields of this
 * hop are taken off. A Connection field cannot take off Host, Content-Length or Transfer-Encoding:
 * those were noted before, and are written anew from the struct. */
#include "h1_check.h"

#include "h1_name.h"
#include "h1_target.h"

#define H1_NOMINATED_MAX 32

enum h1_coding { H1_CODING_NONE, H1_CODING_CHUNKED, H1_CODING_INVALID, H1_CODING_UNKNOWN };

struct h1_fields {
	uint16_t length_count, coding_count, host_count;
	bool length_valid;
	uint64_t length;
	enum h1_coding coding;
	struct str host;
	bool close, keep_alive, upgrade_listed; /* Connection */
	bool expect_continue, expect_unknown;
	bool te_trailers;
	bool nominated_too_many;
	struct str upgrade; /* "websocket" as received, if it is among the protocols */
	uint16_t nominated_count;
	struct str nominated[H1_NOMINATED_MAX];
};

/* Takes the next element off a comma-separated list; false at the end. Elements may be empty. */
static bool h1_list_next(struct str *list, struct str *ret_element)
{
	if (!list->at)
		return false;
	const char *comma = list->len ? memchr(list->at, ',', list->len) : NULL;
	size_t len = comma ? (size_t)(comma - list->at) : list->len;
	*ret_element = str_trim((struct str){list->at, len});
	*list = comma ? (struct str){comma + 1, list->len - len - 1} : STR_NONE;
	return true;
}

static void h1_fields_connection(struct h1_fields *f, struct str value)
{
	struct str element;
	while (h1_list_next(&value, &element)) {
		if (str_eq_nocase(element, STR("close")))
			f->close = true;
		else if (str_eq_nocase(element, STR("keep-alive")))
			f->keep_alive = true;
		else if (str_eq_nocase(element, STR("upgrade")))
			f->upgrade_listed = true;
		else if (element.len == 0 || http_name_is_hop(http_name_of(element)))
			continue; /* taken off anyway */
		else if (f->nominated_count == H1_NOMINATED_MAX)
			f->nominated_too_many = true;
		else
			f->nominated[f->nominated_count++] = element;
	}
}

static bool h1_coding_looks_chunked(struct str element)
{
	struct str word = STR("chunked");
	for (size_t i = 0; i + word.len <= element.len; i++) {
		if (str_eq_nocase((struct str){element.at + i, word.len}, word))
			return true;
	}
	return false;
}

static bool h1_coding_is_token(struct str element)
{
	for (size_t i = 0; i < element.len; i++) {
		if (!h1_byte_is_token((uint8_t)element.at[i]))
			return false;
	}
	return element.len > 0;
}

/* "chunked" and nothing else. All other values are refused; what is merely a coding we don't know
 * is told apart from what is no coding, or looks like an attempt to have us see "chunked" where the
 * next hop does not. */
static enum h1_coding h1_coding_of(struct str value)
{
	struct str element;
	bool after_chunked = false;
	if (str_eq_nocase(value, STR("chunked")))
		return H1_CODING_CHUNKED;
	while (h1_list_next(&value, &element)) {
		bool chunked = str_eq_nocase(element, STR("chunked"));
		if (after_chunked || !h1_coding_is_token(element) ||
			str_eq_nocase(element, STR("identity")) ||
			(!chunked && h1_coding_looks_chunked(element)))
			return H1_CODING_INVALID;
		after_chunked = chunked;
	}
	return H1_CODING_UNKNOWN;
}

static void h1_fields_te(struct h1_fields *f, struct str value)
{
	struct str element;
	while (h1_list_next(&value, &element))
		f->te_trailers = f->te_trailers || str_eq_nocase(element, STR("trailers"));
}

static void h1_fields_upgrade(struct h1_fields *f, struct str value)
{
	struct str element;
	while (h1_list_next(&value, &element)) {
		if (str_eq_nocase(element, STR("websocket")))
			f->upgrade = element;
	}
}

static void h1_fields_note(struct h1_fields *f, enum http_name name, struct str value)
{
	switch (name) {
	case HTTP_NAME_CONNECTION:
		h1_fields_connection(f, value);
		break;
	case HTTP_NAME_CONTENT_LENGTH:
		f->length_count++;
		f->length_valid = str_to_u64(value, &f->length) && f->length <= INT64_MAX;
		break;
	case HTTP_NAME_EXPECT:
		if (str_eq_nocase(value, STR("100-continue")))
			f->expect_continue = true;
		else
			f->expect_unknown = true;
		break;
	case HTTP_NAME_HOST:
		f->host_count++;
		f->host = value;
		break;
	case HTTP_NAME_TE:
		h1_fields_te(f, value);
		break;
	case HTTP_NAME_TRANSFER_ENCODING:
		f->coding_count++;
		f->coding = h1_coding_of(value);
		break;
	case HTTP_NAME_UPGRADE:
		h1_fields_upgrade(f, value);
		break;
	case HTTP_NAME_HTTP2_SETTINGS:
	case HTTP_NAME_KEEP_ALIVE:
	case HTTP_NAME_PROXY_CONNECTION:
	case HTTP_NAME_TRAILER:
	case HTTP_NAME_OTHER:
	case HTTP_NAME_CLIENT_CERT:
	case HTTP_NAME_MIRROR:
	case HTTP_NAME_REQUEST_ID:
	case HTTP_NAME_ROUTE:
	case HTTP_NAME_USER_AGENT:
		break;
	}
}

static void h1_fields_read(struct h1_fields *f, const struct http_head *head)
{
	/* All but the array, which is filled as far as it is read. */
	memset(f, 0, offsetof(struct h1_fields, nominated));
	for (uint16_t i = 0; i < head->header_count; i++) {
		const struct http_header *header = &head->headers[i];
		if (http_name_is_hop(header->id))
			h1_fields_note(f, header->id, header->value);
	}
}

static bool h1_fields_is_nominated(const struct h1_fields *f, struct str name)
{
	for (uint16_t i = 0; i < f->nominated_count; i++) {
		if (str_eq_nocase(f->nominated[i], name))
			return true;
	}
	return false;
}

/* `keep_length`: in the answer to HEAD and in 304 the length is a fact about the resource. */
static void h1_fields_take_off(const struct h1_fields *f, struct http_head *head, bool keep_length)
{
	uint16_t kept = 0;
	for (uint16_t i = 0; i < head->header_count; i++) {
		const struct http_header *header = &head->headers[i];
		bool ours = http_name_is_hop(header->id) &&
			    !(keep_length && header->id == HTTP_NAME_CONTENT_LENGTH);
		if (ours || h1_fields_is_nominated(f, header->name))
			continue;
		if (kept != i)
			head->headers[kept] = *header;
		kept++;
	}
	head->header_count = kept;
}

/* Framing as far as it is the same for requests and responses. */
static enum http_bad h1_fields_framing(const struct h1_fields *f, struct http_head *head)
{
	if (f->length_count > 0 && f->coding_count > 0)
		return HTTP_BAD_LENGTH_AND_ENCODING;
	if (f->length_count > 1 || (f->length_count == 1 && !f->length_valid))
		return HTTP_BAD_LENGTH;
	if (f->coding_count > 1 || f->coding == H1_CODING_INVALID)
		return HTTP_BAD_ENCODING;
	if (f->coding == H1_CODING_UNKNOWN)
		return HTTP_BAD_ENCODING_UNKNOWN;
	if (f->coding_count > 0 && head->version == HTTP_1_0)
		return HTTP_BAD_ENCODING;
	if (f->nominated_too_many)
		return HTTP_BAD_HEADERS_TOO_LARGE;
	if (f->coding_count > 0) {
		head->framing = HTTP_FRAMING_STREAM;
	} else if (f->length_count > 0) {
		head->framing = HTTP_FRAMING_LENGTH;
		head->body_bytes = f->length;
	}
	return HTTP_BAD_NONE;
}

static bool h1_fields_persist(const struct h1_fields *f, const struct http_head *head)
{
	return !f->close && (head->version == HTTP_1_1 || f->keep_alive);
}

/* --- requests --- */

static bool h1_check_has_body(const struct http_head *head)
{
	return head->framing == HTTP_FRAMING_STREAM ||
	       (head->framing == HTTP_FRAMING_LENGTH && head->body_bytes > 0);
}

static enum http_bad h1_check_request_fields(
	struct http_head *head, struct h1_fields *f, enum method method, struct str target)
{
	enum http_bad bad = h1_fields_framing(f, head);
	if (bad)
		return bad;
	if (method == METHOD_CONNECT && head->framing != HTTP_FRAMING_NONE)
		return f->length_count > 0 ? HTTP_BAD_LENGTH : HTTP_BAD_ENCODING;
	if (f->host_count > 1)
		return HTTP_BAD_HOST;
	bad = h1_target_read(head, method, target, f->host);
	if (bad)
		return bad;
	/* HTTP/1.0 knows neither expectations nor upgrades; what it says of them is nothing. */
	if (head->version == HTTP_1_0)
		return HTTP_BAD_NONE;
	if (f->expect_unknown)
		return HTTP_BAD_EXPECTATION;
	head->expect_continue = f->expect_continue && h1_check_has_body(head);
	head->te_trailers = f->te_trailers;
	if (f->upgrade_listed && f->upgrade.len > 0 && method != METHOD_CONNECT &&
		!h1_check_has_body(head)) {
		head->upgrade = f->upgrade;
		head->framing = HTTP_FRAMING_NONE; /* a length of 0 says no more than that */
	}
	return HTTP_BAD_NONE;
}

enum http_bad h1_check_request(struct h1_section *s, const struct h1_scan *scan,
	enum method *ret_method, bool *ret_persist)
{
	struct http_head *head = &s->head;
	head->method = (struct str){s->text, scan->method_bytes};
	struct str target = {s->text + scan->method_bytes + 1, scan->target_bytes};
	char minor = target.at[target.len + sizeof(" HTTP/1.") - 1];
	head->version = minor == '0' ? HTTP_1_0 : HTTP_1_1;

	enum method method = method_of(head->method);
	if (method == METHOD_UNKNOWN)
		return HTTP_BAD_METHOD;
	if (method == METHOD_TRACE)
		return HTTP_BAD_METHOD_REFUSED;

	struct h1_fields f;
	h1_fields_read(&f, head);
	enum http_bad bad = h1_check_request_fields(head, &f, method, target);
	if (bad)
		return bad;
	h1_fields_take_off(&f, head, false);
	*ret_method = method;
	*ret_persist = h1_fields_persist(&f, head);
	return HTTP_BAD_NONE;
}

/* --- responses --- */

static bool h1_check_switches(
	const struct http_head *head, const struct h1_fields *f, const struct h1_asked *asked)
{
	return asked->upgrade.len > 0 && head->version == HTTP_1_1 && f->upgrade_listed &&
	       str_eq_nocase(f->upgrade, asked->upgrade);
}

static enum http_bad h1_check_response_framing(
	struct http_head *head, const struct h1_fields *f, const struct h1_asked *asked)
{
	enum http_bad bad = h1_fields_framing(f, head);
	if (bad)
		return bad;
	if (head->status == 101) {
		if (!h1_check_switches(head, f, asked))
			return HTTP_BAD_UNEXPECTED;
		head->framing = HTTP_FRAMING_TUNNEL;
		head->upgrade = f->upgrade;
	} else if (asked->method == METHOD_CONNECT && head->status / 100 == 2) {
		head->framing = HTTP_FRAMING_TUNNEL;
	} else if (asked->method == METHOD_HEAD || head->status < 200 || head->status == 204 ||
		   head->status == 304) {
		head->framing = HTTP_FRAMING_NONE;
	} else if (head->framing == HTTP_FRAMING_NONE) {
		head->framing = HTTP_FRAMING_CLOSE;
	}
	return HTTP_BAD_NONE;
}

enum http_bad h1_check_response(
	struct h1_section *s, const struct h1_asked *asked, bool *ret_persist)
{
	struct http_head *head = &s->head;
	head->version = s->text[sizeof("HTTP/1.") - 1] == '0' ? HTTP_1_0 : HTTP_1_1;
	const char *digits = s->text + sizeof("HTTP/1.x ") - 1;
	head->status =
		(uint16_t)((digits[0] - '0') * 100 + (digits[1] - '0') * 10 + digits[2] - '0');
	if (head->status < 100 || head->status > 599)
		return HTTP_BAD_SYNTAX;

	struct h1_fields f;
	h1_fields_read(&f, head);
	enum http_bad bad = h1_check_response_framing(head, &f, asked);
	if (bad)
		return bad;
	if (head->framing != HTTP_FRAMING_LENGTH)
		head->body_bytes = 0;
	h1_fields_take_off(&f, head, head->status == 304 || asked->method == METHOD_HEAD);
	*ret_persist = h1_fields_persist(&f, head) && head->framing != HTTP_FRAMING_CLOSE;
	return HTTP_BAD_NONE;
}

/* --- trailers --- */

enum http_bad h1_check_trailers(struct h1_section *s)
{
	for (uint16_t i = 0; i < s->head.header_count; i++) {
		if (h1_name_refused_in_trailer(s->head.headers[i].name))
			return HTTP_BAD_TRAILER;
	}
	return HTTP_BAD_NONE;
}
