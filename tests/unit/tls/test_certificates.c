/* SPDX-License-Identifier: Apache-2.0 */
/* The matrix of bad certificates: each against the rules alone, and each that a P-256 key can
 * present in a real handshake, from either side, with the alert that the other side is sent. */
#include "pair.h"

#include "tls/verify.h"
#include <openssl/nid.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants those above first */
#include <cmocka.h>

static struct pair_mesh mesh;
static struct tls_store *store;

#define WEB_ID STR("spiffe://prod.example/service/web")
#define URI    0x86
#define DNS    0x82

/* A leaf for web, issued by the mesh's intermediate. */
struct certificates_row {
	const char *name;
	struct certs_spec leaf;
	enum tls_failure failure;
	uint8_t alert; /* 0: not tried in a handshake */
};

#define BAD SSL_AD_BAD_CERTIFICATE

/* One that is good but for its names. */
#define NAMES(...)                       \
	{                                \
		.names = { __VA_ARGS__ } \
	}
#define ID(text)               \
	{                      \
		URI, STR(text) \
	}

static const struct certificates_row certificates_rows[] = {
	{"good", NAMES({URI, WEB_ID}), TLS_FAILURE_NONE, 0},
	{"good with DNS name", NAMES({DNS, STR("web.example")}, {URI, WEB_ID}), TLS_FAILURE_NONE,
		0},
	{"good with subject, SAN not critical",
		{.subject = "web", .san_plain = true, .names = {{URI, WEB_ID}}}, TLS_FAILURE_NONE,
		0},
	{"good without extended key usage", {.extended = "-", .names = {{URI, WEB_ID}}},
		TLS_FAILURE_NONE, 0},
	{"good with more extended key usages", {.extended = "sco", .names = {{URI, WEB_ID}}},
		TLS_FAILURE_NONE, 0},
	{"good for one second more", {.until_s = CERTS_NOW + 1, .names = {{URI, WEB_ID}}},
		TLS_FAILURE_NONE, 0},
	{"good from this second", {.from_s = CERTS_NOW, .names = {{URI, WEB_ID}}}, TLS_FAILURE_NONE,
		0},
	{"no SAN, only a common name", {.subject = "spiffe://prod.example/service/web"},
		TLS_FAILURE_SAN_COUNT, BAD},
	{"only a DNS name", NAMES({DNS, WEB_ID}), TLS_FAILURE_SAN_COUNT, BAD},
	{"two URIs", NAMES({URI, WEB_ID}, ID("spiffe://prod.example/service/orders")),
		TLS_FAILURE_SAN_COUNT, BAD},
	{"two URIs, one not SPIFFE", NAMES({URI, WEB_ID}, ID("https://web.example/")),
		TLS_FAILURE_SAN_COUNT, BAD},
	{"the same URI twice", NAMES({URI, WEB_ID}, {URI, WEB_ID}), TLS_FAILURE_SAN_COUNT, BAD},
	{"two SAN extensions", {.san_twice = true, .names = {{URI, WEB_ID}}}, TLS_FAILURE_SAN_COUNT,
		BAD},
	{"other scheme", NAMES(ID("http://prod.example/service/web")), TLS_FAILURE_SAN_ID, BAD},
	{"upper-case scheme", NAMES(ID("SPIFFE://prod.example/service/web")), TLS_FAILURE_SAN_ID,
		BAD},
	{"upper-case domain", NAMES(ID("spiffe://Prod.example/service/web")), TLS_FAILURE_SAN_ID,
		BAD},
	{"port", NAMES(ID("spiffe://prod.example:443/service/web")), TLS_FAILURE_SAN_ID, BAD},
	{"userinfo", NAMES(ID("spiffe://u@prod.example/service/web")), TLS_FAILURE_SAN_ID, BAD},
	{"query", NAMES(ID("spiffe://prod.example/service/web?x")), TLS_FAILURE_SAN_ID, BAD},
	{"fragment", NAMES(ID("spiffe://prod.example/service/web#x")), TLS_FAILURE_SAN_ID, BAD},
	{"percent-encoding", NAMES(ID("spiffe://prod.example/service%2fweb")), TLS_FAILURE_SAN_ID,
		BAD},
	{"dot segments", NAMES(ID("spiffe://prod.example/service/../web")), TLS_FAILURE_SAN_ID,
		BAD},
	{"empty segment", NAMES(ID("spiffe://prod.example/service//web")), TLS_FAILURE_SAN_ID, BAD},
	{"trailing slash", NAMES(ID("spiffe://prod.example/service/web/")), TLS_FAILURE_SAN_ID,
		BAD},
	{"no path", NAMES(ID("spiffe://prod.example")), TLS_FAILURE_SAN_ID, BAD},
	{"root path", NAMES(ID("spiffe://prod.example/")), TLS_FAILURE_SAN_ID, BAD},
	{"embedded NUL", NAMES(ID("spiffe://prod.example/service/web\0.evil")), TLS_FAILURE_SAN_ID,
		BAD},
	{"foreign trust domain, our CA", NAMES(ID("spiffe://other.example/service/web")),
		TLS_FAILURE_CHAIN, SSL_AD_UNKNOWN_CA},
	{"unknown trust domain", NAMES(ID("spiffe://unknown.example/service/web")),
		TLS_FAILURE_TRUST_DOMAIN, SSL_AD_UNKNOWN_CA},
	{"trust domain with an empty set", NAMES(ID("spiffe://empty.example/service/web")),
		TLS_FAILURE_TRUST_DOMAIN, SSL_AD_UNKNOWN_CA},
	{"CA leaf",
		{.ca = true,
			.usage = KU_DIGITAL_SIGNATURE | KU_KEY_CERT_SIGN,
			.names = {{URI, WEB_ID}}},
		TLS_FAILURE_CA_LEAF, BAD},
	{"keyCertSign on a leaf",
		{.usage = KU_DIGITAL_SIGNATURE | KU_KEY_CERT_SIGN, .names = {{URI, WEB_ID}}},
		TLS_FAILURE_KEY_USAGE, BAD},
	{"cRLSign on a leaf",
		{.usage = KU_DIGITAL_SIGNATURE | KU_CRL_SIGN, .names = {{URI, WEB_ID}}},
		TLS_FAILURE_KEY_USAGE, BAD},
	{"no key usage", {.no_usage = true, .names = {{URI, WEB_ID}}}, TLS_FAILURE_KEY_USAGE, BAD},
	{"key usage not critical", {.usage_plain = true, .names = {{URI, WEB_ID}}},
		TLS_FAILURE_KEY_USAGE, BAD},
	/* BoringSSL does not even let us present this one. */
	{"no digitalSignature", {.usage = KU_KEY_AGREEMENT, .names = {{URI, WEB_ID}}},
		TLS_FAILURE_KEY_USAGE, 0},
	{"server only", {.extended = "s", .names = {{URI, WEB_ID}}}, TLS_FAILURE_EXTENDED_KEY_USAGE,
		BAD},
	{"client only", {.extended = "c", .names = {{URI, WEB_ID}}}, TLS_FAILURE_EXTENDED_KEY_USAGE,
		BAD},
	{"empty extended key usage", {.extended = "", .names = {{URI, WEB_ID}}},
		TLS_FAILURE_EXTENDED_KEY_USAGE, BAD},
	{"empty subject, SAN not critical", {.san_plain = true, .names = {{URI, WEB_ID}}},
		TLS_FAILURE_SUBJECT, BAD},
	{"expired this second", {.until_s = CERTS_NOW, .names = {{URI, WEB_ID}}},
		TLS_FAILURE_EXPIRED, SSL_AD_CERTIFICATE_EXPIRED},
	{"not yet valid by a second", {.from_s = CERTS_NOW + 1, .names = {{URI, WEB_ID}}},
		TLS_FAILURE_NOT_YET_VALID, BAD},
	{"unknown critical extension", {.unknown_critical = true, .names = {{URI, WEB_ID}}},
		TLS_FAILURE_CHAIN, SSL_AD_UNKNOWN_CA},
	{"unknown extension twice", {.unknown_twice = true, .names = {{URI, WEB_ID}}},
		TLS_FAILURE_CHAIN, SSL_AD_UNKNOWN_CA},
	{"version 1", {.version_1 = true, .subject = "web"}, TLS_FAILURE_SAN_COUNT, BAD},
	{"SHA-1", {.sha1 = true, .names = {{URI, WEB_ID}}}, TLS_FAILURE_WEAK,
		SSL_AD_UNSUPPORTED_CERTIFICATE},
	{"P-384", {.curve = NID_secp384r1, .names = {{URI, WEB_ID}}}, TLS_FAILURE_NONE, 0},
	{"P-521", {.curve = NID_secp521r1, .names = {{URI, WEB_ID}}}, TLS_FAILURE_WEAK, 0},
	{"P-224", {.curve = NID_secp224r1, .names = {{URI, WEB_ID}}}, TLS_FAILURE_WEAK, 0},
	{"RSA 2048", {.rsa_bits = 2048, .names = {{URI, WEB_ID}}}, TLS_FAILURE_NONE, 0},
	{"RSA 1024", {.rsa_bits = 1024, .names = {{URI, WEB_ID}}}, TLS_FAILURE_WEAK, 0},
	{"larger than the limit", {.padding = 40000, .names = {{URI, WEB_ID}}}, TLS_FAILURE_NONE,
		0},
};

