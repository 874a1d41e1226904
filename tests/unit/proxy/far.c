/* SPDX-License-Identifier: Apache-2.0 */
#include "far.h"

#include <openssl/digest.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define FAR_BLOCK_BYTES 65536

static void far_init(struct far *f, struct lab *lab, uint32_t machine)
{
	*f = (struct far){.lab = lab, .fd = lab_dial_mesh(lab, machine)};
	buf_pool_init(&f->pool, FAR_BLOCK_BYTES, 4);
	buf_init(&f->wire, &f->pool);
	buf_init(&f->plain, &f->pool);
}

void far_dial(struct far *f, struct lab *lab, uint32_t machine, const char *server_name,
	enum tls_alpn alpn, const char *server_id)
{
	struct str id = str_of(server_id);
	struct tls_client_want want = {.identity = STR("service/web"),
		.server_name = str_of(server_name),
		.alpn = alpn,
		.server_ids = &id,
		.server_id_count = 1};
	far_init(f, lab, machine);
	f->store = pair_mesh_store(lab_mesh_certs(), 100);
	f->tls = tls_client_new(f->store, NULL, &want, &f->wire);
	assert_non_null(f->tls);
}

void far_dial_check(struct far *f, struct lab *lab, uint32_t machine, const char *server_name)
{
	far_init(f, lab, machine);
	f->tls = tls_client_new_check(str_of(server_name), &f->wire);
	assert_non_null(f->tls);
}

static void far_sign(struct far *f)
{
	const struct tls_sign_request *request = tls_sign_request(f->tls);
	uint8_t signature[128];
	size_t len = sizeof(signature);
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	EVP_PKEY *key = lab_mesh_certs()->leaf[request->key_number - 1].key;
	assert_true(EVP_DigestSignInit(digest, NULL, EVP_sha256(), NULL, key) &&
		    EVP_DigestSign(digest, signature, &len, request->bytes, request->len));
	EVP_MD_CTX_free(digest);
	tls_sign_done(f->tls, signature, len);
}

static bool far_flush(struct far *f)
{
	if (buf_len(&f->wire) == 0)
		return false;
	fake_peer_send(f->fd, buf_at(&f->wire), buf_len(&f->wire));
	buf_clear(&f->wire);
	return true;
}

static bool far_take(struct far *f)
{
	struct str got = fake_peer_received(f->fd);
	if (got.len == f->used || tls_input_left(f->tls) > 0)
		return false;
	free(f->input);
	f->input = malloc(got.len - f->used);
	memcpy(f->input, got.at + f->used, got.len - f->used);
	tls_input(f->tls, f->input, got.len - f->used);
	f->used = got.len;
	return true;
}

bool far_handshake(struct far *f)
{
	for (int i = 0; i < 100; i++) {
		enum tls_result result = tls_handshake(f->tls, CERTS_NOW);
		if (result == TLS_SIGN)
			far_sign(f);
		bool sent = far_flush(f);
		if (result == TLS_DONE || result == TLS_FAILED)
			return result == TLS_DONE;
		lab_pump(f->lab);
		if (!far_take(f) && !sent && result != TLS_SIGN)
			return false;
	}
	return false;
}

void far_send(struct far *f, const void *bytes, size_t len)
{
	size_t used = 0;
	assert_int_equal(tls_write(f->tls, bytes, len, &used), TLS_DONE);
	assert_int_equal(used, len);
	far_flush(f);
}

struct str far_received(struct far *f)
{
	do
		(void)tls_read(f->tls, &f->plain);
	while (far_take(f));
	(void)tls_read(f->tls, &f->plain);
	return (struct str){(const char *)buf_at(&f->plain), buf_len(&f->plain)};
}

void far_done(struct far *f)
{
	tls_free(f->tls);
	tls_store_unref(f->store);
	buf_clear(&f->wire);
	buf_clear(&f->plain);
	buf_pool_done(&f->pool);
	free(f->input);
}
