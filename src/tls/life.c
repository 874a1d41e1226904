/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of sessions, and the end of all of them. */
#include "bio.h"
#include "handshake.h"
#include "message.h"
#include "pki.h"
#include <stdlib.h>

static struct tls *handshake_new(struct tls_store *s, SSL_CTX *side, struct buf *wire_out)
{
	ASSERT(wire_out->pool->block_bytes >= TLS_WIRE_BYTES_MIN);
	struct tls *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->store = tls_store_ref(s);
	t->wire_out = wire_out;
	buf_init(&t->carry, wire_out->pool);
	t->records_left = TLS_RECORDS_PER_KEY;
	t->setup = calloc(1, sizeof(*t->setup));
	t->ssl = SSL_new(side);
	BIO *bio = bio_new(s->wire, t);
	if (!t->setup || !t->ssl || !bio) {
		BIO_free(bio);
		tls_free(t);
		return NULL;
	}
	SSL_set_bio(t->ssl, bio, bio);
	SSL_set_app_data(t->ssl, t);
	SSL_set_shed_handshake_config(t->ssl, 1);
	return t;
}

static bool handshake_copy_ids(struct handshake_setup *setup, const struct tls_client_want *want)
{
	size_t bytes = want->server_id_count * sizeof(struct str);
	for (size_t i = 0; i < want->server_id_count; i++)
		bytes += want->server_ids[i].len;
	setup->server_ids = malloc(bytes + 1);
	if (!setup->server_ids)
		return false;
	setup->server_id_count = want->server_id_count;
	char *at = (char *)(setup->server_ids + want->server_id_count);
	for (size_t i = 0; i < want->server_id_count; i++) {
		struct str id = want->server_ids[i];
		if (id.len > 0)
			memcpy(at, id.at, id.len);
		setup->server_ids[i] = (struct str){at, id.len};
		at += id.len;
	}
	return true;
}

struct tls *tls_client_new(struct tls_store *s, struct tls_sessions *sessions,
	const struct tls_client_want *want, struct buf *wire_out)
{
	struct tls *t = handshake_new(s, s->client, wire_out);
	if (!t)
		return NULL;
	t->sessions = s->resume_nothing ? NULL : sessions;
	t->session_key = sessions_key_of(s, want);
	SSL_set_connect_state(t->ssl);
	const struct tls_identity *identity = store_identity(s, want->identity);
	if (!identity) {
		tls_fail(t, TLS_FAILURE_NO_IDENTITY);
		tls_move(t, TLS_STATE_FAILED);
		return t;
	}
	if (!handshake_copy_ids(t->setup, want) || !handshake_offer(t, want) ||
		!handshake_present(t, identity)) {
		tls_free(t);
		return NULL;
	}
	return t;
}

/* What a server with a DNS name or an address is called. */
static bool life_call(struct tls *t, struct str host)
{
	t->setup->host = strndup(host.at, host.len);
	t->server_name = pki_is_address(host) ? strdup("") : strndup(host.at, host.len);
	return t->setup->host && t->server_name &&
	       (!t->server_name[0] || SSL_set_tlsext_host_name(t->ssl, t->server_name));
}

struct tls *tls_client_new_pki(struct tls_store *s, struct str host, struct buf *wire_out)
{
	ASSERT(s->kind == STORE_PKI);
	struct tls *t = handshake_new(s, s->client, wire_out);
	if (!t)
		return NULL;
	SSL_set_connect_state(t->ssl);
	if (!life_call(t, host) ||
		(s->identity_count > 0 && !handshake_present(t, &s->identities[0]))) {
		tls_free(t);
		return NULL;
	}
	return t;
}

/* Servers outside may be old: TLS 1.2 will do, with keys that nobody gets later and nothing but
 * AEADs, and with signatures and curves that only the servers of that time still want. */