/* The rules on a chain, leaf first, NULL-terminated. */
static enum tls_failure certificates_verify(X509 *const *chain, struct verify_peer *peer)
{
	STACK_OF(CRYPTO_BUFFER) *buffers = sk_CRYPTO_BUFFER_new_null();
	for (; *chain; chain++)
		assert_true(sk_CRYPTO_BUFFER_push(buffers, certs_buffer(*chain)) > 0);
	*peer = (struct verify_peer){0};
	enum tls_failure failure = verify_chain(store, buffers, CERTS_NOW, peer);
	sk_CRYPTO_BUFFER_pop_free(buffers, CRYPTO_BUFFER_free);
	return failure;
}

static void certificates_expect(const char *name, X509 *const *chain, enum tls_failure failure)
{
	struct verify_peer peer;
	enum tls_failure got = certificates_verify(chain, &peer);
	if (got != failure)
		fail_msg("%s: %s, not %s", name, tls_failure_name(got), tls_failure_name(failure));
	if (!failure)
		assert_string_equal(peer.id, "spiffe://prod.example/service/web");
	free(peer.id);
}

static void test_rules(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(certificates_rows); i++) {
		struct certs_spec spec = certificates_rows[i].leaf;
		spec.issuer = &mesh.middle;
		struct certs_pair leaf = certs_make(&spec);
		certificates_expect(certificates_rows[i].name,
			(X509 *[]){leaf.certificate, mesh.middle.certificate, NULL},
			certificates_rows[i].failure);
		certs_done(&leaf);
	}
}

