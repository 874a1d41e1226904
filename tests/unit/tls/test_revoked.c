/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of revoked certificates: which are taken, whose they are, and that nothing which was found
 * before they came hides them. */
#include "pair.h"

#include "tls/verify.h"
#include <openssl/mem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants those above first */
#include <cmocka.h>

static struct pair_mesh mesh;
static struct pair pair;

static int revoked_setup(void **state)
{
	pair_init(&pair, &mesh, TLS_WIRE_BYTES_MIN);
	return 0;
}

static int revoked_teardown(void **state)
{
	pair_done(&pair);
	return 0;
}

/* --- stores --- */

/* What the next ones are made after. */
static const struct tls_store *revoked_before;

static int revoked_build(
	const char *lists, uint64_t generation, struct tls_store **ret_store, struct err *err)
{
	static const char secret[32] = "the same for all of them";
	struct bundle b;
	struct err unused;
	pair_mesh_bundle(&mesh, &b);
	assert_int_equal(bundle_add(&b, STR("tickets"), STR("secret"),
				 (struct str){secret, sizeof(secret)}, &unused),
		0);
	if (lists)
		assert_int_equal(
			bundle_add(&b, STR("crl"), STR("prod.example"), str_of(lists), &unused), 0);
	int r = tls_store_renew(
		revoked_before, &b, STR("prod.example"), generation, ret_store, err);
	bundle_done(&b);
	return r;
}

/* Of up to two lists. */
static struct tls_store *revoked_store(
	uint64_t generation, const struct certs_list *one, const struct certs_list *two)
{
	struct err err;
	struct tls_store *s = NULL;
	char *first = one ? certs_list_pem(one) : strdup("");
	char *second = two ? certs_list_pem(two) : strdup("");
	char *both;
	assert_true(asprintf(&both, "%s%s", first, second) >= 0);
	if (revoked_build(one ? both : NULL, generation, &s, &err) < 0)
		fail_msg("%s", err.text);
	free(first);
	free(second);
	free(both);
	return s;
}

static enum tls_failure revoked_verify(
	struct tls_store *s, enum pair_identity identity, int64_t wall_s)
{
	STACK_OF(CRYPTO_BUFFER) *chain = sk_CRYPTO_BUFFER_new_null();
	struct verify_peer peer = {0};
	sk_CRYPTO_BUFFER_push(chain, certs_buffer(mesh.leaf[identity].certificate));
	sk_CRYPTO_BUFFER_push(chain, certs_buffer(mesh.middle.certificate));
	enum tls_failure failure = verify_chain(s, chain, wall_s, &peer);
	free(peer.id);
	sk_CRYPTO_BUFFER_pop_free(chain, CRYPTO_BUFFER_free);
	return failure;
}

static void revoked_expect(const char *what, const struct certs_list *one,
	const struct certs_list *two, enum tls_failure failure)
{
	struct tls_store *s = revoked_store(1, one, two);
	enum tls_failure got = revoked_verify(s, PAIR_WEB, CERTS_NOW);
	if (got != failure)
		fail_msg("%s: %s, not %s", what, tls_failure_name(got), tls_failure_name(failure));
	tls_store_unref(s);
}

static struct certs_list revoked_web(void)
{
	return (struct certs_list){
		.issuer = &mesh.middle, .revoked = {mesh.leaf[PAIR_WEB].certificate}};
}

/* --- loading --- */

static void revoked_refused(const char *lists, const char *why)
{
	struct tls_store *s = NULL;
	struct err err = {""};
	assert_true(revoked_build(lists, 1, &s, &err) < 0);
	assert_null(s);
	if (!strstr(err.text, "crl of prod.example") || !strstr(err.text, why))
		fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static void test_refused_lists(void **state)
{
	const struct {
		struct certs_list list;
		const char *why;
	} rows[] = {
		{{.delta = true}, "list 2: only the changes to another list (delta CRL)"},
		{{.part = true}, "list 2: only a part of what is revoked (issuing distribution"},
		{{.unknown_critical = true}, "list 2: an unknown critical extension"},
		{{.number_twice = true}, "list 2: malformed"},
		{{.long_serial = true}, "list 2: a serial number of more than 20 octets"},
		{{.entry_critical = true, .revoked = {mesh.leaf[0].certificate}},
			"list 2: an entry with a critical extension"},
		{{.sha1 = true}, "list 2: weak or unsupported signature algorithm"},
		{{.outer_sha384 = true}, "list 2: two different signature algorithms"},
	};
	struct certs_list good = revoked_web();
	char *first = certs_list_pem(&good);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct certs_list list = rows[i].list;
		list.issuer = &mesh.middle;
		char *second = certs_list_pem(&list), *both;
		assert_true(asprintf(&both, "%s%s", first, second) > 0);
		revoked_refused(both, rows[i].why);
		free(both);
		free(second);
	}
	free(first);
}

