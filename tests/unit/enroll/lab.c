/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include "est/est.h"
#include "keys/cert.h"
#include "keys/request.h"
#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { LAB_TASK_OWNER = 1 };
#define LAB_KIND (5 * ENROLL_KINDS)

static struct lab *lab_now; /* the loop's step has no argument for it */

static void lab_step(struct task *t)
{
	if (t->kind >= LAB_KIND)
		lab_now->step(t);
}

char *lab_pem(X509 *certificate)
{
	return certs_pem((X509 *[]){certificate, NULL});
}

int64_t lab_wall_s(const struct lab *lab)
{
	return (int64_t)(lab->loop.wall_ns / CLOCK_S);
}

/* --- the authority --- */

static enum ssl_verify_result_t far_verify(SSL *ssl, uint8_t *ret_alert)
{
	return ssl_verify_ok;
}

static bool far_is_port(uint32_t index)
{
	return fake_connected_to(fake_opened(index)).port == LAB_MESH_PORT;
}

static struct far *far_new(struct lab *lab, uint32_t index)
{
	struct far *f = calloc(1, sizeof(*f));
	lab->looked += far_is_port(index);
	f->ssl = SSL_new(far_is_port(index) ? lab->port_side : lab->side);
	f->in = BIO_new(BIO_s_mem());
	f->out = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(f->in, -1);
	SSL_set_bio(f->ssl, f->in, f->out);
	SSL_set_accept_state(f->ssl);
	return f;
}

static void far_say(struct far *f, const char *bytes, size_t len)
{
	assert_int_equal(SSL_write(f->ssl, bytes, (int)len), len);
}

static void far_answer(
	struct lab *lab, struct far *f, const char *status, const char *headers, const char *body)
{
	char *text, date[64];
	time_t now = (time_t)(lab_wall_s(lab) + lab->clock_s);
	struct tm tm;
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
	int len = asprintf(&text, "HTTP/1.1 %s\r\nDate: %s\r\nContent-Length: %zu\r\n%s\r\n%s",
		status, date, strlen(body), headers, body);
	far_say(f, text, (size_t)len);
	free(text);
}

static bool far_knows(const char *request, const char *etag)
{
	char line[64];
	snprintf(line, sizeof(line), "If-None-Match: %s\r\n", etag);
	return strcasestr(request, line);
}

static void far_publish(struct lab *lab, struct far *f, const char *request, const char *pem,
	const char *etag, bool is_crls)
{
	struct str body = STR_NONE;
	struct err err;
	char headers[256];
	if (!pem) {
		far_answer(lab, f, "404 Not Found", "", "");
		return;
	}
	if (far_knows(request, etag)) {
		lab->unchanged++;
		snprintf(headers, sizeof(headers), "ETag: %s\r\n", etag);
		far_answer(lab, f, "304 Not Modified", headers, "");
		return;
	}
	assert_int_equal(is_crls ? est_crls(str_of(pem), &body, &err)
				 : est_certificates(str_of(pem), &body, &err),
		0);
	snprintf(headers, sizeof(headers),
		"ETag: %s\r\nContent-Type: application/pkcs7-mime; smime-type=%s\r\n", etag,
		is_crls ? "crls-only" : "certs-only");
	far_answer(lab, f, "200 OK", headers, body.at);
	free((char *)body.at);
}

static char *far_id(X509_REQ *r)
{
	STACK_OF(X509_EXTENSION) *all = X509_REQ_get_extensions(r);
	GENERAL_NAMES *names = X509V3_get_d2i(all, NID_subject_alt_name, NULL, NULL);
	const ASN1_STRING *uri = sk_GENERAL_NAME_value(names, 0)->d.uniformResourceIdentifier;
	char *id =
		strndup((const char *)ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri));
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
	return id;
}