/* The bad end is web: as client, then as server. */
static void certificates_handshake(const char *name, EVP_PKEY *key, X509 *const *chain, int bad_end,
	enum tls_failure failure, uint8_t alert)
{
	struct tls_store *bad = pair_mesh_store(&mesh, 7);
	struct tls_client_want want = pair_want();
	struct str ids[] = {WEB_ID};
	struct pair pair;
	pair_init(&pair, &mesh, TLS_WIRE_BYTES_MIN);
	pair_present(bad, PAIR_WEB, chain);
	if (bad_end == PAIR_CLIENT) {
		pair.client_key = key;
		pair_start(&pair, bad, store, NULL, &want);
	} else {
		pair.server_key = key;
		pair.serve = str_of(pair_paths[PAIR_WEB]);
		want.identity = str_of(pair_paths[PAIR_BILLING]);
		want.server_ids = ids;
		pair_start(&pair, store, bad, NULL, &want);
	}
	bool ok = pair_handshake(&pair);
	const struct tls *judge = pair.ends[!bad_end].tls, *judged = pair.ends[bad_end].tls;
	if (ok || tls_failure(judge) != failure || tls_peer_alert(judged) != alert)
		fail_msg("%s, end %d: %s, alert %d, not %s, %d", name, bad_end,
			tls_failure_name(tls_failure(judge)), tls_peer_alert(judged),
			tls_failure_name(failure), alert);
	assert_int_equal(tls_failure(judged), TLS_FAILURE_ALERT);
	pair_done(&pair);
	tls_store_unref(bad);
}

