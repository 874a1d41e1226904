/* SPDX-License-Identifier: Apache-2.0 */
/* Servers outside of the mesh: which certificates pass for which name. The server is the library's
 * own; ours is the client. */
#include "certs.h"

#include "tls/record_12.h"
#include "tls/tls.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PKI_HOST "store.mesh.example"
#define PKI_DNS(text)                          \
	{                                      \
		0x82,                          \
		{                              \
			text, sizeof(text) - 1 \
		}                              \
	}
#define PKI_IP(bytes)                            \
	{                                        \
		0x87,                            \
		{                                \
			bytes, sizeof(bytes) - 1 \
		}                                \
	}

static struct certs_pair root, middle, stranger, narrow, bare, own;

static int pki_setup(void **state)
{
	root = certs_make(&(struct certs_spec){.subject = "root", .ca = true});
	middle = certs_make(&(struct certs_spec){.subject = "middle", .issuer = &root, .ca = true});
	stranger = certs_make(&(struct certs_spec){.subject = "root", .ca = true});
	narrow = certs_make(&(struct certs_spec){
		.subject = "narrow", .issuer = &root, .ca = true, .path_len_plus_1 = 1});
	/* As one line of openssl makes it: without key usage. */
	bare = certs_make(&(struct certs_spec){.subject = "bare", .ca = true, .no_usage = true});
	own = certs_make(&(struct certs_spec){
		.subject = "us", .issuer = &root, .extended = "c", .names = {PKI_DNS("us")}});
	return 0;
}

static int pki_teardown(void **state)
{
	certs_done(&root);
	certs_done(&middle);
	certs_done(&stranger);
	certs_done(&narrow);
	certs_done(&bare);
	certs_done(&own);
	return 0;
}

/* --- the two ends --- */

struct ends {
	struct tls_store *store;
	struct tls *tls;
	struct buf_pool pool;
	struct buf wire;
	uint8_t input[1 << 16];
	SSL_CTX *side;
	SSL *ssl;
	BIO *in, *out;
	const struct tls_key *key;
	enum tls_result result;
	int64_t wall_s;
};

