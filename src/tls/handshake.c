/* SPDX-License-Identifier: Apache-2.0 */
/* A session up to the end of its handshake. BoringSSL runs the handshake; wherever it needs an
 * answer from outside (the name's identity, a signature), its callback notes the question, the
 * handshake pauses, and tls_handshake() returns the question to the caller.
 *
 * Then the records are ours (record.h), from secrets that the library tells. It has read no record
 * after the peer's Finished, and written none but a server's ticket; from there on it has no way to
 * the wire, for two that seal under one key would repeat a nonce. */
#include "handshake.h"

#include "message.h"
#include "pki.h"
#include "record_12.h"
#include "secrets.h"
#include "signing.h"
#include <openssl/err.h>
#include <openssl/mem.h>
#include <stdlib.h>

struct handshake_protocol {
	enum tls_alpn alpn;
	struct str name;
};

/* In the order of enum tls_alpn. */
static const struct handshake_protocol handshake_protocols[] = {
	{TLS_ALPN_TCP, {"ringmain-tcp/1", 14}},
	{TLS_ALPN_HTTP1, {"http/1.1", 8}},
	{TLS_ALPN_CHANNELS, {"ringmain-channels/1", 19}},
	{TLS_ALPN_CHECK, {"ringmain-check/1", 16}},
};

/* --- state --- */

static bool tls_may_move(enum tls_state from, enum tls_state to)
{
	switch (from) {
	case TLS_STATE_HELLO:
		return to == TLS_STATE_NAME || to == TLS_STATE_HANDSHAKE;
	case TLS_STATE_NAME:
	case TLS_STATE_SIGN:
		return to == TLS_STATE_HANDSHAKE;
	case TLS_STATE_HANDSHAKE:
		return to == TLS_STATE_SIGN || to == TLS_STATE_OPEN;
	case TLS_STATE_OPEN:
		return to == TLS_STATE_CLOSED;
	case TLS_STATE_CLOSED:
	case TLS_STATE_FAILED:
		return false;
	}
	return false;
}

void tls_move(struct tls *t, enum tls_state to)
{
	ASSERT(to == TLS_STATE_FAILED || tls_may_move(t->state, to));
	t->state = to;
}

void tls_fail(struct tls *t, enum tls_failure failure)
{
	if (t->failure == TLS_FAILURE_NONE)
		t->failure = failure;
}

static enum tls_failure handshake_reason(struct tls *t)
{
	uint32_t error = ERR_peek_error();
	int library = ERR_GET_LIB(error), reason = ERR_GET_REASON(error);
	bool is_outside = t->setup && t->setup->is_outside;
	if (error == 0)
		return TLS_FAILURE_CLOSED;
	if (reason == ERR_R_MALLOC_FAILURE)
		return TLS_FAILURE_MEMORY;
	/* A public key that the library cannot even read: an old curve, an unknown kind. */
	if (library == ERR_LIB_EC || library == ERR_LIB_EVP)
		return TLS_FAILURE_WEAK;
	if (library != ERR_LIB_SSL)
		return TLS_FAILURE_PROTOCOL;
	if (reason >= SSL_AD_REASON_OFFSET) {
		t->peer_alert = (uint8_t)(reason - SSL_AD_REASON_OFFSET);
		return is_outside && t->peer_alert == SSL_AD_PROTOCOL_VERSION ? TLS_FAILURE_VERSION
									      : TLS_FAILURE_ALERT;
	}
	switch (reason) {
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return TLS_FAILURE_NO_CERTIFICATE;
	case SSL_R_KEY_USAGE_BIT_INCORRECT:
		return TLS_FAILURE_KEY_USAGE;
	case SSL_R_NO_APPLICATION_PROTOCOL:
		return TLS_FAILURE_ALPN;
	case SSL_R_UNSUPPORTED_PROTOCOL:
		return is_outside ? TLS_FAILURE_VERSION : TLS_FAILURE_PROTOCOL;
	case SSL_R_EXCESSIVE_MESSAGE_SIZE:
		return t->identity ? TLS_FAILURE_CHAIN_LENGTH : TLS_FAILURE_PROTOCOL;
	case SSL_R_CANNOT_PARSE_LEAF_CERT:
		return TLS_FAILURE_CHAIN;
	default:
		return TLS_FAILURE_PROTOCOL;
	}
}