static void test_handshakes(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(certificates_rows); i++) {
		const struct certificates_row *row = &certificates_rows[i];
		if (row->alert == 0)
			continue;
		struct certs_spec spec = row->leaf;
		spec.issuer = &mesh.middle;
		struct certs_pair leaf = certs_make(&spec);
		X509 *chain[] = {leaf.certificate, mesh.middle.certificate, NULL};
		for (int end = 0; end < 2; end++)
			certificates_handshake(
				row->name, leaf.key, chain, end, row->failure, row->alert);
		certs_done(&leaf);
	}
}

static void test_too_many_bytes(void **state)
{
	struct certs_pair leaf = certs_make(&(struct certs_spec){
		.issuer = &mesh.middle, .padding = 40000, .names = {{URI, WEB_ID}}});
	X509 *chain[] = {leaf.certificate, mesh.middle.certificate, NULL};
	for (int end = 0; end < 2; end++)
		certificates_handshake("40 KB leaf", leaf.key, chain, end, TLS_FAILURE_CHAIN_LENGTH,
			SSL_AD_ILLEGAL_PARAMETER);
	certs_done(&leaf);
}

/* --- issuers --- */

/* A leaf for web under one intermediate that is as `spec` says, under the mesh's root. */
static void certificates_under(const char *name, struct certs_spec spec,
	const struct certs_pair *root, enum tls_failure failure)
{
	spec.issuer = root;
	spec.subject = "issuer";
	struct certs_pair issuer = certs_make(&spec);
	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.issuer = &issuer, .names = {{URI, WEB_ID}}});
	certificates_expect(name, (X509 *[]){leaf.certificate, issuer.certificate, NULL}, failure);
	certs_done(&leaf);
	certs_done(&issuer);
}

static void test_issuers(void **state)
{
	static const struct {
		const char *name;
		struct certs_spec spec;
		enum tls_failure failure;
	} rows[] = {
		{"good", {.ca = true}, TLS_FAILURE_NONE},
		{"path length 0", {.ca = true, .path_len_plus_1 = 1}, TLS_FAILURE_NONE},
		{"not a CA", {.ca = false}, TLS_FAILURE_CHAIN},
		{"no basic constraints", {.ca = true, .no_constraints = true}, TLS_FAILURE_CHAIN},
		{"no keyCertSign", {.ca = true, .usage = KU_CRL_SIGN}, TLS_FAILURE_CHAIN},
		{"no key usage", {.ca = true, .no_usage = true}, TLS_FAILURE_CHAIN},
		{"key usage not critical", {.ca = true, .usage_plain = true}, TLS_FAILURE_CHAIN},
		{"a trust domain's id", {.ca = true, .names = {ID("spiffe://prod.example")}},
			TLS_FAILURE_NONE},
		{"a workload's id", {.ca = true, .names = {ID("spiffe://prod.example/ca")}},
			TLS_FAILURE_CHAIN},
		{"expired", {.ca = true, .until_s = CERTS_NOW - 1}, TLS_FAILURE_EXPIRED},
		{"not yet valid", {.ca = true, .from_s = CERTS_NOW + 1}, TLS_FAILURE_NOT_YET_VALID},
		{"version 1", {.version_1 = true}, TLS_FAILURE_CHAIN},
		{"SHA-1", {.ca = true, .sha1 = true}, TLS_FAILURE_WEAK},
		{"RSA 1024", {.ca = true, .rsa_bits = 1024}, TLS_FAILURE_WEAK},
		{"P-224", {.ca = true, .curve = NID_secp224r1}, TLS_FAILURE_WEAK},
		{"unknown critical extension", {.ca = true, .unknown_critical = true},
			TLS_FAILURE_CHAIN},
		{"URI permitted", {.ca = true, .permitted_uri = "prod.example"}, TLS_FAILURE_NONE},
		{"URI not permitted", {.ca = true, .permitted_uri = "other.example"},
			TLS_FAILURE_CHAIN},
		{"URI excluded", {.ca = true, .excluded_uri = "prod.example"}, TLS_FAILURE_CHAIN},
		{"URI not excluded", {.ca = true, .excluded_uri = "other.example"},
			TLS_FAILURE_NONE},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		certificates_under(rows[i].name, rows[i].spec, &mesh.root, rows[i].failure);
}

static void test_paths(void **state)
{
	struct certs_pair foreign = certs_make(&(struct certs_spec){.subject = "root", .ca = true});
	certificates_under("wrong root of the same name", (struct certs_spec){.ca = true}, &foreign,
		TLS_FAILURE_CHAIN);
	certs_done(&foreign);

	struct certs_pair self = certs_make(&(struct certs_spec){.names = {{URI, WEB_ID}}});
	certificates_expect(
		"self-signed leaf", (X509 *[]){self.certificate, NULL}, TLS_FAILURE_CHAIN);
	certs_done(&self);

	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.issuer = &mesh.middle, .names = {{URI, WEB_ID}}});
	certificates_expect(
		"missing intermediate", (X509 *[]){leaf.certificate, NULL}, TLS_FAILURE_CHAIN);
	certificates_expect("root sent along",
		(X509 *[]){leaf.certificate, mesh.middle.certificate, mesh.root.certificate, NULL},
		TLS_FAILURE_NONE);
	certificates_expect("issuer that signs for itself as leaf",
		(X509 *[]){mesh.middle.certificate, NULL}, TLS_FAILURE_SAN_COUNT);
	X509 *many[STORE_CHAIN_COUNT_MAX + 2] = {leaf.certificate};
	for (int i = 1; i <= STORE_CHAIN_COUNT_MAX; i++)
		many[i] = mesh.middle.certificate;
	certificates_expect("too many certificates", many, TLS_FAILURE_CHAIN_LENGTH);
	many[STORE_CHAIN_COUNT_MAX] = NULL;
	certificates_expect("as many as may be", many, TLS_FAILURE_NONE);
	certs_done(&leaf);
	certificates_expect("none", (X509 *[]){NULL}, TLS_FAILURE_NO_CERTIFICATE);
}