static struct tls_store *pki_store(X509 *authority, bool with_own)
{
	struct bundle b;
	struct err err;
	struct tls_store *s = NULL;
	char *roots = certs_pem((X509 *[]){authority, bare.certificate, NULL});
	char *chain = certs_pem((X509 *[]){own.certificate, NULL});
	bundle_init(&b);
	assert_int_equal(bundle_add(&b, STR("pki"), STR("roots"), str_of(roots), &err), 0);
	if (with_own) {
		assert_int_equal(bundle_add(&b, STR("pki"), STR("chain"), str_of(chain), &err), 0);
		assert_int_equal(bundle_add(&b, STR("pki-key"), STR("store"), STR("7"), &err), 0);
	}
	if (tls_store_new_pki(&b, &s, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	assert_non_null(s);
	bundle_done(&b);
	free(roots);
	free(chain);
	return s;
}

static void ends_init(struct ends *e, struct tls_store *store, const char *host,
	const struct certs_pair *leaf, X509 *between)
{
	memset(e, 0, sizeof(*e));
	e->wall_s = CERTS_NOW;
	e->store = store;
	buf_pool_init(&e->pool, 20 << 10, 4);
	buf_init(&e->wire, &e->pool);
	e->tls = tls_client_new_pki(store, str_of(host), &e->wire);
	e->side = SSL_CTX_new(TLS_method());
	assert_true(SSL_CTX_use_certificate(e->side, leaf->certificate));
	assert_true(SSL_CTX_use_PrivateKey(e->side, leaf->key));
	if (between)
		assert_true(SSL_CTX_add1_chain_cert(e->side, between));
	e->ssl = SSL_new(e->side);
	e->in = BIO_new(BIO_s_mem());
	e->out = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(e->in, -1);
	SSL_set_bio(e->ssl, e->in, e->out);
	SSL_set_accept_state(e->ssl);
}

static void ends_done(struct ends *e)
{
	tls_free(e->tls);
	buf_clear(&e->wire);
	buf_pool_done(&e->pool);
	SSL_free(e->ssl);
	SSL_CTX_free(e->side);
	tls_store_unref(e->store);
	ERR_clear_error();
}

static void ends_sign(struct ends *e)
{
	uint8_t signature[TLS_SIGNATURE_MAX];
	const struct tls_sign_request *request = tls_sign_request(e->tls);
	assert_int_equal(request->key_number, 7);
	assert_non_null(e->key);
	tls_sign_done(e->tls, signature, tls_key_sign(e->key, request, signature));
}

/* Runs the handshake; also takes in what the server says to our last message. */
static void ends_run(struct ends *e)
{
	for (int i = 0; i < 20; i++) {
		if (e->result != TLS_FAILED && e->result != TLS_DONE)
			e->result = tls_handshake(e->tls, e->wall_s);
		if (e->result == TLS_SIGN)
			ends_sign(e);
		if (buf_len(&e->wire) > 0)
			BIO_write(e->in, buf_at(&e->wire), (int)buf_len(&e->wire));
		buf_clear(&e->wire);
		(void)SSL_do_handshake(e->ssl);
		int n = BIO_read(e->out, e->input, sizeof(e->input));
		if (n <= 0 || e->result == TLS_FAILED)
			continue;
		tls_input(e->tls, e->input, (size_t)n);
		if (e->result == TLS_DONE)
			e->result = tls_open(e->tls) == TLS_FAILED ? TLS_FAILED : TLS_DONE;
	}
}

/* --- certificates --- */

enum issuer { BY_ROOT, BY_MIDDLE, BY_STRANGER, BY_BARE, BY_NARROW, BY_ITSELF };

static const struct {
	const char *what;
	const char *host;
	struct certs_spec leaf;
	enum issuer issuer;
	enum tls_failure failure;
	const char *names;
} pki_cases[] = {
	{"name fits", PKI_HOST, {.names = {PKI_DNS(PKI_HOST)}}, BY_ROOT, TLS_FAILURE_NONE, NULL},
	{"case does not count", "STORE.mesh.example", {.names = {PKI_DNS(PKI_HOST)}}, BY_ROOT,
		TLS_FAILURE_NONE, NULL},
	{"chain", PKI_HOST, {.names = {PKI_DNS(PKI_HOST)}}, BY_MIDDLE, TLS_FAILURE_NONE, NULL},
	{"an authority without key usage", PKI_HOST, {.names = {PKI_DNS(PKI_HOST)}}, BY_BARE,
		TLS_FAILURE_NONE, NULL},
	{"RSA", PKI_HOST, {.names = {PKI_DNS(PKI_HOST)}, .rsa_bits = 2048}, BY_ROOT,
		TLS_FAILURE_NONE, NULL},
	{"P-384", PKI_HOST, {.names = {PKI_DNS(PKI_HOST)}, .curve = NID_secp384r1}, BY_ROOT,
		TLS_FAILURE_NONE, NULL},
	{"no usages", PKI_HOST, {.names = {PKI_DNS(PKI_HOST)}, .no_usage = true, .extended = "-"},
		BY_ROOT, TLS_FAILURE_NONE, NULL},
	{"second of several names", PKI_HOST, {.names = {PKI_DNS("a.example"), PKI_DNS(PKI_HOST)}},
		BY_ROOT, TLS_FAILURE_NONE, NULL},
	{"address", "10.0.0.1", {.names = {PKI_IP("\x0a\0\0\x01")}}, BY_ROOT, TLS_FAILURE_NONE,
		NULL},
	{"address, version 6", "fd00::1",
		{.names = {PKI_IP("\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01")}}, BY_ROOT,
		TLS_FAILURE_NONE, NULL},
	{"wildcard", PKI_HOST, {.names = {PKI_DNS("*.mesh.example")}}, BY_ROOT, TLS_FAILURE_NONE,
		NULL},
	{"a server's own certificate as authority", PKI_HOST, {.names = {PKI_DNS(PKI_HOST)}},
		BY_ITSELF, TLS_FAILURE_NONE, NULL},
	{"another name", PKI_HOST, {.names = {PKI_DNS("other.example"), PKI_IP("\x0a\0\0\x01")}},
		BY_ROOT, TLS_FAILURE_NAME, "DNS:other.example, IP:10.0.0.1"},
	{"a part of the name", PKI_HOST, {.names = {PKI_DNS("mesh.example")}}, BY_ROOT,
		TLS_FAILURE_NAME, "DNS:mesh.example"},
	{"a name with a NUL", PKI_HOST, {.names = {PKI_DNS(PKI_HOST "\0.evil.example")}}, BY_ROOT,
		TLS_FAILURE_NAME, NULL},
	{"common name only", PKI_HOST, {.subject = PKI_HOST}, BY_ROOT, TLS_FAILURE_NAME,
		"no alternative name"},
	{"common name beside others", PKI_HOST,
		{.subject = PKI_HOST, .names = {PKI_DNS("other.example")}}, BY_ROOT,
		TLS_FAILURE_NAME, "DNS:other.example"},
	{"another address", "10.0.0.2", {.names = {PKI_IP("\x0a\0\0\x01")}}, BY_ROOT,
		TLS_FAILURE_NAME, "IP:10.0.0.1"},
	{"an address as a name", "10.0.0.1", {.names = {PKI_DNS("10.0.0.1")}}, BY_ROOT,
		TLS_FAILURE_NAME, "DNS:10.0.0.1"},
	{"a wildcard for an address", "10.0.0.1", {.names = {PKI_DNS("*.0.0.1")}}, BY_ROOT,
		TLS_FAILURE_NAME, NULL},
	{"a workload of the mesh", PKI_HOST,
		{.names = {{0x86, STR("spiffe://m.example/service/x")}}}, BY_ROOT, TLS_FAILURE_NAME,
		"URI:spiffe://m.example/service/x"},
	{"wildcard for all of a top level", "store.example", {.names = {PKI_DNS("*.example")}},
		BY_ROOT, TLS_FAILURE_NAME, NULL},
	{"wildcard for two labels", "a.store.mesh.example", {.names = {PKI_DNS("*.mesh.example")}},
		BY_ROOT, TLS_FAILURE_NAME, NULL},
	{"wildcard in a part of a label", PKI_HOST, {.names = {PKI_DNS("st*.mesh.example")}},
		BY_ROOT, TLS_FAILURE_NAME, NULL},
	{"wildcard not at the left", "a.store.mesh.example",
		{.names = {PKI_DNS("a.*.mesh.example")}}, BY_ROOT, TLS_FAILURE_NAME, NULL},
	{"another authority of the same name", PKI_HOST, {.names = {PKI_DNS(PKI_HOST)}},
		BY_STRANGER, TLS_FAILURE_CHAIN, NULL},
	{"expired", PKI_HOST, {.names = {PKI_DNS(PKI_HOST)}, .until_s = CERTS_NOW - 10}, BY_ROOT,
		TLS_FAILURE_EXPIRED, NULL},
	{"not yet valid", PKI_HOST, {.names = {PKI_DNS(PKI_HOST)}, .from_s = CERTS_NOW + 11},
		BY_ROOT, TLS_FAILURE_NOT_YET_VALID, NULL},
	{"for clients only", PKI_HOST, {.names = {PKI_DNS(PKI_HOST)}, .extended = "c"}, BY_ROOT,
		TLS_FAILURE_EXTENDED_KEY_USAGE, NULL},
	{"for servers only", PKI_HOST, {.names = {PKI_DNS(PKI_HOST)}, .extended = "s"}, BY_ROOT,
		TLS_FAILURE_NONE, NULL},
	{"not for signatures", PKI_HOST,
		{.names = {PKI_DNS(PKI_HOST)}, .rsa_bits = 2048, .usage = KU_KEY_ENCIPHERMENT},
		BY_ROOT, TLS_FAILURE_KEY_USAGE, NULL},
	{"unknown critical extension", PKI_HOST,
		{.names = {PKI_DNS(PKI_HOST)}, .unknown_critical = true}, BY_ROOT,
		TLS_FAILURE_CHAIN, NULL},
	{"signed with SHA-1", PKI_HOST, {.names = {PKI_DNS(PKI_HOST)}, .sha1 = true}, BY_ROOT,
		TLS_FAILURE_WEAK, NULL},
	{"RSA with 1024 bits", PKI_HOST, {.names = {PKI_DNS(PKI_HOST)}, .rsa_bits = 1024}, BY_ROOT,
		TLS_FAILURE_WEAK, NULL},
};

static const struct certs_pair *pki_issuer(enum issuer issuer)
{
	const struct certs_pair *const issuers[] = {
		&root, &middle, &stranger, &bare, &narrow, NULL};
	return issuers[issuer];
}

static void test_certificates(void **state)
{
	static struct ends e;
	for (size_t i = 0; i < ARRAY_LEN(pki_cases); i++) {
		struct certs_spec spec = pki_cases[i].leaf;
		spec.issuer = pki_issuer(pki_cases[i].issuer);
		struct certs_pair leaf = certs_make(&spec);
		struct tls_store *store =
			pki_store(spec.issuer ? root.certificate : leaf.certificate, false);
		ends_init(&e, store, pki_cases[i].host, &leaf,
			pki_cases[i].issuer == BY_MIDDLE ? middle.certificate : NULL);
		ends_run(&e);
		if (tls_failure(e.tls) != pki_cases[i].failure)
			fprintf(stderr, "%s: %s\n", pki_cases[i].what,
				tls_failure_name(tls_failure(e.tls)));
		assert_int_equal(tls_failure(e.tls), pki_cases[i].failure);
		assert_int_equal(e.result, pki_cases[i].failure ? TLS_FAILED : TLS_DONE);
		if (pki_cases[i].names)
			assert_string_equal(tls_refused_names(e.tls).at, pki_cases[i].names);
		ends_done(&e);
		certs_done(&leaf);
	}
}

/* An authority that may have no other below it has one; a leaf plays authority; and one that may
 * only make certificates for clients. */
static void test_paths(void **state)
{
	static struct ends e;
	struct certs_pair below =
		certs_make(&(struct certs_spec){.subject = "below", .issuer = &narrow, .ca = true});
	struct certs_pair plain = certs_make(&(struct certs_spec){
		.subject = "plain", .issuer = &root, .names = {PKI_DNS("plain.example")}});
	struct certs_pair clients = certs_make(&(struct certs_spec){
		.subject = "clients", .issuer = &root, .ca = true, .extended = "c"});
	const struct certs_pair *issuers[] = {&below, &plain, &clients};
	for (size_t i = 0; i < ARRAY_LEN(issuers); i++) {
		struct certs_pair leaf = certs_make(
			&(struct certs_spec){.issuer = issuers[i], .names = {PKI_DNS(PKI_HOST)}});
		ends_init(&e, pki_store(root.certificate, false), PKI_HOST, &leaf,
			issuers[i]->certificate);
		if (i == 0)
			assert_true(SSL_add1_chain_cert(e.ssl, narrow.certificate));
		ends_run(&e);
		assert_int_equal(e.result, TLS_FAILED);
		assert_int_equal(tls_failure(e.tls),
			i == 2 ? TLS_FAILURE_EXTENDED_KEY_USAGE : TLS_FAILURE_CHAIN);
		ends_done(&e);
		certs_done(&leaf);
	}
	certs_done(&below);
	certs_done(&plain);
	certs_done(&clients);
}

/* What the library lets pass at an anchor: a server's own certificate may be one, but only for
 * itself; one may not sign certificates; one may have no other authority below it. */
static void test_authorities_that_are_limited(void **state)
{
	static struct ends e;
	struct certs_pair below =
		certs_make(&(struct certs_spec){.subject = "below", .issuer = &narrow, .ca = true});
	struct certs_pair anchors[] = {
		certs_make(&(struct certs_spec){.subject = "self", .no_usage = true}),
		certs_make(&(struct certs_spec){
			.subject = "signs", .ca = true, .usage = KU_DIGITAL_SIGNATURE}),
		narrow};
	for (size_t i = 0; i < ARRAY_LEN(anchors); i++) {
		bool two = i == 2;
		struct certs_pair leaf = certs_make(&(struct certs_spec){
			.issuer = two ? &below : &anchors[i], .names = {PKI_DNS(PKI_HOST)}});
		ends_init(&e, pki_store(anchors[i].certificate, false), PKI_HOST, &leaf,
			two ? below.certificate : NULL);
		ends_run(&e);
		assert_int_equal(e.result, TLS_FAILED);
		assert_int_equal(tls_failure(e.tls), TLS_FAILURE_CHAIN);
		ends_done(&e);
		certs_done(&leaf);
	}
	certs_done(&anchors[0]);
	certs_done(&anchors[1]);
	certs_done(&below);
}

static void test_server_without_tls_1_3(void **state)
{
	static struct ends e;
	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.issuer = &root, .names = {PKI_DNS(PKI_HOST)}});
	ends_init(&e, pki_store(root.certificate, false), PKI_HOST, &leaf, NULL);
	assert_true(SSL_set_max_proto_version(e.ssl, TLS1_2_VERSION));
	ends_run(&e);
	assert_int_equal(e.result, TLS_FAILED);
	assert_int_equal(tls_failure(e.tls), TLS_FAILURE_ALERT);
	assert_int_equal(tls_peer_alert(e.tls), SSL_AD_PROTOCOL_VERSION);
	ends_done(&e);
	certs_done(&leaf);
}

