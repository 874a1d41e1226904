/* SPDX-License-Identifier: Apache-2.0 */
/* The access log's line: Envoy's and Istio's JSON names where they exist. Values from peers are cut
 * at a length of their own, so that the longest line is known (ACCESS_LINE_MAX) and no request goes
 * without a line because of what it contained.
 *
 * A line is written for each request, by a worker: base/json.h, which grows and takes every byte by
 * itself, needed 5 microseconds more for the same line. */
#include "telemetry/access.h"

#include "base/assert.h"
#include "base/clock.h"
#include <strings.h>

/* Bytes kept of each value. An escape makes six of one. */
enum {
	NAME_MAX_BYTES = 128,
	METHOD_MAX_BYTES = 32,
	PATH_MAX_BYTES = 1024,
	AUTHORITY_MAX_BYTES = 256,
	AGENT_MAX_BYTES = 256,
	ID_MAX_BYTES = 128,
	IDENTITY_MAX_BYTES = 2048,
	OUTSIDE_MAX_BYTES = 16, /* a word of ours: nothing to escape */
	KEYS_BYTES = 2048,	/* keys, numbers, addresses, punctuation */
};
_Static_assert(6 * (16 * NAME_MAX_BYTES + METHOD_MAX_BYTES + PATH_MAX_BYTES + AUTHORITY_MAX_BYTES +
			   AGENT_MAX_BYTES + ID_MAX_BYTES + 2 * IDENTITY_MAX_BYTES) +
			       KEYS_BYTES <=
		       ACCESS_LINE_MAX,
	"the longest line fits");

/* --- writing JSON --- */

struct line {
	char *at, *end;
	bool cut; /* something did not fit: the line is not to be used */
};

static void line_raw(struct line *l, const char *text, size_t len)
{
	if ((size_t)(l->end - l->at) < len) {
		l->cut = true;
		return;
	}
	memcpy(l->at, text, len);
	l->at += len;
}

/* `key` with the comma before and the colon behind it: `,"path":`. */
#define LINE_KEY(line, key) line_raw(line, key, sizeof(key) - 1)

