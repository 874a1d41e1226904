/* SPDX-License-Identifier: Apache-2.0 */
/* A machine and its authority: which certificates the machine may show, which the authority must
 * have, and the first contact, of which nothing is known yet. */
#include "pair.h"

#include "tls/handshake.h"
#include <errno.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants those above first */
#include <cmocka.h>

#define EST_HOST "ca.prod.example"
#define EST_NODE                                             \
	{                                                    \
		0x86, STR("spiffe://prod.example/node/vm-a") \
	}
#define EST_NAMES                                                 \
	{0x82, STR(EST_HOST)}, {0x87, STR("\x0a\0\0\x01")},       \
	{                                                         \
		0x87, STR("\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01") \
	}

static struct pair_mesh mesh;
static struct pair pair;
static struct certs_pair authority; /* the server's own, under the mesh's intermediate */

static int est_setup(void **state)
{
	pair_init(&pair, &mesh, TLS_WIRE_BYTES_MIN);
	pair.server_key = authority.key;
	return 0;
}

static int est_teardown(void **state)
{
	pair_done(&pair);
	return 0;
}

/* --- stores --- */

static void est_add(struct bundle *b, const char *kind, const char *name, char *text)
{
	struct err err;
	assert_int_equal(bundle_add(b, str_of(kind), str_of(name), str_of(text), &err), 0);
	free(text);
}

static void est_bundle(struct bundle *b, X509 *leaf, char *list)
{
	bundle_init(b);
	est_add(b, "pki", "chain", certs_pem((X509 *[]){leaf, mesh.middle.certificate, NULL}));
	est_add(b, "pki-key", "store", strdup("1"));
	est_add(b, "roots", "prod.example", certs_pem((X509 *[]){mesh.root.certificate, NULL}));
	/* Other trust domains are known, and none of the authority's business. */
	est_add(b, "roots", "other.example", certs_pem((X509 *[]){mesh.root.certificate, NULL}));
	if (list)
		est_add(b, "crl", "prod.example", list);
}

static struct tls_store *est_store(X509 *leaf, char *list)
{
	struct bundle b;
	struct err err;
	struct tls_store *s = NULL;
	est_bundle(&b, leaf, list);
	if (tls_store_new_est(&b, STR("prod.example"), &s, &err) < 0)
		fail_msg("%s", err.text);
	bundle_done(&b);
	return s;
}

/* What a machine has: the mesh's root, and its own chain. */
static struct tls_store *est_machine(X509 *const *chain)
{
	struct bundle b;
	struct err err;
	struct tls_store *s = NULL;
	bundle_init(&b);
	est_add(&b, "pki", "roots", certs_pem((X509 *[]){mesh.root.certificate, NULL}));
	if (chain) {
		est_add(&b, "pki", "chain", certs_pem(chain));
		est_add(&b, "pki-key", "node", strdup("1"));
	}
	if (tls_store_new_pki(&b, &s, &err) < 0)
		fail_msg("%s", err.text);
	bundle_done(&b);
	return s;
}

static void est_begin(struct tls *client, struct tls *server)
{
	assert_non_null(client);
	assert_non_null(server);
	pair.ends[PAIR_CLIENT].tls = client;
	pair.ends[PAIR_SERVER].tls = server;
	for (int i = 0; i < 2; i++)
		pair.ends[i].result = TLS_MORE;
}

static void est_start(struct tls_store *machine, struct tls_store *server, const char *host)
{
	struct pair_end *c = &pair.ends[PAIR_CLIENT], *s = &pair.ends[PAIR_SERVER];
	est_begin(tls_client_new_pki(machine, str_of(host), &c->wire),
		tls_server_new_est(server, &s->wire));
}

static void est_serial(X509 *certificate, int end)
{
	char serial[STORE_SERIAL_BYTES];
	store_serial(certificate, serial);
	assert_true(strlen(serial) > 0);
	assert_true(str_eq(tls_peer_serial(pair.ends[end].tls), str_of(serial)));
}

/* --- what a machine shows --- */