/* --- our own certificate --- */

static struct tls_key *pki_key(EVP_PKEY *pair, const struct tls_store *s, int expected)
{
	struct err err;
	struct tls_key *key = NULL;
	const uint8_t *bytes;
	size_t len;
	BIO *text = BIO_new(BIO_s_mem());
	assert_true(PEM_write_bio_PrivateKey(text, pair, NULL, NULL, 0, NULL, NULL));
	assert_true(BIO_mem_contents(text, &bytes, &len));
	assert_int_equal(
		tls_key_new((struct str){(const char *)bytes, len}, s, &key, &err), expected);
	BIO_free(text);
	return key;
}

static void test_own_certificate(void **state)
{
	static struct ends e;
	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.issuer = &root, .names = {PKI_DNS(PKI_HOST)}});
	for (int with_own = 0; with_own < 2; with_own++) {
		struct tls_store *s = pki_store(root.certificate, with_own);
		struct tls_key *key = with_own ? pki_key(own.key, s, 0) : NULL;
		ends_init(&e, s, PKI_HOST, &leaf, NULL);
		e.key = key;
		assert_true(X509_STORE_add_cert(SSL_CTX_get_cert_store(e.side), root.certificate));
		X509_VERIFY_PARAM_set_time(SSL_get0_param(e.ssl), CERTS_NOW);
		SSL_set_verify(e.ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		ends_run(&e);
		assert_int_equal(e.result, with_own ? TLS_DONE : TLS_FAILED);
		assert_int_equal(
			tls_failure(e.tls), with_own ? TLS_FAILURE_NONE : TLS_FAILURE_ALERT);
		X509 *seen = SSL_get_peer_certificate(e.ssl);
		assert_true(with_own ? X509_cmp(seen, own.certificate) == 0 : !seen);
		X509_free(seen);
		ends_done(&e);
		tls_key_free(key);
	}
	certs_done(&leaf);
}

