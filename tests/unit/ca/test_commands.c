/* SPDX-License-Identifier: Apache-2.0 */
/* What operators do with an authority, by its command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ca/ca.h"
#include "keys/cert.h"
#include "realm.h"
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define ORDERS "spiffe://" REALM_TD "/service/orders"
#define VM_C   "spiffe://" REALM_TD "/node/vm-c"

static void registration_is(struct realm *r, const char *want)
{
	char *text = realm_read(r, "registration.conf");
	const char *nodes = strstr(text, "nodes:");
	assert_non_null(nodes);
	assert_string_equal(nodes, want);
	free(text);
}

static void machines_are_registered_and_forbidden(void **state)
{
	struct realm r;
	realm_init(&r, "");
	realm_write(&r, "registration.conf",
		"nodes: ( { name = \"vm-a\"; addresses = [ \"10.0.0.0/8\", \"fd00::1\" ]; } );");
	assert_int_equal(realm_run(&r, "allow --dir DIR vm-a web service/orders job/nightly"), 0);
	assert_int_equal(realm_run(&r, "allow --dir DIR vm-c"), 0);
	assert_int_equal(realm_run(&r, "allow --dir DIR vm-a web"), 0);
	registration_is(&r,
		"nodes: (\n"
		"\t{ name = \"vm-a\"; identities = [ \"web\", \"orders\", \"job/nightly\" ]; "
		"addresses = [ \"10.0.0.0/8\", \"fd00::1/128\" ]; },\n"
		"\t{ name = \"vm-c\"; }\n);\n");
	assert_int_equal(realm_run(&r, "allow --dir DIR vm-a node/vm-b"), 1);
	assert_int_equal(realm_run(&r, "allow --dir DIR ../x web"), 1);
	assert_int_equal(realm_run(&r, "forbid --dir DIR vm-x"), 1);
	assert_int_equal(realm_run(&r, "forbid --dir DIR vm-a web job/nightly"), 0);
	assert_int_equal(realm_run(&r, "forbid --dir DIR vm-c"), 0);
	registration_is(&r, "nodes: (\n"
			    "\t{ name = \"vm-a\"; identities = [ \"orders\" ]; "
			    "addresses = [ \"10.0.0.0/8\", \"fd00::1/128\" ]; }\n);\n");
	assert_int_equal(realm_run(&r, "forbid --dir DIR vm-a"), 0);
	registration_is(&r, "nodes: (\n);\n");
	/* What is broken is not rewritten. */
	realm_write(&r, "registration.conf", "nodes: ( { } );");
	assert_int_equal(realm_run(&r, "allow --dir DIR vm-a web"), 1);
	registration_is(&r, "nodes: ( { } );");
	realm_done(&r);
}

static void what_is_forbidden_can_be_revoked_at_once(void **state)
{
	struct realm r;
	char text[1000];
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	struct authority_client client = realm_client(node, r.now_s);
	EVP_PKEY *key = realm_key();
	struct realm_answer a = realm_enroll(&r, &client, key, ORDERS);
	assert_int_equal(a.result, 0);
	realm_answer_done(&a);
	assert_int_equal(
		realm_run_text(&r, "forbid --dir DIR vm-a orders --revoke", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "1 identity taken\nrevoked 1 certificate\n"));
	a = realm_enroll(&r, &client, key, ORDERS);
	assert_int_equal(a.result, 403);
	assert_int_equal(
		realm_run_text(&r, "forbid --dir DIR vm-a --revoke", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "no longer registered\nrevoked 1 certificate\n"));
	/* Also when it was forgotten the first time. */
	X509 *other = realm_join(&r, "vm-b");
	assert_int_equal(realm_run(&r, "forbid --dir DIR vm-b"), 0);
	assert_int_equal(
		realm_run_text(&r, "forbid --dir DIR vm-b --revoke", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "revoked 1 certificate\n"));
	EVP_PKEY_free(key);
	X509_free(node);
	X509_free(other);
	realm_done(&r);
}

