/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "ca/ca.h"
#include "keys/cert.h"
#include "place.h"
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define DAY_S 86400

static X509 *read_cert(struct place *p, const char *name)
{
	char *text = place_read(p, name);
	unsigned count = 0;
	X509 *x = cert_from_pem(str_of(text), &count);
	assert_non_null(x);
	free(text);
	return x;
}

static EVP_PKEY *read_key(struct place *p, const char *name)
{
	char *text = place_read(p, name);
	EVP_PKEY *key = cert_key_from_pem(str_of(text));
	assert_non_null(key);
	free(text);
	return key;
}

static mode_t mode_of(struct place *p, const char *name)
{
	struct stat st;
	assert_int_equal(stat(place_path(p, name), &st), 0);
	return st.st_mode & 07777;
}

/* Seconds from now. */
static long from_now(const ASN1_TIME *t)
{
	int days, seconds;
	assert_true(ASN1_TIME_diff(&days, &seconds, NULL, t));
	return days * (long)DAY_S + seconds;
}

static void assert_near(long value, long want)
{
	assert_in_range(value - want + 10, 0, 20);
}

static void make_authority(struct place *p, int64_t lifetime_s)
{
	struct err err;
	assert_int_equal(ca_init(place_path(p, "ca"), STR("prod.example"), lifetime_s, &err), 0);
}

static int issue(struct place *p, const char *path, int64_t ttl_s, struct err *err)
{
	char ca[128], out[128];
	snprintf(ca, sizeof(ca), "%s/ca", p->dir);
	snprintf(out, sizeof(out), "%s/out", p->dir);
	return ca_issue(ca, str_of(path), ttl_s, out, err);
}

static bool is_critical(X509 *x, int nid)
{
	int at = X509_get_ext_by_NID(x, nid, -1);
	assert_true(at >= 0);
	return X509_EXTENSION_get_critical(X509_get_ext(x, at));
}

static void the_root_is_a_spiffe_authority(void **state)
{
	struct place p;
	place_init(&p);
	make_authority(&p, 30 * DAY_S);
	X509 *root = read_cert(&p, "ca/root.crt");
	char id[100];

	assert_int_equal(cert_uri(root, id, sizeof(id)), 0);
	assert_string_equal(id, "spiffe://prod.example");
	assert_int_equal(X509_check_ca(root), 1);
	assert_int_equal(X509_get_pathlen(root), 1);
	assert_int_equal(X509_get_key_usage(root), X509v3_KU_KEY_CERT_SIGN | X509v3_KU_CRL_SIGN);
	assert_true(is_critical(root, NID_key_usage));
	assert_true(is_critical(root, NID_basic_constraints));
	assert_near(from_now(X509_get0_notBefore(root)), -60);
	assert_near(from_now(X509_get0_notAfter(root)), 30 * DAY_S);
	assert_int_equal(mode_of(&p, "ca"), 0700);
	assert_int_equal(mode_of(&p, "ca/root.key"), 0600);
	assert_int_equal(mode_of(&p, "ca/root.crt"), 0644);
	X509_free(root);
	place_done(&p);
}

static void an_authority_is_never_overwritten(void **state)
{
	struct place p;
	struct err err;
	place_init(&p);
	make_authority(&p, DAY_S);
	char *before = place_read(&p, "ca/root.key");
	assert_int_equal(ca_init(place_path(&p, "ca"), STR("other.example"), DAY_S, &err), -EEXIST);
	char *after = place_read(&p, "ca/root.key");
	assert_string_equal(before, after);
	free(before);
	free(after);
	place_done(&p);
}

/* A service and a path that ends as it are two files. */
static void files_are_named_after_the_whole_path(void **state)
{
	static const char *const rows[][3] = {
		{"service/web", "web", "out/web.crt"},
		{"shop/web", "shop+web", "out/shop+web.crt"},
		{"shop/eu/web", "shop+eu+web", "out/shop+eu+web.crt"},
		{"service/eu/web", "service+eu+web", "out/service+eu+web.crt"},
		{"shop.eu/web", "shop.eu+web", "out/shop.eu+web.crt"},
	};
	struct place p;
	struct err err;
	char long_path[CA_NAME_MAX + 2] = "shop/";
	place_init(&p);
	make_authority(&p, 30 * DAY_S);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char name[CA_NAME_MAX], id[100], wanted[100];
		assert_true(str_eq(ca_issued_name(str_of(rows[i][0]), name), str_of(rows[i][1])));
		assert_int_equal(issue(&p, rows[i][0], 3600, &err), 0);
		X509 *leaf = read_cert(&p, rows[i][2]);
		assert_int_equal(cert_uri(leaf, id, sizeof(id)), 0);
		snprintf(wanted, sizeof(wanted), "spiffe://prod.example/%s", rows[i][0]);
		assert_string_equal(id, wanted);
		X509_free(leaf);
	}
	memset(long_path + 5, 'a', sizeof(long_path) - 6);
	assert_int_equal(issue(&p, long_path, 3600, &err), -EINVAL);
	place_done(&p);
}