static void test_key_of_another_certificate(void **state)
{
	struct tls_store *s = pki_store(root.certificate, true);
	struct err err;
	struct tls_key *key;
	assert_null(pki_key(root.key, s, -EINVAL));
	assert_int_equal(tls_key_new(STR("no PEM"), s, &key, &err), -EINVAL);
	tls_store_unref(s);
}

/* --- bundles --- */

static void pki_refused(const char *roots, const char *chain, const char *number, const char *text)
{
	struct bundle b;
	struct err err = {""};
	struct tls_store *s = NULL;
	bundle_init(&b);
	if (roots)
		assert_int_equal(bundle_add(&b, STR("pki"), STR("roots"), str_of(roots), &err), 0);
	if (chain)
		assert_int_equal(bundle_add(&b, STR("pki"), STR("chain"), str_of(chain), &err), 0);
	if (number)
		assert_int_equal(
			bundle_add(&b, STR("pki-key"), STR("store"), str_of(number), &err), 0);
	assert_true(tls_store_new_pki(&b, &s, &err) < 0);
	if (!strstr(err.text, text))
		fprintf(stderr, "%s\n", err.text);
	assert_non_null(strstr(err.text, text));
	bundle_done(&b);
}

static void test_broken_bundles(void **state)
{
	struct certs_pair weak =
		certs_make(&(struct certs_spec){.subject = "weak", .ca = true, .rsa_bits = 1024});
	struct certs_pair rsa =
		certs_make(&(struct certs_spec){.subject = "rsa", .rsa_bits = 2048});
	char *good = certs_pem((X509 *[]){root.certificate, NULL});
	char *weak_pem = certs_pem((X509 *[]){weak.certificate, NULL});
	char *rsa_pem = certs_pem((X509 *[]){rsa.certificate, NULL});
	char *own_pem = certs_pem((X509 *[]){own.certificate, NULL});
	pki_refused(NULL, NULL, NULL, "authorities: missing");
	pki_refused("", NULL, NULL, "authorities: no certificate");
	pki_refused("nonsense", NULL, NULL, "broken PEM");
	pki_refused(weak_pem, NULL, NULL, "certificate 1: weak");
	pki_refused(good, "", "1", "0 certificates");
	pki_refused(good, rsa_pem, "1", "not of type P-256");
	pki_refused(good, own_pem, NULL, "key of our own certificate: missing");
	pki_refused(good, own_pem, "x", "key of our own certificate: missing or not a number");
	free(good);
	free(weak_pem);
	free(rsa_pem);
	free(own_pem);
	certs_done(&weak);
	certs_done(&rsa);
}

