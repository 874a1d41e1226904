/* SPDX-License-Identifier: Apache-2.0 */
/* A session after its handshake, and a peer that has the keys. The input is a programme: each step
 * is one byte, what it does, and what that needs:
 *
 *     0..127    a record whose inner content (type and padding included) are so many bytes of input
 *     128..191  so many bytes go over raw, less 128
 *     192..223  a record of (byte - 191) * 512 bytes of application data
 *     224..239  a KeyUpdate, its request in the low bit
 *     240..255  a piece of what is on its way is given to the session: (byte - 239)^3 bytes
 *
 * The same programme runs at a client and at a server, and at clients of TLS 1.2, read in place and
 * read into a buffer with little room, and both ways must agree. */
#include "fuzz/fuzz.h"
#include "tls/message.h"
#include "tls/record_12.h"

#include <stdlib.h>

#define FUZZ_BLOCK_BYTES 20480
#define FUZZ_WIRE_MAX	 (1u << 17)

static const uint8_t fuzz_secret[32] = {1, 2, 3};

static const struct fuzz_session {
	bool server;
	uint16_t suite;
	size_t block_len; /* of the keys of TLS 1.2; 0: it is 1.3 */
} fuzz_sessions[] = {
	{false, 0x1301, 0}, {true, 0x1301, 0}, {false, 0xc02b, 40}, {false, 0xcca9, 88}};

struct fuzz_end {
	struct buf_pool pool;
	struct buf wire, out;
	struct tls *t;
	struct record_key peer;
	bool in_place;
	uint8_t *pending; /* sealed, not given yet */
	size_t start, end;
	uint64_t digest, got;
	enum tls_result result;
};

static void fuzz_keys(struct fuzz_end *e, const struct fuzz_session *session)
{
	static const uint8_t block[RECORD_12_BLOCK_BYTES_MAX] = {1, 2, 3};
	struct record_key unused;
	uint16_t suite = session->suite;
	if (session->block_len > 0) {
		size_t len = session->block_len;
		ASSERT(record_12_keys(&e->t->writing, &e->t->reading, suite, block, len));
		ASSERT(record_12_keys(&unused, &e->peer, suite, block, len));
		record_key_wipe(&unused);
		return;
	}
	size_t len = sizeof(fuzz_secret);
	ASSERT(record_key_init(&e->t->reading, suite, fuzz_secret, len, 0));
	ASSERT(record_key_init(&e->t->writing, suite, fuzz_secret, len, 0));
	ASSERT(record_key_init(&e->peer, suite, fuzz_secret, len, 0));
}

static void fuzz_begin(struct fuzz_end *e, const struct fuzz_session *session, bool in_place)
{
	*e = (struct fuzz_end){.in_place = in_place, .result = TLS_MORE};
	buf_pool_init(&e->pool, FUZZ_BLOCK_BYTES, 8);
	buf_init(&e->wire, &e->pool);
	buf_init(&e->out, &e->pool);
	e->t = calloc(1, sizeof(*e->t));
	e->pending = malloc(FUZZ_WIRE_MAX);
	ASSERT(e->t && e->pending);
	e->t->state = TLS_STATE_OPEN;
	e->t->server = session->server;
	e->t->wire_out = &e->wire;
	e->t->records_left = TLS_RECORDS_PER_KEY;
	buf_init(&e->t->carry, &e->pool);
	fuzz_keys(e, session);
}

static void fuzz_end(struct fuzz_end *e)
{
	tls_free(e->t);
	record_key_wipe(&e->peer);
	buf_clear(&e->wire);
	buf_clear(&e->out);
	buf_pool_done(&e->pool);
	free(e->pending);
}

static void fuzz_keep(struct fuzz_end *e, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		e->digest = e->digest * 1099511628211u + bytes[i] + 1;
	e->got += len;
}

static void fuzz_read(struct fuzz_end *e)
{
	const uint8_t *plain;
	do {
		e->result = e->in_place ? tls_open(e->t) : tls_read(e->t, &e->out);
		size_t len = tls_plain(e->t, &plain);
		if (e->in_place && len > 0) {
			size_t half = (len + 1) / 2;
			fuzz_keep(e, plain, half);
			tls_plain_take(e->t, half);
		}
		if (buf_len(&e->out) > 0) {
			/* Now and then a byte stays: the next record meets less room. */
			size_t n = buf_len(&e->out) - (buf_len(&e->out) > 1 && e->got % 2);
			fuzz_keep(e, buf_at(&e->out), n);
			buf_consume(&e->out, n);
		}
		buf_clear(&e->wire);
	} while (e->result == TLS_DONE || (e->result == TLS_FULL && !e->in_place));
	ASSERT(e->result != TLS_FULL);
	if (buf_len(&e->out) > 0) {
		fuzz_keep(e, buf_at(&e->out), buf_len(&e->out));
		buf_clear(&e->out);
	}
}

