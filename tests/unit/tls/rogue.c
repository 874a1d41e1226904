/* SPDX-License-Identifier: Apache-2.0 */
#include "rogue.h"

#include <openssl/digest.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#define ROGUE_ROUND_COUNT_MAX 500
#define ROGUE_PIECE_BYTES     4096

struct rogue_meeting {
	const struct rogue *rogue;
	struct pair pair; /* of which our end is used */
	int ours;
	SSL_CTX *side;
	SSL *ssl;
	BIO *in, *out;
	struct rogue_end end;
	bool hello_sent;
};

/* --- what the rogue signs --- */

static EVP_PKEY *rogue_key(const struct rogue_meeting *m)
{
	return m->rogue->trick == ROGUE_WRONG_KEY ? m->pair.mesh->leaf[PAIR_BILLING].key
						  : m->rogue->key;
}

static enum ssl_private_key_result_t rogue_on_sign(SSL *ssl, uint8_t *out, size_t *out_len,
	size_t max_out, uint16_t algorithm, const uint8_t *in, size_t in_len)
{
	struct rogue_meeting *m = SSL_get_app_data(ssl);
	EVP_PKEY *key = rogue_key(m);
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	EVP_PKEY_CTX *how;
	*out_len = max_out;
	if (m->rogue->trick == ROGUE_WRONG_BYTES)
		in_len--;
	bool ok = EVP_DigestSignInit(
		digest, &how, SSL_get_signature_algorithm_digest(algorithm), NULL, key);
	if (ok && EVP_PKEY_id(key) == EVP_PKEY_RSA)
		ok = EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) &&
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(how, -1);
	ok = ok && EVP_DigestSign(digest, out, out_len, in, in_len);
	EVP_MD_CTX_free(digest);
	if (m->rogue->trick == ROGUE_NO_SIGNATURE)
		memset(out, 'x', *out_len);
	return ok ? ssl_private_key_success : ssl_private_key_failure;
}

static enum ssl_private_key_result_t rogue_on_complete(
	SSL *ssl, uint8_t *out, size_t *out_len, size_t max_out)
{
	return ssl_private_key_failure;
}

static enum ssl_verify_result_t rogue_on_verify(SSL *ssl, uint8_t *out_alert)
{
	return ssl_verify_ok;
}

static void rogue_on_news(const SSL *ssl, int type, int value)
{
	struct rogue_meeting *m = SSL_get_app_data(ssl);
	if (type == SSL_CB_READ_ALERT && !m->end.alert && (value & 0xff) != SSL_AD_CLOSE_NOTIFY)
		m->end.alert = value & 0xff;
}

/* --- the two ends --- */

static void rogue_start_theirs(struct rogue_meeting *m)
{
	static const SSL_PRIVATE_KEY_METHOD method = {
		.sign = rogue_on_sign, .complete = rogue_on_complete};
	static const uint8_t scope[] = "rogue";
	const struct rogue *r = m->rogue;
	m->side = SSL_CTX_new(TLS_with_buffers_method());
	if (r->trick != ROGUE_NO_CERTIFICATE)
		ASSERT(SSL_CTX_set_chain_and_key(m->side, r->chain, r->chain_count, NULL, &method));
	if (r->trick == ROGUE_TLS_1_2)
		ASSERT(SSL_CTX_set_max_proto_version(m->side, TLS1_2_VERSION));
	SSL_CTX_set_custom_verify(m->side, SSL_VERIFY_PEER, rogue_on_verify);
	SSL_CTX_set_info_callback(m->side, rogue_on_news);
	ASSERT(SSL_CTX_set_session_id_context(m->side, scope, sizeof(scope)));
	m->ssl = SSL_new(m->side);
	SSL_set_app_data(m->ssl, m);
	m->in = BIO_new(BIO_s_mem());
	m->out = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(m->in, -1);
	SSL_set_bio(m->ssl, m->in, m->out);
	if (m->ours == PAIR_SERVER)
		SSL_set_connect_state(m->ssl);
	else
		SSL_set_accept_state(m->ssl);
}