static void a_leaf_is_an_svid(void **state)
{
	struct place p;
	struct err err;
	place_init(&p);
	make_authority(&p, 30 * DAY_S);
	assert_int_equal(issue(&p, "service/orders", 3600, &err), 0);
	X509 *leaf = read_cert(&p, "out/orders.crt"), *root = read_cert(&p, "ca/issuer.crt");
	EVP_PKEY *key = read_key(&p, "out/orders.key"), *root_key = X509_get_pubkey(root);
	char id[100];

	assert_int_equal(cert_uri(leaf, id, sizeof(id)), 0);
	assert_string_equal(id, "spiffe://prod.example/service/orders");
	assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(leaf)), 0);
	assert_true(is_critical(leaf, NID_subject_alt_name));
	assert_int_equal(X509_check_ca(leaf), 0);
	assert_int_equal(X509_get_key_usage(leaf), X509v3_KU_DIGITAL_SIGNATURE);
	assert_true(is_critical(leaf, NID_key_usage));
	assert_int_equal(X509_get_extended_key_usage(leaf), XKU_SSL_SERVER | XKU_SSL_CLIENT);
	assert_int_equal(X509_verify(leaf, root_key), 1);
	assert_int_equal(X509_check_issued(root, leaf), X509_V_OK);
	assert_true(X509_check_private_key(leaf, key));
	assert_true(cert_key_is_p256(key));
	assert_near(from_now(X509_get0_notBefore(leaf)), -60);
	assert_near(from_now(X509_get0_notAfter(leaf)), 3600);
	assert_true(
		ASN1_INTEGER_cmp(X509_get0_serialNumber(leaf), X509_get0_serialNumber(root)) != 0);
	assert_int_equal(mode_of(&p, "out/orders.key"), 0600);
	EVP_PKEY_free(key);
	EVP_PKEY_free(root_key);
	X509_free(leaf);
	X509_free(root);
	place_done(&p);
}

static void the_chain_verifies(void **state)
{
	struct place p;
	struct err err;
	place_init(&p);
	make_authority(&p, 30 * DAY_S);
	assert_int_equal(issue(&p, "service/orders", 3600, &err), 0);
	char *text = place_read(&p, "out/orders.crt");
	STACK_OF(X509) *chain = cert_list_from_pem(str_of(text));
	X509 *root = read_cert(&p, "out/roots.pem");
	assert_int_equal(sk_X509_num(chain), 2);
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *verify = X509_STORE_CTX_new();
	assert_true(X509_STORE_add_cert(store, root));
	assert_true(X509_STORE_CTX_init(verify, store, sk_X509_value(chain, 0), chain));
	assert_int_equal(X509_verify_cert(verify), 1);
	X509_STORE_CTX_free(verify);
	X509_STORE_free(store);
	sk_X509_pop_free(chain, X509_free);
	X509_free(root);
	free(text);
	place_done(&p);
}

static void a_leaf_never_outlives_its_root(void **state)
{
	struct place p;
	struct err err;
	place_init(&p);
	make_authority(&p, 1800);
	assert_int_equal(issue(&p, "service/orders", DAY_S, &err), 0);
	X509 *leaf = read_cert(&p, "out/orders.crt"), *root = read_cert(&p, "ca/issuer.crt");
	int days, seconds;
	assert_true(ASN1_TIME_diff(
		&days, &seconds, X509_get0_notAfter(leaf), X509_get0_notAfter(root)));
	assert_int_equal(days, 0);
	assert_int_equal(seconds, 0);
	X509_free(leaf);
	X509_free(root);
	place_done(&p);
}

static void an_expired_issuer_signs_nothing(void **state)
{
	struct cert_issuer root = {.key = cert_key_new()};
	X509 *leaf = NULL;
	struct err err;
	int64_t now_s = (int64_t)(clock_wall_ns() / CLOCK_S);
	struct cert_life life = {now_s - 3600, 1800, 60};
	assert_int_equal(cert_root_new(root.key, STR("prod.example"), life, &root.cert, &err), 0);
	life = (struct cert_life){now_s, 3600, 60};
	assert_int_equal(
		cert_leaf_new(root.key, STR("spiffe://prod.example/a"), &root, life, &leaf, &err),
		-EKEYEXPIRED);
	assert_null(leaf);
	X509_free(root.cert);
	EVP_PKEY_free(root.key);
}

static void issuing_again_replaces_the_pair(void **state)
{
	struct place p;
	struct err err;
	place_init(&p);
	make_authority(&p, DAY_S);
	assert_int_equal(issue(&p, "service/orders", 3600, &err), 0);
	char *before = place_read(&p, "out/orders.key");
	assert_int_equal(issue(&p, "service/orders", 3600, &err), 0);
	char *after = place_read(&p, "out/orders.key");
	assert_string_not_equal(before, after);
	free(before);
	free(after);
	X509 *leaf = read_cert(&p, "out/orders.crt");
	EVP_PKEY *key = read_key(&p, "out/orders.key");
	assert_true(X509_check_private_key(leaf, key));
	EVP_PKEY_free(key);
	X509_free(leaf);
	place_done(&p);
}