/* In memory of its exact size, for the sanitizer to see a byte too many. */
static void fuzz_give(struct fuzz_end *e, size_t len)
{
	size_t n = e->end - e->start < len ? e->end - e->start : len;
	if (n == 0 || e->result != TLS_MORE)
		return;
	uint8_t *input = malloc(n);
	ASSERT(input);
	memcpy(input, e->pending + e->start, n);
	e->start += n;
	tls_input(e->t, input, n);
	fuzz_read(e);
	ASSERT(e->result != TLS_MORE || tls_input_left(e->t) == 0);
	ASSERT(tls_input_wanted(e->t) > 0 && tls_input_wanted(e->t) <= RECORD_BYTES_MAX);
	free(input);
}

static void fuzz_seal(struct fuzz_end *e, const uint8_t *inner, size_t len)
{
	uint8_t *out = e->pending + e->end, nonce[RECORD_NONCE_BYTES];
	size_t n;
	if (e->peer.form != RECORD_13) { /* the type comes last there, too */
		uint8_t type = len > 0 ? inner[len - 1] : 0;
		e->end += record_12_seal(&e->peer, type, inner, len > 0 ? len - 1 : 0, out);
		return;
	}
	memcpy(nonce, e->peer.iv, sizeof(nonce));
	for (size_t i = 0; i < 8; i++)
		nonce[4 + i] ^= (uint8_t)(e->peer.number >> (8 * (7 - i)));
	memcpy(out, (uint8_t[]){23, 3, 3, (uint8_t)((len + 16) >> 8), (uint8_t)(len + 16)}, 5);
	ASSERT(EVP_AEAD_CTX_seal(
		&e->peer.aead, out + 5, &n, len + 16, nonce, sizeof(nonce), inner, len, out, 5));
	e->peer.number++;
	e->end += 5 + n;
}

/* One step; how many bytes of input it took beside its own. */
static size_t fuzz_step(struct fuzz_end *e, uint8_t what, const uint8_t *bytes, size_t len)
{
	static const uint8_t filler[32 * 512] = {23};
	size_t n = what & 127;
	if (FUZZ_WIRE_MAX - e->end < 40000)
		return 0;
	if (what >= 240) {
		size_t side = (size_t)what - 239;
		fuzz_give(e, side * side * side);
		return 0;
	}
	if (what >= 224) {
		fuzz_seal(e, (uint8_t[]){24, 0, 0, 1, what & 1, 22}, 6);
		ASSERT(e->peer.form != RECORD_13 || record_key_update(&e->peer));
		return 0;
	}
	if (what >= 192) {
		size_t out = record_seal(
			&e->peer, 23, filler, (size_t)(what - 191) * 512, e->pending + e->end);
		e->end += out;
		return 0;
	}
	n = what >= 128 ? (size_t)what - 128 : n;
	n = n < len ? n : len;
	if (what < 128) {
		fuzz_seal(e, bytes, n);
	} else if (n > 0) {
		memcpy(e->pending + e->end, bytes, n);
		e->end += n;
	}
	return n;
}

static void fuzz_run(struct fuzz_end *e, const uint8_t *bytes, size_t len)
{
	size_t used;
	while (len > 0) {
		size_t n = 1 + fuzz_step(e, bytes[0], bytes + 1, len - 1);
		bytes += n;
		len -= n;
	}
	fuzz_give(e, FUZZ_WIRE_MAX);
	if (e->result != TLS_MORE)
		return;
	ASSERT(tls_write(e->t, (const uint8_t *)"x", 1, &used) == TLS_DONE && used == 1);
	tls_input_eof(e->t);
	fuzz_read(e);
	ASSERT(e->result == TLS_FAILED);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(fuzz_sessions); i++) {
		struct fuzz_end ends[2];
		for (int way = 0; way < 2; way++) {
			fuzz_begin(&ends[way], &fuzz_sessions[i], way);
			fuzz_run(&ends[way], bytes, len);
		}
		ASSERT(ends[0].got == ends[1].got && ends[0].digest == ends[1].digest);
		ASSERT(ends[0].result == ends[1].result);
		ASSERT(tls_failure(ends[0].t) == tls_failure(ends[1].t));
		for (int way = 0; way < 2; way++)
			fuzz_end(&ends[way]);
	}
	return 0;
}