static X509 *far_issue(struct lab *lab, struct str der)
{
	const uint8_t *at = (const uint8_t *)der.at;
	uint8_t digest[32];
	X509_REQ *r = d2i_X509_REQ(NULL, &at, (long)der.len);
	assert_non_null(r);
	EVP_PKEY *asked = X509_REQ_get_pubkey(r);
	uint8_t *spki = NULL;
	int spki_len = i2d_PUBKEY(asked, &spki);
	assert_true(spki_len > 0);
	SHA256(spki, (size_t)spki_len, digest);
	OPENSSL_free(spki);
	EVP_PKEY_free(asked);
	lab->key_count += memcmp(digest, lab->seen_key, 32) != 0;
	memcpy(lab->seen_key, digest, 32);
	EVP_PKEY *key = lab->other_key ? cert_key_new() : X509_REQ_get_pubkey(r);
	char *id = far_id(r);
	X509 *leaf = NULL;
	struct err err;
	int64_t now_s = lab_wall_s(lab) + lab->clock_s;
	assert_int_equal(cert_leaf_new(key, str_of(lab->id ? lab->id : id),
				 &(struct cert_issuer){lab->signer->certificate, lab->signer->key},
				 (struct cert_life){now_s, lab->life_s, 60}, &leaf, &err),
		0);
	free(id);
	EVP_PKEY_free(key);
	X509_REQ_free(r);
	return leaf;
}

static bool far_lets_in(const struct lab *lab, const struct far *f)
{
	char line[300];
	snprintf(line, sizeof(line), "Authorization: Basic %s\r\n", lab->token ? lab->token : "");
	return !lab->token || strstr(f->got, line);
}

static void far_close(struct far *f)
{
	SSL_shutdown(f->ssl);
	f->over = true;
}

static void far_enroll(struct lab *lab, struct far *f, struct str body)
{
	if (!far_lets_in(lab, f)) {
		far_answer(lab, f, "401 Unauthorized", "WWW-Authenticate: Basic\r\n", "no");
		return;
	}
	struct str der, answer;
	struct err err;
	assert_int_equal(est_request_read(body, &der, &err), 0);
	X509 *leaf = far_issue(lab, der);
	X509 *chain[] = {leaf, lab->with_issuer ? lab->signer->certificate : NULL, NULL};
	char *pem = certs_pem(chain);
	assert_int_equal(est_certificates(str_of(pem), &answer, &err), 0);
	if (lab->mode == LAB_LOSES)
		far_close(f);
	else
		far_answer(lab, f, "200 OK",
			"Content-Type: application/pkcs7-mime; smime-type=certs-only\r\n",
			answer.at);
	free((char *)answer.at);
	free((char *)der.at);
	free(pem);
	X509_free(leaf);
}

static bool far_ends_with(const char *path, const char *end)
{
	size_t len = strlen(path), tail = strlen(end);
	return len >= tail && strcmp(path + len - tail, end) == 0;
}

static void far_serve(struct lab *lab, struct far *f, struct str body)
{
	char *path = lab->last_path;
	assert_int_equal(sscanf(f->got, "%*s %255s", path), 1);
	bool enroll = far_ends_with(path, "/simpleenroll"),
	     again = far_ends_with(path, "/simplereenroll"), lists = far_ends_with(path, "/crls");
	lab->asked_enroll += enroll;
	lab->asked_reenroll += again;
	lab->asked_lists += lists;
	lab->asked_anchors += !enroll && !again && !lists;
	if (lab->mode == LAB_SILENT)
		return;
	if (lab->mode == LAB_RAW || (lab->mode == LAB_RAW_ENROLL && (enroll || again))) {
		far_say(f, lab->raw, strlen(lab->raw));
	} else if (lab->mode == LAB_CLOSES) {
		far_close(f);
	} else if (enroll || again) {
		far_enroll(lab, f, body);
	} else if (strstr(path, "/other.example/")) {
		char *pem = lab_pem(lab->other.certificate);
		far_publish(lab, f, f->got, pem, "\"other\"", false);
		free(pem);
	} else {
		far_publish(lab, f, f->got, lists ? lab->lists : lab->anchors,
			lists ? lab->lists_etag : lab->etag, lists);
	}
}

/* A whole question has come. */
static void far_look(struct lab *lab, struct far *f)
{
	f->got[f->got_len] = '\0';
	const char *end = strstr(f->got, "\r\n\r\n");
	if (!end)
		return;
	const char *length = strcasestr(f->got, "content-length:");
	size_t body_len = length && length < end ? (size_t)strtoul(length + 15, NULL, 10) : 0;
	size_t head_len = (size_t)(end + 4 - f->got);
	if (f->got_len < head_len + body_len)
		return;
	far_serve(lab, f, (struct str){f->got + head_len, body_len});
	f->got_len = 0;
}