/* --- many authorities --- */

static struct tls_store *outside_store(X509 *const *authorities, uint32_t *ret_left_out)
{
	struct tls_store *s = NULL;
	struct err err;
	char *pem = certs_pem(authorities);
	int r = tls_store_new_outside(str_of(pem), NULL, &s, ret_left_out, &err);
	free(pem);
	return r < 0 ? NULL : s;
}

/* Servers that know nothing of protocols will do; and one that chooses the offered one. */
static void test_protocols_of_servers_outside(void **state)
{
	static struct ends e;
	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.names = {PKI_DNS(PKI_HOST)}, .issuer = &root});
	for (int offers = 0; offers < 2; offers++) {
		uint32_t left_out;
		struct tls_store *s =
			outside_store((X509 *const[]){root.certificate, NULL}, &left_out);
		ends_init(&e, s, PKI_HOST, &leaf, NULL);
		tls_free(e.tls);
		e.tls = tls_client_new_outside(
			s, STR(PKI_HOST), offers ? TLS_ALPN_HTTP1 : TLS_ALPN_NONE, &e.wire);
		ends_run(&e);
		assert_int_equal(e.result, TLS_DONE);
		assert_int_equal(tls_alpn(e.tls), TLS_ALPN_NONE);
		assert_string_equal(SSL_get_servername(e.ssl, TLSEXT_NAMETYPE_host_name), PKI_HOST);
		/* whatever comes of the mesh, it was judged once and for all */
		assert_int_equal(tls_peer_again(e.tls, s, CERTS_NOW), TLS_FAILURE_NONE);
		assert_true(tls_peer_not_after_s(e.tls) == INT64_MAX);
		ends_done(&e);
	}
	certs_done(&leaf);
}

/* --- servers that speak TLS 1.2 only --- */

/* What the server has written so far, as our input, with one byte changed or none (SIZE_MAX). */
static size_t ends_give(struct ends *e, size_t changed)
{
	int n = BIO_read(e->out, e->input, sizeof(e->input));
	assert_true(n > 0);
	if (changed < (size_t)n)
		e->input[changed] ^= 1;
	tls_input(e->tls, e->input, (size_t)n);
	return (size_t)n;
}

static void ends_fill(uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(i * 7);
}

/* A long record and a short one, opened where they stand. */
static void ends_expect_in_place(struct ends *e)
{
	static uint8_t sent[16384 + 5];
	const uint8_t *at;
	ends_fill(sent, sizeof(sent));
	assert_int_equal(SSL_write(e->ssl, sent, sizeof(sent)), sizeof(sent));
	ends_give(e, SIZE_MAX);
	for (size_t start = 0, len = 16384; start < sizeof(sent); start += len, len = 5) {
		assert_int_equal(tls_open(e->tls), TLS_DONE);
		assert_int_equal(tls_plain(e->tls, &at), len);
		assert_memory_equal(at, sent + start, len);
		tls_plain_take(e->tls, len);
	}
	assert_int_equal(tls_open(e->tls), TLS_MORE);
}

/* The same put together in a buffer, from pieces of that size. */
static void ends_expect_pieces(struct ends *e, size_t step)
{
	static uint8_t sent[16384 + 5], wire[1 << 15];
	struct buf got;
	buf_init(&got, &e->pool);
	ends_fill(sent, sizeof(sent));
	assert_int_equal(SSL_write(e->ssl, sent, sizeof(sent)), sizeof(sent));
	int len = BIO_read(e->out, wire, sizeof(wire));
	for (int start = 0; start < len; start += (int)step) {
		size_t n = (size_t)(len - start) < step ? (size_t)(len - start) : step;
		memcpy(e->input, wire + start, n);
		tls_input(e->tls, e->input, n);
		enum tls_result result = tls_read(e->tls, &got);
		assert_true(result == TLS_MORE || result == TLS_DONE);
	}
	assert_int_equal(buf_len(&got), sizeof(sent));
	assert_memory_equal(buf_at(&got), sent, sizeof(sent));
	buf_clear(&got);
}

