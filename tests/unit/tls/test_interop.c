/* SPDX-License-Identifier: Apache-2.0 */
/* Our sessions against BoringSSL's own, at either end. With an argument, the cipher suite (in hex)
 * that must come out of the handshakes. */
#include "pair.h"

#include "tls/handshake.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants those above first */
#include <cmocka.h>
#include <openssl/err.h>

static struct pair_mesh mesh;
static struct tls_store *store;
static struct pair pair;
static unsigned long expected_suite;

/* The library's end, and ours in pair.ends[ours]. */
struct interop {
	SSL_CTX *side;
	SSL *ssl;
	BIO *in, *out;
	int ours;
	size_t chunk;
	bool in_place;
	uint8_t got[1 << 17];
	size_t got_len;
};

static struct interop peer;

static enum ssl_verify_result_t interop_trust_anybody(SSL *ssl, uint8_t *out_alert)
{
	return ssl_verify_ok;
}

static SSL_CTX *interop_side(enum pair_identity identity)
{
	static const uint8_t scope[] = "interop";
	SSL_CTX *side = SSL_CTX_new(TLS_with_buffers_method());
	CRYPTO_BUFFER *chain[] = {certs_buffer(mesh.leaf[identity].certificate),
		certs_buffer(mesh.middle.certificate)};
	assert_true(SSL_CTX_set_chain_and_key(
		side, chain, ARRAY_LEN(chain), mesh.leaf[identity].key, NULL));
	SSL_CTX_set_custom_verify(side, SSL_VERIFY_PEER, interop_trust_anybody);
	assert_true(SSL_CTX_set_session_id_context(side, scope, sizeof(scope)));
	for (size_t i = 0; i < ARRAY_LEN(chain); i++)
		CRYPTO_BUFFER_free(chain[i]);
	return side;
}

/* Their bytes to us, in pieces; what comes of it is kept in peer.got. */
static enum tls_result interop_to_us(void)
{
	struct pair_end *e = &pair.ends[peer.ours];
	enum tls_result result = TLS_MORE;
	int n;
	size_t chunk = peer.chunk > 0 ? peer.chunk : sizeof(e->input);
	while ((n = BIO_read(peer.out, e->input, (int)chunk)) > 0) {
		tls_input(e->tls, e->input, (size_t)n);
		if (e->result != TLS_DONE)
			return TLS_MORE;
		do {
			const uint8_t *plain;
			result = peer.in_place ? tls_open(e->tls) : tls_read(e->tls, &e->plain);
			size_t len = peer.in_place ? tls_plain(e->tls, &plain) : 0;
			assert_true(peer.got_len + len + buf_len(&e->plain) <= sizeof(peer.got));
			if (len > 0) {
				memcpy(peer.got + peer.got_len, plain, len);
				tls_plain_take(e->tls, len);
			} else if ((len = buf_len(&e->plain)) > 0) {
				memcpy(peer.got + peer.got_len, buf_at(&e->plain), len);
				buf_clear(&e->plain);
			}
			peer.got_len += len;
		} while (result == TLS_DONE);
		if (result != TLS_MORE)
			return result;
	}
	return result;
}

static void interop_to_them(void)
{
	struct buf *wire = &pair.ends[peer.ours].wire;
	if (buf_len(wire) > 0)
		BIO_write(peer.in, buf_at(wire), (int)buf_len(wire));
	buf_clear(wire);
}

static void interop_handshake(void)
{
	struct pair_end *e = &pair.ends[peer.ours];
	for (int i = 0; i < 20000 && (e->result != TLS_DONE || SSL_in_init(peer.ssl)); i++) {
		(void)SSL_do_handshake(peer.ssl);
		(void)interop_to_us();
		if (e->result == TLS_DONE)
			continue;
		e->result = tls_handshake(e->tls, CERTS_NOW);
		if (e->result == TLS_NAME)
			tls_server_choose(e->tls, pair.serve, 1u << TLS_ALPN_NONE);
		if (e->result == TLS_SIGN)
			pair_sign(&pair, peer.ours);
		interop_to_them();
	}
	assert_int_equal(e->result, TLS_DONE);
	assert_false(SSL_in_init(peer.ssl));
	unsigned suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(peer.ssl));
	assert_int_equal(e->tls->writing.suite, suite);
	assert_true(expected_suite == 0 || suite == expected_suite);
}

static void interop_connect(struct tls_sessions *sessions)
{
	struct tls_client_want want = pair_want();
	struct pair_end *e = &pair.ends[peer.ours];
	want.alpn = TLS_ALPN_NONE;
	if (e->tls)
		pair_stop(&pair);
	SSL_free(peer.ssl);
	e->tls = peer.ours == PAIR_CLIENT ? tls_client_new(store, sessions, &want, &e->wire)
					  : tls_server_new(store, &e->wire);
	e->result = TLS_MORE;
	peer.ssl = SSL_new(peer.side);
	peer.in = BIO_new(BIO_s_mem());
	peer.out = BIO_new(BIO_s_mem());
	assert_non_null(e->tls);
	BIO_set_mem_eof_return(peer.in, -1);
	SSL_set_bio(peer.ssl, peer.in, peer.out);
	if (peer.ours == PAIR_CLIENT)
		SSL_set_accept_state(peer.ssl);
	else
		SSL_set_connect_state(peer.ssl);
	peer.got_len = 0;
	interop_handshake();
}

