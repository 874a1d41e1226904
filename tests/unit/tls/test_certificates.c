/* SPDX-License-Identifier: Apache-2.0 */
/* Paths: how a chain leads to an anchor, or does not, and what is remembered of it. The table of
 * bad certificates is in test_matrix.c. */
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

/* --- a new root --- */

/* A store of up to two anchors. */
static struct tls_store *certificates_trust(X509 *one, X509 *two)
{
	struct bundle b;
	struct err err;
	struct tls_store *s = NULL;
	char *pem = certs_pem((X509 *[]){one, two, NULL});
	bundle_init(&b);
	assert_int_equal(bundle_add(&b, STR("roots"), STR("prod.example"), str_of(pem), &err), 0);
	assert_int_equal(tls_store_new(&b, STR("prod.example"), 6, &s, &err), 0);
	bundle_done(&b);
	free(pem);
	return s;
}

/* The old root, both, the new one, of one name or of two. What each issued is good as long as it is
 * there, and what the new one issued is good for who knows the old one only, if the old one has
 * certified it and is not called the same. */
static void certificates_rotate(const char *name)
{
	struct tls_store *usual = store;
	struct certs_pair root = certs_make(&(struct certs_spec){.subject = name, .ca = true});
	struct certs_pair middle =
		certs_make(&(struct certs_spec){.subject = "middle", .issuer = &root, .ca = true});
	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.issuer = &middle, .names = {{URI, WEB_ID}}});
	X509 *crossed = X509_dup(root.certificate);
	assert_true(X509_set_issuer_name(crossed, X509_get_subject_name(mesh.root.certificate)) &&
		    X509_sign(crossed, mesh.root.key, EVP_sha256()));
	X509 *before[] = {mesh.leaf[PAIR_WEB].certificate, mesh.middle.certificate, NULL};
	X509 *after[] = {leaf.certificate, middle.certificate, NULL};
	X509 *both[] = {leaf.certificate, middle.certificate, crossed, NULL};
	const struct {
		const char *name;
		X509 *one, *two;
		enum tls_failure before, after, both;
	} rows[] = {
		{"old", mesh.root.certificate, NULL, TLS_FAILURE_NONE, TLS_FAILURE_CHAIN,
			TLS_FAILURE_NONE},
		{"old and new", mesh.root.certificate, root.certificate, TLS_FAILURE_NONE,
			TLS_FAILURE_NONE, TLS_FAILURE_NONE},
		{"new and old", root.certificate, mesh.root.certificate, TLS_FAILURE_NONE,
			TLS_FAILURE_NONE, TLS_FAILURE_NONE},
		{"new", root.certificate, NULL, TLS_FAILURE_CHAIN, TLS_FAILURE_NONE,
			TLS_FAILURE_NONE},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		store = certificates_trust(rows[i].one, rows[i].two);
		certificates_expect(rows[i].name, before, rows[i].before);
		certificates_expect(rows[i].name, after, rows[i].after);
		/* A root certified by one of its own name looks like one that certifies itself. */
		if (strcmp(name, "root") != 0)
			certificates_expect(rows[i].name, both, rows[i].both);
		tls_store_unref(store);
	}
	store = usual;
	X509_free(crossed);
	certs_done(&leaf);
	certs_done(&middle);
	certs_done(&root);
}

static void test_root_rotation(void **state)
{
	certificates_rotate("root 2");
	certificates_rotate("root");
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
	assert_int_equal(peer.valid_from_s, CERTS_NOW - 5 - TRUST_SKEW_S);
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

/* For ever would be too long: peers are renewed, and the place is for those of now. */
static void test_proven_chains_end_when_there_are_many(void **state)
{
	struct bundle b;
	struct err err;
	struct tls_store *first = pair_mesh_store(&mesh, 5), *next;
	pair_mesh_bundle(&mesh, &b);
	for (uint32_t i = 0; i < 2000; i++) {
		struct proven_chain chain = {.digest = {(uint8_t)i, (uint8_t)(i >> 8)}};
		proven_add(first->anchors[0]->proven, &chain);
		if (i % 100 != 0)
			continue;
		assert_int_equal(
			tls_store_renew(first, &b, STR("prod.example"), 6, &next, &err), 0);
		assert_int_equal(next->anchors[0] == first->anchors[0], i < 512);
		tls_store_unref(next);
	}
	bundle_done(&b);
	tls_store_unref(first);
}

static void test_proven_chain(void **state)
{
	struct tls_store *s = pair_mesh_store(&mesh, 5);
	STACK_OF(CRYPTO_BUFFER) *chain = sk_CRYPTO_BUFFER_new_null();
	uint8_t digest[32];
	sk_CRYPTO_BUFFER_push(chain, certs_buffer(mesh.leaf[PAIR_WEB].certificate));
	proven_digest(chain, digest);
	assert_int_equal(certificates_at(s, chain, CERTS_NOW), TLS_FAILURE_CHAIN);
	assert_null(
		proven_find(s->anchors[0]->proven, digest)); /* a refused chain is not remembered */
	sk_CRYPTO_BUFFER_push(chain, certs_buffer(mesh.middle.certificate));
	proven_digest(chain, digest);
	assert_null(proven_find(s->anchors[0]->proven, digest));
	assert_int_equal(certificates_at(s, chain, CERTS_NOW), TLS_FAILURE_NONE);
	assert_non_null(proven_find(s->anchors[0]->proven, digest));
	assert_int_equal(certificates_at(s, chain, CERTS_NOW + 1), TLS_FAILURE_NONE);
	/* What passed once does not pass for ever. */
	assert_int_equal(certificates_at(s, chain, CERTS_NOW + 3600), TLS_FAILURE_EXPIRED);
	assert_int_equal(certificates_at(s, chain, CERTS_NOW - 2000), TLS_FAILURE_NOT_YET_VALID);
	/* Nor in another generation unseen, nor with one certificate less. */
	assert_null(proven_find(store->anchors[0]->proven, digest));
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
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_path_length),
		cmocka_unit_test(test_cycle),
		cmocka_unit_test(test_anchor_constraints),
		cmocka_unit_test(test_root_rotation),
		cmocka_unit_test(test_anchor_not_self_signed),
		cmocka_unit_test(test_validity),
		cmocka_unit_test(test_proven_chain),
		cmocka_unit_test(test_proven_chains_end_when_there_are_many),
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