/* One intermediate more than path length 0 allows. */
static void test_path_length(void **state)
{
	struct certs_pair first = certs_make(&(struct certs_spec){
		.subject = "first", .issuer = &mesh.root, .ca = true, .path_len_plus_1 = 1});
	struct certs_pair second =
		certs_make(&(struct certs_spec){.subject = "second", .issuer = &first, .ca = true});
	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.issuer = &second, .names = {{URI, WEB_ID}}});
	certificates_expect("path length exceeded",
		(X509 *[]){leaf.certificate, second.certificate, first.certificate, NULL},
		TLS_FAILURE_CHAIN);
	certs_done(&leaf);
	certs_done(&second);
	certs_done(&first);
}

/* Two authorities that certify each other, none of them ours. */
static void test_cycle(void **state)
{
	struct certs_pair a = certs_make(&(struct certs_spec){.subject = "a", .ca = true});
	struct certs_pair b =
		certs_make(&(struct certs_spec){.subject = "b", .issuer = &a, .ca = true});
	struct certs_pair a_by_b =
		certs_make(&(struct certs_spec){.subject = "a", .issuer = &b, .ca = true});
	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.issuer = &b, .names = {{URI, WEB_ID}}});
	certificates_expect("cycle",
		(X509 *[]){leaf.certificate, b.certificate, a_by_b.certificate, b.certificate,
			a_by_b.certificate, NULL},
		TLS_FAILURE_CHAIN);
	certs_done(&leaf);
	certs_done(&a_by_b);
	certs_done(&b);
	certs_done(&a);
}

/* What an anchor says of itself holds too: BoringSSL would not ask. */
static void certificates_anchor(
	const char *name, struct certs_spec spec, int depth, enum tls_failure failure)
{
	struct tls_store *usual = store;
	struct pair_mesh other = mesh;
	struct bundle b;
	struct err err;
	spec.subject = "anchor";
	spec.ca = true;
	struct certs_pair anchor = certs_make(&spec);
	struct certs_pair middle =
		certs_make(&(struct certs_spec){.subject = "below", .issuer = &anchor, .ca = true});
	struct certs_pair leaf = certs_make(&(struct certs_spec){
		.issuer = depth ? &middle : &anchor, .names = {{URI, WEB_ID}}});
	other.root = anchor;
	pair_mesh_bundle(&other, &b);
	assert_int_equal(tls_store_new(&b, STR("prod.example"), 3, &store, &err), 0);
	bundle_done(&b);
	certificates_expect(name,
		(X509 *[]){leaf.certificate, depth ? middle.certificate : NULL, NULL}, failure);
	tls_store_unref(store);
	store = usual;
	certs_done(&leaf);
	certs_done(&middle);
	certs_done(&anchor);
}

