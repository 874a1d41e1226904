/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../../src/ca/token.h"
#include "keys/cert.h"
#include "realm.h"
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ORDERS "spiffe://" REALM_TD "/service/orders"
#define VM_A   "spiffe://" REALM_TD "/node/vm-a"

static void assert_answer(struct realm_answer a, int result, const char *text)
{
	if (a.result != result)
		fail_msg("%d (%s), not %d", a.result, a.result ? a.err.text : "", result);
	if (text && !strstr(a.err.text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, a.err.text);
	realm_answer_done(&a);
}

static void new_token(struct realm *r, const char *node, char token[TOKEN_TEXT])
{
	struct folder f;
	struct err err;
	assert_int_equal(folder_open(r->dir, &f, &err), 0);
	assert_int_equal(token_new(&f, str_of(node), r->now_s + 600, token, &err), 0);
	folder_close(&f);
}

static int extension_count(X509 *x)
{
	return X509_get_ext_count(x);
}

static void a_node_joins_and_gets_what_is_registered(void **state)
{
	struct realm r;
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	struct authority_client client = realm_client(node, r.now_s);
	EVP_PKEY *key = realm_key();
	struct realm_answer a = realm_enroll(&r, &client, key, ORDERS);
	assert_int_equal(a.result, 0);
	assert_int_equal(sk_X509_num(a.chain), 2);
	X509 *leaf = sk_X509_value(a.chain, 0);
	char id[200];
	assert_int_equal(cert_uri(leaf, id, sizeof(id)), 0);
	assert_string_equal(id, ORDERS);
	assert_int_equal(X509_check_ca(leaf), 0);
	assert_int_equal(X509_get_key_usage(leaf), X509v3_KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_get_extended_key_usage(leaf), XKU_SSL_SERVER | XKU_SSL_CLIENT);
	assert_int_equal(extension_count(leaf), 6);
	assert_int_equal(X509_check_issued(sk_X509_value(a.chain, 1), leaf), X509_V_OK);
	assert_int_equal(cert_not_after(leaf), r.now_s + 3600);
	assert_int_equal(cert_not_before(leaf), r.now_s - 60);
	assert_int_equal(cert_not_after(node), r.now_s + 86400);
	EVP_PKEY *of_leaf = X509_get_pubkey(leaf);
	assert_int_equal(EVP_PKEY_cmp(of_leaf, key), 1);
	EVP_PKEY_free(of_leaf);
	realm_answer_done(&a);
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
}

/* A lost answer burns nothing; another key gets nothing. */
static void a_token_is_for_one_key(void **state)
{
	struct realm r;
	char token[TOKEN_TEXT];
	realm_init(&r, "");
	new_token(&r, "vm-a", token);
	EVP_PKEY *key = realm_key(), *other = realm_key();
	struct authority_client client = {.user = STR("vm-a"), .password = str_of(token)};
	assert_answer(realm_enroll(&r, &client, key, ORDERS), 403, "node's own identity only");
	assert_answer(realm_enroll(&r, &client, key, "spiffe://" REALM_TD "/node/vm-b"), 403,
		"no other node's");
	assert_answer(realm_enroll(&r, &client, key, VM_A), 0, NULL);
	assert_answer(realm_enroll(&r, &client, key, VM_A), 0, NULL);
	assert_answer(realm_enroll(&r, &client, other, VM_A), 401, "another key");
	struct authority_client wrong = {.user = STR("vm-b"), .password = str_of(token)};
	assert_answer(realm_enroll(&r, &wrong, key, VM_A), 401, "unknown");
	r.now_s += 601;
	assert_answer(realm_enroll(&r, &client, key, VM_A), 401, "over");
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	realm_done(&r);
}

static void nobody_gets_nothing(void **state)
{
	struct realm r;
	realm_init(&r, "");
	EVP_PKEY *key = realm_key();
	struct authority_client client = {0};
	assert_answer(realm_enroll(&r, &client, key, VM_A), 401, "join token is needed");
	client = (struct authority_client){.user = STR("vm-a"), .password = STR("guess")};
	assert_answer(realm_enroll(&r, &client, key, VM_A), 401, "unknown");
	client = (struct authority_client){.user = STR("../../x"), .password = STR("guess")};
	assert_answer(realm_enroll(&r, &client, key, VM_A), 401, "unknown");
	client = (struct authority_client){.id = STR("nonsense"), .serial = STR("01")};
	assert_answer(realm_enroll(&r, &client, key, VM_A), 403, "another trust domain");
	EVP_PKEY_free(key);
	realm_done(&r);
}

static void a_broken_registration_issues_nothing(void **state)
{
	struct realm r;
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	struct authority_client client = realm_client(node, r.now_s);
	EVP_PKEY *key = realm_key();
	realm_write(&r, "registration.conf", "nodes: ( { name = \"vm-a\"; identity = \"x\"; } );");
	assert_answer(realm_enroll(&r, &client, key, VM_A), -EINVAL,
		"registration.conf:1: nodes[0].identity: unknown key");
	struct err err;
	assert_int_equal(authority_health(r.authority, r.now_s, &err), -EINVAL);
	assert_non_null(strstr(err.text, "nothing is issued"));
	realm_write(&r, "registration.conf", "nodes: ( { name = \"vm-a\"; } );");
	assert_answer(realm_enroll(&r, &client, key, VM_A), 0, NULL);
	assert_answer(realm_enroll(&r, &client, key, ORDERS), 403, "not registered");
	realm_write(&r, "registration.conf", "nodes: ( );");
	assert_answer(realm_enroll(&r, &client, key, VM_A), 403, "\"vm-a\" is not registered");
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
}

static void broken_settings_change_nothing(void **state)
{
	struct realm r;
	struct err err;
	realm_init(&r, "lifetimes: { leaf = \"2h\"; };");
	X509 *node = realm_join(&r, "vm-a");
	assert_int_equal(authority_health(r.authority, r.now_s, &err), 0);
	char *good = realm_read(&r, "ca.conf");
	realm_write(&r, "ca.conf", "authority: { };");
	struct authority_client client = realm_client(node, r.now_s);
	EVP_PKEY *key = realm_key();
	struct realm_answer a = realm_enroll(&r, &client, key, ORDERS);
	assert_int_equal(a.result, 0);
	assert_int_equal(cert_not_after(sk_X509_value(a.chain, 0)), r.now_s + 7200);
	realm_answer_done(&a);
	assert_int_equal(authority_health(r.authority, r.now_s, &err), 1);
	assert_non_null(strstr(err.text, "ca.conf:1: authority.trust_domain: missing"));
	struct authority *other;
	assert_int_equal(authority_open(r.dir, &other, &err), -EINVAL);
	realm_write(&r, "ca.conf", good);
	assert_int_equal(authority_health(r.authority, r.now_s, &err), 0);
	free(good);
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
}

/* Nobody is surprised by an issuer's end. */
static void an_issuer_that_nears_its_end_is_told_of(void **state)
{
	struct realm r;
	struct err err;
	realm_init(&r, "");
	assert_int_equal(authority_health(r.authority, r.now_s + 240ll * 86400, &err), 0);
	assert_int_equal(authority_health(r.authority, r.now_s + 250ll * 86400, &err), 1);
	assert_non_null(strstr(err.text, "ringmain ca rotate publish"));
	X509 *node = realm_join(&r, "vm-a");
	struct authority_client client = realm_client(node, r.now_s);
	EVP_PKEY *key = realm_key();
	/* What is issued in its last hour ends with it. */
	r.now_s += 365ll * 86400 - 600;
	client.expired = false;
	struct realm_answer a = realm_enroll(&r, &client, key, ORDERS);
	assert_int_equal(a.result, 0);
	assert_int_equal(cert_not_after(sk_X509_value(a.chain, 0)),
		cert_not_after(sk_X509_value(a.chain, 1)));
	realm_answer_done(&a);
	r.now_s += 601; /* founded a moment before */
	assert_int_equal(authority_health(r.authority, r.now_s, &err), -EKEYEXPIRED);
	assert_answer(realm_enroll(&r, &client, key, ORDERS), -EKEYEXPIRED, "has expired");
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
}

/* Its own certificate brings a node back, for a while, and only its own. */
static void a_node_comes_back(void **state)
{
	struct realm r;
	realm_init(&r, "lifetimes: { node = \"1h\"; comeback = \"2h\"; };");
	X509 *node = realm_join(&r, "vm-a");
	EVP_PKEY *key = realm_key();
	r.now_s += 3600 + 7200;
	struct authority_client client = realm_client(node, r.now_s);
	assert_true(client.expired);
	assert_answer(realm_enroll(&r, &client, key, ORDERS), 403, "renews itself first");
	assert_answer(realm_enroll(&r, &client, key, VM_A), 0, NULL);
	r.now_s++;
	assert_answer(realm_enroll(&r, &client, key, VM_A), 403, "expired for too long");
	client.serial = STR("0123");
	r.now_s -= 3600;
	assert_answer(realm_enroll(&r, &client, key, VM_A), 403, "expired for too long");
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
}

static void a_node_asks_for_so_much(void **state)
{
	struct realm r;
	realm_init(&r, "limits: { node_per_minute = 30; node_burst = 2; };");
	X509 *node = realm_join(&r, "vm-a");
	struct authority_client client = realm_client(node, r.now_s);
	EVP_PKEY *key = realm_key();
	assert_answer(realm_enroll(&r, &client, key, ORDERS), 0, NULL);
	struct realm_answer a = realm_enroll(&r, &client, key, ORDERS);
	assert_int_equal(a.retry_s, 2);
	assert_answer(a, 429, "more than 30");
	r.now_s += 2;
	assert_answer(realm_enroll(&r, &client, key, ORDERS), 0, NULL);
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
}

/* A certificate that gets nothing, asking again and again. */
static void a_refusal_that_is_not_counted_fills_no_disk(void **state)
{
	struct realm r;
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	EVP_PKEY *key = realm_key();
	struct authority_client client = realm_client(node, r.now_s);
	struct realm_answer a = realm_enroll(&r, &client, key, ORDERS);
	assert_int_equal(a.result, 0);
	client = realm_client(sk_X509_value(a.chain, 0), r.now_s);
	realm_answer_done(&a);
	for (int i = 0; i < 150; i++)
		assert_answer(realm_enroll(&r, &client, key, ORDERS), 403, "asks for nothing");
	char *audit = realm_read(&r, "issued.log");
	int lines = 0;
	for (const char *at = audit; (at = strstr(at, "\"refused\"")); at++)
		lines++;
	assert_int_equal(lines, 60);
	free(audit);
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
}

static void everything_is_written_down(void **state)
{
	struct realm r;
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	struct authority_client client = realm_client(node, r.now_s);
	EVP_PKEY *key = realm_key();
	assert_answer(realm_enroll(&r, &client, key, ORDERS), 0, NULL);
	assert_answer(realm_enroll(&r, &client, key, "spiffe://" REALM_TD "/service/else"), 403,
		"ringmain ca allow vm-a service/else");
	char *log = realm_read(&r, "issued.log"), *index = realm_read(&r, "index");
	assert_non_null(strstr(log, "\"event\":\"issued\",\"node\":\"vm-a\",\"identity\":"
				    "\"service/orders\",\"serial\":\""));
	assert_non_null(strstr(log, "\"address\":\"10.0.0.7:4711\",\"status\":403"));
	assert_non_null(strstr(index, " vm-a node/vm-a\n"));
	assert_non_null(strstr(index, " vm-a service/orders\n"));
	free(log);
	free(index);
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
}

static void a_directory_for_others_is_refused(void **state)
{
	struct realm r;
	struct authority *a;
	struct err err;
	realm_init(&r, "");
	chmod(r.dir, 0750);
	assert_int_equal(authority_open(r.dir, &a, &err), -EACCES);
	assert_non_null(strstr(err.text, "chmod 700"));
	chmod(r.dir, 0700);
	/* Nor one of another user, whose files would be this one's then. */
	if (geteuid() == 0) {
		assert_int_equal(chown(r.dir, 65534, 65534), 0);
		assert_int_equal(authority_open(r.dir, &a, &err), -EPERM);
		assert_non_null(strstr(err.text, "runuser -u "));
		assert_int_equal(chown(r.dir, 0, 0), 0);
	}
	realm_done(&r);
}

static void the_server_has_a_certificate_for_its_names(void **state)
{
	struct realm r;
	struct str chain, key, again, again_key;
	struct err err;
	unsigned count;
	realm_init(&r, "");
	assert_int_equal(authority_server(r.authority, r.now_s, &chain, &key, &err), 0);
	X509 *x = cert_from_pem(chain, &count);
	assert_int_equal(count, 2);
	assert_int_equal(X509_check_ip_asc(x, "127.0.0.1", 0), 1);
	assert_int_equal(X509_check_host(x, "ca.example", 10, 0, NULL), 1);
	assert_int_equal(X509_check_host(x, "other.example", 13, 0, NULL), 0);
	assert_int_equal(X509_get_extended_key_usage(x), XKU_SSL_SERVER);
	char id[100];
	assert_int_equal(cert_uri(x, id, sizeof(id)), -ENOENT);
	assert_int_equal(authority_server(r.authority, r.now_s, &again, &again_key, &err), 0);
	assert_string_equal(chain.at, again.at);
	free((char *)(uintptr_t)again.at);
	free((char *)(uintptr_t)again_key.at);
	/* Other names, another certificate. */
	realm_write(&r, "ca.conf",
		"authority: { trust_domain = \"" REALM_TD "\"; listen = \"127.0.0.1:8443\"; "
		"names = \"other.example\"; };");
	assert_int_equal(authority_server(r.authority, r.now_s, &again, &again_key, &err), 0);
	X509 *other = cert_from_pem(again, &count);
	assert_int_equal(X509_check_host(other, "other.example", 13, 0, NULL), 1);
	X509_free(other);
	free((char *)(uintptr_t)again.at);
	free((char *)(uintptr_t)again_key.at);
	assert_int_equal(
		authority_server(r.authority, r.now_s + 43201, &again, &again_key, &err), 0);
	assert_string_not_equal(chain.at, again.at);
	free((char *)(uintptr_t)again.at);
	free((char *)(uintptr_t)again_key.at);
	/* Made by a clock that was ahead, it would not hold yet when that is set right. */
	assert_int_equal(authority_server(r.authority, r.now_s, &again, &again_key, &err), 0);
	X509_free(x);
	x = cert_from_pem(again, &count);
	assert_true(cert_not_before(x) <= r.now_s);
	free((char *)(uintptr_t)again.at);
	free((char *)(uintptr_t)again_key.at);
	free((char *)(uintptr_t)chain.at);
	free((char *)(uintptr_t)key.at);
	X509_free(x);
	realm_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_node_joins_and_gets_what_is_registered),
		cmocka_unit_test(a_token_is_for_one_key),
		cmocka_unit_test(nobody_gets_nothing),
		cmocka_unit_test(a_broken_registration_issues_nothing),
		cmocka_unit_test(broken_settings_change_nothing),
		cmocka_unit_test(an_issuer_that_nears_its_end_is_told_of),
		cmocka_unit_test(a_node_comes_back),
		cmocka_unit_test(a_node_asks_for_so_much),
		cmocka_unit_test(a_refusal_that_is_not_counted_fills_no_disk),
		cmocka_unit_test(everything_is_written_down),
		cmocka_unit_test(a_directory_for_others_is_refused),
		cmocka_unit_test(the_server_has_a_certificate_for_its_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
