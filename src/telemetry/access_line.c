/* SPDX-License-Identifier: Apache-2.0 */
/* The access log's line: Envoy's and Istio's JSON names where they exist. Values from peers are cut
 * at a length of their own, so that the longest line is known (ACCESS_LINE_MAX) and no request goes
 * without a line because of what it contained. */
#include "telemetry/access.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/json.h"
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
	KEYS_BYTES = 2048, /* keys, numbers, addresses, punctuation */
};
_Static_assert(6 * (5 * NAME_MAX_BYTES + METHOD_MAX_BYTES + PATH_MAX_BYTES + AUTHORITY_MAX_BYTES +
			   AGENT_MAX_BYTES + ID_MAX_BYTES + 2 * IDENTITY_MAX_BYTES) +
			       KEYS_BYTES <=
		       ACCESS_LINE_MAX,
	"the longest line fits");

static struct str access_cut(struct str s, size_t len_max)
{
	return (struct str){s.at, s.len < len_max ? s.len : len_max};
}

/* An empty value is null, as in Envoy's typed JSON. */
static void access_field(struct json *j, const char *key, struct str value, size_t len_max)
{
	json_key(j, key);
	json_str(j, value.len ? access_cut(value, len_max) : STR_NONE);
}

static void access_field_address(struct json *j, const char *key, const struct address *a)
{
	char text[ADDRESS_TEXT_MAX];
	json_key(j, key);
	json_str(j, a->family ? str_of(address_text(a, text)) : STR_NONE);
}

static void access_field_u64(struct json *j, const char *key, uint64_t value)
{
	json_key(j, key);
	json_u64(j, value);
}

/* --- redaction --- */

static int access_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* A server decodes keys before it compares them, so the same is done here: "s%69g" is "sig". */
static bool access_key_is(struct str key, const char *secret)
{
	size_t i = 0;
	for (; *secret && i < key.len; secret++, i++) {
		char c = key.at[i];
		if (c == '%' && i + 2 < key.len && access_hex(key.at[i + 1]) >= 0 &&
			access_hex(key.at[i + 2]) >= 0) {
			c = (char)(access_hex(key.at[i + 1]) * 16 + access_hex(key.at[i + 2]));
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
	path = access_cut(path, PATH_MAX_BYTES);
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

static const char *access_kind_name(enum access_kind kind)
{
	switch (kind) {
	case ACCESS_HTTP:
		return "http";
	case ACCESS_TCP_OPEN:
		return "tcp_open";
	case ACCESS_TCP_CLOSE:
		return "tcp_close";
	}
	return "http";
}

static void access_fields_request(struct json *j, const struct access_entry *e)
{
	char path[PATH_MAX_BYTES];
	access_field(j, "method", e->method, METHOD_MAX_BYTES);
	access_field(
		j, "path", e->path.len ? access_path(e->path, path) : STR_NONE, PATH_MAX_BYTES);
	access_field(j, "authority", e->authority, AUTHORITY_MAX_BYTES);
	access_field_u64(j, "response_code", e->response_code);
	access_field(j, "user_agent", e->user_agent, AGENT_MAX_BYTES);
	access_field(j, "request_id", e->request_id, ID_MAX_BYTES);
	access_field_u64(j, "attempts", e->attempt_count);
	access_field_u64(j, "processing_ns", e->processing_ns);
}

static void access_fields_outcome(struct json *j, const struct access_entry *e)
{
	access_field(j, "response_flags", e->response_flags, NAME_MAX_BYTES);
	access_field(j, "response_code_details", e->response_details, NAME_MAX_BYTES);
	access_field_u64(j, "bytes_received", e->bytes_received);
	access_field_u64(j, "bytes_sent", e->bytes_sent);
	access_field_u64(j, "duration", e->duration_ns / CLOCK_MS);
	access_field_u64(j, "duration_ns", e->duration_ns);
}

static void access_fields_parties(struct json *j, const struct access_entry *e)
{
	access_field_address(j, "downstream_remote_address", &e->downstream_remote);
	access_field_address(j, "downstream_local_address", &e->downstream_local);
	access_field_address(j, "upstream_host", &e->upstream_remote);
	access_field(j, "workload", e->workload, NAME_MAX_BYTES);
	access_field(j, "direction", e->outbound ? STR("outbound") : STR("inbound"), 16);
	access_field(j, "source_identity", e->source_identity, IDENTITY_MAX_BYTES);
	access_field(j, "destination_identity", e->destination_identity, IDENTITY_MAX_BYTES);
	access_field(j, "destination_service", e->destination_service, NAME_MAX_BYTES);
	struct str security = e->mutual_tls ? STR("mutual_tls")
			      : e->local    ? STR("local")
					    : STR("plaintext");
	access_field(j, "security", security, 16);
	json_key(j, "tls_resumed");
	json_bool(j, e->tls_resumed);
	access_field(j, "policy", e->policy, NAME_MAX_BYTES);
	access_field_u64(j, "conn_id", e->connection_number);
	access_field_u64(j, "config_generation", e->config_generation);
}

size_t access_format(const struct access_entry *e, char *text, size_t size)
{
	/* the caller's memory: as large as it may become, so never reallocated */
	struct json j = {.text = text, .size = size, .max_bytes = size};
	char start[25];
	clock_format(e->start_wall_ns, start);
	json_open(&j, '{');
	access_field(&j, "start_time", str_of(start), sizeof(start));
	access_field(&j, "kind", str_of(access_kind_name(e->kind)), 16);
	access_field(&j, "protocol", e->protocol, NAME_MAX_BYTES);
	if (e->kind == ACCESS_HTTP)
		access_fields_request(&j, e);
	if (e->kind != ACCESS_TCP_OPEN)
		access_fields_outcome(&j, e);
	access_fields_parties(&j, e);
	json_close(&j, '}');
	json_newline(&j);
	return j.cut ? 0 : j.len;
}