static void test_anchor_constraints(void **state)
{
	certificates_anchor("path length 0, directly", (struct certs_spec){.path_len_plus_1 = 1}, 0,
		TLS_FAILURE_NONE);
	certificates_anchor("path length 0, one between", (struct certs_spec){.path_len_plus_1 = 1},
		1, TLS_FAILURE_CHAIN);
	certificates_anchor("path length 1, one between", (struct certs_spec){.path_len_plus_1 = 2},
		1, TLS_FAILURE_NONE);
	certificates_anchor(
		"expired", (struct certs_spec){.until_s = CERTS_NOW - 1}, 0, TLS_FAILURE_EXPIRED);
	certificates_anchor("URI not permitted",
		(struct certs_spec){.permitted_uri = "other.example"}, 1, TLS_FAILURE_CHAIN);
}

/* An intermediate in the bundle is an anchor in its own right. */
static void test_anchor_not_self_signed(void **state)
{
	struct tls_store *usual = store;
	struct pair_mesh other = mesh;
	struct bundle b;
	struct err err;
	other.root = mesh.middle;
	pair_mesh_bundle(&other, &b);
	assert_int_equal(tls_store_new(&b, STR("prod.example"), 4, &store, &err), 0);
	bundle_done(&b);
	certificates_expect("bundle of an intermediate",
		(X509 *[]){mesh.leaf[PAIR_WEB].certificate, NULL}, TLS_FAILURE_NONE);
	tls_store_unref(store);
	store = usual;
}

/* The end of validity is that of the whole path. */
static void test_validity(void **state)
{
	struct certs_pair issuer = certs_make(&(struct certs_spec){.subject = "short",
		.issuer = &mesh.root,
		.ca = true,
		.from_s = CERTS_NOW - 5,
		.until_s = CERTS_NOW + 7});
	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.issuer = &issuer, .names = {{URI, WEB_ID}}});
	struct verify_peer peer;
	assert_int_equal(
		certificates_verify((X509 *[]){leaf.certificate, issuer.certificate, NULL}, &peer),
		TLS_FAILURE_NONE);
	assert_int_equal(peer.valid_from_s, CERTS_NOW - 5);
	assert_int_equal(peer.valid_until_s, CERTS_NOW + 7);
	free(peer.id);
	certs_done(&leaf);
	certs_done(&issuer);
}

/* --- chains seen before --- */

static enum tls_failure certificates_at(
	struct tls_store *s, const STACK_OF(CRYPTO_BUFFER) * chain, int64_t wall_s)
{
	struct verify_peer peer = {0};
	enum tls_failure failure = verify_chain(s, chain, wall_s, &peer);
	assert_int_equal(failure == TLS_FAILURE_NONE, peer.id != NULL);
	if (!failure)
		assert_int_equal(peer.valid_until_s, CERTS_NOW + 3600);
	free(peer.id);
	return failure;
}

static void test_proven_chain(void **state)
{
	struct tls_store *s = pair_mesh_store(&mesh, 5);
	STACK_OF(CRYPTO_BUFFER) *chain = sk_CRYPTO_BUFFER_new_null();
	uint8_t digest[32];
	sk_CRYPTO_BUFFER_push(chain, certs_buffer(mesh.leaf[PAIR_WEB].certificate));
	proven_digest(chain, digest);
	assert_int_equal(certificates_at(s, chain, CERTS_NOW), TLS_FAILURE_CHAIN);
	assert_null(proven_find(s->proven, digest)); /* a refused chain is not remembered */
	sk_CRYPTO_BUFFER_push(chain, certs_buffer(mesh.middle.certificate));
	proven_digest(chain, digest);
	assert_null(proven_find(s->proven, digest));
	assert_int_equal(certificates_at(s, chain, CERTS_NOW), TLS_FAILURE_NONE);
	assert_non_null(proven_find(s->proven, digest));
	assert_int_equal(certificates_at(s, chain, CERTS_NOW + 1), TLS_FAILURE_NONE);
	/* What passed once does not pass for ever. */
	assert_int_equal(certificates_at(s, chain, CERTS_NOW + 3600), TLS_FAILURE_EXPIRED);
	assert_int_equal(certificates_at(s, chain, CERTS_NOW - 2000), TLS_FAILURE_NOT_YET_VALID);
	/* Nor in another generation unseen, nor with one certificate less. */
	assert_null(proven_find(store->proven, digest));
	CRYPTO_BUFFER_free(sk_CRYPTO_BUFFER_pop(chain));
	assert_int_equal(certificates_at(s, chain, CERTS_NOW), TLS_FAILURE_CHAIN);
	sk_CRYPTO_BUFFER_pop_free(chain, CRYPTO_BUFFER_free);
	tls_store_unref(s);
}