/* What we write, in one record for each call. */
static void ends_say(struct ends *e, const char *text)
{
	uint8_t got[64];
	size_t used, len = strlen(text);
	assert_int_equal(tls_write(e->tls, (const uint8_t *)text, len, &used), TLS_DONE);
	assert_int_equal(used, len);
	BIO_write(e->in, buf_at(&e->wire), (int)buf_len(&e->wire));
	buf_clear(&e->wire);
	assert_int_equal(SSL_read(e->ssl, got, sizeof(got)), len);
	assert_memory_equal(got, text, len);
}

static void ends_end(struct ends *e)
{
	uint8_t got[1];
	(void)SSL_shutdown(e->ssl);
	ends_give(e, SIZE_MAX);
	assert_int_equal(tls_open(e->tls), TLS_CLOSED);
	assert_int_equal(tls_close_notify(e->tls), TLS_DONE);
	BIO_write(e->in, buf_at(&e->wire), (int)buf_len(&e->wire));
	int r = SSL_read(e->ssl, got, 1);
	assert_int_equal(SSL_get_error(e->ssl, r), SSL_ERROR_ZERO_RETURN);
}

/* The server's versions, and of TLS 1.2 its suites and signatures; 0, NULL: all. */
static void ends_init_old(struct ends *e, const struct certs_pair *leaf, uint16_t version,
	const char *suites, uint16_t signature)
{
	uint32_t left_out;
	struct tls_store *s = outside_store((X509 *const[]){root.certificate, NULL}, &left_out);
	ends_init(e, s, PKI_HOST, leaf, NULL);
	tls_free(e->tls);
	e->tls = tls_client_new_outside(s, STR(PKI_HOST), TLS_ALPN_HTTP1, &e->wire);
	assert_true(SSL_set_min_proto_version(e->ssl, TLS1_VERSION));
	assert_true(SSL_set_max_proto_version(e->ssl, version));
	if (suites)
		assert_true(SSL_set_strict_cipher_list(e->ssl, suites));
	if (signature)
		assert_true(SSL_set_signing_algorithm_prefs(e->ssl, &signature, 1));
}

static void ends_begin_old(struct ends *e, const struct certs_pair *leaf, uint16_t version,
	const char *suites, uint16_t signature)
{
	ends_init_old(e, leaf, version, suites, signature);
	ends_run(e);
}

static void test_servers_of_tls_1_2(void **state)
{
	static struct ends e;
	static const struct {
		const char *suite;
		int rsa_bits, curve;
		uint16_t signature;
	} cases[] = {
		{"ECDHE-ECDSA-AES128-GCM-SHA256", 0, 0, 0},
		{"ECDHE-ECDSA-AES256-GCM-SHA384", 0, NID_secp384r1, 0},
		{"ECDHE-ECDSA-CHACHA20-POLY1305", 0, 0, 0},
		{"ECDHE-RSA-AES128-GCM-SHA256", 2048, 0, SSL_SIGN_RSA_PKCS1_SHA256},
		{"ECDHE-RSA-AES256-GCM-SHA384", 2048, 0, SSL_SIGN_RSA_PSS_RSAE_SHA256},
		{"ECDHE-RSA-CHACHA20-POLY1305", 2048, 0, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct certs_pair leaf =
			certs_make(&(struct certs_spec){.names = {PKI_DNS(PKI_HOST)},
				.issuer = &root,
				.rsa_bits = cases[i].rsa_bits,
				.curve = cases[i].curve});
		ends_begin_old(&e, &leaf, TLS1_2_VERSION, cases[i].suite, cases[i].signature);
		assert_int_equal(e.result, TLS_DONE);
		assert_int_equal(SSL_version(e.ssl), TLS1_2_VERSION);
		ends_say(&e, "ping");
		ends_expect_in_place(&e);
		for (size_t step = 1; step < (1 << 15); step = step * 9 + 4) {
			ends_expect_pieces(&e, step);
			ends_say(&e, "again");
		}
		ends_end(&e);
		ends_done(&e);
		certs_done(&leaf);
	}
}

/* Whatever byte of a record is another one: its head says what it is, and is sealed with it. */
static void test_records_of_tls_1_2_that_were_changed(void **state)
{
	static struct ends e;
	static const char *const suites[] = {
		"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"};
	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.names = {PKI_DNS(PKI_HOST)}, .issuer = &root});
	for (size_t i = 0; i < 2 * 32; i++) {
		const uint8_t *at;
		size_t changed = i / 2;
		ends_begin_old(&e, &leaf, TLS1_2_VERSION, suites[i % 2], 0);
		assert_int_equal(e.result, TLS_DONE);
		assert_int_equal(SSL_write(e.ssl, "bytes", 5), 5);
		bool is_longer = changed == 3 || changed == 4; /* it may wait for more */
		size_t len = ends_give(&e, changed);
		enum tls_result result = tls_open(e.tls);
		if (changed >= len)
			assert_int_equal(tls_plain(e.tls, &at), 5);
		else
			assert_true(result == TLS_FAILED || (is_longer && result == TLS_MORE));
		ends_done(&e);
	}
	certs_done(&leaf);
}