static void test_broken_texts(void **state)
{
	char *certificate = certs_pem((X509 *[]){mesh.root.certificate, NULL});
	revoked_refused("no list at all\n", "broken PEM");
	revoked_refused("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "malformed");
	revoked_refused("-----BEGIN X509 CRL-----\nAAAA\n", "broken PEM");
	revoked_refused(certificate, "\"CERTIFICATE\" where only a CRL");
	free(certificate);
}

/* Each byte of a good list wrong in turn: refused, or nobody's, and never a crash. */
static void test_damaged_list(void **state)
{
	struct certs_list list = revoked_web();
	struct err err;
	char *pem = certs_list_pem(&list);
	size_t len = strlen(pem);
	for (size_t i = 0; i < len; i += 3) {
		struct tls_store *s = NULL;
		char before = pem[i];
		pem[i] = before == 'A' ? 'B' : 'A';
		if (revoked_build(pem, 1, &s, &err) == 0)
			assert_int_equal(
				revoked_verify(s, PAIR_ORDERS, CERTS_NOW), TLS_FAILURE_NONE);
		tls_store_unref(s);
		pem[i] = before;
	}
	free(pem);
}

static void test_names_of_items(void **state)
{
	struct bundle b;
	struct err err;
	struct tls_store *s = NULL;
	struct certs_list list = revoked_web();
	char *pem = certs_list_pem(&list);
	static const char *const names[] = {"unknown.example", "prod.example", "Prod"};
	static const char *const whys[] = {NULL, "twice", "not a trust domain"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		pair_mesh_bundle(&mesh, &b);
		assert_int_equal(
			bundle_add(&b, STR("crl"), STR("prod.example"), str_of(pem), &err), 0);
		assert_int_equal(
			bundle_add(&b, STR("crl"), str_of(names[i]), str_of(pem), &err), 0);
		int r = tls_store_new(&b, STR("prod.example"), 1, &s, &err);
		assert_int_equal(r == 0, !whys[i]);
		if (whys[i])
			assert_non_null(strstr(err.text, whys[i]));
		tls_store_unref(s);
		s = NULL;
		bundle_done(&b);
	}
	free(pem);
}

/* --- whose, and which of several --- */

static void test_whose(void **state)
{
	struct certs_pair namesake =
		certs_make(&(struct certs_spec){.subject = "middle", .ca = true});
	struct certs_list web = revoked_web(), other = web, stranger = web;
	stranger.signer = &namesake; /* the name is right, the key is not */
	other.issuer = &mesh.root;   /* the same serial, of another authority */
	revoked_expect("its issuer's", &web, NULL, TLS_FAILURE_REVOKED);
	revoked_expect("another key's", &stranger, NULL, TLS_FAILURE_NONE);
	revoked_expect("another authority's", &other, NULL, TLS_FAILURE_NONE);
	/* An authority with a new key of the old name has a list of its own. */
	stranger.number = 9;
	stranger.revoked[0] = NULL;
	revoked_expect("two keys of one name", &web, &stranger, TLS_FAILURE_REVOKED);
	revoked_expect("the same in the other order", &stranger, &web, TLS_FAILURE_REVOKED);
	certs_done(&namesake);
}

static void test_newest_counts(void **state)
{
	static const struct {
		const char *what;
		int64_t number, from_s; /* of the one that names web */
		int64_t other_number, other_from_s;
		enum tls_failure failure;
	} rows[] = {
		{"higher number", 7, 0, 6, 0, TLS_FAILURE_REVOKED},
		{"lower number", 6, 0, 7, 0, TLS_FAILURE_NONE},
		{"higher number, earlier", 7, CERTS_NOW - 50, 6, CERTS_NOW - 10,
			TLS_FAILURE_REVOKED},
		{"no numbers, later", -1, CERTS_NOW - 10, -1, CERTS_NOW - 50, TLS_FAILURE_REVOKED},
		{"no numbers, earlier", -1, CERTS_NOW - 50, -1, CERTS_NOW - 10, TLS_FAILURE_NONE},
		{"a number before none", 1, CERTS_NOW - 50, -1, CERTS_NOW - 10,
			TLS_FAILURE_REVOKED},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct certs_list web = revoked_web(), none = {.issuer = &mesh.middle};
		web.number = rows[i].number;
		web.from_s = rows[i].from_s;
		none.number = rows[i].other_number;
		none.from_s = rows[i].other_from_s;
		revoked_expect(rows[i].what, &web, &none, rows[i].failure);
		revoked_expect(rows[i].what, &none, &web, rows[i].failure);
	}
}

static void test_kinds_of_lists(void **state)
{
	struct certs_list web = revoked_web();
	web.version_1 = true;
	revoked_expect("version 1", &web, NULL, TLS_FAILURE_REVOKED);
	web = revoked_web();
	web.until_s = -1;
	revoked_expect("without an end", &web, NULL, TLS_FAILURE_REVOKED);
	web.from_s = CERTS_NOW + 1000;
	revoked_expect("from the future", &web, NULL, TLS_FAILURE_REVOKED);
	web = (struct certs_list){.issuer = &mesh.middle};
	revoked_expect("empty", &web, NULL, TLS_FAILURE_NONE);
}

/* An authority with an RSA key signs its lists with it. */
static void test_rsa(void **state)
{
	struct pair_mesh usual = mesh;
	mesh.middle = certs_make(&(struct certs_spec){
		.subject = "middle", .issuer = &mesh.root, .ca = true, .rsa_bits = 2048});
	mesh.leaf[PAIR_WEB] = certs_make(&(struct certs_spec){
		.issuer = &mesh.middle, .names = {{0x86, str_of(pair_ids[PAIR_WEB])}}});
	struct certs_list web = revoked_web();
	revoked_expect("RSA", &web, NULL, TLS_FAILURE_REVOKED);
	certs_done(&mesh.middle);
	certs_done(&mesh.leaf[PAIR_WEB]);
	mesh = usual;
}

static void test_large_list(void **state)
{
	struct certs_list list = revoked_web();
	list.more_count = 100000;
	struct tls_store *s = revoked_store(1, &list, NULL);
	assert_int_equal(revoked_verify(s, PAIR_WEB, CERTS_NOW), TLS_FAILURE_REVOKED);
	assert_int_equal(revoked_verify(s, PAIR_ORDERS, CERTS_NOW), TLS_FAILURE_NONE);
	tls_store_unref(s);
}

/* --- lists over their time --- */

static void test_stale(void **state)
{
	struct certs_list list = {.issuer = &mesh.middle, .until_s = CERTS_NOW + 10};
	struct tls_store *s = revoked_store(1, &list, NULL);
	assert_int_equal(revoked_verify(s, PAIR_WEB, CERTS_NOW + 10), TLS_FAILURE_NONE);
	tls_store_unref(s);
	s = revoked_store(1, &list, NULL);
	tls_store_refuse_stale_crls(s, true);
	/* Its time is asked for again of a chain that has passed before. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(revoked_verify(s, PAIR_WEB, CERTS_NOW + 9), TLS_FAILURE_NONE);
		assert_int_equal(revoked_verify(s, PAIR_WEB, CERTS_NOW + 10),
			TLS_FAILURE_REVOCATION_UNKNOWN);
		assert_int_equal(revoked_verify(s, PAIR_ORDERS, CERTS_NOW + 10),
			TLS_FAILURE_REVOCATION_UNKNOWN);
	}
	tls_store_unref(s);
}

/* There are lists, and none of the leaf's issuer; of that one's own issuer there need be none. */
static void test_missing(void **state)
{
	struct certs_list roots = {.issuer = &mesh.root}, middles = {.issuer = &mesh.middle};
	struct tls_store *with = revoked_store(1, &roots, NULL),
			 *other = revoked_store(1, &middles, NULL),
			 *without = revoked_store(1, NULL, NULL);
	struct tls_store *const all[] = {with, other, without};
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		assert_int_equal(revoked_verify(all[i], PAIR_WEB, CERTS_NOW), TLS_FAILURE_NONE);
		tls_store_refuse_stale_crls(all[i], true);
		assert_int_equal(revoked_verify(all[i], PAIR_WEB, CERTS_NOW),
			i == 0 ? TLS_FAILURE_REVOCATION_UNKNOWN : TLS_FAILURE_NONE);
		tls_store_unref(all[i]);
	}
}

/* --- what was found before a list came --- */

static void test_made_of(void **state)
{
	struct bundle b;
	struct err err;
	struct certs_list list = revoked_web();
	char *pem = certs_list_pem(&list);
	struct tls_store *s = pair_mesh_store(&mesh, 1);
	pair_mesh_bundle(&mesh, &b);
	assert_true(tls_store_made_of(s, &b, STR("prod.example")));
	assert_int_equal(bundle_add(&b, STR("crl"), STR("prod.example"), str_of(pem), &err), 0);
	assert_false(tls_store_made_of(s, &b, STR("prod.example")));
	bundle_done(&b);
	tls_store_unref(s);
	free(pem);
}

/* A connection that lives when its peer is revoked. */
static void test_live_peer(void **state)
{
	struct certs_list list = revoked_web(), old = list;
	old.until_s = CERTS_NOW - 1;
	old.revoked[0] = NULL;
	struct tls_store *before = revoked_store(1, NULL, NULL);
	struct tls_store *after = revoked_store(2, &list, NULL),
			 *stale = revoked_store(2, &old, NULL);
	struct tls_client_want want = pair_want();
	pair_start(&pair, before, before, NULL, &want);
	assert_true(pair_handshake(&pair));
	const struct tls *c = pair.ends[PAIR_CLIENT].tls, *s = pair.ends[PAIR_SERVER].tls;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(tls_peer_again(s, before, CERTS_NOW), TLS_FAILURE_NONE);
		assert_int_equal(tls_peer_again(s, after, CERTS_NOW), TLS_FAILURE_REVOKED);
		assert_int_equal(tls_peer_again(c, after, CERTS_NOW), TLS_FAILURE_NONE);
		/* Also when its certificate is over, besides. */
		assert_int_equal(tls_peer_again(s, after, CERTS_NOW + 99999), TLS_FAILURE_REVOKED);
	}
	/* Who is in stays when there is nothing new to be had. */
	tls_store_refuse_stale_crls(stale, true);
	assert_int_equal(tls_peer_again(s, stale, CERTS_NOW), TLS_FAILURE_NONE);
	tls_store_unref(before);
	tls_store_unref(after);
	tls_store_unref(stale);
}