enum tls_result tls_result_of(struct tls *t, int r)
{
	switch (SSL_get_error(t->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		return TLS_MORE;
	case SSL_ERROR_WANT_WRITE:
		return TLS_FULL;
	case SSL_ERROR_ZERO_RETURN:
		if (t->state == TLS_STATE_OPEN) {
			tls_move(t, TLS_STATE_CLOSED);
			return TLS_CLOSED;
		}
		tls_fail(t, TLS_FAILURE_CLOSED);
		break;
	case SSL_ERROR_PENDING_CERTIFICATE:
		tls_move(t, TLS_STATE_NAME);
		return TLS_NAME;
	case SSL_ERROR_WANT_PRIVATE_KEY_OPERATION:
		tls_move(t, TLS_STATE_SIGN);
		return TLS_SIGN;
	default:
		tls_fail(t, handshake_reason(t));
		break;
	}
	ERR_clear_error();
	tls_move(t, TLS_STATE_FAILED);
	return TLS_FAILED;
}

/* Fails for a reason of our own, with its alert. */
static enum tls_result handshake_refuse(struct tls *t, enum tls_failure failure)
{
	tls_fail(t, failure);
	SSL_send_fatal_alert(t->ssl, verify_alert(t->failure));
	ERR_clear_error();
	tls_move(t, TLS_STATE_FAILED);
	return TLS_FAILED;
}

/* --- BoringSSL's questions --- */

bool handshake_present(struct tls *t, const struct tls_identity *identity)
{
	t->identity = identity;
	return signing_install(t->ssl, identity) &&
	       SSL_set_session_id_context(t->ssl, identity->scope, sizeof(identity->scope));
}

static bool handshake_read_hello(struct tls *t, const SSL_CLIENT_HELLO *hello)
{
	const char *name = SSL_get_servername(hello->ssl, TLSEXT_NAMETYPE_host_name);
	const uint8_t *protocols;
	size_t len;
	t->setup->alpn_offered = SSL_early_callback_ctx_extension_get(
		hello, TLSEXT_TYPE_application_layer_protocol_negotiation, &protocols, &len);
	t->server_name = strdup(name ? name : "");
	return t->server_name;
}

static enum ssl_select_cert_result_t handshake_on_hello(const SSL_CLIENT_HELLO *hello)
{
	struct tls *t = SSL_get_app_data(hello->ssl);
	if (!t->server_name && !handshake_read_hello(t, hello)) {
		tls_fail(t, TLS_FAILURE_MEMORY);
		return ssl_select_cert_error;
	}
	return t->identity ? ssl_select_cert_success : ssl_select_cert_retry;
}

static enum tls_alpn handshake_protocol_of(const uint8_t *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(handshake_protocols); i++) {
		if (str_eq(handshake_protocols[i].name, (struct str){(const char *)name, len}))
			return handshake_protocols[i].alpn;
	}
	return TLS_ALPN_NONE;
}

static size_t handshake_offer_one(enum tls_alpn alpn, uint8_t *ret_offer)
{
	if (alpn == TLS_ALPN_NONE)
		return 0;
	struct str name = handshake_protocols[alpn - 1].name;
	ret_offer[0] = (uint8_t)name.len;
	memcpy(ret_offer + 1, name.at, name.len);
	return name.len + 1;
}

bool handshake_offer(struct tls *t, const struct tls_client_want *want)
{
	t->server_name = want->server_name.len > 0
				 ? strndup(want->server_name.at, want->server_name.len)
				 : strdup("");
	if (!t->server_name)
		return false;
	if (t->server_name[0] && !SSL_set_tlsext_host_name(t->ssl, t->server_name))
		return false;
	return handshake_offer_alpn(t, want->alpn, want->alpn_other);
}

bool handshake_offer_alpn(struct tls *t, enum tls_alpn alpn, enum tls_alpn other)
{
	t->alpn = alpn;
	t->setup->alpn_other = other;
	if (alpn == TLS_ALPN_NONE)
		return true;
	uint8_t offer[64];
	size_t len = handshake_offer_one(alpn, offer);
	len += handshake_offer_one(other, offer + len);
	return SSL_set_alpn_protos(t->ssl, offer, (unsigned)len) == 0;
}

