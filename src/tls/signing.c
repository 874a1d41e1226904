/* SPDX-License-Identifier: Apache-2.0 */
#include "signing.h"

#include "handshake.h"

static enum ssl_private_key_result_t signing_on_sign(SSL *ssl, uint8_t *out, size_t *out_len,
	size_t max_out, uint16_t algorithm, const uint8_t *in, size_t in_len)
{
	struct tls *t = SSL_get_app_data(ssl);
	struct handshake_setup *setup = t->setup;
	if (in_len > sizeof(setup->sign_bytes) || algorithm != SSL_SIGN_ECDSA_SECP256R1_SHA256) {
		tls_fail(t, TLS_FAILURE_SIGNATURE);
		return ssl_private_key_failure;
	}
	memcpy(setup->sign_bytes, in, in_len);
	setup->sign = (struct tls_sign_request){
		t->identity->key_number, algorithm, setup->sign_bytes, in_len};
	setup->signature_came = false;
	return ssl_private_key_retry;
}

static enum ssl_private_key_result_t signing_on_decrypt(
	SSL *ssl, uint8_t *out, size_t *out_len, size_t max_out, const uint8_t *in, size_t in_len)
{
	return ssl_private_key_failure; /* TLS 1.3 never asks */
}

static enum ssl_private_key_result_t signing_on_complete(
	SSL *ssl, uint8_t *out, size_t *out_len, size_t max_out)
{
	struct tls *t = SSL_get_app_data(ssl);
	const struct handshake_setup *setup = t->setup;
	if (!setup->signature_came)
		return ssl_private_key_retry;
	if (setup->signature_len == 0 || setup->signature_len > max_out) {
		tls_fail(t, TLS_FAILURE_SIGNATURE);
		return ssl_private_key_failure;
	}
	memcpy(out, setup->signature, setup->signature_len);
	*out_len = setup->signature_len;
	return ssl_private_key_success;
}

bool signing_install(SSL *ssl, const struct tls_identity *identity)
{
	static const SSL_PRIVATE_KEY_METHOD method = {
		.sign = signing_on_sign,
		.decrypt = signing_on_decrypt,
		.complete = signing_on_complete,
	};
	return SSL_set_chain_and_key(ssl, identity->chain, identity->chain_count, NULL, &method);
}

const struct tls_sign_request *tls_sign_request(const struct tls *t)
{
	ASSERT(t->state == TLS_STATE_SIGN);
	return &t->setup->sign;
}

void tls_sign_done(struct tls *t, const uint8_t *signature, size_t len)
{
	ASSERT(t->state == TLS_STATE_SIGN);
	struct handshake_setup *setup = t->setup;
	setup->signature_came = true;
	setup->signature_len = len <= sizeof(setup->signature) ? len : 0;
	if (setup->signature_len > 0)
		memcpy(setup->signature, signature, len);
	tls_move(t, TLS_STATE_HANDSHAKE);
}