enum est_issuer { EST_BY_MIDDLE, EST_BY_SHORT, EST_BY_STRANGER };

static const struct {
	const char *what;
	struct certs_spec leaf;
	enum est_issuer issuer;
	bool revoked;
	enum tls_shown shown;
	enum tls_failure failure;
	uint8_t alert;
} est_rows[] = {
	{"its own", {.names = {EST_NODE}}, 0, false, TLS_SHOWN_GOOD, 0, 0},
	{"a workload's", {.names = {{0x86, STR("spiffe://prod.example/service/web")}}}, 0, false,
		TLS_SHOWN_GOOD, 0, 0},
	{"about to expire", {.until_s = CERTS_NOW + 1, .names = {EST_NODE}}, 0, false,
		TLS_SHOWN_GOOD, 0, 0},
	{"expired", {.until_s = CERTS_NOW, .names = {EST_NODE}}, 0, false, TLS_SHOWN_EXPIRED, 0, 0},
	{"expired long ago",
		{.from_s = CERTS_NOW - 900, .until_s = CERTS_NOW - 800, .names = {EST_NODE}}, 0,
		false, TLS_SHOWN_EXPIRED, 0, 0},
	{"expired with its issuer",
		{.from_s = CERTS_NOW - 900, .until_s = CERTS_NOW - 800, .names = {EST_NODE}},
		EST_BY_SHORT, false, TLS_SHOWN_EXPIRED, 0, 0},
	{"of an issuer that has expired", {.names = {EST_NODE}}, EST_BY_SHORT, false,
		TLS_SHOWN_NOTHING, TLS_FAILURE_EXPIRED, SSL_AD_CERTIFICATE_EXPIRED},
	{"not yet valid", {.from_s = CERTS_NOW + 11, .names = {EST_NODE}}, 0, false,
		TLS_SHOWN_NOTHING, TLS_FAILURE_NOT_YET_VALID, SSL_AD_BAD_CERTIFICATE},
	{"revoked", {.names = {EST_NODE}}, 0, true, TLS_SHOWN_NOTHING, TLS_FAILURE_REVOKED,
		SSL_AD_CERTIFICATE_REVOKED},
	{"revoked and expired", {.until_s = CERTS_NOW - 5, .names = {EST_NODE}}, 0, true,
		TLS_SHOWN_NOTHING, TLS_FAILURE_REVOKED, SSL_AD_CERTIFICATE_REVOKED},
	{"expired, of a stranger", {.until_s = CERTS_NOW - 5, .names = {EST_NODE}}, EST_BY_STRANGER,
		false, TLS_SHOWN_NOTHING, TLS_FAILURE_CHAIN, SSL_AD_UNKNOWN_CA},
	{"of another trust domain", {.names = {{0x86, STR("spiffe://other.example/node/vm-a")}}}, 0,
		false, TLS_SHOWN_NOTHING, TLS_FAILURE_TRUST_DOMAIN, SSL_AD_UNKNOWN_CA},
	{"of two names", {.names = {EST_NODE, {0x86, STR("spiffe://prod.example/node/vm-b")}}}, 0,
		false, TLS_SHOWN_NOTHING, TLS_FAILURE_SAN_COUNT, SSL_AD_BAD_CERTIFICATE},
	{"of no name", {.names = {{0x82, STR("vm-a")}}}, 0, false, TLS_SHOWN_NOTHING,
		TLS_FAILURE_SAN_COUNT, SSL_AD_BAD_CERTIFICATE},
	{"an authority's", {.ca = true, .usage = 0x86, .names = {EST_NODE}}, 0, false,
		TLS_SHOWN_NOTHING, TLS_FAILURE_CA_LEAF, SSL_AD_BAD_CERTIFICATE},
};