static void a_token_is_printed_once_and_kept_as_a_hash(void **state)
{
	struct realm r;
	char token[100], text[1000], line[200];
	realm_init(&r, "");
	assert_int_equal(realm_run(&r, "token --dir DIR vm-c"), 1);
	assert_int_equal(realm_run_text(&r, "token --dir DIR vm-c --identities web,orders --ttl 1h",
				 token, sizeof(token)),
		0);
	assert_int_equal(strlen(token), 44);
	token[43] = '\0';
	snprintf(line, sizeof(line), "%s/ca", r.place.dir);
	snprintf(text, sizeof(text), "grep -rq -e '%s' '%s'", token, line);
	assert_int_not_equal(system(text), 0);
	assert_int_equal(realm_run_text(&r, "list --dir DIR tokens", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "vm-c  60m        no"));
	struct authority_client client = {.user = STR("vm-c"), .password = str_of(token)};
	EVP_PKEY *key = realm_key();
	struct realm_answer a = realm_enroll(&r, &client, key, VM_C);
	assert_int_equal(a.result, 0);
	realm_answer_done(&a);
	assert_int_equal(realm_run_text(&r, "list --dir DIR tokens", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "vm-c  60m        yes"));
	/* A machine that is forbidden does not come back by a token from before. */
	assert_int_equal(realm_run(&r, "forbid --dir DIR vm-c"), 0);
	assert_int_equal(realm_run(&r, "allow --dir DIR vm-c"), 0);
	a = realm_enroll(&r, &client, key, VM_C);
	assert_int_equal(a.result, 401);
	EVP_PKEY_free(key);
	realm_done(&r);
}

static void lists_tell_what_is(void **state)
{
	struct realm r;
	char text[4000];
	struct str pem;
	struct err err;
	char etag[72];
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	struct authority_client client = realm_client(node, r.now_s);
	EVP_PKEY *key = realm_key();
	struct realm_answer a = realm_enroll(&r, &client, key, ORDERS);
	realm_answer_done(&a);
	assert_int_equal(realm_run_text(&r, "list --dir DIR", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "not shown yet"));
	assert_int_equal(authority_anchors(r.authority, STR_NONE, &pem, etag, &err), 0);
	free((char *)(uintptr_t)pem.at);
	assert_int_equal(
		authority_seen(r.authority, STR("vm-a"), false, str_of(etag), r.now_s, &err), 0);
	assert_int_equal(realm_run_text(&r, "list --dir DIR nodes", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "vm-a  orders web  24h"));
	assert_non_null(strstr(text, "2      current"));
	assert_int_equal(realm_run_text(&r, "list --dir DIR -o json", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "\"certificates\":2,"));
	assert_non_null(strstr(text, "\"anchors_current\":true"));
	assert_int_equal(realm_run(&r, "revoke --dir DIR --identity orders"), 0);
	assert_int_equal(realm_run_text(&r, "list --dir DIR certificates", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "  node/vm-a       vm-a  "));
	assert_non_null(strstr(text, "× revoked"));
	assert_int_equal(
		realm_run_text(&r, "list --dir DIR certificates -o json", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "\"revoked\":true"));
	/* What a stranger shows leaves no trace. */
	assert_int_equal(
		authority_seen(r.authority, STR("../x"), false, STR("\"1\""), r.now_s, &err), 0);
	assert_int_equal(
		authority_seen(r.authority, STR("vm-a"), false, STR("a b\nc"), r.now_s, &err), 0);
	assert_int_equal(realm_run_text(&r, "list --dir DIR", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "current"));
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
}

