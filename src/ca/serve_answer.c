/* SPDX-License-Identifier: Apache-2.0 */
/* What a request is answered. Who asks is what TLS and Basic have proved, never what the request
 * says; what he gets is the authority's decision. Everything that is issued or refused is a line in
 * the log; a token never is. */
#include "serve.h"

#include "base/clock.h"
#include "base/log.h"
#include "est/est.h"
#include "keys/cert.h"
#include "keys/file.h"
#include "tls/spiffe.h"
#include <errno.h>
#include <openssl/mem.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void serve_answer_done(struct serve_answer *a)
{
	free((void *)(uintptr_t)a->body.at);
	*a = (struct serve_answer){0};
}

/* One line of text. */
void serve_answer_text(struct serve_answer *a, uint16_t status, const char *format, ...)
{
	char text[600];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text) - 1, format, args);
	va_end(args);
	for (char *c = text; *c; c++) {
		if (*c == '\n')
			*c = ' ';
	}
	size_t len = strlen(text);
	text[len] = '\n';
	char *copy = malloc(len + 1);
	if (copy)
		memcpy(copy, text, len + 1);
	*a = (struct serve_answer){
		.status = status,
		.type = "text/plain; charset=utf-8",
		.body = {copy, copy ? len + 1 : 0},
	};
}

/* Our own failure: the reason is for the log, not for the client. */
static void serve_fail(struct serve *s, const struct serve_request *q, const struct err *err,
	struct serve_answer *a)
{
	if (serve_may_log(s))
		log_error(
			"ca", STR_FMT ": not answered: %s", STR_ARG(q->client.address), err->text);
	serve_answer_text(a, 500, "the authority failed; its log says why");
}

/* --- what is asked for --- */

static const char *serve_method_of(enum est_operation operation)
{
	static const char *const methods[] = {
#define X(name, method, segment, type) [EST_##name] = method,
		EST_OPERATION_LIST(X)
#undef X
	};
	return methods[operation];
}

static const char *serve_type_of(enum est_operation operation)
{
	static const char *const types[] = {
#define X(name, method, segment, type) [EST_##name] = type,
		EST_OPERATION_LIST(X)
#undef X
	};
	return types[operation];
}

/* The media type alone; parameters mean nothing here. */
static bool serve_is_request_type(struct str type)
{
	const char *semicolon = type.len ? memchr(type.at, ';', type.len) : NULL;
	if (semicolon)
		type.len = (size_t)(semicolon - type.at);
	return str_eq_nocase(str_trim(type), STR(EST_REQUEST_TYPE));
}

/* --- who asks --- */

/* The name in spiffe://<trust domain>/node/<name>; STR_NONE: no node. */
static struct str serve_node_of(const struct serve *s, struct str id)
{
	struct str trust_domain, path, prefix = STR("node/");
	if (!spiffe_parse(id, &trust_domain, &path) || !str_eq(trust_domain, s->trust_domain) ||
		!str_starts(path, prefix))
		return STR_NONE;
	return (struct str){path.at + prefix.len, path.len - prefix.len};
}

/* For the log: the id that is proved, or the name that is claimed with a token, or nobody. */
static const char *serve_who(const struct authority_client *client, char *text, size_t size)
{
	if (client->id.len)
		snprintf(text, size, STR_FMT "%s", STR_ARG(client->id),
			client->expired ? " (expired)" : "");
	else if (client->user.len)
		snprintf(text, size, "token for " STR_FMT, STR_ARG(client->user));
	else
		snprintf(text, size, "nobody");
	return text;
}

/* --- what is published --- */