static void est_try(size_t row, const struct certs_pair *leaf, X509 *issuer)
{
	struct certs_list list = {.issuer = &mesh.middle, .revoked = {leaf->certificate}};
	struct tls_store *server = est_store(
		authority.certificate, est_rows[row].revoked ? certs_list_pem(&list) : NULL);
	struct tls_store *machine = est_machine((X509 *[]){leaf->certificate, issuer, NULL});
	const struct pair_end *c = &pair.ends[PAIR_CLIENT], *s = &pair.ends[PAIR_SERVER];
	pair.client_key = leaf->key;
	est_start(machine, server, EST_HOST);
	bool ok = pair_handshake(&pair);
	if (ok != !est_rows[row].failure || tls_failure(s->tls) != est_rows[row].failure ||
		tls_peer_alert(c->tls) != est_rows[row].alert ||
		(ok && tls_peer_shown(s->tls) != est_rows[row].shown))
		fail_msg("%s: %s, alert %d, shown %d", est_rows[row].what,
			tls_failure_name(tls_failure(s->tls)), tls_peer_alert(c->tls),
			tls_peer_shown(s->tls));
	est_serial(authority.certificate, PAIR_CLIENT);
	if (ok) {
		assert_true(str_eq(tls_peer_id(s->tls), est_rows[row].leaf.names[0].text));
		est_serial(leaf->certificate, PAIR_SERVER);
		assert_true(str_eq(tls_server_name(s->tls), STR(EST_HOST)));
	}
	pair_stop(&pair);
	tls_store_unref(server);
	tls_store_unref(machine);
}

static void test_shown(void **state)
{
	struct certs_pair stranger = certs_make(&(struct certs_spec){.subject = "x", .ca = true});
	struct certs_pair brief = certs_make(&(struct certs_spec){
		.subject = "brief", .issuer = &mesh.root, .ca = true, .until_s = CERTS_NOW - 700});
	const struct certs_pair *const issuers[] = {&mesh.middle, &brief, &stranger};
	for (size_t i = 0; i < ARRAY_LEN(est_rows); i++) {
		struct certs_spec spec = est_rows[i].leaf;
		spec.issuer = issuers[est_rows[i].issuer];
		struct certs_pair leaf = certs_make(&spec);
		est_try(i, &leaf, spec.issuer->certificate);
		certs_done(&leaf);
	}
	certs_done(&stranger);
	certs_done(&brief);
}

static void test_list_too_old(void **state)
{
	struct certs_list list = {.issuer = &mesh.middle, .until_s = CERTS_NOW};
	struct certs_pair leaf = certs_make(&(struct certs_spec){
		.issuer = &mesh.middle, .until_s = CERTS_NOW - 5, .names = {EST_NODE}});
	struct tls_store *machine =
		est_machine((X509 *[]){leaf.certificate, mesh.middle.certificate, NULL});
	pair.client_key = leaf.key;
	for (int refuse = 0; refuse < 2; refuse++) {
		struct tls_store *server = est_store(authority.certificate, certs_list_pem(&list));
		tls_store_refuse_stale_crls(server, refuse);
		est_start(machine, server, EST_HOST);
		assert_int_equal(pair_handshake(&pair), !refuse);
		assert_int_equal(tls_failure(pair.ends[PAIR_SERVER].tls),
			refuse ? TLS_FAILURE_REVOCATION_UNKNOWN : TLS_FAILURE_NONE);
		pair_stop(&pair);
		tls_store_unref(server);
	}
	tls_store_unref(machine);
	certs_done(&leaf);
}

static void test_nothing_shown(void **state)
{
	struct tls_store *server = est_store(authority.certificate, NULL);
	struct tls_store *machine = est_machine(NULL);
	est_start(machine, server, EST_HOST);
	assert_true(pair_handshake(&pair));
	struct pair_end *s = &pair.ends[PAIR_SERVER];
	assert_int_equal(tls_peer_shown(s->tls), TLS_SHOWN_NOTHING);
	assert_int_equal(tls_peer_id(s->tls).len, 0);
	assert_int_equal(tls_peer_serial(s->tls).len, 0);
	assert_int_equal(tls_alpn(s->tls), TLS_ALPN_NONE);
	/* One record, and no ticket before it. */
	size_t used;
	assert_int_equal(tls_write(s->tls, (const uint8_t *)"x", 1, &used), TLS_DONE);
	assert_int_equal(buf_len(&s->wire), 1 + RECORD_OVERHEAD);
	tls_store_unref(server);
	tls_store_unref(machine);
}