static void revoked_first(struct tls_store *s, struct tls_sessions *sessions)
{
	struct tls_client_want want = pair_want();
	size_t used;
	pair_start(&pair, s, s, sessions, &want);
	assert_true(pair_handshake(&pair));
	assert_int_equal(
		tls_write(pair.ends[PAIR_SERVER].tls, (const uint8_t *)"x", 1, &used), TLS_DONE);
	assert_int_equal(pair_drain(&pair, PAIR_CLIENT), TLS_MORE);
	pair_stop(&pair);
}

/* The server's ticket outlives its generation; what is revoked since then does not. */
static void test_resumption(void **state)
{
	struct certs_list web = revoked_web(), billing = web, old = web;
	billing.revoked[0] = mesh.leaf[PAIR_BILLING].certificate;
	old.until_s = CERTS_NOW - 1;
	old.revoked[0] = NULL;
	const struct {
		const struct certs_list *list;
		bool refuse;
		enum tls_failure failure;
	} rows[] = {{NULL, false, TLS_FAILURE_NONE}, {&billing, false, TLS_FAILURE_NONE},
		{&web, false, TLS_FAILURE_REVOKED}, {&old, false, TLS_FAILURE_NONE},
		{&old, true, TLS_FAILURE_REVOCATION_UNKNOWN}};
	struct tls_client_want want = pair_want();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tls_sessions *sessions = tls_sessions_new(16);
		struct tls_store *before = revoked_store(1, NULL, NULL),
				 *after = revoked_store(2, rows[i].list, NULL);
		tls_store_refuse_stale_crls(after, rows[i].refuse);
		revoked_first(before, sessions);
		pair_start(&pair, before, after, sessions, &want);
		assert_int_equal(pair_handshake(&pair), rows[i].failure == TLS_FAILURE_NONE);
		/* It was the ticket that brought them together, not a handshake in full. */
		assert_int_equal(pair.ends[PAIR_SERVER].sign_count, 0);
		assert_int_equal(tls_failure(pair.ends[PAIR_SERVER].tls), rows[i].failure);
		if (rows[i].failure == TLS_FAILURE_REVOKED)
			assert_int_equal(tls_peer_alert(pair.ends[PAIR_CLIENT].tls),
				SSL_AD_CERTIFICATE_REVOKED);
		pair_stop(&pair);
		tls_sessions_free(sessions);
		tls_store_unref(before);
		tls_store_unref(after);
	}
}