/* RFC 9110 13.1.2, weak comparison. `ret_only`: the tag, when it is a single one. */
static bool serve_matches(struct str list, const char *etag, struct str *ret_only)
{
	bool matches = false;
	size_t count = 0;
	*ret_only = STR_NONE;
	while (list.len) {
		const char *comma = memchr(list.at, ',', list.len);
		size_t len = comma ? (size_t)(comma - list.at) : list.len;
		struct str tag = str_trim((struct str){list.at, len});
		list.at += comma ? len + 1 : len;
		list.len -= comma ? len + 1 : len;
		if (str_starts(tag, STR("W/")))
			tag = (struct str){tag.at + 2, tag.len - 2};
		matches = matches || str_eq(tag, str_of(etag)) || str_eq(tag, STR("*"));
		*ret_only = ++count == 1 ? tag : STR_NONE;
	}
	return matches;
}

/* What a node has in force, by its own word: whoever rotates wants to know who lags. */
static void serve_note_seen(struct serve *s, const struct serve_request *q, bool is_crls,
	struct str etag, int64_t now_s)
{
	struct err err;
	struct str node = serve_node_of(s, q->client.id);
	bool is_tag = etag.len >= 2 && etag.at[0] == '"' && etag.at[etag.len - 1] == '"';
	if (!node.len || q->client.expired || q->refused || !is_tag)
		return;
	if (authority_seen(s->authority, node, is_crls, etag, now_s, &err) < 0 && serve_may_log(s))
		log_warning("ca", "what node " STR_FMT " has in force is not noted: %s",
			STR_ARG(node), err.text);
}

static void serve_publish(struct serve *s, const struct serve_request *q,
	enum est_operation operation, struct str label, struct serve_answer *a)
{
	int64_t now_s = (int64_t)(s->loop->wall_ns / CLOCK_S);
	bool is_crls = operation == EST_CRLS;
	struct str pem = STR_NONE, body = STR_NONE, only;
	char etag[72] = "";
	struct err err;
	int r = is_crls ? authority_crls(s->authority, now_s, &pem, etag, &err)
			: authority_anchors(s->authority, label, &pem, etag, &err);
	if (r == -ENOENT && label.len) {
		serve_answer_text(a, 404, "no anchors under the label " STR_FMT, STR_ARG(label));
		return;
	}
	bool matches = r == 0 && serve_matches(q->if_none_match, etag, &only);
	if (r == 0 && label.len == 0)
		serve_note_seen(s, q, is_crls, only, now_s);
	if (r == 0 && !matches)
		r = is_crls ? est_crls(pem, &body, &err) : est_certificates(pem, &body, &err);
	file_text_free(pem);
	if (r < 0) {
		serve_fail(s, q, &err, a);
		return;
	}
	*a = (struct serve_answer){.status = matches ? 304 : 200, .body = body};
	a->type = matches ? NULL : serve_type_of(operation);
	memcpy(a->etag, etag, sizeof(a->etag));
}

/* --- what is issued --- */

struct serve_issued {
	char id[CERT_ID_MAX];
	char serial[CERT_SERIAL_TEXT];
};

/* What the authority has put into the leaf. */
static void serve_read_leaf(struct str chain, struct serve_issued *ret)
{
	unsigned count;
	X509 *leaf = cert_from_pem(chain, &count);
	if (!leaf || cert_uri(leaf, ret->id, sizeof(ret->id)) < 0)
		snprintf(ret->id, sizeof(ret->id), "a certificate");
	if (!leaf || !cert_serial_text(leaf, ret->serial))
		snprintf(ret->serial, sizeof(ret->serial), "?");
	X509_free(leaf);
}

static void serve_log_issued(
	struct serve *s, const struct authority_client *client, struct str chain)
{
	char who[CERT_ID_MAX + 32];
	struct serve_issued issued;
	if (!serve_may_log(s))
		return;
	serve_read_leaf(chain, &issued);
	log_info("ca", STR_FMT ": issued %s, serial %s, to %s", STR_ARG(client->address), issued.id,
		issued.serial, serve_who(client, who, sizeof(who)));
}