static bool far_carry(struct lab *lab, uint32_t index)
{
	int fd = fake_opened(index);
	char bytes[16384];
	struct far *f = lab->fars[index];
	struct str got = fake_peer_received(fd);
	if (!f && got.len == 0) {
		lab->over[index] = !fake_is_open(fd);
		return false;
	}
	if (!f)
		f = lab->fars[index] = far_new(lab, index);
	bool moved = got.len > f->taken;
	if (moved)
		BIO_write(f->in, got.at + f->taken, (int)(got.len - f->taken));
	f->taken = got.len;
	int n = SSL_read(f->ssl, f->got + f->got_len, (int)(sizeof(f->got) - 1 - f->got_len));
	ERR_clear_error();
	if (far_is_port(index) && lab->port == LAB_PORT_SILENT)
		(void)BIO_reset(f->out);
	if (far_is_port(index) && lab->port == LAB_PORT_CLOSES) {
		(void)BIO_reset(f->out);
		f->over = true;
	}
	if (n > 0) {
		assert_false(far_is_port(index)); /* nothing is said there */
		f->got_len += (size_t)n;
		far_look(lab, f);
	}
	while ((n = BIO_read(f->out, bytes, sizeof(bytes))) > 0) {
		if (fake_is_open(fd))
			fake_peer_send(fd, bytes, (size_t)n);
		moved = true;
	}
	if (f->over)
		fake_peer_shutdown(fd);
	if (fake_peer_saw_end(fd) || fake_peer_saw_reset(fd))
		f->over = true;
	lab->over[index] = f->over;
	return moved;
}

static void lab_revoke(X509_CRL *crl, const char *serial)
{
	BIGNUM *number = NULL;
	X509_REVOKED *row = X509_REVOKED_new();
	ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)CERTS_NOW);
	assert_true(row && when && BN_hex2bn(&number, serial) > 0);
	ASN1_INTEGER *in_row = BN_to_ASN1_INTEGER(number, NULL);
	assert_true(X509_REVOKED_set_serialNumber(row, in_row) &&
		    X509_REVOKED_set_revocationDate(row, when) && X509_CRL_add0_revoked(crl, row));
	ASN1_INTEGER_free(in_row);
	ASN1_TIME_free(when);
	BN_free(number);
}

char *lab_crl(const struct certs_pair *issuer, int64_t number, int64_t from_s, int64_t until_s,
	const char *revoked)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *from = ASN1_TIME_set(NULL, from_s), *until = ASN1_TIME_set(NULL, until_s);
	ASN1_INTEGER *n = ASN1_INTEGER_new();
	BIO *text = BIO_new(BIO_s_mem());
	const uint8_t *bytes;
	size_t len;
	assert_true(X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
		    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->certificate)) &&
		    X509_CRL_set1_lastUpdate(crl, from) && X509_CRL_set1_nextUpdate(crl, until));
	assert_true(ASN1_INTEGER_set(n, number) &&
		    X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, X509V3_ADD_DEFAULT));
	if (revoked)
		lab_revoke(crl, revoked);
	assert_true(X509_CRL_sign(crl, issuer->key, EVP_sha256()));
	assert_true(PEM_write_bio_X509_CRL(text, crl) && BIO_mem_contents(text, &bytes, &len));
	char *copy = strndup((const char *)bytes, len);
	BIO_free(text);
	ASN1_INTEGER_free(n);
	ASN1_TIME_free(from);
	ASN1_TIME_free(until);
	X509_CRL_free(crl);
	return copy;
}

/* --- the keeper --- */

static struct lab_key *lab_key(struct lab *lab, struct str identity)
{
	for (int i = 0; i < LAB_KEYS_MAX; i++) {
		struct lab_key *k = &lab->keys[i];
		if (k->identity[0] == '\0')
			snprintf(k->identity, sizeof(k->identity), STR_FMT, STR_ARG(identity));
		if (str_eq(str_of(k->identity), identity))
			return k;
	}
	fail();
	return NULL;
}

static void lab_give_request(struct lab *lab, struct str identity)
{
	char id[300];
	struct str der = STR_NONE;
	struct lab_key *k = lab_key(lab, identity);
	lab->requests++;
	if (!k->pending)
		k->pending = cert_key_new();
	snprintf(id, sizeof(id), "spiffe://" LAB_DOMAIN "/" STR_FMT, STR_ARG(identity));
	assert_int_equal(request_der(k->pending, str_of(id), &der), 0);
	enroll_request(lab->enroll, identity, der, "");
	free((char *)der.at);
}