static void test_key_not_there(void **state)
{
	struct tls_store *server = est_store(authority.certificate, NULL);
	struct certs_pair leaf =
		certs_make(&(struct certs_spec){.issuer = &mesh.middle, .names = {EST_NODE}});
	struct tls_store *machine =
		est_machine((X509 *[]){leaf.certificate, mesh.middle.certificate, NULL});
	pair.client_key = mesh.leaf[PAIR_BILLING].key;
	est_start(machine, server, EST_HOST);
	assert_false(pair_handshake(&pair));
	assert_int_equal(tls_failure(pair.ends[PAIR_SERVER].tls), TLS_FAILURE_PROTOCOL);
	assert_int_equal(tls_peer_alert(pair.ends[PAIR_CLIENT].tls), SSL_AD_DECRYPT_ERROR);
	tls_store_unref(server);
	tls_store_unref(machine);
	certs_done(&leaf);
}

/* As curl and others offer them. */
static void test_protocols(void **state)
{
	static const struct {
		const char *offer;
		enum tls_failure failure;
	} rows[] = {{"\x08http/1.1", 0}, {"\x02h2\x08http/1.1", 0}, {"\x02h2", TLS_FAILURE_ALPN}};
	struct tls_store *server = est_store(authority.certificate, NULL);
	struct tls_store *machine = est_machine(NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		est_start(machine, server, EST_HOST);
		struct tls *c = pair.ends[PAIR_CLIENT].tls, *s = pair.ends[PAIR_SERVER].tls;
		assert_int_equal(SSL_set_alpn_protos(c->ssl, (const uint8_t *)rows[i].offer,
					 (unsigned)strlen(rows[i].offer)),
			0);
		c->alpn = TLS_ALPN_HTTP1;
		assert_int_equal(pair_handshake(&pair), !rows[i].failure);
		assert_int_equal(tls_failure(s), rows[i].failure);
		if (!rows[i].failure)
			assert_int_equal(tls_alpn(s), TLS_ALPN_HTTP1);
		pair_stop(&pair);
	}
	tls_store_unref(server);
	tls_store_unref(machine);
}

/* --- what the authority must be called --- */

static void est_call(
	const char *what, const struct certs_pair *leaf, const char *host, enum tls_failure failure)
{
	struct tls_store *server = est_store(leaf->certificate, NULL);
	struct tls_store *machine = est_machine(NULL);
	pair.server_key = leaf->key;
	est_start(machine, server, host);
	assert_int_equal(pair_handshake(&pair), !failure);
	if (tls_failure(pair.ends[PAIR_CLIENT].tls) != failure)
		fail_msg("%s: %s", what, tls_failure_name(tls_failure(pair.ends[PAIR_CLIENT].tls)));
	pair_stop(&pair);
	tls_store_unref(server);
	tls_store_unref(machine);
}

static void test_authority_names(void **state)
{
	est_call("DNS name", &authority, EST_HOST, TLS_FAILURE_NONE);
	est_call("address", &authority, "10.0.0.1", TLS_FAILURE_NONE);
	est_call("address, version 6", &authority, "fd00::1", TLS_FAILURE_NONE);
	est_call("another name", &authority, "other.prod.example", TLS_FAILURE_NAME);
	est_call("another address", &authority, "10.0.0.2", TLS_FAILURE_NAME);
}

/* Whoever has a certificate of the mesh, and no name, is not taken for its authority. */
static void test_workload_as_authority(void **state)
{
	static const char *const ids[] = {"spiffe://prod.example/service/web",
		"spiffe://prod.example/node/vm-a", "spiffe://prod.example/ca",
		"spiffe://ca.prod.example/ca"};
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		struct certs_pair leaf = certs_make(&(struct certs_spec){.subject = EST_HOST,
			.issuer = &mesh.middle,
			.names = {{0x86, str_of(ids[i])}}});
		est_call(ids[i], &leaf, EST_HOST, TLS_FAILURE_NAME);
		est_call(ids[i], &leaf, "10.0.0.1", TLS_FAILURE_NAME);
		certs_done(&leaf);
	}
}

