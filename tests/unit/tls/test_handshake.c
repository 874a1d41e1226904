/* SPDX-License-Identifier: Apache-2.0 */
#include "pair.h"

#include "tls/store.h"
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants those above first */
#include <cmocka.h>

static struct pair_mesh mesh;
static struct tls_store *store;
static struct pair pair;

static int handshake_setup(void **state)
{
	pair_init(&pair, &mesh, TLS_WIRE_BYTES_MIN);
	return 0;
}

static int handshake_teardown(void **state)
{
	pair_done(&pair);
	return 0;
}

static void handshake_start(void)
{
	struct tls_client_want want = pair_want();
	pair_start(&pair, store, store, NULL, &want);
}

static enum tls_failure handshake_failure(int end)
{
	return tls_failure(pair.ends[end].tls);
}

static void test_succeeds(void **state)
{
	handshake_start();
	assert_true(pair_handshake(&pair));
	struct tls *c = pair.ends[PAIR_CLIENT].tls, *s = pair.ends[PAIR_SERVER].tls;
	assert_true(str_eq(tls_peer_id(c), str_of(pair_ids[PAIR_ORDERS])));
	assert_true(str_eq(tls_peer_id(s), str_of(pair_ids[PAIR_WEB])));
	assert_true(str_eq(tls_server_name(c), STR("orders")));
	assert_true(str_eq(tls_server_name(s), STR("orders")));
	assert_int_equal(tls_alpn(c), TLS_ALPN_TCP);
	assert_int_equal(tls_alpn(s), TLS_ALPN_TCP);
	assert_int_equal(tls_peer_not_after_s(c), CERTS_NOW + 3600);
	assert_int_equal(tls_peer_not_after_s(s), CERTS_NOW + 3600);
	assert_false(tls_resumed(c));
	assert_int_equal(pair.ends[PAIR_CLIENT].sign_count, 1);
	assert_int_equal(pair.ends[PAIR_SERVER].sign_count, 1);
	assert_int_equal(tls_handshake(c, CERTS_NOW), TLS_DONE);
}

static void test_byte_by_byte(void **state)
{
	pair.chunk = 1;
	handshake_start();
	assert_true(pair_handshake(&pair));
}

/* The wire buffer is full at the start: the flight leaves in pieces. */
static void test_full_wire(void **state)
{
	handshake_start();
	struct pair_end *s = &pair.ends[PAIR_SERVER];
	static const uint8_t filler[TLS_WIRE_BYTES_MIN];
	uint32_t full_count = 0;
	while (s->result != TLS_NAME) {
		s->result = tls_handshake(s->tls, CERTS_NOW);
		pair.ends[PAIR_CLIENT].result =
			tls_handshake(pair.ends[PAIR_CLIENT].tls, CERTS_NOW);
		pair_carry(&pair, PAIR_CLIENT);
	}
	tls_server_choose(s->tls, pair.serve, pair.alpn_mask);
	assert_int_equal(tls_handshake(s->tls, CERTS_NOW), TLS_SIGN);
	assert_true(buf_put(&s->wire, filler, TLS_WIRE_BYTES_MIN - buf_len(&s->wire) - 100));
	/* Signed now; the flight meets a buffer with 100 bytes left. */
	uint8_t signature[128];
	const struct tls_sign_request *request = tls_sign_request(s->tls);
	assert_true(request->len > 64);
	memset(signature, 0, sizeof(signature));
	tls_sign_done(s->tls, signature, 70);
	while (tls_handshake(s->tls, CERTS_NOW) == TLS_FULL && full_count < 100) {
		full_count++;
		buf_consume(&s->wire, 50);
	}
	assert_true(full_count > 5);
}