static void lab_take_certificate(struct lab *lab, const struct enroll_ask *ask)
{
	struct lab_key *k = lab_key(lab, ask->identity);
	unsigned count;
	lab->certificates++;
	if (lab->keeper_refuses) {
		enroll_kept(lab->enroll, ask->identity, "the disk is full");
		return;
	}
	X509 *leaf = cert_from_pem(ask->text, &count);
	EVP_PKEY *key = X509_get_pubkey(leaf);
	assert_int_equal(EVP_PKEY_cmp(key, k->pending), 1);
	EVP_PKEY_free(key);
	X509_free(leaf);
	free(k->chain);
	k->chain = strndup(ask->text.at, ask->text.len);
	EVP_PKEY_free(k->key);
	k->key = k->pending;
	k->pending = NULL;
	enroll_kept(lab->enroll, ask->identity, "");
	if (!lab->keeper_forgets)
		lab_configure(lab);
}

static void lab_take_trust(struct lab *lab, const struct enroll_ask *ask)
{
	bool own = str_eq(ask->identity, STR(LAB_DOMAIN));
	char **roots = own ? &lab->roots : &lab->other_roots;
	lab->trusts++;
	free(*roots);
	*roots = strndup(ask->text.at, ask->text.len);
	if (own) {
		free(lab->crls);
		lab->crls = strndup(ask->crls.len ? ask->crls.at : "", ask->crls.len);
	}
	enroll_kept(lab->enroll, ask->identity, "");
	lab_configure(lab);
}

static bool lab_keeper(struct lab *lab)
{
	struct enroll_ask ask;
	struct enroll_sign sign;
	bool moved = false;
	while (lab->enroll && enroll_ask(lab->enroll, &ask)) {
		moved = true;
		if (lab->keeper_silent)
			continue;
		char name[64];
		snprintf(name, sizeof(name), STR_FMT, STR_ARG(ask.identity));
		ask.identity = str_of(name);
		if (ask.kind == ENROLL_ASK_REQUEST)
			lab_give_request(lab, ask.identity);
		else if (ask.kind == ENROLL_ASK_CERTIFICATE)
			lab_take_certificate(lab, &ask);
		else
			lab_take_trust(lab, &ask);
	}
	while (lab->enroll && enroll_sign(lab->enroll, &sign)) {
		uint8_t signature[128];
		size_t len = sizeof(signature);
		EVP_MD_CTX *digest = EVP_MD_CTX_new();
		moved = true;
		assert_true(EVP_DigestSignInit(
			digest, NULL, EVP_sha256(), NULL, lab_key(lab, STR(LAB_NODE))->key));
		assert_true(EVP_DigestSign(digest, signature, &len, sign.bytes, sign.len));
		EVP_MD_CTX_free(digest);
		enroll_sign_done(lab->enroll, sign.number, signature, len);
	}
	return moved;
}

static void lab_add(struct bundle *b, const char *kind, const char *name, const char *text)
{
	struct err err;
	if (text && text[0])
		assert_int_equal(bundle_add(b, str_of(kind), str_of(name), str_of(text), &err), 0);
}

static void lab_bundle(struct lab *lab, struct bundle *b)
{
	bundle_init(b);
	for (int i = 0; i < LAB_KEYS_MAX && lab->keys[i].identity[0]; i++) {
		const struct lab_key *k = &lab->keys[i];
		if (strcmp(k->identity, LAB_NODE) != 0) {
			lab_add(b, "chain", k->identity, k->chain);
		} else if (k->chain) {
			lab_add(b, "est", "chain", k->chain);
			lab_add(b, "est-key", "node", "7");
			lab_add(b, "est", "roots", lab->roots);
		}
	}
	lab_add(b, "roots", LAB_DOMAIN, lab->roots);
	lab_add(b, "roots", "other.example", lab->other_roots);
	lab_add(b, "crl", LAB_DOMAIN, lab->crls);
}

void lab_configure(struct lab *lab)
{
	struct bundle b;
	struct err err;
	lab_bundle(lab, &b);
	assert_int_equal(enroll_configure(lab->enroll, &lab->conf, &b, &err), 0);
	bundle_done(&b);
}

/* --- the mesh port --- */

static int port_certificate(SSL *ssl, void *arg)
{
	struct lab *lab = arg;
	char identity[64];
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	unsigned port, count;
	snprintf(lab->port_name, sizeof(lab->port_name), "%s", name);
	if (lab->port == LAB_PORT_REFUSES)
		return 0;
	memcpy(identity, "service/", 9);
	assert_int_equal(sscanf(name, "%u.%50[^.]", &port, identity + 8), 2);
	const struct lab_key *k = lab_key(lab, str_of(identity));
	bool old = lab->port == LAB_PORT_OLD && lab->looked % lab->old_of == 0;
	X509 *leaf = cert_from_pem(str_of(old ? k->old_chain : k->chain), &count);
	assert_true(SSL_use_certificate(ssl, leaf));
	assert_true(SSL_use_PrivateKey(ssl, old ? k->old_key : k->key));
	X509_free(leaf);
	return 1;
}