static void other_roots_are_published_apart(void **state)
{
	struct realm r;
	struct str pem;
	struct err err;
	char etag[72], line[400];
	realm_init(&r, "");
	snprintf(line, sizeof(line), "%s/other", r.place.dir);
	assert_int_equal(ca_init(line, STR("other.example"), 86400, &err), 0);
	assert_int_equal(
		authority_anchors(r.authority, STR("other.example"), &pem, etag, &err), -ENOENT);
	assert_int_equal(authority_anchors(r.authority, STR("../ca"), &pem, etag, &err), -ENOENT);
	snprintf(line, sizeof(line), "federate --dir DIR other.example %s/other/roots.pem",
		r.place.dir);
	char *own = realm_read(&r, "roots.pem"), *theirs = place_read(&r.place, "other/roots.pem");
	assert_int_equal(realm_run(&r, line), 0);
	assert_int_equal(authority_anchors(r.authority, STR("other.example"), &pem, etag, &err), 0);
	assert_string_equal(pem.at, theirs);
	free((char *)(uintptr_t)pem.at);
	assert_int_equal(authority_anchors(r.authority, STR(REALM_TD), &pem, etag, &err), 0);
	assert_string_equal(pem.at, own);
	free((char *)(uintptr_t)pem.at);
	snprintf(line, sizeof(line), "federate --dir DIR %s %s/other/roots.pem", REALM_TD,
		r.place.dir);
	assert_int_equal(realm_run(&r, line), 1);
	assert_int_equal(realm_run(&r, "issue --dir DIR --service web --out /dev/null/x"), 1);
	snprintf(line, sizeof(line), "federate --dir DIR x.example %s/ca/issuer.key", r.place.dir);
	assert_int_equal(realm_run(&r, line), 1);
	assert_int_equal(realm_run(&r, "federate --dir DIR other.example --remove"), 0);
	assert_int_equal(
		authority_anchors(r.authority, STR("other.example"), &pem, etag, &err), -ENOENT);
	free(own);
	free(theirs);
	realm_done(&r);
}

/* --- somebody else's root --- */

static X509_REQ *request_of(struct place *p, const char *name)
{
	char *text = place_read(p, name);
	BIO *bio = BIO_new_mem_buf(text, -1);
	X509_REQ *request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	assert_non_null(request);
	BIO_free(bio);
	free(text);
	return request;
}

static void write_cert(struct place *p, const char *name, X509 *cert)
{
	struct str pem;
	assert_int_equal(cert_pem(cert, &pem), 0);
	place_write(p, name, pem, 0644);
	free((char *)(uintptr_t)pem.at);
}

static struct cert_issuer company_new(struct place *p)
{
	struct cert_issuer root = {.key = realm_key()};
	struct cert_life life = {1795784400, 3650ll * 86400, 60};
	struct err err;
	assert_int_equal(cert_root_new(root.key, STR("prod.example"), life, &root.cert, &err), 0);
	write_cert(p, "root.pem", root.cert);
	return root;
}

/* What a root makes of a request: for `domain`. */
static void sign(struct place *p, const char *name, const struct cert_issuer *root,
	const char *domain, const char *out)
{
	struct cert_life life = {1795784400, 3650ll * 86400, 60};
	struct err err;
	X509 *issuer = NULL;
	X509_REQ *request = request_of(p, name);
	EVP_PKEY *key = X509_REQ_get_pubkey(request);
	assert_int_equal(X509_REQ_verify(request, key), 1);
	assert_int_equal(cert_issuer_new(key, str_of(domain), root, life, &issuer, &err), 0);
	write_cert(p, out, issuer);
	X509_free(issuer);
	X509_REQ_free(request);
	EVP_PKEY_free(key);
}

static int install(struct realm *r, const char *chain, const char *root)
{
	char line[400];
	snprintf(line, sizeof(line), "init --dir DIR --install %s/%s --root %s/%s", r->place.dir,
		chain, r->place.dir, root);
	return realm_run(r, line);
}