static bool life_allow_old(SSL *ssl)
{
	static const char suites[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
				     "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
				     "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
	static const int groups[] = {NID_X25519, NID_X9_62_prime256v1, NID_secp384r1};
	static const uint16_t algorithms[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256,
		SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA256,
		SSL_SIGN_RSA_PSS_RSAE_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA512,
		SSL_SIGN_RSA_PKCS1_SHA256, SSL_SIGN_RSA_PKCS1_SHA384, SSL_SIGN_RSA_PKCS1_SHA512};
	return SSL_set_min_proto_version(ssl, TLS1_2_VERSION) &&
	       SSL_set_strict_cipher_list(ssl, suites) &&
	       SSL_set1_curves(ssl, groups, ARRAY_LEN(groups)) &&
	       SSL_set_verify_algorithm_prefs(ssl, algorithms, ARRAY_LEN(algorithms));
}

struct tls *tls_client_new_outside(
	struct tls_store *s, struct str host, enum tls_alpn alpn, struct buf *wire_out)
{
	struct tls *t = tls_client_new_pki(s, host, wire_out);
	if (!t)
		return NULL;
	t->setup->is_outside = true;
	if (life_allow_old(t->ssl) && handshake_offer_alpn(t, alpn, TLS_ALPN_NONE))
		return t;
	tls_free(t);
	return NULL;
}

/* A client that takes any certificate. */
static struct tls *life_provisional(struct buf *wire_out)
{
	struct tls_store *s = store_alloc(STORE_PROVISIONAL, STR(""), 0, NULL);
	struct tls *t = s ? handshake_new(s, s->client, wire_out) : NULL;
	tls_store_unref(s); /* the session's from here on */
	if (t)
		SSL_set_connect_state(t->ssl);
	return t;
}

struct tls *tls_client_new_provisional(struct str host, struct buf *wire_out)
{
	struct tls *t = life_provisional(wire_out);
	if (!t || life_call(t, host))
		return t;
	tls_free(t);
	return NULL;
}

struct tls *tls_client_new_check(struct str server_name, struct buf *wire_out)
{
	const struct tls_client_want want = {.server_name = server_name, .alpn = TLS_ALPN_CHECK};
	struct tls *t = life_provisional(wire_out);
	if (!t || handshake_offer(t, &want))
		return t;
	tls_free(t);
	return NULL;
}

struct str tls_refused_names(const struct tls *t)
{
	return t->setup ? str_of(t->setup->refused_names) : STR_NONE;
}

struct tls *tls_server_new(struct tls_store *s, struct buf *wire_out)
{
	struct tls *t = handshake_new(s, s->server, wire_out);
	if (!t)
		return NULL;
	t->server = true;
	SSL_set_accept_state(t->ssl);
	return t;
}

struct tls *tls_server_new_est(struct tls_store *s, struct buf *wire_out)
{
	ASSERT(s->kind == STORE_EST);
	struct tls *t = tls_server_new(s, wire_out);
	if (!t)
		return NULL;
	SSL_set_verify(t->ssl, SSL_VERIFY_PEER, NULL); /* and go on without one */
	t->setup->alpn_mask = 1u << TLS_ALPN_NONE | 1u << TLS_ALPN_HTTP1;
	if (handshake_present(t, &s->identities[0]))
		return t;
	tls_free(t);
	return NULL;
}

void handshake_setup_free(struct tls *t)
{
	if (t->setup) {
		free(t->setup->server_ids);
		free(t->setup->host);
		free(t->setup->refused_names);
	}
	free(t->setup);
	t->setup = NULL;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	handshake_let_go(t);
	free(t->ticket);
	handshake_setup_free(t);
	message_free(t);
	buf_clear(&t->carry);
	record_key_wipe(&t->reading);
	record_key_wipe(&t->writing);
	sk_CRYPTO_BUFFER_pop_free(t->chain, CRYPTO_BUFFER_free);
	free(t->server_name);
	free(t->peer.id);
	free(t->peer_serial);
	tls_store_unref(t->store);
	free(t);
}