/* A client keeps its sessions when only lists have come; what was verified under the old ones
 * counts no longer, and what is under the same ones still does. */
static void test_resumption_after_lists_came(void **state)
{
	struct certs_list orders = {
		.issuer = &mesh.middle, .revoked = {mesh.leaf[PAIR_ORDERS].certificate}};
	struct certs_list web = revoked_web();
	const struct {
		const struct certs_list *first, *next;
		bool shared, good;
	} rows[] = {{NULL, NULL, true, true}, {&web, &web, false, true} /* signed anew */,
		{&web, NULL, false, true}, {NULL, &orders, false, false},
		{&web, &orders, false, false}};
	struct tls_client_want want = pair_want();
	struct tls_store *server = revoked_store(1, NULL, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tls_sessions *sessions = tls_sessions_new(16);
		struct tls_store *before = revoked_store(1, rows[i].first, NULL);
		revoked_before = before;
		struct tls_store *after = revoked_store(2, rows[i].next, NULL);
		revoked_before = NULL;
		assert_int_equal(before->anchors[0] == after->anchors[0], rows[i].shared);
		pair_start(&pair, before, server, sessions, &want);
		assert_true(pair_handshake(&pair));
		size_t used;
		assert_int_equal(
			tls_write(pair.ends[PAIR_SERVER].tls, (const uint8_t *)"x", 1, &used),
			TLS_DONE);
		assert_int_equal(pair_drain(&pair, PAIR_CLIENT), TLS_MORE);
		pair_stop(&pair);
		tls_store_unref(before);
		pair_start(&pair, after, server, sessions, &want);
		assert_int_equal(pair_handshake(&pair), rows[i].good);
		assert_int_equal(pair.ends[PAIR_CLIENT].sign_count, 0); /* by the session */
		assert_int_equal(tls_failure(pair.ends[PAIR_CLIENT].tls),
			rows[i].good ? TLS_FAILURE_NONE : TLS_FAILURE_REVOKED);
		pair_stop(&pair);
		tls_sessions_free(sessions);
		tls_store_unref(after);
	}
	tls_store_unref(server);
}