static bool line_is_plain(char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void line_escape(struct line *l, char c)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char byte = (unsigned char)c;
	if (c == '"' || c == '\\')
		line_raw(l, (const char[]){'\\', c}, 2);
	else
		line_raw(l, (const char[]){'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]}, 6);
}

/* An empty value is null, as in Envoy's typed JSON. */
static void line_str(struct line *l, struct str value, size_t len_max)
{
	const char *at = value.at;
	const char *end = at ? at + (value.len < len_max ? value.len : len_max) : NULL;
	if (at == end) {
		line_raw(l, "null", 4);
		return;
	}
	line_raw(l, "\"", 1);
	while (at < end) {
		const char *plain = at;
		while (plain < end && line_is_plain(*plain))
			plain++;
		line_raw(l, at, (size_t)(plain - at));
		if (plain < end)
			line_escape(l, *plain++);
		at = plain;
	}
	line_raw(l, "\"", 1);
}

static void line_u64(struct line *l, uint64_t value)
{
	char text[20];
	size_t first = sizeof(text);
	do
		text[--first] = (char)('0' + value % 10);
	while (value /= 10);
	line_raw(l, text + first, sizeof(text) - first);
}

static void line_bool(struct line *l, bool value)
{
	line_raw(l, value ? "true" : "false", value ? 4 : 5);
}

static void line_address(struct line *l, const struct address *a)
{
	char text[ADDRESS_TEXT_MAX];
	line_str(l, a->family ? str_of(address_text(a, text)) : STR_NONE, sizeof(text));
}

/* --- redaction --- */

/* A server decodes keys before it compares them, so the same is done here: "s%69g" is "sig". */
static bool access_key_is(struct str key, const char *secret)
{
	size_t i = 0;
	for (; *secret && i < key.len; secret++, i++) {
		char c = key.at[i];
		if (c == '%' && i + 2 < key.len && str_hex(key.at[i + 1]) >= 0 &&
			str_hex(key.at[i + 2]) >= 0) {
			c = (char)(str_hex(key.at[i + 1]) * 16 + str_hex(key.at[i + 2]));
			i += 2;
		}
		if (strncasecmp(&c, secret, 1) != 0)
			return false;
	}
	return !*secret && i == key.len;
}

static bool access_key_is_secret(struct str key)
{
	static const char *const secrets[] = {"X-Amz-Signature", "X-Amz-Credential",
		"X-Amz-Security-Token", "AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"};
	for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
		if (access_key_is(key, secrets[i]))
			return true;
	return false;
}

static size_t access_span(const char *at, const char *end, const char *stops)
{
	const char *p = at;
	while (p < end && !memchr(stops, *p, strlen(stops)))
		p++;
	return (size_t)(p - at);
}

static void access_put(char *text, size_t *len, const char *at, size_t bytes)
{
	size_t space = PATH_MAX_BYTES - *len;
	size_t n = bytes < space ? bytes : space;
	memcpy(text + *len, at, n);
	*len += n;
}

/* The path as it may be shown, into `text` (PATH_MAX_BYTES). */
static struct str access_path(struct str path, char *text)
{
	if (path.len > PATH_MAX_BYTES)
		path.len = PATH_MAX_BYTES;
	const char *at = path.at, *end = path.at + path.len;
	size_t len = 0;
	size_t n = access_span(at, end, "?");
	access_put(text, &len, at, n);
	at += n;
	while (at < end) { /* at the '?', '&' or ';' before a parameter */
		access_put(text, &len, at, 1);
		at++;
		struct str key = {at, access_span(at, end, "=&;")};
		size_t whole = access_span(at, end, "&;");
		if (key.len < whole && access_key_is_secret(key)) {
			access_put(text, &len, at, key.len + 1);
			access_put(text, &len, "REDACTED", 8);
		} else {
			access_put(text, &len, at, whole);
		}
		at += whole;
	}
	return (struct str){text, len};
}

/* --- the line --- */

static struct str access_kind_name(enum access_kind kind)
{
	switch (kind) {
	case ACCESS_HTTP:
		return STR("http");
	case ACCESS_TCP_OPEN:
		return STR("tcp_open");
	case ACCESS_TCP_CLOSE:
		return STR("tcp_close");
	}
	return STR_NONE;
}

static void access_put_request(struct line *l, const struct access_entry *e)
{
	char path[PATH_MAX_BYTES];
	LINE_KEY(l, ",\"method\":");
	line_str(l, e->method, METHOD_MAX_BYTES);
	LINE_KEY(l, ",\"path\":");
	line_str(l, e->path.len ? access_path(e->path, path) : STR_NONE, PATH_MAX_BYTES);
	LINE_KEY(l, ",\"authority\":");
	line_str(l, e->authority, AUTHORITY_MAX_BYTES);
	LINE_KEY(l, ",\"response_code\":");
	line_u64(l, e->response_code);
	LINE_KEY(l, ",\"user_agent\":");
	line_str(l, e->user_agent, AGENT_MAX_BYTES);
	LINE_KEY(l, ",\"request_id\":");
	line_str(l, e->request_id, ID_MAX_BYTES);
	LINE_KEY(l, ",\"attempts\":");
	line_u64(l, e->attempt_count);
	LINE_KEY(l, ",\"processing_ns\":");
	line_u64(l, e->processing_ns);
	if (e->is_mirror)
		LINE_KEY(l, ",\"mirror\":true");
}

static void access_put_outcome(struct line *l, const struct access_entry *e)
{
	LINE_KEY(l, ",\"response_flags\":");
	line_str(l, e->response_flags, NAME_MAX_BYTES);
	LINE_KEY(l, ",\"response_code_details\":");
	line_str(l, e->response_details, NAME_MAX_BYTES);
	LINE_KEY(l, ",\"bytes_received\":");
	line_u64(l, e->bytes_received);
	LINE_KEY(l, ",\"bytes_sent\":");
	line_u64(l, e->bytes_sent);
	LINE_KEY(l, ",\"duration\":");
	line_u64(l, e->duration_ns / CLOCK_MS);
	LINE_KEY(l, ",\"duration_ns\":");
	line_u64(l, e->duration_ns);
}

static void access_put_parties(struct line *l, const struct access_entry *e)
{
	LINE_KEY(l, ",\"downstream_remote_address\":");
	line_address(l, &e->downstream_remote);
	LINE_KEY(l, ",\"downstream_local_address\":");
	line_address(l, &e->downstream_local);
	LINE_KEY(l, ",\"upstream_host\":");
	line_address(l, &e->upstream_remote);
	LINE_KEY(l, ",\"workload\":");
	line_str(l, e->workload, NAME_MAX_BYTES);
	LINE_KEY(l, ",\"direction\":");
	line_str(l, e->outbound ? STR("outbound") : STR("inbound"), NAME_MAX_BYTES);
	LINE_KEY(l, ",\"source_identity\":");
	line_str(l, e->source_identity, IDENTITY_MAX_BYTES);
	LINE_KEY(l, ",\"destination_identity\":");
	line_str(l, e->destination_identity, IDENTITY_MAX_BYTES);
	LINE_KEY(l, ",\"destination_service\":");
	line_str(l, e->destination_service, NAME_MAX_BYTES);
	LINE_KEY(l, ",\"destination_version\":");
	line_str(l, e->destination_version, NAME_MAX_BYTES);
	if (e->outside.len > 0) {
		LINE_KEY(l, ",\"outside\":");
		line_str(l, e->outside, OUTSIDE_MAX_BYTES);
	}
	if (e->server_name.len > 0 && e->kind != ACCESS_HTTP) {
		LINE_KEY(l, ",\"requested_server_name\":");
		line_str(l, e->server_name, AUTHORITY_MAX_BYTES);
	}
	LINE_KEY(l, ",\"route_name\":");
	line_str(l, e->route, NAME_MAX_BYTES);
	LINE_KEY(l, ",\"endpoint_choice\":");
	line_str(l, e->choice, NAME_MAX_BYTES);
	if (e->limit.len > 0) {
		LINE_KEY(l, ",\"limit_name\":");
		line_str(l, e->limit, NAME_MAX_BYTES);
	}
	if (e->shadow_limit.len > 0) {
		LINE_KEY(l, ",\"shadow_limit_name\":");
		line_str(l, e->shadow_limit, NAME_MAX_BYTES);
	}
}

static void access_put_policy(struct line *l, const struct access_entry *e)
{
	LINE_KEY(l, ",\"policy\":");
	line_str(l, e->policy, NAME_MAX_BYTES);
	if (e->policy_where.len > 0) {
		LINE_KEY(l, ",\"policy_where\":");
		line_str(l, e->policy_where, NAME_MAX_BYTES);
	}
	if (e->would_deny.len > 0) {
		LINE_KEY(l, ",\"would_deny\":");
		line_str(l, e->would_deny, NAME_MAX_BYTES);
		LINE_KEY(l, ",\"would_deny_where\":");
		line_str(l, e->would_deny_where, NAME_MAX_BYTES);
	}
	if (e->noted.len > 0) {
		LINE_KEY(l, ",\"policy_noted\":");
		line_str(l, e->noted, NAME_MAX_BYTES);
		LINE_KEY(l, ",\"policy_noted_where\":");
		line_str(l, e->noted_where, NAME_MAX_BYTES);
	}
}

static void access_put_security(struct line *l, const struct access_entry *e)
{
	LINE_KEY(l, ",\"security\":");
	line_str(l, e->security, NAME_MAX_BYTES);
	LINE_KEY(l, ",\"tls_resumed\":");
	line_bool(l, e->tls_resumed);
	access_put_policy(l, e);
	LINE_KEY(l, ",\"conn_id\":");
	line_u64(l, e->connection_number);
	LINE_KEY(l, ",\"config_generation\":");
	line_u64(l, e->config_generation);
}

size_t access_format(const struct access_entry *e, char *text, size_t size)
{
	struct line line = {.at = text, .end = text + size}, *l = &line;
	char start[25];
	clock_format(e->start_wall_ns, start);
	LINE_KEY(l, "{\"start_time\":");
	line_str(l, str_of(start), sizeof(start));
	LINE_KEY(l, ",\"kind\":");
	line_str(l, access_kind_name(e->kind), NAME_MAX_BYTES);
	LINE_KEY(l, ",\"protocol\":");
	line_str(l, e->protocol, NAME_MAX_BYTES);
	if (e->kind == ACCESS_HTTP)
		access_put_request(l, e);
	if (e->kind != ACCESS_TCP_OPEN)
		access_put_outcome(l, e);
	access_put_parties(l, e);
	access_put_security(l, e);
	line_raw(l, "}\n", 2);
	return l->cut ? 0 : (size_t)(l->at - text);
}