static void interop_end(void)
{
	pair_done(&pair);
	SSL_free(peer.ssl);
	SSL_CTX_free(peer.side);
	peer.ssl = NULL;
	peer.side = NULL;
}

static uint8_t interop_byte(size_t at)
{
	return (uint8_t)((at * 2654435761u) >> 11);
}

static void interop_they_write(size_t len)
{
	static uint8_t bytes[100000];
	for (size_t i = 0; i < len; i++)
		bytes[i] = interop_byte(i);
	assert_int_equal(SSL_write(peer.ssl, bytes, (int)len), len);
	peer.got_len = 0;
	assert_int_equal(interop_to_us(), TLS_MORE);
	assert_int_equal(peer.got_len, len);
	assert_memory_equal(peer.got, bytes, len);
}

static void interop_we_write(size_t len)
{
	static uint8_t bytes[100000], read[100000];
	size_t sent = 0, got = 0, used;
	for (size_t i = 0; i < len; i++)
		bytes[i] = interop_byte(i + 7);
	while (got < len) {
		struct tls *t = pair.ends[peer.ours].tls;
		enum tls_result result = tls_write(t, bytes + sent, len - sent, &used);
		assert_true(result == TLS_DONE || result == TLS_FULL);
		sent += used;
		interop_to_them();
		int n;
		while ((n = SSL_read(peer.ssl, read + got, (int)(sizeof(read) - got))) > 0)
			got += (size_t)n;
		assert_int_equal(SSL_get_error(peer.ssl, n), SSL_ERROR_WANT_READ);
	}
	assert_int_equal(got, len);
	assert_memory_equal(read, bytes, len);
}

typedef void interop_test(void);

static void interop_everywhere(interop_test *test)
{
	static const size_t chunks[] = {0, 1, 5, 1000, 16406, 16640};
	for (size_t way = 0; way < 4 * ARRAY_LEN(chunks); way++) {
		peer = (struct interop){.ours = way & 1 ? PAIR_CLIENT : PAIR_SERVER,
			.in_place = way & 2,
			.chunk = chunks[way / 4]};
		peer.side = interop_side(peer.ours == PAIR_CLIENT ? PAIR_ORDERS : PAIR_WEB);
		pair_init(&pair, &mesh, 20 << 10);
		interop_connect(NULL);
		test();
		interop_end();
	}
}

static void interop_bytes(void)
{
	static const size_t sizes[] = {1, 2, 100, 16383, 16384, 16385, 50000, 3};
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		interop_they_write(sizes[i]);
		interop_we_write(sizes[i]);
	}
	assert_true(SSL_set_max_send_fragment(peer.ssl, 512));
	interop_they_write(20000);
}

static void test_bytes(void **state)
{
	interop_everywhere(interop_bytes);
}

static void interop_updates(void)
{
	struct tls *t = pair.ends[peer.ours].tls;
	interop_we_write(10);
	for (int i = 0; i < 10; i++) {
		assert_true(SSL_key_update(
			peer.ssl, i & 1 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED));
		interop_they_write(1000);
		assert_int_equal(t->update_owed, i & 1);
		interop_we_write(1000);
		assert_false(t->update_owed);
		t->records_left = 2;
		interop_we_write(60000);
		assert_true(t->records_left > 1000);
	}
}

static void test_updates(void **state)
{
	interop_everywhere(interop_updates);
}

static void interop_closes(void)
{
	struct tls *t = pair.ends[peer.ours].tls;
	uint8_t byte;
	interop_they_write(100);
	assert_int_equal(SSL_shutdown(peer.ssl), 0);
	assert_int_equal(interop_to_us(), TLS_CLOSED);
	assert_int_equal(tls_close_notify(t), TLS_DONE);
	interop_to_them();
	int r = SSL_read(peer.ssl, &byte, 1);
	assert_int_equal(SSL_get_error(peer.ssl, r), SSL_ERROR_ZERO_RETURN);
}

static void test_closes(void **state)
{
	interop_everywhere(interop_closes);
}

static void interop_damage(void)
{
	struct pair_end *e = &pair.ends[peer.ours];
	size_t used;
	uint8_t byte;
	assert_int_equal(tls_write(e->tls, NULL, 0, &used), TLS_DONE);
	interop_to_them();
	assert_int_equal(SSL_read(peer.ssl, &byte, 1), -1);
	assert_int_equal(tls_write(e->tls, (const uint8_t *)"x", 1, &used), TLS_DONE);
	buf_at(&e->wire)[10] ^= 1;
	interop_to_them();
	assert_int_equal(SSL_read(peer.ssl, &byte, 1), -1);
	ERR_clear_error();
	assert_int_equal(interop_to_us(), TLS_FAILED);
	assert_int_equal(tls_failure(e->tls), TLS_FAILURE_ALERT);
	assert_int_equal(tls_peer_alert(e->tls), SSL_AD_BAD_RECORD_MAC);
}