static int handshake_on_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_len, const uint8_t *in,
	unsigned in_len, void *unused)
{
	struct tls *t = SSL_get_app_data(ssl);
	for (unsigned at = 0; at < in_len; at += 1u + in[at]) {
		enum tls_alpn alpn = handshake_protocol_of(in + at + 1, in[at]);
		if (alpn == TLS_ALPN_NONE || !(t->setup->alpn_mask & (1u << alpn)))
			continue;
		*out = in + at + 1;
		*out_len = in[at];
		t->alpn = alpn;
		return SSL_TLSEXT_ERR_OK;
	}
	tls_fail(t, TLS_FAILURE_ALPN);
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Is the server one that the client may talk to? */
static enum tls_failure handshake_expected(const struct tls *t)
{
	if (t->server)
		return TLS_FAILURE_NONE;
	for (size_t i = 0; i < t->setup->server_id_count; i++) {
		if (str_eq(t->setup->server_ids[i], str_of(t->peer.id)))
			return TLS_FAILURE_NONE;
	}
	return TLS_FAILURE_UNEXPECTED_ID;
}

/* Of a machine or an authority. */
static enum tls_failure handshake_keep_serial(struct tls *t, const STACK_OF(CRYPTO_BUFFER) * chain)
{
	char serial[STORE_SERIAL_BYTES];
	X509 *leaf = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, 0));
	if (!leaf)
		return TLS_FAILURE_CHAIN;
	store_serial(leaf, serial);
	X509_free(leaf);
	t->peer_serial = strdup(serial);
	return t->peer_serial ? TLS_FAILURE_NONE : TLS_FAILURE_MEMORY;
}

static enum tls_failure handshake_judge(struct tls *t, const STACK_OF(CRYPTO_BUFFER) * chain)
{
	struct handshake_setup *setup = t->setup;
	enum tls_failure failure = TLS_FAILURE_NONE;
	switch (t->store->kind) {
	case STORE_MESH:
		failure = verify_chain(t->store, chain, setup->wall_s, &t->peer);
		return failure ? failure : handshake_expected(t);
	case STORE_PKI:
		failure = pki_verify(
			t->store, chain, str_of(setup->host), setup->wall_s, &setup->refused_names);
		t->peer.valid_from_s = INT64_MIN;
		t->peer.valid_until_s = INT64_MAX;
		break;
	case STORE_EST:
		failure = verify_shown(t->store, chain, setup->wall_s, &t->peer, &t->shown);
		break;
	case STORE_PROVISIONAL:
		break;
	}
	return failure ? failure : handshake_keep_serial(t, chain);
}

static enum ssl_verify_result_t handshake_on_verify(SSL *ssl, uint8_t *out_alert)
{
	struct tls *t = SSL_get_app_data(ssl);
	enum tls_failure failure = handshake_judge(t, SSL_get0_peer_certificates(ssl));
	/* Whatever was tried in vain on the way would turn the next pause into an error. */
	ERR_clear_error();
	if (!failure)
		return ssl_verify_ok;
	tls_fail(t, failure);
	*out_alert = verify_alert(failure);
	return ssl_verify_invalid;
}

void handshake_keep_ticket(struct tls *t, SSL_SESSION *session)
{
	struct sessions_entry entry = {session, t->peer.valid_from_s, t->peer.valid_until_s};
	sessions_put(t->sessions, t->store, &t->session_key, entry);
}

void handshake_install_client(SSL_CTX *client)
{
	SSL_CTX_set_custom_verify(client, SSL_VERIFY_PEER, handshake_on_verify);
	SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_OFF);
}

void handshake_install_server(SSL_CTX *server)
{
	SSL_CTX_set_custom_verify(
		server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, handshake_on_verify);
	SSL_CTX_set_select_certificate_cb(server, handshake_on_hello);
	SSL_CTX_set_alpn_select_cb(server, handshake_on_alpn, NULL);
	SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
}

/* --- the handshake --- */