static void rogue_start_ours(struct rogue_meeting *m, struct tls_store *store)
{
	struct pair_end *e = &m->pair.ends[m->ours];
	struct str ids[] = {str_of(pair_ids[PAIR_WEB])};
	struct tls_client_want want = pair_want();
	want.identity = str_of(pair_paths[PAIR_BILLING]);
	want.server_ids = ids;
	want.alpn = TLS_ALPN_NONE;
	e->tls = m->ours == PAIR_SERVER ? tls_server_new(store, &e->wire)
					: tls_client_new(store, NULL, &want, &e->wire);
	ASSERT(e->tls);
	e->result = TLS_MORE;
}

static void rogue_step_ours(struct rogue_meeting *m)
{
	struct pair_end *e = &m->pair.ends[m->ours];
	if (e->result == TLS_DONE || e->result == TLS_FAILED)
		return;
	e->result = tls_handshake(e->tls, m->rogue->wall_s);
	if (e->result == TLS_NAME)
		tls_server_choose(e->tls, m->pair.serve, 1u << TLS_ALPN_NONE);
	else if (e->result == TLS_SIGN)
		pair_sign(&m->pair, m->ours);
}

/* The first message goes in the clear, so that it can be changed. */
static void rogue_change_hello(struct rogue_meeting *m, uint8_t *bytes, size_t len)
{
	size_t at = 5 + 4 + 2 + 32; /* record, message, version, random */
	if (m->hello_sent || m->ours != PAIR_SERVER || len < 100)
		return;
	m->hello_sent = true;
	at += 1u + bytes[at];
	at += 2u + (size_t)(bytes[at] << 8 | bytes[at + 1]);
	if (m->rogue->trick == ROGUE_COMPRESSION)
		bytes[at + 1] = 1; /* DEFLATE in place of null */
	if (m->rogue->trick == ROGUE_CHANGED_HELLO)
		bytes[5 + 4 + 2] ^= 1;
}

static bool rogue_carry(struct rogue_meeting *m)
{
	struct pair_end *e = &m->pair.ends[m->ours];
	bool moved = buf_len(&e->wire) > 0;
	if (moved)
		BIO_write(m->in, buf_at(&e->wire), (int)buf_len(&e->wire));
	buf_clear(&e->wire);
	if (tls_input_left(e->tls) > 0 || e->result == TLS_FAILED || e->result == TLS_DONE)
		return moved;
	int n = BIO_read(m->out, e->input, ROGUE_PIECE_BYTES);
	if (n <= 0)
		return moved;
	rogue_change_hello(m, e->input, (size_t)n);
	m->end.bytes += (size_t)n;
	tls_input(e->tls, e->input, (size_t)n);
	return true;
}

struct rogue_end rogue_meet(
	const struct pair_mesh *mesh, struct tls_store *store, const struct rogue *rogue, int end)
{
	static struct rogue_meeting m;
	memset(&m, 0, sizeof(m));
	m.rogue = rogue;
	m.ours = !end;
	pair_init(&m.pair, mesh, TLS_WIRE_BYTES_MIN);
	rogue_start_theirs(&m);
	rogue_start_ours(&m, store);
	struct pair_end *e = &m.pair.ends[m.ours];
	for (int i = 0; i < ROGUE_ROUND_COUNT_MAX; i++) {
		uint8_t byte;
		if (SSL_do_handshake(m.ssl) == 1)
			(void)SSL_read(m.ssl, &byte, 1); /* the alert may come behind */
		enum tls_result before = e->result;
		rogue_step_ours(&m);
		bool moved = rogue_carry(&m);
		if (!moved && before == e->result && e->result != TLS_SIGN && i > 0)
			break;
	}
	m.end.failure = tls_failure(e->tls);
	m.end.done = e->result == TLS_DONE;
	SSL_free(m.ssl);
	SSL_CTX_free(m.side);
	pair_done(&m.pair);
	ERR_clear_error();
	return m.end;
}