static void test_name_is_asked_until_chosen(void **state)
{
	handshake_start();
	struct pair_end *c = &pair.ends[PAIR_CLIENT], *s = &pair.ends[PAIR_SERVER];
	assert_int_equal(tls_handshake(c->tls, CERTS_NOW), TLS_MORE);
	assert_true(pair_carry(&pair, PAIR_CLIENT));
	assert_int_equal(tls_handshake(s->tls, CERTS_NOW), TLS_NAME);
	assert_int_equal(tls_handshake(s->tls, CERTS_NOW), TLS_NAME);
	assert_true(str_eq(tls_server_name(s->tls), STR("orders")));
	tls_server_choose(s->tls, pair.serve, pair.alpn_mask);
	assert_int_equal(tls_handshake(s->tls, CERTS_NOW), TLS_SIGN);
	assert_int_equal(tls_handshake(s->tls, CERTS_NOW), TLS_SIGN);
	const struct tls_sign_request *request = tls_sign_request(s->tls);
	assert_int_equal(request->key_number, PAIR_ORDERS + 1);
	assert_int_equal(request->algorithm, SSL_SIGN_ECDSA_SECP256R1_SHA256);
	assert_in_range(request->len, 64 + 34 + 32, 64 + 34 + 48);
	for (size_t i = 0; i < 64; i++)
		assert_int_equal(request->bytes[i], 0x20);
}

static void test_server_refuses_name(void **state)
{
	pair.serve = STR_NONE;
	handshake_start();
	assert_false(pair_handshake(&pair));
	assert_int_equal(handshake_failure(PAIR_SERVER), TLS_FAILURE_UNKNOWN_NAME);
	assert_int_equal(handshake_failure(PAIR_CLIENT), TLS_FAILURE_ALERT);
	assert_int_equal(tls_peer_alert(pair.ends[PAIR_CLIENT].tls), SSL_AD_UNRECOGNIZED_NAME);
}

static void test_server_has_no_such_identity(void **state)
{
	pair.serve = STR("service/nobody");
	handshake_start();
	assert_false(pair_handshake(&pair));
	assert_int_equal(handshake_failure(PAIR_SERVER), TLS_FAILURE_NO_IDENTITY);
	assert_int_equal(tls_peer_alert(pair.ends[PAIR_CLIENT].tls), SSL_AD_INTERNAL_ERROR);
}

static void test_client_has_no_such_identity(void **state)
{
	struct tls_client_want want = pair_want();
	want.identity = STR("service/nobody");
	pair_start(&pair, store, store, NULL, &want);
	assert_int_equal(tls_handshake(pair.ends[PAIR_CLIENT].tls, CERTS_NOW), TLS_FAILED);
	assert_int_equal(handshake_failure(PAIR_CLIENT), TLS_FAILURE_NO_IDENTITY);
	size_t used;
	assert_int_equal(
		tls_write(pair.ends[PAIR_CLIENT].tls, (const uint8_t *)"x", 1, &used), TLS_FAILED);
}