static void several_roots_are_handed_on_as_they_are(void **state)
{
	struct place p;
	struct err err;
	place_init(&p);
	make_authority(&p, DAY_S);
	char *root = place_read(&p, "ca/root.crt");
	char two[8192];
	snprintf(two, sizeof(two), "%s%s", root, root);
	place_write(&p, "ca/roots.pem", str_of(two), 0644);
	assert_int_equal(issue(&p, "service/orders", 3600, &err), 0);
	char *handed_on = place_read(&p, "out/roots.pem");
	assert_string_equal(handed_on, two);
	free(handed_on);
	free(root);
	place_done(&p);
}

static void bad_names_are_refused(void **state)
{
	static const char *const paths[] = {"", "service/", "service/or ders", "service/../ca",
		"service/\xc3\xa4", "/service/x", "service//x", "service/a%2fb"};
	struct place p;
	struct err err;
	place_init(&p);
	make_authority(&p, DAY_S);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		err.text[0] = '\0';
		assert_int_equal(issue(&p, paths[i], 3600, &err), -EINVAL);
		assert_non_null(strstr(err.text, "SPIFFE id"));
	}
	assert_int_equal(ca_init(place_path(&p, "new"), STR("Prod.Example"), DAY_S, &err), -EINVAL);
	assert_int_equal(ca_init(place_path(&p, "new"), STR("a/b"), DAY_S, &err), -EINVAL);
	place_done(&p);
}

static void a_key_others_can_read_is_not_used(void **state)
{
	struct place p;
	struct err err;
	place_init(&p);
	make_authority(&p, DAY_S);
	chmod(place_path(&p, "ca/issuer.key"), 0640);
	assert_int_equal(issue(&p, "service/orders", 3600, &err), -EACCES);
	assert_non_null(strstr(err.text, "chmod 600"));
	place_done(&p);
}

static int run(const char *line)
{
	char text[512];
	char *argv[16] = {"ca"};
	int argc = 1;
	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok(text, " "); word && argc < 15; word = strtok(NULL, " "))
		argv[argc++] = word;
	return ca_main(argc, argv);
}

static void the_command_line(void **state)
{
	static const struct {
		const char *line; /* %s: the test's directory */
		int status;
	} cases[] = {
		{"", 2},
		{"init", 2},
		{"sign", 2},
		{"--help", 0},
		{"init --help", 0},
		{"issue --help", 0},
		{"allow --help", 0},
		{"forbid --help", 0},
		{"token --help", 0},
		{"revoke --help", 0},
		{"list --help", 0},
		{"federate --help", 0},
		{"rotate --help", 0},
		{"init --dir %s/ca --trust-domain prod.example --root x", 2},
		{"init --dir %s/ca --install x", 2},
		{"init --dir %s/ca", 2},
		{"init --dir %s/ca --trust-domain prod.example --ttl 1h", 2},
		{"init --dir %s/ca --trust-domain prod.example --days 0", 2},
		{"init --dir %s/ca --trust-domain prod.example --days 1x", 2},
		{"init --dir %s/ca --trust-domain PROD", 1},
		{"init --dir %s/ca --trust-domain prod.example --days 30", 0},
		{"init --dir %s/ca --trust-domain prod.example", 1},
		{"issue --dir %s/ca --service web", 2},
		{"issue --dir %s/ca --service a/b --out %s/out", 2},
		{"issue --dir %s/ca --service web --ttl 5 --out %s/out", 2},
		{"issue --dir %s/ca --service web --ttl 99999999999d --out %s/out", 2},
		{"issue --dir %s/none --service web --out %s/out", 1},
		{"issue --dir %s/ca --service web --ttl 90m --out %s/out", 0},
		{"issue --dir %s/ca --service web --out %s/out more", 2},
		{"issue --dir %s/ca --service web --out %s/out --what", 2},
	};
	struct place p;
	place_init(&p);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char line[512];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(line, sizeof(line), cases[i].line, p.dir, p.dir);
#pragma GCC diagnostic pop
		int status = run(line);
		if (status != cases[i].status)
			fail_msg("\"%s\": %d, not %d", line, status, cases[i].status);
	}
	X509 *leaf = read_cert(&p, "out/web.crt");
	assert_near(from_now(X509_get0_notAfter(leaf)), 5400);
	X509_free(leaf);
	place_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_root_is_a_spiffe_authority),
		cmocka_unit_test(an_authority_is_never_overwritten),
		cmocka_unit_test(files_are_named_after_the_whole_path),
		cmocka_unit_test(a_leaf_is_an_svid),
		cmocka_unit_test(the_chain_verifies),
		cmocka_unit_test(a_leaf_never_outlives_its_root),
		cmocka_unit_test(an_expired_issuer_signs_nothing),
		cmocka_unit_test(issuing_again_replaces_the_pair),
		cmocka_unit_test(several_roots_are_handed_on_as_they_are),
		cmocka_unit_test(bad_names_are_refused),
		cmocka_unit_test(a_key_others_can_read_is_not_used),
		cmocka_unit_test(the_command_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