static void test_proven_is_bounded(void **state)
{
	struct proven *p = proven_new();
	struct proven_chain chain = {.valid_until_s = 1};
	uint32_t found = 0;
	for (uint32_t i = 0; i < 5000; i++) {
		memcpy(chain.digest, &i, sizeof(i));
		for (int twice = 0; twice < 2; twice++)
			proven_add(p, &chain);
	}
	for (uint32_t i = 0; i < 5000; i++) {
		memcpy(chain.digest, &i, sizeof(i));
		found += proven_find(p, chain.digest) != NULL;
	}
	assert_int_equal(found, 1024);
	proven_free(p);
}

/* Every byte of a good leaf wrong in turn: never accepted (the signature covers it), no crash. */
static void test_damaged(void **state)
{
	CRYPTO_BUFFER *good = certs_buffer(mesh.leaf[PAIR_WEB].certificate);
	CRYPTO_BUFFER *middle = certs_buffer(mesh.middle.certificate);
	size_t len = CRYPTO_BUFFER_len(good);
	uint8_t *bytes = malloc(len);
	for (size_t i = 0; i < 2 * len; i++) {
		memcpy(bytes, CRYPTO_BUFFER_data(good), len);
		bytes[i / 2] ^= i % 2 ? 0x01 : 0x80;
		STACK_OF(CRYPTO_BUFFER) *chain = sk_CRYPTO_BUFFER_new_null();
		sk_CRYPTO_BUFFER_push(chain, CRYPTO_BUFFER_new(bytes, len, NULL));
		CRYPTO_BUFFER_up_ref(middle);
		sk_CRYPTO_BUFFER_push(chain, middle);
		struct verify_peer peer = {0};
		assert_int_not_equal(
			verify_chain(store, chain, CERTS_NOW, &peer), TLS_FAILURE_NONE);
		free(peer.id);
		sk_CRYPTO_BUFFER_pop_free(chain, CRYPTO_BUFFER_free);
	}
	free(bytes);
	CRYPTO_BUFFER_free(good);
	CRYPTO_BUFFER_free(middle);
}

/* Our mesh, a foreign trust domain, and one of which nobody is to be trusted. */
static void certificates_store(const struct certs_pair *foreign)
{
	struct bundle b;
	struct err err;
	pair_mesh_bundle(&mesh, &b);
	char *pem = certs_pem((X509 *[]){foreign->certificate, NULL});
	assert_int_equal(bundle_add(&b, STR("roots"), STR("other.example"), str_of(pem), &err), 0);
	assert_int_equal(bundle_add(&b, STR("roots"), STR("empty.example"), STR("\n"), &err), 0);
	if (tls_store_new(&b, STR("prod.example"), 1, &store, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	free(pem);
	bundle_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_handshakes),
		cmocka_unit_test(test_too_many_bytes),
		cmocka_unit_test(test_issuers),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_path_length),
		cmocka_unit_test(test_cycle),
		cmocka_unit_test(test_anchor_constraints),
		cmocka_unit_test(test_anchor_not_self_signed),
		cmocka_unit_test(test_validity),
		cmocka_unit_test(test_proven_chain),
		cmocka_unit_test(test_proven_is_bounded),
		cmocka_unit_test(test_damaged),
	};
	pair_mesh_init(&mesh);
	struct certs_pair foreign =
		certs_make(&(struct certs_spec){.subject = "other root", .ca = true});
	certificates_store(&foreign);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	tls_store_unref(store);
	certs_done(&foreign);
	pair_mesh_done(&mesh);
	return failed;
}