/* --- first contact --- */

static void test_provisional(void **state)
{
	struct certs_pair anybody = certs_make(&(struct certs_spec){.subject = "anybody",
		.extended = "o",
		.until_s = CERTS_NOW - 5,
		.names = {EST_NODE, EST_NODE}});
	const struct certs_pair *const servers[] = {&authority, &anybody};
	static const char *const hosts[] = {EST_HOST, "10.9.9.9"};
	for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
		struct pair_end *c = &pair.ends[PAIR_CLIENT], *s = &pair.ends[PAIR_SERVER];
		struct tls_store *server = est_store(servers[i]->certificate, NULL);
		for (int honest = 1; honest >= 0; honest--) {
			pair.server_key = honest ? servers[i]->key : mesh.leaf[PAIR_WEB].key;
			est_begin(tls_client_new_provisional(str_of(hosts[i]), &c->wire),
				tls_server_new_est(server, &s->wire));
			/* Whoever it is has the key of what he shows. */
			assert_int_equal(pair_handshake(&pair), honest);
			assert_int_equal(tls_failure(c->tls),
				honest ? TLS_FAILURE_NONE : TLS_FAILURE_PROTOCOL);
			est_serial(servers[i]->certificate, PAIR_CLIENT);
			assert_int_equal(tls_peer_shown(s->tls), TLS_SHOWN_NOTHING);
			assert_true(
				str_eq(tls_server_name(s->tls), i == 0 ? STR(EST_HOST) : STR("")));
			pair_stop(&pair);
		}
		tls_store_unref(server);
	}
	certs_done(&anybody);
}

/* --- bundles --- */

static void test_key_in_hand(void **state)
{
	struct tls_store *server = est_store(authority.certificate, NULL);
	struct tls_key *key = NULL;
	struct err err;
	const uint8_t *bytes;
	size_t len;
	BIO *text = BIO_new(BIO_s_mem());
	assert_true(PEM_write_bio_PrivateKey(text, authority.key, NULL, NULL, 0, NULL, NULL));
	assert_true(BIO_mem_contents(text, &bytes, &len));
	assert_int_equal(
		tls_key_new((struct str){(const char *)bytes, len}, server, &key, &err), 0);
	tls_key_free(key);
	BIO_free(text);
	tls_store_unref(server);
}

static void test_broken_bundles(void **state)
{
	static const struct {
		const char *kind, *name, *why;
	} rows[] = {{"pki", "chain", "our own certificate: missing"},
		{"pki-key", "store", "key of our own certificate: missing"},
		{"roots", "prod.example", "roots of prod.example: no certificate"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct bundle b;
		struct err err = {""};
		struct tls_store *s = NULL;
		est_bundle(&b, authority.certificate, NULL);
		struct bundle_item *item =
			(struct bundle_item *)bundle_find(&b, rows[i].kind, str_of(rows[i].name));
		list_remove(&item->node);
		free(item);
		assert_int_equal(tls_store_new_est(&b, STR("prod.example"), &s, &err), -EINVAL);
		assert_non_null(strstr(err.text, rows[i].why));
		bundle_done(&b);
	}
}

#define EST_TEST(name) cmocka_unit_test_setup_teardown(name, est_setup, est_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EST_TEST(test_shown),
		EST_TEST(test_list_too_old),
		EST_TEST(test_nothing_shown),
		EST_TEST(test_key_not_there),
		EST_TEST(test_protocols),
		EST_TEST(test_authority_names),
		EST_TEST(test_workload_as_authority),
		EST_TEST(test_provisional),
		EST_TEST(test_key_in_hand),
		EST_TEST(test_broken_bundles),
	};
	pair_mesh_init(&mesh);
	authority = certs_make(&(struct certs_spec){
		.issuer = &mesh.middle, .extended = "s", .names = {EST_NAMES}});
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	certs_done(&authority);
	pair_mesh_done(&mesh);
	return failed;
}