static void an_issuer_below_a_root_of_somebody_else(void **state)
{
	struct realm r = {0};
	char line[400];
	place_init(&r.place);
	snprintf(r.dir, sizeof(r.dir), "%s/ca", r.place.dir);
	assert_int_equal(realm_run(&r, "init --dir DIR --trust-domain prod.example --request"), 0);
	assert_int_equal(realm_run(&r, "init --dir DIR --trust-domain prod.example --request"), 1);
	assert_int_equal(realm_run(&r, "list --dir DIR"), 1);
	struct cert_issuer company = company_new(&r.place);
	sign(&r.place, "ca/issuer.csr", &company, "other.example", "wrong.pem");
	assert_int_equal(install(&r, "wrong.pem", "root.pem"), 1);
	sign(&r.place, "ca/issuer.csr", &company, "prod.example", "chain.pem");
	assert_int_equal(install(&r, "root.pem", "root.pem"), 1);
	assert_int_equal(install(&r, "chain.pem", "chain.pem"), 1);
	assert_int_equal(install(&r, "none.pem", "root.pem"), 1);
	assert_int_equal(install(&r, "chain.pem", "root.pem"), 0);
	assert_int_equal(install(&r, "chain.pem", "root.pem"), 1);
	snprintf(line, sizeof(line), "issue --dir DIR --service web --out %s/out", r.place.dir);
	assert_int_equal(realm_run(&r, line), 0);
	assert_int_equal(realm_run(&r, "rotate --dir DIR publish"), 1);
	/* Its next one comes the same way. */
	snprintf(line, sizeof(line), "rotate --dir DIR publish --install %s/next.pem", r.place.dir);
	assert_int_equal(realm_run(&r, line), 1);
	assert_int_equal(realm_run(&r, "rotate --dir DIR publish --request"), 0);
	sign(&r.place, "ca/next-issuer.csr", &company, "prod.example", "next.pem");
	assert_int_equal(realm_run(&r, line), 0);
	assert_int_equal(realm_run(&r, "rotate --dir DIR activate"), 0);
	char *issuer = place_read(&r.place, "ca/issuer.crt");
	char *next = place_read(&r.place, "next.pem");
	assert_string_equal(issuer, next);
	free(issuer);
	free(next);
	X509_free(company.cert);
	EVP_PKEY_free(company.key);
	place_done(&r.place);
}

