/* SPDX-License-Identifier: Apache-2.0 */
/* A ticket is nonce || AES-128-GCM(validity of the client's chain || session). The validity comes
 * back with the session: a ticket whose client certificate would no longer pass is ignored, and the
 * handshake goes on in full with whatever the client presents now. */
#include "tickets.h"

#include "handshake.h"
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/rand.h>

#define TICKETS_NONCE_BYTES 12

struct tickets_validity {
	int64_t from_s, until_s;
};

static size_t tickets_overhead(SSL *ssl)
{
	return TICKETS_NONCE_BYTES + sizeof(struct tickets_validity) +
	       EVP_AEAD_max_overhead(EVP_aead_aes_128_gcm());
}

static int tickets_seal(SSL *ssl, uint8_t *out, size_t *out_len, size_t max_out_len,
	const uint8_t *in, size_t in_len)
{
	const struct tls *t = SSL_get_app_data(ssl);
	struct tickets_validity validity = {t->peer.valid_from_s, t->peer.valid_until_s};
	size_t len = sizeof(validity) + in_len;
	/* A copy, because `in` may be `out`. */
	uint8_t *plain = OPENSSL_malloc(len);
	if (!plain || max_out_len < TICKETS_NONCE_BYTES) {
		OPENSSL_free(plain);
		return 0;
	}
	memcpy(plain, &validity, sizeof(validity));
	memcpy(plain + sizeof(validity), in, in_len);
	RAND_bytes(out, TICKETS_NONCE_BYTES);
	int ok = EVP_AEAD_CTX_seal(t->identity->ticket_key, out + TICKETS_NONCE_BYTES, out_len,
		max_out_len - TICKETS_NONCE_BYTES, out, TICKETS_NONCE_BYTES, plain, len, NULL, 0);
	OPENSSL_free(plain);
	*out_len += TICKETS_NONCE_BYTES;
	return ok;
}

/* The plaintext of a ticket into `out`; false when it is none of this identity and generation. */
static bool tickets_unseal(const struct tls_identity *identity, uint8_t *out, size_t *ret_len,
	size_t max_out_len, const uint8_t *in, size_t in_len)
{
	if (in_len < TICKETS_NONCE_BYTES)
		return false;
	if (EVP_AEAD_CTX_open(identity->ticket_key, out, ret_len, max_out_len, in,
		    TICKETS_NONCE_BYTES, in + TICKETS_NONCE_BYTES, in_len - TICKETS_NONCE_BYTES,
		    NULL, 0))
		return *ret_len >= sizeof(struct tickets_validity);
	/* Left in the queue, this would turn the handshake's next pause into an error. */
	ERR_clear_error();
	return false;
}

static enum ssl_ticket_aead_result_t tickets_open(SSL *ssl, uint8_t *out, size_t *out_len,
	size_t max_out_len, const uint8_t *in, size_t in_len)
{
	struct tls *t = SSL_get_app_data(ssl);
	struct tickets_validity validity;
	size_t len;
	if (!tickets_unseal(t->identity, out, &len, max_out_len, in, in_len))
		return ssl_ticket_aead_ignore_ticket;
	memcpy(&validity, out, sizeof(validity));
	if (t->setup->wall_s < validity.from_s || t->setup->wall_s >= validity.until_s)
		return ssl_ticket_aead_ignore_ticket;
	t->peer.valid_from_s = validity.from_s;
	t->peer.valid_until_s = validity.until_s;
	*out_len = len - sizeof(validity);
	memmove(out, out + sizeof(validity), *out_len);
	return ssl_ticket_aead_success;
}

void tickets_install(SSL_CTX *server)
{
	static const SSL_TICKET_AEAD_METHOD method = {
		.max_overhead = tickets_overhead,
		.seal = tickets_seal,
		.open = tickets_open,
	};
	SSL_CTX_set_ticket_aead_method(server, &method);
}