static void test_damage(void **state)
{
	interop_everywhere(interop_damage);
}

static void interop_their_damage(void)
{
	struct pair_end *e = &pair.ends[peer.ours];
	uint8_t byte;
	assert_int_equal(SSL_write(peer.ssl, "x", 1), 1);
	uint8_t *wire;
	size_t len;
	assert_true(BIO_mem_contents(peer.out, (const uint8_t **)&wire, &len));
	wire[len - 1] ^= 1;
	assert_int_equal(interop_to_us(), TLS_FAILED);
	assert_int_equal(tls_failure(e->tls), TLS_FAILURE_PROTOCOL);
	interop_to_them();
	ERR_clear_error();
	assert_int_equal(SSL_read(peer.ssl, &byte, 1), -1);
	assert_int_equal(
		ERR_GET_REASON(ERR_get_error()), SSL_AD_REASON_OFFSET + SSL_AD_BAD_RECORD_MAC);
}

static void test_their_damage(void **state)
{
	interop_everywhere(interop_their_damage);
}

/* Their tickets come before their first bytes, and the next handshake resumes with one. */
static void test_resumes_with_their_ticket(void **state)
{
	for (int ticket_count = 0; ticket_count < 4; ticket_count++) {
		struct tls_sessions *sessions = tls_sessions_new(10);
		peer = (struct interop){.ours = PAIR_CLIENT};
		peer.side = interop_side(PAIR_ORDERS);
		assert_true(SSL_CTX_set_num_tickets(peer.side, (size_t)ticket_count));
		pair_init(&pair, &mesh, 20 << 10);
		for (int i = 0; i < 3; i++) {
			struct tls **t = &pair.ends[PAIR_CLIENT].tls;
			interop_connect(sessions);
			assert_int_equal(tls_resumed(*t), i > 0 && ticket_count > 0);
			assert_non_null((*t)->ssl);
			interop_we_write(10);
			assert_non_null((*t)->ssl);
			interop_they_write(10);
			assert_null((*t)->ssl);
		}
		interop_end();
		tls_sessions_free(sessions);
	}
}

/* And ours bring the library's client back. */
static SSL_SESSION *interop_session;

static int interop_on_session(SSL *ssl, SSL_SESSION *session)
{
	SSL_SESSION_free(interop_session);
	interop_session = session;
	return 1;
}

static void test_resumes_with_our_ticket(void **state)
{
	peer = (struct interop){.ours = PAIR_SERVER};
	peer.side = interop_side(PAIR_WEB);
	SSL_CTX_set_session_cache_mode(peer.side, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(peer.side, interop_on_session);
	SSL_CTX_set_early_data_enabled(peer.side, 1);
	pair_init(&pair, &mesh, 20 << 10);
	interop_connect(NULL);
	interop_they_write(10);
	assert_null(interop_session);
	interop_we_write(10);
	assert_non_null(interop_session);
	assert_false(SSL_SESSION_early_data_capable(interop_session));
	interop_end();
	SSL_SESSION_free(interop_session);
	interop_session = NULL;
}

/* Bytes before the handshake (0-RTT) could be played again: with a ticket that would allow them we
 * say none. */
static bool interop_early_said;

static enum ssl_select_cert_result_t interop_on_hello(const SSL_CLIENT_HELLO *hello)
{
	const uint8_t *bytes;
	size_t len;
	interop_early_said |= SSL_early_callback_ctx_extension_get(
				      hello, TLSEXT_TYPE_early_data, &bytes, &len) == 1;
	return ssl_select_cert_success;
}

static void test_nothing_early(void **state)
{
	struct tls_sessions *sessions = tls_sessions_new(10);
	peer = (struct interop){.ours = PAIR_CLIENT};
	peer.side = interop_side(PAIR_ORDERS);
	SSL_CTX_set_early_data_enabled(peer.side, 1);
	SSL_CTX_set_select_certificate_cb(peer.side, interop_on_hello);
	pair_init(&pair, &mesh, 20 << 10);
	for (int i = 0; i < 2; i++) {
		interop_connect(sessions);
		assert_int_equal(tls_resumed(pair.ends[PAIR_CLIENT].tls), i);
		interop_they_write(10);
		assert_false(interop_early_said);
	}
	interop_end();
	tls_sessions_free(sessions);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_updates),
		cmocka_unit_test(test_closes),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_their_damage),
		cmocka_unit_test(test_resumes_with_their_ticket),
		cmocka_unit_test(test_resumes_with_our_ticket),
		cmocka_unit_test(test_nothing_early),
	};
	if (argc > 1)
		expected_suite = strtoul(argv[1], NULL, 16);
	pair_mesh_init(&mesh);
	store = pair_mesh_store(&mesh, 1);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	tls_store_unref(store);
	pair_mesh_done(&mesh);
	return failed;
}
