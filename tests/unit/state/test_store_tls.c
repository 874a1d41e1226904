/* SPDX-License-Identifier: Apache-2.0 */
/* A store over TLS: the library's own server at the far end of the simulated connection. Which
 * certificates pass is tried in the tls room; here, what becomes of it. */
#include "store_lab.h"

#include "unit/tls/certs.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROLE "*1\r\n$4\r\nROLE\r\n*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n"

static struct certs_pair root, stranger, by_address, by_name, own;

static int certs_setup(void **state)
{
	root = certs_make(&(struct certs_spec){.subject = "root", .ca = true});
	stranger = certs_make(&(struct certs_spec){.subject = "root", .ca = true});
	by_address = certs_make(
		&(struct certs_spec){.issuer = &root, .names = {{0x87, {"\x0a\0\0\x01", 4}}}});
	by_name = certs_make(&(struct certs_spec){
		.issuer = &root, .names = {{0x82, STR("redis.mesh.example")}}, .rsa_bits = 2048});
	own = certs_make(&(struct certs_spec){.issuer = &root, .names = {{0x82, STR("vm-a")}}});
	return 0;
}

static int certs_teardown(void **state)
{
	certs_done(&root);
	certs_done(&stranger);
	certs_done(&by_address);
	certs_done(&by_name);
	certs_done(&own);
	return 0;
}

/* --- the server --- */

struct far {
	SSL_CTX *side;
	SSL *ssl;
	BIO *in, *out;
	size_t taken; /* of what the store sent */
	char got[4096];
	size_t got_len;
};

static void far_init(struct far *f, const struct certs_pair *leaf)
{
	memset(f, 0, sizeof(*f));
	f->side = SSL_CTX_new(TLS_method());
	assert_true(SSL_CTX_use_certificate(f->side, leaf->certificate));
	assert_true(SSL_CTX_use_PrivateKey(f->side, leaf->key));
	f->ssl = SSL_new(f->side);
	f->in = BIO_new(BIO_s_mem());
	f->out = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(f->in, -1);
	SSL_set_bio(f->ssl, f->in, f->out);
	SSL_set_accept_state(f->ssl);
}