static void serve_refuse(struct serve *s, const struct authority_client *client, int status,
	uint32_t retry_s, const char *why, struct serve_answer *a)
{
	char who[CERT_ID_MAX + 32];
	if (serve_may_log(s))
		log_warning("ca", STR_FMT ": refused %s: %d: %s", STR_ARG(client->address),
			serve_who(client, who, sizeof(who)), status, why);
	serve_answer_text(a, (uint16_t)status, "%s", why);
	a->retry_s = retry_s;
}

/* The request is DER by now, and the client complete. */
static void serve_issue(struct serve *s, const struct serve_request *q,
	const struct authority_client *client, struct str der, enum est_operation operation,
	struct serve_answer *a)
{
	int64_t now_s = (int64_t)(s->loop->wall_ns / CLOCK_S);
	struct str chain = STR_NONE, body = STR_NONE;
	uint32_t retry_s = 0;
	struct err err = {""};
	int r = authority_enroll(s->authority, client, der, now_s, &chain, &retry_s, &err);
	if (r > 0) {
		bool later = r == AUTHORITY_TOO_MANY || r == AUTHORITY_BUSY;
		serve_refuse(s, client, r, later ? (retry_s ? retry_s : 1) : 0, err.text, a);
		return;
	}
	if (r == 0)
		r = est_certificates(chain, &body, &err);
	if (r == 0)
		serve_log_issued(s, client, chain);
	file_text_free(chain);
	if (r < 0) {
		serve_fail(s, q, &err, a);
		return;
	}
	*a = (struct serve_answer){.status = 200, .type = serve_type_of(operation), .body = body};
}

static void serve_enroll(struct serve *s, const struct serve_request *q,
	enum est_operation operation, struct serve_answer *a)
{
	struct authority_client client = q->client;
	struct str memory = STR_NONE, der = STR_NONE;
	struct err err;
	int r = 0, status = AUTHORITY_BAD;
	if (!serve_is_request_type(q->content_type)) {
		serve_answer_text(a, 415, "a request is of type " EST_REQUEST_TYPE);
		return;
	}
	if (q->authorization.len) {
		r = est_basic_read(q->authorization, &client.user, &client.password, &memory, &err);
		status = r < 0 ? AUTHORITY_UNKNOWN : status;
	}
	if (r == 0)
		r = est_request_read(q->body, &der, &err);
	if (r == 0)
		serve_issue(s, q, &client, der, operation, a);
	else if (r == -ENOMEM)
		serve_fail(s, q, &err, a);
	else
		serve_refuse(s, &client, status, 0, err.text, a);
	free((void *)(uintptr_t)der.at);
	if (memory.at)
		OPENSSL_cleanse((void *)(uintptr_t)memory.at, memory.len);
	free((void *)(uintptr_t)memory.at);
}

/* --- all of it --- */

void serve_answer(struct serve *s, const struct serve_request *q, struct serve_answer *ret_answer)
{
	enum est_operation operation;
	struct str label;
	if (est_path_parse(q->path, &operation, &label) < 0) {
		serve_answer_text(
			ret_answer, 404, "nothing of this name: an EST server (RFC 7030)");
		return;
	}
	if (str_eq(label, s->trust_domain))
		label = STR_NONE;
	if (!str_eq(q->method, str_of(serve_method_of(operation)))) {
		serve_answer_text(ret_answer, 405, "%s only", serve_method_of(operation));
		ret_answer->allow =
			operation == EST_CACERTS || operation == EST_CRLS ? "GET, HEAD" : "POST";
		return;
	}
	if (label.len && operation != EST_CACERTS) {
		serve_answer_text(
			ret_answer, 404, "no authority under the label " STR_FMT, STR_ARG(label));
		return;
	}
	switch (operation) {
	case EST_CACERTS:
	case EST_CRLS:
		serve_publish(s, q, operation, label, ret_answer);
		break;
	case EST_ENROLL:
	case EST_REENROLL:
		if (q->refused)
			serve_refuse(s, &q->client, AUTHORITY_FORBIDDEN, 0, q->refused, ret_answer);
		else
			serve_enroll(s, q, operation, ret_answer);
		break;
	}
}