/* The one protocol, in which nothing is carried. */
static int port_protocol(SSL *ssl, const uint8_t **out, uint8_t *out_len, const uint8_t *in,
	unsigned in_len, void *unused)
{
	static const char only[] = "\x10ringmain-check/1";
	assert_int_equal(in_len, sizeof(only) - 1);
	assert_memory_equal(in, only, in_len);
	*out = in + 1;
	*out_len = in[0];
	return SSL_TLSEXT_ERR_OK;
}

static void port_init(struct lab *lab)
{
	lab->port_side = SSL_CTX_new(TLS_method());
	SSL_CTX_set_custom_verify(
		lab->port_side, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, far_verify);
	SSL_CTX_set_cert_cb(lab->port_side, port_certificate, lab);
	SSL_CTX_set_alpn_select_cb(lab->port_side, port_protocol, NULL);
}

void lab_port_keeps_old(struct lab *lab, uint32_t old_of)
{
	lab->port = LAB_PORT_OLD;
	lab->old_of = old_of;
	for (int i = 0; i < LAB_KEYS_MAX; i++) {
		struct lab_key *k = &lab->keys[i];
		if (!k->chain)
			continue;
		free(k->old_chain);
		EVP_PKEY_free(k->old_key);
		k->old_chain = strdup(k->chain);
		k->old_key = k->key;
		EVP_PKEY_up_ref(k->key);
	}
}

/* --- all of it --- */

void lab_serve_with(struct lab *lab, const struct certs_pair *pair)
{
	SSL_CTX_free(lab->side);
	lab->side = SSL_CTX_new(TLS_method());
	assert_true(SSL_CTX_use_certificate(lab->side, pair->certificate));
	assert_true(SSL_CTX_use_PrivateKey(lab->side, pair->key));
	SSL_CTX_set_custom_verify(lab->side, SSL_VERIFY_PEER, far_verify);
}

static void lab_make_authority(struct lab *lab)
{
	struct certs_name domain = {0x86, STR("spiffe://" LAB_DOMAIN)};
	int64_t far_s = CERTS_NOW + 10ll * 365 * 86400;
	lab->root = certs_make(&(struct certs_spec){.subject = "root",
		.ca = true,
		.names = {domain},
		.san_plain = true,
		.until_s = far_s});
	lab->next_root = certs_make(&(struct certs_spec){.subject = "next root",
		.ca = true,
		.names = {domain},
		.san_plain = true,
		.until_s = far_s});
	lab->issuer = certs_make(&(struct certs_spec){.issuer = &lab->root,
		.subject = "issuer",
		.ca = true,
		.names = {domain},
		.san_plain = true,
		.until_s = far_s});
	lab->server = certs_make(&(struct certs_spec){.issuer = &lab->root,
		.names = {{0x87, {"\x0a\0\0\x01", 4}}, {0x87, {"\x0a\0\0\x02", 4}}},
		.until_s = far_s});
	lab->other =
		certs_make(&(struct certs_spec){.subject = "other", .ca = true, .until_s = far_s});
	lab->signer = &lab->issuer;
	lab->with_issuer = true;
	lab->life_s = 3600;
	lab->anchors = lab_pem(lab->root.certificate);
	snprintf(lab->etag, sizeof(lab->etag), "\"one\"");
	snprintf(lab->lists_etag, sizeof(lab->lists_etag), "\"none\"");
	lab_serve_with(lab, &lab->server);
}