static void far_wants_certificate(struct far *f)
{
	assert_true(X509_STORE_add_cert(SSL_CTX_get_cert_store(f->side), root.certificate));
	X509_VERIFY_PARAM_set_time(SSL_get0_param(f->ssl), CERTS_NOW);
	SSL_set_verify(f->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

static void far_done(struct far *f)
{
	SSL_free(f->ssl);
	SSL_CTX_free(f->side);
	ERR_clear_error();
}

static bool far_carry(struct lab *lab, struct far *f)
{
	char bytes[4096];
	struct str got = fake_peer_received(lab_fd(lab));
	bool moved = got.len > f->taken;
	if (moved)
		BIO_write(f->in, got.at + f->taken, (int)(got.len - f->taken));
	f->taken = got.len;
	int n = SSL_read(f->ssl, f->got + f->got_len, (int)(sizeof(f->got) - f->got_len));
	f->got_len += n > 0 ? (size_t)n : 0;
	while ((n = BIO_read(f->out, bytes, sizeof(bytes))) > 0) {
		fake_peer_send(lab_fd(lab), bytes, (size_t)n);
		moved = true;
	}
	lab_pump(lab);
	return moved;
}

static void far_run(struct lab *lab, struct far *f)
{
	lab_pump(lab);
	while (far_carry(lab, f))
		;
}

static void far_say(struct lab *lab, struct far *f, const char *text)
{
	assert_int_equal(SSL_write(f->ssl, text, (int)strlen(text)), strlen(text));
	far_run(lab, f);
}

static void far_expect(struct far *f, const char *text)
{
	assert_true(str_eq((struct str){f->got, f->got_len}, str_of(text)));
	f->got_len = 0;
}

/* --- the store --- */

static struct tls_store *lab_tls(X509 *authority, bool with_own)
{
	struct bundle b;
	struct err err;
	struct tls_store *s = NULL;
	char *roots = certs_pem((X509 *[]){authority, NULL});
	char *chain = certs_pem((X509 *[]){own.certificate, NULL});
	bundle_init(&b);
	assert_int_equal(bundle_add(&b, STR("pki"), STR("roots"), str_of(roots), &err), 0);
	if (with_own) {
		assert_int_equal(bundle_add(&b, STR("pki"), STR("chain"), str_of(chain), &err), 0);
		assert_int_equal(bundle_add(&b, STR("pki-key"), STR("store"), STR("7"), &err), 0);
	}
	assert_int_equal(tls_store_new_pki(&b, &s, &err), 0);
	bundle_done(&b);
	free(roots);
	free(chain);
	return s;
}

static void lab_init_tls(struct lab *lab, X509 *authority, bool with_own)
{
	lab_init(lab);
	fake_set_wall(CERTS_NOW * CLOCK_S);
	lab->settings.tls = lab_tls(authority, with_own);
}

static void lab_done_tls(struct lab *lab, struct far *f)
{
	lab_done(lab);
	tls_store_unref(lab->settings.tls);
	far_done(f);
}

static void lab_ready_tls(struct lab *lab, struct far *f)
{
	far_run(lab, f);
	far_expect(f, ROLE);
	far_say(lab, f, LAB_MASTER LAB_INFO);
	assert_int_equal(store_state(lab->store), STORE_READY);
}

static void test_ready_by_address(void **state)
{
	struct lab lab;
	static struct far f;
	far_init(&f, &by_address);
	lab_init_tls(&lab, root.certificate, false);
	lab_start(&lab);
	lab_ready_tls(&lab, &f);
	assert_null(SSL_get_servername(f.ssl, TLSEXT_NAMETYPE_host_name));
	assert_true(store_say(lab.store, 1, "GET", "a", NULL));
	far_run(&lab, &f);
	far_say(&lab, &f, "+O");
	far_say(&lab, &f, "K\r\n");
	lab_answer(&lab, 1, STORE_OK, "OK");
	/* The server ends it as TLS wants. */
	SSL_shutdown(f.ssl);
	far_run(&lab, &f);
	lab_why(&lab, "10.0.0.1:6379: the server closed the connection");
	lab_done_tls(&lab, &f);
}

static void test_ready_by_name(void **state)
{
	struct lab lab;
	static struct far f;
	far_init(&f, &by_name);
	lab_init_tls(&lab, root.certificate, false);
	lab.settings.tls_name = STR("redis.mesh.example");
	lab_start(&lab);
	lab_ready_tls(&lab, &f);
	assert_string_equal(
		SSL_get_servername(f.ssl, TLSEXT_NAMETYPE_host_name), "redis.mesh.example");
	/* Without a word, as who cuts a line does it. */
	fake_peer_close(lab_fd(&lab));
	lab_pump(&lab);
	lab_why(&lab, "TLS: the connection was cut");
	lab_done_tls(&lab, &f);
}

static void test_nothing_is_said_to_a_wrong_server(void **state)
{
	struct lab lab;
	static struct far f;
	far_init(&f, &by_name);
	lab_init_tls(&lab, root.certificate, false);
	lab.settings.password = STR("secret");
	lab_start(&lab);
	far_run(&lab, &f);
	assert_int_equal(store_state(lab.store), STORE_DOWN);
	lab_why(&lab, "10.0.0.1:6379: TLS: the server's certificate is for another name "
		      "(DNS:redis.mesh.example): see state.tls_name");
	assert_int_equal(f.got_len, 0);
	lab_done_tls(&lab, &f);

	far_init(&f, &by_address);
	lab_init_tls(&lab, stranger.certificate, false);
	lab_start(&lab);
	far_run(&lab, &f);
	lab_why(&lab, "not of an authority of state.tls_ca");
	assert_int_equal(f.got_len, 0);
	lab_done_tls(&lab, &f);

	far_init(&f, &by_address);
	lab_init_tls(&lab, root.certificate, false);
	fake_set_wall((CERTS_NOW + 4000) * CLOCK_S);
	lab_start(&lab);
	far_run(&lab, &f);
	lab_why(&lab, "TLS: a certificate of the chain has expired");
	lab_done_tls(&lab, &f);
}

static void test_server_without_tls_1_3(void **state)
{
	struct lab lab;
	static struct far f;
	far_init(&f, &by_address);
	assert_true(SSL_set_max_proto_version(f.ssl, TLS1_2_VERSION));
	lab_init_tls(&lab, root.certificate, false);
	lab_start(&lab);
	far_run(&lab, &f);
	lab_why(&lab, "TLS: the server offers no TLS 1.3");
	lab_done_tls(&lab, &f);
}

static void test_server_without_tls(void **state)
{
	struct lab lab;
	static struct far f;
	far_init(&f, &by_address);
	lab_init_tls(&lab, root.certificate, false);
	lab_start(&lab);
	lab_say(&lab, "-ERR unknown command\r\n");
	lab_why(&lab, "TLS: the server does not speak TLS 1.3 on this port");
	lab_done_tls(&lab, &f);

	far_init(&f, &by_address);
	lab_init_tls(&lab, root.certificate, false);
	lab_start(&lab);
	fake_peer_shutdown(lab_fd(&lab));
	lab_pump(&lab);
	lab_why(&lab, "TLS: the server closed the connection: does it speak TLS 1.3 on this port?");
	lab_done_tls(&lab, &f);

	far_init(&f, &by_address);
	lab_init_tls(&lab, root.certificate, false);
	lab_start(&lab);
	lab_run_ms(&lab, LAB_TIMEOUT_MS);
	lab_why(&lab, "TLS: no end of the handshake within 1000 ms");
	lab_done_tls(&lab, &f);
}

/* --- our own certificate --- */

static struct tls_key *lab_key(const struct tls_store *s)
{
	struct err err;
	struct tls_key *key = NULL;
	const uint8_t *bytes;
	size_t len;
	BIO *text = BIO_new(BIO_s_mem());
	assert_true(PEM_write_bio_PrivateKey(text, own.key, NULL, NULL, 0, NULL, NULL));
	assert_true(BIO_mem_contents(text, &bytes, &len));
	assert_int_equal(tls_key_new((struct str){(const char *)bytes, len}, s, &key, &err), 0);
	BIO_free(text);
	return key;
}

static void test_certificate_that_is_wanted_and_not_there(void **state)
{
	struct lab lab;
	static struct far f;
	far_init(&f, &by_address);
	far_wants_certificate(&f);
	lab_init_tls(&lab, root.certificate, false);
	lab_start(&lab);
	far_run(&lab, &f);
	lab_why(&lab, "TLS: the server wants a certificate of ours: set state.tls_certificate");
	lab_done_tls(&lab, &f);
}

static void test_key_in_hand(void **state)
{
	struct lab lab;
	static struct far f;
	far_init(&f, &by_address);
	far_wants_certificate(&f);
	lab_init_tls(&lab, root.certificate, true);
	struct tls_key *key = lab_key(lab.settings.tls);
	lab.settings.tls_key = key;
	lab_start(&lab);
	lab_ready_tls(&lab, &f);
	lab_done_tls(&lab, &f);
	tls_key_free(key);
}

/* The owner is asked once, and brings the signature whenever it has it. */
static void test_key_of_the_keeper(void **state)
{
	struct lab lab;
	static struct far f;
	struct store_sign sign, again;
	uint8_t signature[TLS_SIGNATURE_MAX];
	far_init(&f, &by_address);
	far_wants_certificate(&f);
	lab_init_tls(&lab, root.certificate, true);
	struct tls_key *key = lab_key(lab.settings.tls);
	lab_start(&lab);
	assert_false(store_sign(lab.store, &sign));
	uint32_t news = lab.news;
	far_run(&lab, &f);
	assert_true(lab.news > news);
	assert_true(store_sign(lab.store, &sign));
	assert_false(store_sign(lab.store, &again));
	assert_int_equal(sign.request->key_number, 7);
	size_t len = tls_key_sign(key, sign.request, signature);
	lab_run_ms(&lab, LAB_TIMEOUT_MS / 2);
	store_sign_done(lab.store, sign.number + 1, signature, len); /* no such question */
	far_run(&lab, &f);
	assert_int_equal(store_state(lab.store), STORE_CONNECTING);
	store_sign_done(lab.store, sign.number, signature, len);
	store_sign_done(lab.store, sign.number, signature, len);
	lab_ready_tls(&lab, &f);
	lab_done_tls(&lab, &f);
	tls_key_free(key);
}

static void test_key_that_does_not_answer(void **state)
{
	struct lab lab;
	static struct far f;
	struct store_sign sign;
	far_init(&f, &by_address);
	far_wants_certificate(&f);
	lab_init_tls(&lab, root.certificate, true);
	lab_start(&lab);
	far_run(&lab, &f);
	assert_true(store_sign(lab.store, &sign));
	lab_run_ms(&lab, LAB_TIMEOUT_MS);
	lab_why(&lab, "TLS: no signature of our own key within 1000 ms");
	store_sign_done(lab.store, sign.number, NULL, 0); /* too late: no effect */
	assert_false(store_sign(lab.store, &sign));
	lab_done_tls(&lab, &f);
}

static void test_key_that_refuses(void **state)
{
	struct lab lab;
	static struct far f;
	struct store_sign sign;
	far_init(&f, &by_address);
	far_wants_certificate(&f);
	lab_init_tls(&lab, root.certificate, true);
	lab_start(&lab);
	far_run(&lab, &f);
	assert_true(store_sign(lab.store, &sign));
	store_sign_done(lab.store, sign.number, NULL, 0);
	lab_pump(&lab);
	lab_why(&lab, "TLS: our own key could not sign");
	lab_done_tls(&lab, &f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ready_by_address),
		cmocka_unit_test(test_ready_by_name),
		cmocka_unit_test(test_nothing_is_said_to_a_wrong_server),
		cmocka_unit_test(test_server_without_tls_1_3),
		cmocka_unit_test(test_server_without_tls),
		cmocka_unit_test(test_certificate_that_is_wanted_and_not_there),
		cmocka_unit_test(test_key_in_hand),
		cmocka_unit_test(test_key_of_the_keeper),
		cmocka_unit_test(test_key_that_does_not_answer),
		cmocka_unit_test(test_key_that_refuses),
	};
	return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