void tls_server_choose(struct tls *t, struct str identity, uint32_t alpn_mask)
{
	ASSERT(t->state == TLS_STATE_NAME);
	tls_move(t, TLS_STATE_HANDSHAKE);
	const struct tls_identity *chosen = identity.at ? store_identity(t->store, identity) : NULL;
	t->setup->alpn_mask = alpn_mask;
	if (!identity.at)
		tls_fail(t, TLS_FAILURE_UNKNOWN_NAME);
	else if (!chosen)
		tls_fail(t, TLS_FAILURE_NO_IDENTITY);
	else if (!t->setup->alpn_offered && !(alpn_mask & (1u << TLS_ALPN_NONE)))
		tls_fail(t, TLS_FAILURE_ALPN);
	else if (!handshake_present(t, chosen))
		tls_fail(t, TLS_FAILURE_MEMORY);
}

/* A client offers the session that it has, now that the time is known. */
static void handshake_resume(struct tls *t)
{
	if (!t->sessions)
		return;
	struct sessions_entry entry =
		sessions_take(t->sessions, t->store, &t->session_key, t->setup->wall_s);
	if (!entry.session)
		return;
	t->peer.valid_from_s = entry.valid_from_s;
	t->peer.valid_until_s = entry.valid_until_s;
	SSL_set_session(t->ssl, entry.session);
	SSL_SESSION_free(entry.session);
}

/* Identity and dates of a resumed session's peer: no Certificate message came this time. */
static enum tls_failure handshake_check_resumed(struct tls *t)
{
	enum tls_failure failure = verify_again(
		t->store, SSL_get0_peer_certificates(t->ssl), t->setup->wall_s, &t->peer);
	return failure ? failure : handshake_expected(t);
}

/* --- from the library's records to ours --- */

void handshake_let_go(struct tls *t)
{
	SSL_free(t->ssl);
	t->ssl = NULL;
}

static bool handshake_take_chain(struct tls *t)
{
	const STACK_OF(CRYPTO_BUFFER) *chain = SSL_get0_peer_certificates(t->ssl);
	t->chain = sk_CRYPTO_BUFFER_new_null();
	for (size_t i = 0; t->chain && i < sk_CRYPTO_BUFFER_num(chain); i++) {
		CRYPTO_BUFFER *certificate = sk_CRYPTO_BUFFER_value(chain, i);
		if (!sk_CRYPTO_BUFFER_push(t->chain, certificate))
			return false;
		CRYPTO_BUFFER_up_ref(certificate);
	}
	return t->chain;
}

/* A client's of TLS 1.2, whose keys do not change: what AES-GCM allows of one is beyond what a
 * connection can send. */
static bool handshake_take_keys_12(struct tls *t, uint16_t suite)
{
	uint8_t block[RECORD_12_BLOCK_BYTES_MAX];
	size_t len = SSL_get_key_block_len(t->ssl);
	bool ok = !t->server && len <= sizeof(block) &&
		  SSL_generate_key_block(t->ssl, block, len) &&
		  record_12_keys(&t->writing, &t->reading, suite, block, len);
	OPENSSL_cleanse(block, sizeof(block));
	t->reading.number = SSL_get_read_sequence(t->ssl);
	t->writing.number = SSL_get_write_sequence(t->ssl);
	t->records_left = UINT32_MAX;
	return ok;
}

static bool handshake_take_keys(struct tls *t)
{
	struct secrets secrets;
	uint16_t suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(t->ssl));
	if (SSL_version(t->ssl) == TLS1_2_VERSION)
		return handshake_take_keys_12(t, suite);
	bool ok = secrets_of(t->ssl, &secrets) &&
		  record_key_init(&t->reading, suite, secrets.read, secrets.len,
			  SSL_get_read_sequence(t->ssl)) &&
		  record_key_init(&t->writing, suite, secrets.write, secrets.len,
			  SSL_get_write_sequence(t->ssl));
	OPENSSL_cleanse(&secrets, sizeof(secrets));
	return ok;
}

static bool handshake_add_ticket(struct tls *t, struct buf *bytes)
{
	uint8_t *longer = realloc(t->ticket, t->ticket_len + buf_len(bytes));
	if (!longer)
		return false;
	memcpy(longer + t->ticket_len, buf_at(bytes), buf_len(bytes));
	t->ticket = longer;
	t->ticket_len += buf_len(bytes);
	buf_clear(bytes);
	return true;
}