void lab_init(struct lab *lab)
{
	struct ring_limits limits = {
		.entries = 64, .completions = 256, .block_bytes = 16384, .block_count = 16};
	struct err err;
	memset(lab, 0, sizeof(*lab));
	lab_now = lab;
	lab->step = enroll_step;
	fake_init();
	fake_set_wall(CERTS_NOW * CLOCK_S);
	assert_int_equal(loop_init(&lab->loop, &limits, 1, &err), 0);
	task_init(&lab->owner, LAB_TASK_OWNER);
	lab_make_authority(lab);
	port_init(lab);
	lab->servers[0] = STR("10.0.0.1:8443");
	lab->servers[1] = STR("10.0.0.2:8443");
	lab->federates[0] = STR("other.example");
	lab->workloads[0] =
		(struct conf_workload){.service = STR("orders"), .identity = STR("service/orders")};
	lab->workloads[1] =
		(struct conf_workload){.service = STR("web"), .identity = STR("service/web")};
	lab->workloads[2] = lab->workloads[0];
	lab->conf = (struct conf){.node_name = STR("vm-a"),
		.trust_domain = STR(LAB_DOMAIN),
		.mesh_port = LAB_MESH_PORT,
		.worker_count = 1,
		.workloads = lab->workloads,
		.workload_count = 3,
		.authority = {.servers = lab->servers,
			.server_count = 1,
			.refresh_ms = 60000,
			.federates = lab->federates}};
}

void lab_join(struct lab *lab, int64_t life_s)
{
	struct lab_key *k = lab_key(lab, STR(LAB_NODE));
	struct err err;
	X509 *leaf;
	k->key = cert_key_new();
	assert_int_equal(cert_leaf_new(k->key, STR("spiffe://" LAB_DOMAIN "/" LAB_NODE),
				 &(struct cert_issuer){lab->issuer.certificate, lab->issuer.key},
				 (struct cert_life){CERTS_NOW, life_s, 60}, &leaf, &err),
		0);
	k->chain = certs_pem((X509 *[]){leaf, lab->issuer.certificate, NULL});
	X509_free(leaf);
	lab->roots = lab_pem(lab->root.certificate);
}

void lab_start(struct lab *lab)
{
	struct bundle b;
	struct err err;
	lab_bundle(lab, &b);
	int r = enroll_new(&lab->loop, LAB_KIND, &lab->owner, &lab->conf, &b, &lab->enroll, &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	assert_int_equal(r, 0);
	bundle_done(&b);
	lab_turn(lab);
}

bool lab_turn_once(struct lab *lab)
{
	bool moved = false;
	fake_pump(&lab->loop, lab_step, NULL);
	while (lab->over[lab->over_count])
		lab->over_count++;
	for (uint32_t i = lab->over_count; i < fake_opened_count(); i++)
		moved |= !lab->over[i] && far_carry(lab, i);
	moved |= lab_keeper(lab);
	return moved;
}

void lab_turn(struct lab *lab)
{
	while (lab_turn_once(lab))
		;
}

void lab_run_ms(struct lab *lab, uint64_t ms, uint64_t step_ms)
{
	for (uint64_t done = 0; done < ms; done += step_ms) {
		fake_run(&lab->loop, lab_step, NULL, step_ms * CLOCK_MS);
		lab_turn(lab);
	}
}

struct enroll_row lab_row(const struct lab *lab, const char *identity)
{
	struct enroll_row row;
	for (uint32_t i = 0; enroll_row(lab->enroll, i, &row); i++) {
		if (str_eq(row.identity, str_of(identity)))
			return row;
	}
	fail_msg("no row of %s", identity);
	return row;
}

static void lab_free_all(struct lab *lab)
{
	for (int i = 0; i < LAB_KEYS_MAX; i++) {
		EVP_PKEY_free(lab->keys[i].pending);
		EVP_PKEY_free(lab->keys[i].key);
		free(lab->keys[i].chain);
		EVP_PKEY_free(lab->keys[i].old_key);
		free(lab->keys[i].old_chain);
	}
	for (uint32_t i = 0; i < LAB_SOCKETS_MAX; i++) {
		if (lab->fars[i])
			SSL_free(lab->fars[i]->ssl);
		free(lab->fars[i]);
	}
	free(lab->roots);
	free(lab->crls);
	free(lab->other_roots);
	free(lab->anchors);
	free(lab->lists);
	SSL_CTX_free(lab->side);
	SSL_CTX_free(lab->port_side);
	certs_done(&lab->root);
	certs_done(&lab->issuer);
	certs_done(&lab->next_root);
	certs_done(&lab->server);
	certs_done(&lab->other);
	ERR_clear_error();
}

void lab_done(struct lab *lab)
{
	if (lab->enroll) {
		enroll_close(lab->enroll);
		fake_release();
		fake_pump(&lab->loop, lab_step, NULL);
		assert_true(enroll_idle(lab->enroll));
		enroll_free(lab->enroll);
	}
	fake_pump(&lab->loop, lab_step, NULL);
	loop_done(&lab->loop);
	fake_done();
	lab_free_all(lab);
}
