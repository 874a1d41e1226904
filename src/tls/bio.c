/* SPDX-License-Identifier: Apache-2.0 */
#include "bio.h"

#include "handshake.h"
#include <limits.h>

static int bio_read(BIO *bio, char *out, int len)
{
	struct tls *t = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	if (len <= 0)
		return 0;
	if (t->input_len == 0) {
		if (t->input_eof)
			return 0;
		BIO_set_retry_read(bio);
		return -1;
	}
	size_t n = t->input_len < (size_t)len ? t->input_len : (size_t)len;
	memcpy(out, t->input, n);
	t->input += n;
	t->input_len -= n;
	return (int)n;
}

static int bio_write(BIO *bio, const char *bytes, int len)
{
	struct tls *t = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	if (len <= 0)
		return 0;
	size_t n = buf_fill(t->wire_out, bytes, (size_t)len);
	if (n == 0) {
		BIO_set_retry_write(bio);
		return -1;
	}
	return (int)n;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	/* The records already stand in the connection's buffer: there is nothing to flush. */
	return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *bio_method_new(void)
{
	BIO_METHOD *method = BIO_meth_new(0, "session");
	if (!method)
		return NULL;
	if (!BIO_meth_set_read(method, bio_read) || !BIO_meth_set_write(method, bio_write) ||
		!BIO_meth_set_ctrl(method, bio_ctrl)) {
		BIO_meth_free(method);
		return NULL;
	}
	return method;
}

void bio_method_free(BIO_METHOD *method)
{
	BIO_meth_free(method);
}

BIO *bio_new(const BIO_METHOD *method, struct tls *t)
{
	BIO *bio = BIO_new(method);
	if (!bio)
		return NULL;
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	return bio;
}