static void the_roots_key_is_kept_apart(void **state)
{
	struct realm r = {0};
	struct stat st;
	char line[400];
	place_init(&r.place);
	snprintf(r.dir, sizeof(r.dir), "%s/ca", r.place.dir);
	snprintf(line, sizeof(line),
		"init --dir DIR --trust-domain prod.example --root-dir %s/away --listen "
		"10.0.0.5:8443 --listen [fd00::5]:8443 --name ca.example",
		r.place.dir);
	assert_int_equal(realm_run(&r, line), 0);
	assert_int_equal(stat(place_path(&r.place, "ca/root.key"), &st), -1);
	assert_int_equal(stat(place_path(&r.place, "away/root.key"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	struct err err;
	struct str chain, key;
	assert_int_equal(authority_open(r.dir, &r.authority, &err), 0);
	assert_int_equal(authority_server(r.authority, 1795784400, &chain, &key, &err), 0);
	free((char *)(uintptr_t)chain.at);
	free((char *)(uintptr_t)key.at);
	authority_close(r.authority);
	place_done(&r.place);
}

/* Nothing is made of what the server could not read afterwards. */
static void what_cannot_be_read_is_not_founded(void **state)
{
	static const char *const lines[] = {"--listen foo", "--listen 10.0.0.5",
		"--listen 0.0.0.0:8443", "--name a\"b", "--name *.example"};
	struct realm r = {0};
	struct stat st;
	char line[200];
	place_init(&r.place);
	snprintf(r.dir, sizeof(r.dir), "%s/ca", r.place.dir);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		snprintf(line, sizeof(line), "init --dir DIR --trust-domain prod.example %s",
			lines[i]);
		assert_int_equal(realm_run(&r, line), 1);
		assert_int_equal(stat(r.dir, &st), -1);
	}
	place_done(&r.place);
}

/* Pasted line by line, they work: the command that does not return comes last, the token's file is
 * its owner's, the address is one to call. */
static void the_next_steps_can_be_pasted(void **state)
{
	static const struct {
		const char *words, *at;
	} rows[] = {
		{"--listen 10.0.0.5:8443", "--ca 10.0.0.5:8443 "},
		{"--listen 0.0.0.0:8443 --name ca.example", "--ca ca.example:8443 "},
		{"--listen [::]:8443 --name fd00::5", "--ca [fd00::5]:8443 "},
		{"", "--ca ADDRESS:PORT "},
	};
	char line[200], text[4000];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct realm r = {0};
		place_init(&r.place);
		snprintf(r.dir, sizeof(r.dir), "%s/ca", r.place.dir);
		snprintf(line, sizeof(line), "init --dir DIR --trust-domain prod.example %s",
			rows[i].words);
		assert_int_equal(realm_run_text(&r, line, text, sizeof(text)), 0);
		assert_non_null(strstr(text, rows[i].at));
		const char *allow = strstr(text, "ca allow "), *serve = strstr(text, "ca serve ");
		assert_true(allow && serve && allow < serve);
		assert_non_null(strstr(text, "(umask 077; ringmain ca token "));
		bool is_told = strstr(text, "set authority.listen") != NULL;
		assert_int_equal(is_told, rows[i].words[0] == '\0');
		place_done(&r.place);
	}
}

/* Revoked by its own identity, a machine does not come back by the token that it joined with. */
static void a_machines_tokens_go_with_its_own_certificate(void **state)
{
	struct realm r;
	char token[100];
	realm_init(&r, "");
	assert_int_equal(realm_run_text(&r, "token --dir DIR vm-a", token, sizeof(token)), 0);
	token[43] = '\0';
	struct authority_client client = {.user = STR("vm-a"), .password = str_of(token)};
	EVP_PKEY *key = realm_key();
	struct realm_answer a = realm_enroll(&r, &client, key, "spiffe://" REALM_TD "/node/vm-a");
	assert_int_equal(a.result, 0);
	realm_answer_done(&a);
	assert_int_equal(realm_run(&r, "revoke --dir DIR --identity node/vm-a"), 0);
	a = realm_enroll(&r, &client, key, "spiffe://" REALM_TD "/node/vm-a");
	assert_int_equal(a.result, 401);
	EVP_PKEY_free(key);
	realm_done(&r);
}

/* However long the reason is, it is in the audit. */
static void a_long_reason_is_written_down(void **state)
{
	struct realm r;
	char why[900], line[1000];
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	memset(why, 'x', sizeof(why));
	why[sizeof(why) - 1] = '\0';
	snprintf(line, sizeof(line), "revoke --dir DIR --node vm-a --why %s", why);
	assert_int_equal(realm_run(&r, line), 0);
	char *audit = realm_read(&r, "issued.log");
	assert_non_null(strstr(audit, "\"event\":\"revoked\""));
	assert_non_null(strstr(audit, "\"why\":\"xxxx"));
	free(audit);
	X509_free(node);
	realm_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(machines_are_registered_and_forbidden),
		cmocka_unit_test(what_is_forbidden_can_be_revoked_at_once),
		cmocka_unit_test(a_token_is_printed_once_and_kept_as_a_hash),
		cmocka_unit_test(lists_tell_what_is),
		cmocka_unit_test(other_roots_are_published_apart),
		cmocka_unit_test(an_issuer_below_a_root_of_somebody_else),
		cmocka_unit_test(the_roots_key_is_kept_apart),
		cmocka_unit_test(what_cannot_be_read_is_not_founded),
		cmocka_unit_test(the_next_steps_can_be_pasted),
		cmocka_unit_test(a_machines_tokens_go_with_its_own_certificate),
		cmocka_unit_test(a_long_reason_is_written_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