/* One that speaks first does so behind its last message of the handshake, in the same packet. */
static void test_a_server_of_tls_1_2_that_speaks_first(void **state)
{
	static struct ends e;
	const uint8_t *at;
	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.names = {PKI_DNS(PKI_HOST)}, .issuer = &root});
	ends_init_old(&e, &leaf, TLS1_2_VERSION, NULL, 0);
	bool has_spoken = false;
	while (e.result != TLS_DONE) {
		e.result = tls_handshake(e.tls, e.wall_s);
		assert_int_not_equal(e.result, TLS_FAILED);
		BIO_write(e.in, buf_at(&e.wire), (int)buf_len(&e.wire));
		buf_clear(&e.wire);
		if (!has_spoken && SSL_do_handshake(e.ssl) == 1)
			has_spoken = SSL_write(e.ssl, "220 ready", 9) == 9;
		if (e.result != TLS_DONE)
			ends_give(&e, SIZE_MAX);
	}
	assert_int_equal(tls_open(e.tls), TLS_DONE);
	assert_int_equal(tls_plain(e.tls, &at), 9);
	assert_memory_equal(at, "220 ready", 9);
	ends_done(&e);
	certs_done(&leaf);
}

#define CONTENT_CHANGE_CIPHER_SPEC 20
#define CONTENT_ALERT		   21
#define CONTENT_HANDSHAKE	   22
#define CONTENT_BYTES		   23

/* What the library's server never says: records under its key, sealed by the test. */
static void ends_take_key(struct ends *e, struct record_key *ret_key)
{
	struct record_key client;
	uint8_t block[RECORD_12_BLOCK_BYTES_MAX];
	size_t len = SSL_get_key_block_len(e->ssl);
	uint16_t suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(e->ssl));
	assert_true(len <= sizeof(block) && SSL_generate_key_block(e->ssl, block, len));
	assert_true(record_12_keys(&client, ret_key, suite, block, len));
	ret_key->number = SSL_get_write_sequence(e->ssl);
	record_key_wipe(&client);
}

static enum tls_result ends_hear(
	struct ends *e, struct record_key *key, uint8_t type, const char *bytes, size_t len)
{
	size_t n = record_12_seal(key, type, (const uint8_t *)bytes, len, e->input);
	tls_input(e->tls, e->input, n);
	return tls_open(e->tls);
}

/* After the handshake a server may ask for another one, which is not begun, or warn. */
static void test_what_a_server_of_tls_1_2_may_say(void **state)
{
	static struct ends e;
	static const struct {
		uint8_t type;
		const char *bytes;
		size_t len;
		enum tls_result result;
	} cases[] = {
		{CONTENT_HANDSHAKE, "\0\0\0\0", 4, TLS_MORE},	    /* HelloRequest */
		{CONTENT_HANDSHAKE, "\0\0\0\0\0\0\0\0", 8, TLS_MORE}, /* two */
		{CONTENT_HANDSHAKE, "\0\0", 2, TLS_MORE},	    /* a part of one */
		{CONTENT_BYTES, "", 0, TLS_MORE},
		{CONTENT_ALERT, "\x01\x64", 2, TLS_MORE}, /* no_renegotiation */
		{CONTENT_ALERT, "\x01\x00", 2, TLS_CLOSED},
		{CONTENT_ALERT, "\x02\x28", 2, TLS_FAILED},
		{CONTENT_ALERT, "\x01", 1, TLS_FAILED},
		{CONTENT_HANDSHAKE, "\0\0\0\x01x", 5, TLS_FAILED},
		{CONTENT_HANDSHAKE, "\x04\0\0\0", 4, TLS_FAILED}, /* a ticket */
		{CONTENT_HANDSHAKE, "\x18\0\0\x01\0", 5, TLS_FAILED}, /* a KeyUpdate */
		{CONTENT_HANDSHAKE, "", 0, TLS_FAILED},
		{CONTENT_CHANGE_CIPHER_SPEC, "\x01", 1, TLS_FAILED},
	};
	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.names = {PKI_DNS(PKI_HOST)}, .issuer = &root});
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct record_key key;
		ends_begin_old(&e, &leaf, TLS1_2_VERSION, NULL, 0);
		assert_int_equal(e.result, TLS_DONE);
		ends_take_key(&e, &key);
		assert_int_equal(ends_hear(&e, &key, cases[i].type, cases[i].bytes, cases[i].len),
			cases[i].result);
		if (cases[i].result == TLS_MORE)
			assert_int_equal(buf_len(&e.wire), 0); /* it is not answered */
		if (cases[i].result == TLS_MORE && cases[i].len != 2)
			assert_int_equal(ends_hear(&e, &key, CONTENT_BYTES, "x", 1), TLS_DONE);
		record_key_wipe(&key);
		ends_done(&e);
	}
	certs_done(&leaf);
}