/* A server's ticket stands in the library's queue, and is to leave with the first bytes: a packet
 * of its own would wake the client for nothing else. It is kept sealed, which is much less to hold
 * than the library's session. */
static bool handshake_take_ticket(struct tls *t)
{
	struct buf bytes, *wire_out = t->wire_out;
	bool ok = true;
	int r;
	buf_init(&bytes, wire_out->pool);
	t->wire_out = &bytes;
	do {
		ERR_clear_error();
		r = SSL_write(t->ssl, "", 0); /* makes no record, flushes the queue */
		if (buf_len(&bytes) > 0)
			ok = handshake_add_ticket(t, &bytes);
		else
			ok = r >= 0;
	} while (ok && r < 0);
	t->wire_out = wire_out;
	buf_clear(&bytes);
	t->writing.number = SSL_get_write_sequence(t->ssl);
	return ok;
}

bool handshake_send_ticket(struct tls *t)
{
	if (t->ticket)
		t->ticket_start += buf_fill(
			t->wire_out, t->ticket + t->ticket_start, t->ticket_len - t->ticket_start);
	if (t->ticket_start < t->ticket_len)
		return false;
	free(t->ticket);
	t->ticket = NULL;
	t->ticket_start = t->ticket_len = 0;
	return true;
}

/* The library has no way to the wire from here on; a client still wants its opinion of the ticket
 * that will come. */
static void handshake_part(struct tls *t)
{
	SSL_set_bio(t->ssl, NULL, NULL);
	if (t->server || !t->sessions)
		handshake_let_go(t);
}

static enum tls_result handshake_finish(struct tls *t)
{
	const uint8_t *name;
	unsigned len;
	SSL_get0_alpn_selected(t->ssl, &name, &len);
	enum tls_alpn alpn = handshake_protocol_of(name, len);
	bool is_enough =
		alpn == TLS_ALPN_NONE ? t->setup->is_outside : alpn == t->setup->alpn_other;
	if (!t->server && alpn != t->alpn && !is_enough)
		return handshake_refuse(t, TLS_FAILURE_ALPN);
	t->alpn = alpn;
	enum tls_failure failure =
		SSL_session_reused(t->ssl) ? handshake_check_resumed(t) : TLS_FAILURE_NONE;
	t->resumed = SSL_session_reused(t->ssl);
	/* Whatever the library had read beyond its last message would be lost. */
	if (!failure && SSL_has_pending(t->ssl))
		failure = TLS_FAILURE_PROTOCOL;
	if (!failure && (!handshake_take_chain(t) || !handshake_take_keys(t) ||
				(t->server && !handshake_take_ticket(t))))
		failure = TLS_FAILURE_MEMORY;
	if (failure)
		return handshake_refuse(t, failure);
	handshake_part(t);
	handshake_setup_free(t);
	tls_move(t, TLS_STATE_OPEN);
	return TLS_DONE;
}

static enum tls_result handshake_advance(struct tls *t)
{
	if (t->failure) /* refused by tls_server_choose() */
		return handshake_refuse(t, t->failure);
	ERR_clear_error();
	int r = SSL_do_handshake(t->ssl);
	if (r == 1)
		return handshake_finish(t);
	if (t->failure == TLS_FAILURE_SIGNATURE)
		return handshake_refuse(t, t->failure);
	return tls_result_of(t, r);
}

enum tls_result tls_handshake(struct tls *t, int64_t wall_s)
{
	if (t->setup)
		t->setup->wall_s = wall_s;
	switch (t->state) {
	case TLS_STATE_HELLO:
		handshake_resume(t);
		/* Of a server whose identity is known, nothing will be asked. */
		if (t->identity || !t->server)
			tls_move(t, TLS_STATE_HANDSHAKE);
		return handshake_advance(t);
	case TLS_STATE_HANDSHAKE:
		return handshake_advance(t);
	case TLS_STATE_NAME:
		return TLS_NAME;
	case TLS_STATE_SIGN:
		return TLS_SIGN;
	case TLS_STATE_OPEN:
		return TLS_DONE;
	case TLS_STATE_CLOSED:
		return TLS_CLOSED;
	case TLS_STATE_FAILED:
		return TLS_FAILED;
	}
	return TLS_FAILED;
}