static void test_alpn(void **state)
{
	static const struct {
		enum tls_alpn offered;
		uint32_t mask;
		bool ok;
	} rows[] = {
		{TLS_ALPN_TCP, 1u << TLS_ALPN_TCP | 1u << TLS_ALPN_HTTP1, true},
		{TLS_ALPN_HTTP1, 1u << TLS_ALPN_TCP | 1u << TLS_ALPN_HTTP1, true},
		{TLS_ALPN_HTTP1, 1u << TLS_ALPN_TCP, false},
		{TLS_ALPN_TCP, 0, false},
		{TLS_ALPN_NONE, 1u << TLS_ALPN_TCP, false},
		{TLS_ALPN_NONE, 1u << TLS_ALPN_NONE, true},
		{TLS_ALPN_TCP, 1u << TLS_ALPN_NONE, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tls_client_want want = pair_want();
		want.alpn = rows[i].offered;
		pair.alpn_mask = rows[i].mask;
		pair_start(&pair, store, store, NULL, &want);
		assert_int_equal(pair_handshake(&pair), rows[i].ok);
		if (rows[i].ok) {
			assert_int_equal(tls_alpn(pair.ends[PAIR_SERVER].tls), rows[i].offered);
		} else {
			assert_int_equal(handshake_failure(PAIR_SERVER), TLS_FAILURE_ALPN);
			assert_int_equal(tls_peer_alert(pair.ends[PAIR_CLIENT].tls),
				SSL_AD_NO_APPLICATION_PROTOCOL);
		}
		pair_stop(&pair);
	}
}

/* A server that passes over the offer: bytes of an unknown protocol would follow. */
static void test_server_without_alpn(void **state)
{
	struct tls_store *silent = pair_mesh_store(&mesh, 2);
	struct tls_client_want want = pair_want();
	SSL_CTX_set_alpn_select_cb(silent->server, NULL, NULL);
	pair_start(&pair, store, silent, NULL, &want);
	assert_false(pair_handshake(&pair));
	assert_int_equal(handshake_failure(PAIR_CLIENT), TLS_FAILURE_ALPN);
	pair_stop(&pair);
	tls_store_unref(silent);
}

/* The server's certificate is seen, its key proved, and the session ends there. */
static void test_check(void **state)
{
	struct pair_end *c = &pair.ends[PAIR_CLIENT], *s = &pair.ends[PAIR_SERVER];
	struct tls_identity_view view = {.serial = ""};
	for (size_t i = 0; tls_store_identity(store, i, &view); i++) {
		if (str_eq(view.path, str_of(pair_paths[PAIR_ORDERS])))
			break;
	}
	pair.alpn_mask = 1u << TLS_ALPN_TCP | 1u << TLS_ALPN_CHECK;
	handshake_start();
	tls_free(c->tls);
	c->tls = tls_client_new_check(STR("orders"), &c->wire);
	assert_false(pair_handshake(&pair));
	/* The client's part was well, and then it heard the end. */
	assert_int_equal(handshake_failure(PAIR_CLIENT), TLS_FAILURE_ALERT);
	assert_int_equal(tls_peer_alert(c->tls), 116); /* certificate_required */
	assert_int_equal(tls_alpn(c->tls), TLS_ALPN_CHECK);
	assert_true(view.serial[0] && str_eq(tls_peer_serial(c->tls), str_of(view.serial)));
	assert_int_equal(handshake_failure(PAIR_SERVER), TLS_FAILURE_NO_CERTIFICATE);
	assert_int_equal(tls_alpn(s->tls), TLS_ALPN_CHECK);
	assert_true(str_eq(tls_server_name(s->tls), STR("orders")));
	pair_stop(&pair);

	pair.alpn_mask = 1u << TLS_ALPN_TCP; /* a server that has no part in it */
	handshake_start();
	tls_free(c->tls);
	c->tls = tls_client_new_check(STR("orders"), &c->wire);
	assert_false(pair_handshake(&pair));
	assert_int_equal(handshake_failure(PAIR_SERVER), TLS_FAILURE_ALPN);
	assert_int_equal(tls_peer_serial(c->tls).len, 0);
	pair_stop(&pair);

	pair.alpn_mask = 1u << TLS_ALPN_CHECK; /* one that has the certificate, and not its key */
	pair.server_key = mesh.leaf[PAIR_WEB].key;
	handshake_start();
	tls_free(c->tls);
	c->tls = tls_client_new_check(STR("orders"), &c->wire);
	assert_false(pair_handshake(&pair));
	assert_int_equal(c->result, TLS_FAILED);
	assert_int_equal(handshake_failure(PAIR_CLIENT), TLS_FAILURE_PROTOCOL);
}

static void test_no_server_name(void **state)
{
	struct tls_client_want want = pair_want();
	want.server_name = STR_NONE;
	pair_start(&pair, store, store, NULL, &want);
	assert_true(pair_handshake(&pair));
	assert_int_equal(tls_server_name(pair.ends[PAIR_SERVER].tls).len, 0);
}

static void test_wrong_server(void **state)
{
	pair.serve = str_of(pair_paths[PAIR_BILLING]);
	handshake_start();
	assert_false(pair_handshake(&pair));
	assert_int_equal(handshake_failure(PAIR_CLIENT), TLS_FAILURE_UNEXPECTED_ID);
	assert_true(
		str_eq(tls_peer_id(pair.ends[PAIR_CLIENT].tls), str_of(pair_ids[PAIR_BILLING])));
	assert_int_equal(handshake_failure(PAIR_SERVER), TLS_FAILURE_ALERT);
	assert_int_equal(tls_peer_alert(pair.ends[PAIR_SERVER].tls), SSL_AD_BAD_CERTIFICATE);
}

static void test_one_of_several_servers(void **state)
{
	struct tls_client_want want = pair_want();
	struct str ids[] = {str_of(pair_ids[PAIR_BILLING]), str_of(pair_ids[PAIR_ORDERS])};
	want.server_ids = ids;
	want.server_id_count = 2;
	pair_start(&pair, store, store, NULL, &want);
	assert_true(pair_handshake(&pair));
	pair_stop(&pair);
	want.server_id_count = 0; /* nobody will do */
	pair_start(&pair, store, store, NULL, &want);
	assert_false(pair_handshake(&pair));
	assert_int_equal(handshake_failure(PAIR_CLIENT), TLS_FAILURE_UNEXPECTED_ID);
}

static void test_refused_signature(void **state)
{
	for (int end = 0; end < 2; end++) {
		pair.ends[end].refuse_signature = true;
		handshake_start();
		assert_false(pair_handshake(&pair));
		assert_int_equal(handshake_failure(end), TLS_FAILURE_SIGNATURE);
		assert_int_equal(handshake_failure(!end), TLS_FAILURE_ALERT);
		pair.ends[end].refuse_signature = false;
		pair_stop(&pair);
	}
}

static void test_signature_of_another_key(void **state)
{
	pair.server_key = mesh.leaf[PAIR_BILLING].key;
	handshake_start();
	assert_false(pair_handshake(&pair));
	assert_int_equal(handshake_failure(PAIR_CLIENT), TLS_FAILURE_PROTOCOL);
	assert_int_equal(tls_peer_alert(pair.ends[PAIR_SERVER].tls), SSL_AD_DECRYPT_ERROR);
	pair_stop(&pair);
	pair.server_key = NULL;
	pair.client_key = mesh.leaf[PAIR_BILLING].key;
	handshake_start();
	assert_false(pair_handshake(&pair));
	assert_int_equal(handshake_failure(PAIR_SERVER), TLS_FAILURE_PROTOCOL);
	assert_int_equal(tls_peer_alert(pair.ends[PAIR_CLIENT].tls), SSL_AD_DECRYPT_ERROR);
}

static void test_peer_closes(void **state)
{
	handshake_start();
	struct tls *c = pair.ends[PAIR_CLIENT].tls, *s = pair.ends[PAIR_SERVER].tls;
	assert_int_equal(tls_handshake(c, CERTS_NOW), TLS_MORE);
	tls_input_eof(c);
	assert_int_equal(tls_handshake(c, CERTS_NOW), TLS_FAILED);
	assert_int_equal(tls_failure(c), TLS_FAILURE_CLOSED);
	tls_input_eof(s);
	assert_int_equal(tls_handshake(s, CERTS_NOW), TLS_FAILED);
	assert_int_equal(tls_failure(s), TLS_FAILURE_CLOSED);
	assert_int_equal(tls_handshake(s, CERTS_NOW), TLS_FAILED);
}

/* A plain BoringSSL client, to say what ours would not: its ClientHello. */
static size_t handshake_foreign_hello(SSL_CTX *side, uint8_t *out, size_t size)
{
	SSL *ssl = SSL_new(side);
	BIO *in = BIO_new(BIO_s_mem()), *sent = BIO_new(BIO_s_mem());
	SSL_set_bio(ssl, in, sent);
	SSL_set_connect_state(ssl);
	SSL_do_handshake(ssl);
	int n = BIO_read(sent, out, (int)size);
	SSL_free(ssl);
	assert_true(n > 0);
	return (size_t)n;
}

static void test_older_tls(void **state)
{
	uint8_t hello[4096];
	SSL_CTX *side = SSL_CTX_new(TLS_method());
	SSL_CTX_set_max_proto_version(side, TLS1_2_VERSION);
	size_t len = handshake_foreign_hello(side, hello, sizeof(hello));
	SSL_CTX_free(side);
	handshake_start();
	struct tls *s = pair.ends[PAIR_SERVER].tls;
	pair.alpn_mask = 1u << TLS_ALPN_NONE;
	tls_input(s, hello, len);
	enum tls_result result = tls_handshake(s, CERTS_NOW);
	if (result == TLS_NAME) {
		tls_server_choose(s, pair.serve, pair.alpn_mask);
		result = tls_handshake(s, CERTS_NOW);
	}
	assert_int_equal(result, TLS_FAILED);
	assert_int_equal(tls_failure(s), TLS_FAILURE_PROTOCOL);
}

static enum ssl_verify_result_t handshake_trust_anybody(SSL *ssl, uint8_t *out_alert)
{
	return ssl_verify_ok;
}

static void test_client_without_certificate(void **state)
{
	SSL_CTX *side = SSL_CTX_new(TLS_with_buffers_method());
	SSL *ssl = SSL_new(side);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(in, -1);
	SSL_set_custom_verify(ssl, SSL_VERIFY_PEER, handshake_trust_anybody);
	SSL_set_bio(ssl, in, out);
	SSL_set_connect_state(ssl);
	handshake_start();
	struct pair_end *s = &pair.ends[PAIR_SERVER];
	pair.alpn_mask = 1u << TLS_ALPN_NONE;
	for (int i = 0; i < 20 && s->result != TLS_FAILED; i++) {
		SSL_do_handshake(ssl);
		int n = BIO_read(out, s->input, sizeof(s->input));
		if (n > 0)
			tls_input(s->tls, s->input, (size_t)n);
		s->result = tls_handshake(s->tls, CERTS_NOW);
		if (s->result == TLS_NAME)
			tls_server_choose(s->tls, pair.serve, pair.alpn_mask);
		if (s->result == TLS_SIGN) {
			EVP_MD_CTX *digest = EVP_MD_CTX_new();
			uint8_t signature[128];
			size_t len = sizeof(signature);
			const struct tls_sign_request *r = tls_sign_request(s->tls);
			EVP_DigestSignInit(
				digest, NULL, EVP_sha256(), NULL, mesh.leaf[PAIR_ORDERS].key);
			EVP_DigestSign(digest, signature, &len, r->bytes, r->len);
			EVP_MD_CTX_free(digest);
			tls_sign_done(s->tls, signature, len);
		}
		BIO_write(in, buf_at(&s->wire), (int)buf_len(&s->wire));
		buf_consume(&s->wire, buf_len(&s->wire));
	}
	assert_int_equal(s->result, TLS_FAILED);
	assert_int_equal(tls_failure(s->tls), TLS_FAILURE_NO_CERTIFICATE);
	SSL_free(ssl);
	SSL_CTX_free(side);
}

static enum tls_result handshake_feed(const uint8_t *bytes, size_t len)
{
	static uint8_t input[4096];
	struct tls *s = tls_server_new(store, &pair.ends[PAIR_SERVER].wire);
	assert_true(len <= sizeof(input));
	memcpy(input, bytes, len);
	tls_input(s, input, len);
	enum tls_result result = tls_handshake(s, CERTS_NOW);
	if (result == TLS_NAME) {
		tls_server_choose(s, pair.serve, pair.alpn_mask);
		result = tls_handshake(s, CERTS_NOW);
	}
	if (result == TLS_MORE) {
		tls_input_eof(s);
		result = tls_handshake(s, CERTS_NOW);
	}
	tls_free(s);
	buf_clear(&pair.ends[PAIR_SERVER].wire);
	return result;
}

static void test_garbage(void **state)
{
	static const char *const rows[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff",
		"\x80\x2e\x01\x00\x02", "\x15\x03\x03", "SSH-2.0-x\r\n"};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(
			handshake_feed((const uint8_t *)rows[i], strlen(rows[i])), TLS_FAILED);
	handshake_start();
	struct pair_end *c = &pair.ends[PAIR_CLIENT];
	uint8_t hello[2048];
	tls_handshake(c->tls, CERTS_NOW);
	size_t len = buf_len(&c->wire);
	assert_in_range(len, 100, sizeof(hello));
	/* Every byte of a ClientHello wrong in turn; some of them do not matter. */
	for (size_t i = 0; i < len; i++) {
		memcpy(hello, buf_at(&c->wire), len);
		hello[i] ^= 0x55;
		enum tls_result result = handshake_feed(hello, len);
		assert_true(result == TLS_FAILED || result == TLS_SIGN);
	}
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(handshake_feed(buf_at(&c->wire), cut), TLS_FAILED);
}

/* Each record of the server's flight damaged in turn. */
static void test_damaged_flight(void **state)
{
	for (size_t at = 0; at < 3000; at += 37) {
		handshake_start();
		struct pair_end *c = &pair.ends[PAIR_CLIENT], *s = &pair.ends[PAIR_SERVER];
		size_t carried = 0;
		for (int i = 0; i < 20 && c->result != TLS_FAILED && c->result != TLS_DONE; i++) {
			size_t len = buf_len(&s->wire);
			if (at >= carried && at < carried + len)
				buf_at(&s->wire)[at - carried] ^= 1;
			if (pair_carry(&pair, PAIR_SERVER))
				carried += len;
			c->result = tls_handshake(c->tls, CERTS_NOW);
			pair_carry(&pair, PAIR_CLIENT);
			s->result = tls_handshake(s->tls, CERTS_NOW);
			if (s->result == TLS_NAME)
				tls_server_choose(s->tls, pair.serve, pair.alpn_mask);
			if (s->result == TLS_SIGN)
				tls_sign_done(s->tls, (const uint8_t *)"0", 1);
		}
		assert_true(c->result == TLS_FAILED);
		pair_stop(&pair);
	}
}

#define HANDSHAKE_TEST(name) \
	cmocka_unit_test_setup_teardown(name, handshake_setup, handshake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HANDSHAKE_TEST(test_succeeds),
		HANDSHAKE_TEST(test_byte_by_byte),
		HANDSHAKE_TEST(test_full_wire),
		HANDSHAKE_TEST(test_name_is_asked_until_chosen),
		HANDSHAKE_TEST(test_server_refuses_name),
		HANDSHAKE_TEST(test_server_has_no_such_identity),
		HANDSHAKE_TEST(test_client_has_no_such_identity),
		HANDSHAKE_TEST(test_alpn),
		HANDSHAKE_TEST(test_server_without_alpn),
		HANDSHAKE_TEST(test_check),
		HANDSHAKE_TEST(test_no_server_name),
		HANDSHAKE_TEST(test_wrong_server),
		HANDSHAKE_TEST(test_one_of_several_servers),
		HANDSHAKE_TEST(test_refused_signature),
		HANDSHAKE_TEST(test_signature_of_another_key),
		HANDSHAKE_TEST(test_peer_closes),
		HANDSHAKE_TEST(test_older_tls),
		HANDSHAKE_TEST(test_client_without_certificate),
		HANDSHAKE_TEST(test_garbage),
		HANDSHAKE_TEST(test_damaged_flight),
	};
	pair_mesh_init(&mesh);
	store = pair_mesh_store(&mesh, 1);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	tls_store_unref(store);
	pair_mesh_done(&mesh);
	return failed;
}