/* Nor may it go on asking; and an end that is not said is none. */
static void test_servers_of_tls_1_2_that_bring_nothing(void **state)
{
	static struct ends e;
	struct record_key key;
	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.names = {PKI_DNS(PKI_HOST)}, .issuer = &root});
	ends_begin_old(&e, &leaf, TLS1_2_VERSION, NULL, 0);
	ends_take_key(&e, &key);
	int count = 0;
	while (ends_hear(&e, &key, CONTENT_HANDSHAKE, "\0\0\0\0", 4) == TLS_MORE)
		assert_true(++count < 100);
	assert_true(count > 0);
	assert_int_equal(tls_failure(e.tls), TLS_FAILURE_PROTOCOL);
	record_key_wipe(&key);
	ends_done(&e);

	ends_begin_old(&e, &leaf, TLS1_2_VERSION, NULL, 0);
	tls_input_eof(e.tls);
	assert_int_equal(tls_open(e.tls), TLS_FAILED);
	assert_int_equal(tls_failure(e.tls), TLS_FAILURE_CLOSED);
	ends_done(&e);
	certs_done(&leaf);
}

/* Neither older versions nor what TLS 1.2 had of before: no forward secrecy, no AEAD. */
static void test_servers_that_are_too_old(void **state)
{
	static struct ends e;
	static const struct {
		uint16_t version;
		const char *suites;
		enum tls_failure failure;
	} cases[] = {
		{TLS1_1_VERSION, NULL, TLS_FAILURE_VERSION},
		{TLS1_2_VERSION, "AES128-GCM-SHA256", TLS_FAILURE_ALERT},
		{TLS1_2_VERSION, "ECDHE-RSA-AES128-SHA", TLS_FAILURE_ALERT},
	};
	struct certs_pair leaf = certs_make(&(struct certs_spec){
		.names = {PKI_DNS(PKI_HOST)}, .issuer = &root, .rsa_bits = 2048});
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ends_begin_old(&e, &leaf, cases[i].version, cases[i].suites, 0);
		assert_int_equal(e.result, TLS_FAILED);
		assert_int_equal(tls_failure(e.tls), cases[i].failure);
		ends_done(&e);
	}
	certs_done(&leaf);
}

/* The rest of what is no workload's server: the store, the authority. */
static void test_old_servers_are_for_workloads_only(void **state)
{
	static struct ends e;
	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.names = {PKI_DNS(PKI_HOST)}, .issuer = &root});
	ends_init(&e, pki_store(root.certificate, false), PKI_HOST, &leaf, NULL);
	assert_true(SSL_set_max_proto_version(e.ssl, TLS1_2_VERSION));
	ends_run(&e);
	assert_int_equal(e.result, TLS_FAILED);
	ends_done(&e);
	certs_done(&leaf);
}

static void test_authorities_that_are_of_no_use_are_left_out(void **state)
{
	struct certs_pair weak =
		certs_make(&(struct certs_spec){.subject = "weak", .ca = true, .rsa_bits = 1024});
	struct err err;
	uint32_t left_out;
	struct tls_store *s =
		outside_store((X509 *const[]){weak.certificate, root.certificate, NULL}, &left_out);
	assert_non_null(s);
	assert_int_equal(left_out, 1);
	tls_store_unref(s);
	assert_null(outside_store((X509 *const[]){weak.certificate, NULL}, &left_out));
	assert_true(tls_store_new_outside(STR(""), NULL, &s, &left_out, &err) < 0);
	assert_true(tls_store_new_outside(STR("-----BEGIN CERTIFICATE-----\nx\n"), NULL, &s,
			    &left_out, &err) < 0);
	certs_done(&weak);
}

static void test_the_same_authorities_are_shared(void **state)
{
	struct err err;
	uint32_t left_out;
	struct tls_store *one = NULL, *again = NULL, *other = NULL;
	char *pem = certs_pem((X509 *const[]){root.certificate, NULL});
	char *more = certs_pem((X509 *const[]){root.certificate, bare.certificate, NULL});
	assert_int_equal(tls_store_new_outside(str_of(pem), NULL, &one, &left_out, &err), 0);
	assert_int_equal(tls_store_new_outside(str_of(pem), one, &again, &left_out, &err), 0);
	assert_int_equal(tls_store_new_outside(str_of(more), one, &other, &left_out, &err), 0);
	assert_ptr_equal(one, again);
	assert_ptr_not_equal(one, other);
	tls_store_unref(one);
	tls_store_unref(again);
	tls_store_unref(other);
	free(pem);
	free(more);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_certificates),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_authorities_that_are_limited),
		cmocka_unit_test(test_server_without_tls_1_3),
		cmocka_unit_test(test_own_certificate),
		cmocka_unit_test(test_key_of_another_certificate),
		cmocka_unit_test(test_broken_bundles),
		cmocka_unit_test(test_protocols_of_servers_outside),
		cmocka_unit_test(test_servers_of_tls_1_2),
		cmocka_unit_test(test_records_of_tls_1_2_that_were_changed),
		cmocka_unit_test(test_a_server_of_tls_1_2_that_speaks_first),
		cmocka_unit_test(test_what_a_server_of_tls_1_2_may_say),
		cmocka_unit_test(test_servers_of_tls_1_2_that_bring_nothing),
		cmocka_unit_test(test_servers_that_are_too_old),
		cmocka_unit_test(test_old_servers_are_for_workloads_only),
		cmocka_unit_test(test_authorities_that_are_of_no_use_are_left_out),
		cmocka_unit_test(test_the_same_authorities_are_shared),
	};
	return cmocka_run_group_tests(tests, pki_setup, pki_teardown);
}