/* A long list is read once, not with each renewal. */
static void test_lists_are_shared(void **state)
{
	struct certs_list web = revoked_web();
	struct err err;
	struct tls_store *before, *after;
	char *pem = certs_list_pem(&web), *twice;
	assert_int_equal(revoked_build(pem, 1, &before, &err), 0);
	revoked_before = before;
	assert_int_equal(revoked_build(pem, 2, &after, &err), 0);
	assert_ptr_equal(before->anchors[0]->revoked, after->anchors[0]->revoked);
	assert_true(store_has_lists(after));
	assert_true(asprintf(&twice, "%s%s", pem, "-----BEGIN X509 CRL-----\n") > 0);
	struct tls_store *broken;
	assert_true(revoked_build(twice, 3, &broken, &err) < 0);
	revoked_before = NULL;
	tls_store_unref(before);
	tls_store_unref(after);
	free(pem);
	free(twice);
}

/* A client forgets its sessions with the generation, and so meets the server in full. */
static void test_resumption_of_a_revoked_server(void **state)
{
	struct certs_list list = {
		.issuer = &mesh.middle, .revoked = {mesh.leaf[PAIR_ORDERS].certificate}};
	struct tls_sessions *sessions = tls_sessions_new(16);
	struct tls_store *before = revoked_store(1, NULL, NULL),
			 *after = revoked_store(2, &list, NULL);
	struct tls_client_want want = pair_want();
	revoked_first(before, sessions);
	pair_start(&pair, after, before, sessions, &want);
	assert_false(pair_handshake(&pair));
	assert_int_equal(tls_failure(pair.ends[PAIR_CLIENT].tls), TLS_FAILURE_REVOKED);
	assert_int_equal(tls_peer_alert(pair.ends[PAIR_SERVER].tls), SSL_AD_CERTIFICATE_REVOKED);
	tls_sessions_free(sessions);
	tls_store_unref(before);
	tls_store_unref(after);
}

#define REVOKED_TEST(name) cmocka_unit_test_setup_teardown(name, revoked_setup, revoked_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		REVOKED_TEST(test_refused_lists),
		REVOKED_TEST(test_broken_texts),
		REVOKED_TEST(test_damaged_list),
		REVOKED_TEST(test_names_of_items),
		REVOKED_TEST(test_whose),
		REVOKED_TEST(test_newest_counts),
		REVOKED_TEST(test_kinds_of_lists),
		REVOKED_TEST(test_rsa),
		REVOKED_TEST(test_large_list),
		REVOKED_TEST(test_stale),
		REVOKED_TEST(test_missing),
		REVOKED_TEST(test_made_of),
		REVOKED_TEST(test_live_peer),
		REVOKED_TEST(test_resumption),
		REVOKED_TEST(test_resumption_after_lists_came),
		REVOKED_TEST(test_lists_are_shared),
		REVOKED_TEST(test_resumption_of_a_revoked_server),
	};
	pair_mesh_init(&mesh);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	pair_mesh_done(&mesh);
	return failed;
}
