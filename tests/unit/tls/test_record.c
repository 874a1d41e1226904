/* SPDX-License-Identifier: Apache-2.0 */
/* The record layer of its own: keys against the RFC's formulas, records against a second way to
 * seal them, and everything that a peer with good keys may send and must not. */
#include "pair.h"

#include "tls/handshake.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants those above first */
#include <cmocka.h>

static struct pair_mesh mesh;
static struct tls_store *store;
static struct pair pair;

/* --- keys --- */

struct record_row {
	uint16_t suite;
	size_t secret_len, key_len;
	const EVP_AEAD *(*aead)(void);
	const char *key, *iv, *next; /* of the secret 00 01 02 ..., computed elsewhere */
};

static const struct record_row record_rows[] = {
	{0x1301, 32, 16, EVP_aead_aes_128_gcm, "9c9783cf77ea32d44f369da41f19f3cc",
		"2f41c846a431a163814bcd71",
		"2cecd0a17506ef5fa73edc062d6e7b5397cf074ec1b4d8f99a120772932f0b45"},
	{0x1302, 48, 32, EVP_aead_aes_256_gcm,
		"6877d022f1c61d24ebb7487c16752d9a4798e40431c75b39320e537c90e23225",
		"42822531a0fe88648fc09e9f",
		"401331b63e9d59f202e8f041042d9516f4cd7fa2e2ee14631d3b49fc340d7af3"
		"7fc2c0c9f252d8036f81ec5b85cbe5db"},
	{0x1303, 32, 32, EVP_aead_chacha20_poly1305,
		"2ffbc449e87844051c7768f61ffd8ad070830f01ec2c520ef65f08e8296dffa0",
		"2f41c846a431a163814bcd71",
		"2cecd0a17506ef5fa73edc062d6e7b5397cf074ec1b4d8f99a120772932f0b45"},
};

static const uint8_t *record_bytes_of(const char *hex)
{
	static uint8_t bytes[64];
	for (size_t i = 0; hex[2 * i]; i++) {
		char two[] = {hex[2 * i], hex[2 * i + 1], '\0'};
		bytes[i] = (uint8_t)strtoul(two, NULL, 16);
	}
	return bytes;
}

static struct record_key record_key_of(const struct record_row *row, uint64_t number)
{
	struct record_key k;
	uint8_t secret[48];
	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = (uint8_t)i;
	assert_true(record_key_init(&k, row->suite, secret, row->secret_len, number));
	return k;
}

/* Seals `inner` as it is, type and padding included, without the code under test. */
static size_t record_forge(EVP_AEAD_CTX *aead, const uint8_t iv[12], uint64_t number,
	const uint8_t *inner, size_t len, uint8_t *out)
{
	uint8_t nonce[12];
	size_t n;
	memcpy(nonce, iv, 12);
	for (size_t i = 0; i < 8; i++)
		nonce[4 + i] ^= (uint8_t)(number >> (8 * (7 - i)));
	memcpy(out, (uint8_t[]){23, 3, 3, (uint8_t)((len + 16) >> 8), (uint8_t)(len + 16)}, 5);
	assert_true(EVP_AEAD_CTX_seal(aead, out + 5, &n, len + 16, nonce, 12, inner, len, out, 5));
	assert_int_equal(n, len + 16);
	return 5 + n;
}

static void test_keys(void **state)
{
	static const uint64_t numbers[] = {0, 1, 0x0102030405060708, UINT64_MAX - 1};
	for (size_t i = 0; i < ARRAY_LEN(record_rows); i++) {
		const struct record_row *row = &record_rows[i];
		EVP_AEAD_CTX aead;
		assert_true(EVP_AEAD_CTX_init(
			&aead, row->aead(), record_bytes_of(row->key), row->key_len, 16, NULL));
		for (size_t n = 0; n < ARRAY_LEN(numbers); n++) {
			struct record_key k = record_key_of(row, numbers[n]);
			uint8_t ours[64], theirs[64];
			assert_memory_equal(k.iv, record_bytes_of(row->iv), 12);
			size_t len = record_forge(
				&aead, k.iv, numbers[n], (const uint8_t *)"hello\x17", 6, theirs);
			assert_int_equal(
				record_seal(&k, 23, (const uint8_t *)"hello", 5, ours), len);
			assert_memory_equal(ours, theirs, len);
			assert_int_equal(k.number, numbers[n] + 1);
			record_key_wipe(&k);
		}
		struct record_key k = record_key_of(row, 77);
		assert_true(record_key_update(&k));
		assert_memory_equal(k.secret, record_bytes_of(row->next), row->secret_len);
		assert_int_equal(k.number, 0);
		record_key_wipe(&k);
		EVP_AEAD_CTX_cleanup(&aead);
	}
}

static void test_wrong_keys(void **state)
{
	struct record_key k;
	uint8_t secret[48] = {0};
	assert_false(record_key_init(&k, 0x1304, secret, 32, 0));
	assert_false(record_key_init(&k, 0x1301, secret, 48, 0));
	assert_false(record_key_init(&k, 0x1302, secret, 32, 0));
	assert_false(record_key_init(&k, 0xc02b, secret, 32, 0));
}

static void test_wipes(void **state)
{
	struct record_key k = record_key_of(&record_rows[0], 5), zero;
	record_key_wipe(&k);
	memset(&zero, 0, sizeof(zero));
	assert_memory_equal(&k, &zero, sizeof(k));
	record_key_wipe(&k); /* and again */
}

static void test_number_ends(void **state)
{
	struct record_key k = record_key_of(&record_rows[0], UINT64_MAX - 1), r = k;
	uint8_t record[64];
	struct record_content content;
	size_t len = record_seal(&k, 23, (const uint8_t *)"x", 1, record);
	assert_int_equal(record_open(&r, record, len, record + 5, &content), 0);
	assert_int_equal(r.number, UINT64_MAX);
	assert_int_equal(record_open(&r, record, len, record + 5, &content), SSL_AD_INTERNAL_ERROR);
	record_key_wipe(&k);
	record_key_wipe(&r);
}

/* --- a session and a peer that can seal anything --- */

struct record_peer {
	int to; /* which end it talks to */
	bool in_place;
	size_t chunk; /* bytes given at a time; 0: all */
	struct record_key key;
	uint8_t wire[8 << 16];
	size_t wire_len;
	uint8_t got[8 << 16];
	size_t got_len;
};

static struct record_peer peer;

static void record_begin(int to)
{
	struct tls_client_want want = pair_want();
	if (pair.mesh)
		pair_done(&pair);
	pair_init(&pair, &mesh, 20 << 10);
	pair_start(&pair, store, store, NULL, &want);
	assert_true(pair_handshake(&pair));
	const struct record_key *k = &pair.ends[!to].tls->writing;
	record_key_wipe(&peer.key);
	peer.to = to;
	peer.wire_len = peer.got_len = 0;
	/* As if it had no ticket waiting. */
	assert_true(record_key_init(&peer.key, k->suite, k->secret, k->secret_len, 0));
	assert_int_equal(buf_len(&pair.ends[0].wire) + buf_len(&pair.ends[1].wire), 0);
}

static void record_put_inner(const uint8_t *inner, size_t len)
{
	peer.wire_len += record_forge(&peer.key.aead, peer.key.iv, peer.key.number++, inner, len,
		peer.wire + peer.wire_len);
}

static void record_put(uint8_t type, const void *bytes, size_t len, size_t padding)
{
	static uint8_t inner[40000];
	memset(inner, 0, sizeof(inner));
	if (len > 0)
		memcpy(inner, bytes, len);
	inner[len] = type;
	record_put_inner(inner, len + 1 + padding);
}

static void record_put_text(const char *text)
{
	record_put(23, text, strlen(text), 0);
}

static void record_keep(const uint8_t *bytes, size_t len)
{
	assert_true(peer.got_len + len <= sizeof(peer.got));
	memcpy(peer.got + peer.got_len, bytes, len);
	peer.got_len += len;
}

/* Reads until there is no more; plaintext to peer.got. */
static enum tls_result record_read(void)
{
	struct pair_end *e = &pair.ends[peer.to];
	for (;;) {
		const uint8_t *plain;
		enum tls_result result =
			peer.in_place ? tls_open(e->tls) : tls_read(e->tls, &e->plain);
		size_t len = tls_plain(e->tls, &plain);
		assert_true(!peer.in_place || (len > 0) == (result == TLS_DONE));
		if (peer.in_place && len > 0) {
			size_t half = len > 1 ? len / 2 : 1;
			record_keep(plain, half);
			tls_plain_take(e->tls, half);
		}
		if (buf_len(&e->plain) > 0)
			record_keep(buf_at(&e->plain), buf_len(&e->plain));
		buf_clear(&e->plain);
		if (result != TLS_DONE)
			return result;
	}
}

/* Gives what was put, in memory of its exact size. */
static enum tls_result record_give(void)
{
	struct tls *t = pair.ends[peer.to].tls;
	enum tls_result result = TLS_MORE;
	for (size_t at = 0; at < peer.wire_len && result == TLS_MORE;) {
		size_t n = peer.wire_len - at;
		if (peer.chunk > 0 && n > peer.chunk)
			n = peer.chunk;
		uint8_t *input = malloc(n);
		assert_non_null(input);
		memcpy(input, peer.wire + at, n);
		tls_input(t, input, n);
		result = record_read();
		assert_true(result != TLS_MORE || tls_input_left(t) == 0);
		free(input);
		at += n;
	}
	peer.wire_len = 0;
	return result;
}

/* The alert that came out, or -1. */
static int record_alert(void)
{
	struct buf *wire = &pair.ends[peer.to].wire;
	struct tls *other = pair.ends[!peer.to].tls;
	if (buf_len(wire) == 0)
		return -1;
	pair_carry(&pair, peer.to);
	assert_int_equal(tls_read(other, &pair.ends[!peer.to].plain), TLS_FAILED);
	assert_int_equal(tls_failure(other), TLS_FAILURE_ALERT);
	return tls_peer_alert(other);
}

static void record_refused(enum tls_result result, enum tls_failure failure, int alert)
{
	const struct tls *t = pair.ends[peer.to].tls;
	assert_int_equal(result, TLS_FAILED);
	assert_int_equal(tls_failure(t), failure);
	assert_int_equal(record_alert(), alert);
	/* and nothing goes any more */
	assert_int_equal(record_read(), TLS_FAILED);
}

static void record_give_refused(int alert)
{
	record_refused(record_give(), TLS_FAILURE_PROTOCOL, alert);
}

static void record_got(const char *text)
{
	assert_int_equal(peer.got_len, strlen(text));
	assert_memory_equal(peer.got, text, peer.got_len);
}

/* Each test runs at both ends, and with both ways to read. */
typedef void record_test(void);

static void record_everywhere(record_test *test)
{
	for (int way = 0; way < 4; way++) {
		peer.chunk = 0;
		peer.in_place = way & 1;
		record_begin(way >> 1 ? PAIR_CLIENT : PAIR_SERVER);
		test();
	}
}

/* --- what is right --- */

static void record_several(void)
{
	record_put_text("one ");
	record_put(23, "two ", 4, 100);
	record_put(23, "", 0, 0);
	record_put_text("three");
	assert_int_equal(record_give(), TLS_MORE);
	record_got("one two three");
}

static void test_several(void **state)
{
	record_everywhere(record_several);
}

/* Cut at every byte, into two pieces, and into pieces of every small size. */
static void record_fragments(void)
{
	int to = peer.to;
	for (size_t chunk = 1; chunk < 200; chunk++) {
		record_begin(to);
		uint32_t held = pair.ends[to].pool.block_count;
		peer.chunk = chunk;
		record_several();
		record_put_text(", more");
		assert_int_equal(record_give(), TLS_MORE);
		record_got("one two three, more");
		assert_int_equal(pair.ends[to].pool.block_count, held);
	}
}

static void test_fragments(void **state)
{
	record_everywhere(record_fragments);
}

static void record_longest(void)
{
	static uint8_t bytes[RECORD_PLAIN_MAX];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256);
	record_put(23, bytes, sizeof(bytes), 0);
	record_put(23, bytes, 1, RECORD_PLAIN_MAX - 1);
	record_put(23, bytes, sizeof(bytes), 0);
	assert_int_equal(record_give(), TLS_MORE);
	assert_int_equal(peer.got_len, 2 * sizeof(bytes) + 1);
	assert_memory_equal(peer.got, bytes, sizeof(bytes));
	assert_memory_equal(peer.got + sizeof(bytes) + 1, bytes, sizeof(bytes));
	for (size_t chunk = 1; chunk < 17000; chunk += 1471) {
		peer.chunk = chunk;
		peer.got_len = 0;
		record_put(23, bytes, sizeof(bytes), 0);
		record_put(23, bytes, sizeof(bytes), 0);
		assert_int_equal(record_give(), TLS_MORE);
		assert_int_equal(peer.got_len, 2 * sizeof(bytes));
		assert_memory_equal(peer.got + sizeof(bytes), bytes, sizeof(bytes));
	}
}

static void test_longest(void **state)
{
	record_everywhere(record_longest);
}

static void record_closes(void)
{
	record_put_text("bye");
	record_put(21, "\x01\x00", 2, 3);
	assert_int_equal(record_give(), TLS_CLOSED);
	record_got("bye");
	assert_int_equal(record_read(), TLS_CLOSED);
}

static void test_closes(void **state)
{
	record_everywhere(record_closes);
}

static void record_alerts(void)
{
	record_put(21, "\x01\x5a", 2, 0); /* user_canceled says nothing */
	record_put_text("x");
	assert_int_equal(record_give(), TLS_MORE);
	record_put(21, "\x02\x50", 2, 0);
	assert_int_equal(record_give(), TLS_FAILED);
	assert_int_equal(tls_failure(pair.ends[peer.to].tls), TLS_FAILURE_ALERT);
	assert_int_equal(tls_peer_alert(pair.ends[peer.to].tls), 80);
	assert_int_equal(record_alert(), -1); /* no answer to an alert */
}

static void test_alerts(void **state)
{
	record_everywhere(record_alerts);
}

/* How the key of a peer changes after the KeyUpdate that it has sent. */
static void record_put_update(uint8_t request)
{
	record_put(22, (uint8_t[]){24, 0, 0, 1, request}, 5, 0);
	assert_true(record_key_update(&peer.key));
}

static void record_updates(void)
{
	struct pair_end *e = &pair.ends[peer.to];
	size_t used;
	for (int i = 0; i < 100; i++) {
		record_put_update(0);
		record_put_text("x");
	}
	peer.chunk = 13;
	assert_int_equal(record_give(), TLS_MORE);
	assert_int_equal(peer.got_len, 100);
	/* Asked five times before it writes, it answers once, and before its next bytes. */
	for (int i = 0; i < 5; i++)
		record_put_update(1);
	assert_int_equal(record_give(), TLS_MORE);
	assert_int_equal(buf_len(&e->wire), 0);
	assert_int_equal(tls_write(e->tls, (const uint8_t *)"y", 1, &used), TLS_DONE);
	if (peer.to == PAIR_CLIENT)
		assert_int_equal(buf_len(&e->wire), 27 + 23);
	assert_int_equal(pair_drain(&pair, !peer.to), TLS_MORE);
	assert_int_equal(buf_len(&pair.ends[!peer.to].plain), 1);
	assert_int_equal(tls_write(e->tls, (const uint8_t *)"z", 1, &used), TLS_DONE);
	assert_int_equal(buf_len(&e->wire), 23);
	assert_int_equal(pair_drain(&pair, !peer.to), TLS_MORE);
	assert_int_equal(buf_len(&pair.ends[!peer.to].plain), 2);
}

static void test_updates(void **state)
{
	record_everywhere(record_updates);
}

/* A handshake message may span records; a KeyUpdate must only end one. */
static void record_split_update(void)
{
	static const uint8_t update[] = {24, 0, 0, 1, 0};
	for (size_t cut = 1; cut < sizeof(update); cut++) {
		record_put(22, update, cut, 0);
		record_put(22, update + cut, sizeof(update) - cut, 5);
		assert_true(record_key_update(&peer.key));
		record_put_text("x");
	}
	assert_int_equal(record_give(), TLS_MORE);
	record_got("xxxx");
}

static void test_split_update(void **state)
{
	record_everywhere(record_split_update);
}

static void record_room_for_update(void)
{
	static uint8_t filler[20 << 10];
	struct pair_end *e = &pair.ends[peer.to];
	size_t used, filled = sizeof(filler) - RECORD_OVERHEAD - 10;
	assert_int_equal(tls_write(e->tls, NULL, 0, &used), TLS_DONE); /* a ticket leaves */
	buf_clear(&e->wire);
	record_put_update(1);
	assert_int_equal(record_give(), TLS_MORE);
	assert_true(buf_put(&e->wire, filler, filled));
	assert_int_equal(tls_write(e->tls, (const uint8_t *)"x", 1, &used), TLS_FULL);
	assert_int_equal(buf_len(&e->wire), filled);
	buf_clear(&e->wire);
	assert_int_equal(tls_write(e->tls, (const uint8_t *)"x", 1, &used), TLS_DONE);
	assert_int_equal(buf_len(&e->wire), 27 + 23);
}

static void test_room_for_update(void **state)
{
	record_everywhere(record_room_for_update);
}

/* The bytes may be moved while a record's plaintext stands in them. */
static void test_moved_input(void **state)
{
	for (size_t take = 0; take < 4; take++) {
		const uint8_t *plain;
		uint8_t first[200], second[200];
		record_begin(PAIR_SERVER);
		struct tls *t = pair.ends[PAIR_SERVER].tls;
		record_put_text("abcd");
		record_put_text("efgh");
		memcpy(first, peer.wire, peer.wire_len);
		tls_input(t, first, peer.wire_len);
		assert_true(tls_input_several(t));
		assert_int_equal(tls_open(t), TLS_DONE);
		assert_int_equal(tls_plain(t, &plain), 4);
		tls_plain_take(t, take);
		size_t left = tls_input_left(t);
		assert_int_equal(left, 4 - take + 1 + 16 + 26);
		memcpy(second, first + peer.wire_len - left, left);
		memset(first, 0xff, sizeof(first));
		tls_input(t, second, left);
		assert_int_equal(tls_plain(t, &plain), 4 - take);
		assert_memory_equal(plain, "abcd" + take, 4 - take);
		tls_plain_take(t, 4 - take);
		assert_int_equal(tls_input_left(t), 26);
		assert_int_equal(tls_open(t), TLS_DONE);
		assert_int_equal(tls_plain(t, &plain), 4);
		assert_memory_equal(plain, "efgh", 4);
		tls_plain_take(t, 4);
		assert_int_equal(tls_input_left(t), 0);
	}
}

/* Plaintext that was opened in place goes first, whatever way it is read. */
static void test_read_after_open(void **state)
{
	record_begin(PAIR_SERVER);
	struct pair_end *e = &pair.ends[PAIR_SERVER];
	record_put_text("abcd");
	record_put_text("efgh");
	tls_input(e->tls, peer.wire, peer.wire_len);
	assert_int_equal(tls_open(e->tls), TLS_DONE);
	tls_plain_take(e->tls, 1);
	assert_int_equal(tls_read(e->tls, &e->plain), TLS_DONE);
	assert_int_equal(buf_len(&e->plain), 7);
	assert_memory_equal(buf_at(&e->plain), "bcdefgh", 7);
	assert_int_equal(tls_read(e->tls, &e->plain), TLS_MORE);
}

static void test_wanted(void **state)
{
	record_begin(PAIR_SERVER);
	struct tls *t = pair.ends[PAIR_SERVER].tls;
	const uint8_t *plain;
	record_put(23, peer.got, 1000, 0);
	assert_int_equal(tls_input_wanted(t), 16406);
	tls_input(t, peer.wire, 4);
	assert_int_equal(tls_open(t), TLS_MORE);
	assert_int_equal(tls_input_wanted(t), 16406); /* its length is not known yet */
	tls_input(t, peer.wire + 4, 1);
	assert_int_equal(tls_open(t), TLS_MORE);
	assert_int_equal(tls_input_wanted(t), 1017);
	tls_input(t, peer.wire + 5, 17);
	assert_int_equal(tls_open(t), TLS_MORE);
	assert_int_equal(tls_input_wanted(t), 1000);
	tls_input(t, peer.wire + 22, 1000);
	assert_int_equal(tls_open(t), TLS_DONE);
	assert_int_equal(tls_plain(t, &plain), 1000);
	assert_int_equal(tls_input_wanted(t), 16406);
}

static void test_no_block_to_carry(void **state)
{
	record_begin(PAIR_SERVER);
	struct pair_end *e = &pair.ends[PAIR_SERVER];
	const uint8_t *plain;
	uint32_t before = e->pool.block_count_max;
	record_put_text("abcd");
	e->pool.block_count_max = e->pool.block_count;
	tls_input(e->tls, peer.wire, 10);
	assert_int_equal(tls_open(e->tls), TLS_FULL);
	assert_int_equal(tls_input_left(e->tls), 10);
	e->pool.block_count_max = before;
	assert_int_equal(tls_open(e->tls), TLS_MORE);
	tls_input(e->tls, peer.wire + 10, peer.wire_len - 10);
	assert_int_equal(tls_open(e->tls), TLS_DONE);
	assert_int_equal(tls_plain(e->tls, &plain), 4);
}

/* --- what is wrong --- */

static void record_tampered(void)
{
	static const int alerts[5] = {SSL_AD_UNEXPECTED_MESSAGE, SSL_AD_PROTOCOL_VERSION,
		SSL_AD_PROTOCOL_VERSION, SSL_AD_RECORD_OVERFLOW, SSL_AD_BAD_RECORD_MAC};
	int to = peer.to;
	for (size_t at = 0; at < 27; at++) {
		record_begin(to);
		record_put_text("hello");
		record_put(23, "and something behind it", 23, 200);
		peer.wire[at] ^= 0x80;
		record_give_refused(at < 5 ? alerts[at] : SSL_AD_BAD_RECORD_MAC);
		assert_int_equal(peer.got_len, 0);
	}
}

static void test_tampered(void **state)
{
	record_everywhere(record_tampered);
}

static void record_replayed(void)
{
	record_put_text("again");
	peer.key.number = 0;
	record_put_text("again");
	record_give_refused(SSL_AD_BAD_RECORD_MAC);
	record_got("again");
}

static void test_replayed(void **state)
{
	record_everywhere(record_replayed);
}

static void record_wrong_heads(void)
{
	static const struct {
		uint8_t head[5];
		int alert;
	} rows[] = {
		{{20, 3, 3, 0, 1}, SSL_AD_UNEXPECTED_MESSAGE},
		{{21, 3, 3, 0, 2}, SSL_AD_UNEXPECTED_MESSAGE},
		{{22, 3, 3, 0, 30}, SSL_AD_UNEXPECTED_MESSAGE},
		{{24, 3, 3, 0, 30}, SSL_AD_UNEXPECTED_MESSAGE},
		{{23, 3, 1, 0, 30}, SSL_AD_PROTOCOL_VERSION},
		{{23, 3, 4, 0, 30}, SSL_AD_PROTOCOL_VERSION},
		{{23, 3, 3, 0, 0}, SSL_AD_BAD_RECORD_MAC},
		{{23, 3, 3, 0, 16}, SSL_AD_BAD_RECORD_MAC},
		{{23, 3, 3, 0x41, 1}, SSL_AD_RECORD_OVERFLOW},
		{{23, 3, 3, 0xff, 0xff}, SSL_AD_RECORD_OVERFLOW},
	};
	int to = peer.to;
	for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
		record_begin(to);
		peer.chunk = i & 1; /* refused as soon as the head is there */
		memcpy(peer.wire, rows[i / 2].head, 5);
		peer.wire_len = 5;
		record_give_refused(rows[i / 2].alert);
	}
}

static void test_wrong_heads(void **state)
{
	record_everywhere(record_wrong_heads);
}

static void record_wrong_types(void)
{
	static const uint8_t types[] = {1, 20, 24, 25, 255};
	int to = peer.to;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		record_begin(to);
		record_put(types[i], "\x01", 1, 0);
		record_give_refused(SSL_AD_UNEXPECTED_MESSAGE);
	}
	for (size_t padding = 1; padding < 20000; padding = padding * 3 + 1) {
		static const uint8_t zeros[20000];
		record_begin(to);
		record_put_inner(zeros, padding);
		record_give_refused(padding > RECORD_PLAIN_MAX + 1 ? SSL_AD_RECORD_OVERFLOW
								   : SSL_AD_UNEXPECTED_MESSAGE);
	}
}

static void test_wrong_types(void **state)
{
	record_everywhere(record_wrong_types);
}

static void record_too_long(void)
{
	static uint8_t bytes[RECORD_PLAIN_MAX + 240];
	static const size_t rows[][2] = {{RECORD_PLAIN_MAX + 1, 0}, {RECORD_PLAIN_MAX, 1},
		{1, RECORD_PLAIN_MAX}, {RECORD_PLAIN_MAX + 239, 0}, {0, RECORD_PLAIN_MAX + 1}};
	int to = peer.to;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		record_begin(to);
		record_put(23, bytes, rows[i][0], rows[i][1]);
		record_give_refused(SSL_AD_RECORD_OVERFLOW);
		assert_int_equal(peer.got_len, 0);
	}
}

static void test_too_long(void **state)
{
	record_everywhere(record_too_long);
}

static void record_wrong_alerts(void)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rows[] = {{"", 0}, {"\x01", 1}, {"\x01\x00\x00", 3}, {"\x00\x00", 2}, {"\x03\x00", 2},
		{"\x01\x50", 2}, {"\x01\x00\x01\x00", 4}};
	int to = peer.to;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		record_begin(to);
		record_put(21, rows[i].bytes, rows[i].len, 0);
		record_give_refused(SSL_AD_DECODE_ERROR);
	}
}

static void test_wrong_alerts(void **state)
{
	record_everywhere(record_wrong_alerts);
}

static void record_wrong_messages(void)
{
	static const struct {
		const char *bytes;
		size_t len;
		int alert;
	} rows[] = {
		{"", 0, SSL_AD_UNEXPECTED_MESSAGE},
		{"\x00\x00\x00\x00", 4, SSL_AD_UNEXPECTED_MESSAGE},	/* HelloRequest */
		{"\x01\x00\x00\x00", 4, SSL_AD_UNEXPECTED_MESSAGE},	/* ClientHello */
		{"\x0d\x00\x00\x01\x00", 5, SSL_AD_UNEXPECTED_MESSAGE}, /* CertificateRequest */
		{"\x14\x00\x00\x01\x00", 5, SSL_AD_UNEXPECTED_MESSAGE}, /* Finished */
		{"\x18\x00\x00\x00", 4, SSL_AD_DECODE_ERROR},
		{"\x18\x00\x00\x02\x00\x00", 6, SSL_AD_DECODE_ERROR},
		{"\x18\x00\x00\x01\x02", 5, SSL_AD_ILLEGAL_PARAMETER},
		{"\x18\x00\x00\x01\x00\x18", 6, SSL_AD_UNEXPECTED_MESSAGE},
		{"\x18\x00\x00\x01\x00\x18\x00\x00\x01\x00", 10, SSL_AD_UNEXPECTED_MESSAGE},
		{"\x04\x00\x40\x01", 4, SSL_AD_ILLEGAL_PARAMETER},
		{"\x18\xff\xff\xff\x00", 5, SSL_AD_ILLEGAL_PARAMETER},
	};
	int to = peer.to;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		record_begin(to);
		record_put(22, rows[i].bytes, rows[i].len, 0);
		record_give_refused(rows[i].alert);
	}
}

static void test_wrong_messages(void **state)
{
	record_everywhere(record_wrong_messages);
}

static void record_between_parts(void)
{
	static const struct {
		uint8_t type;
		const char *bytes;
		size_t len;
	} rows[] = {{23, "x", 1}, {23, "", 0}, {21, "\x01\x00", 2}, {21, "\x02\x50", 2}};
	int to = peer.to;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		record_begin(to);
		record_put(22, "\x18\x00", 2, 0);
		record_put(rows[i].type, rows[i].bytes, rows[i].len, 0);
		record_give_refused(SSL_AD_UNEXPECTED_MESSAGE);
		assert_int_equal(peer.got_len, 0);
	}
}

static void test_between_parts(void **state)
{
	record_everywhere(record_between_parts);
}

/* Records that bring nothing: so many, but no more without a byte between them. */
static void record_floods(void)
{
	int to = peer.to;
	for (int kind = 0; kind < 4; kind++) {
		record_begin(to);
		for (int i = 0; i < 65; i++) {
			if (i == 32)
				record_put_text("x");
			else if (kind == 0)
				record_put(23, "", 0, 9);
			else if (kind == 1)
				record_put(21, "\x01\x5a", 2, 0);
			else
				record_put_update(kind == 2);
		}
		assert_int_equal(record_give(), TLS_MORE);
		record_got("x");
		record_put_update(0);
		record_give_refused(SSL_AD_UNEXPECTED_MESSAGE);
	}
}

static void test_floods(void **state)
{
	record_everywhere(record_floods);
}

static void record_truncated(void)
{
	int to = peer.to;
	for (size_t len = 0; len < 52; len++) {
		record_begin(to);
		struct tls *t = pair.ends[to].tls;
		record_put_text("abcd");
		record_put_text("efgh");
		peer.wire_len = len;
		assert_int_equal(record_give(), TLS_MORE);
		tls_input_eof(t);
		assert_int_equal(record_read(), TLS_FAILED);
		assert_int_equal(tls_failure(t), TLS_FAILURE_CLOSED);
		assert_int_equal(peer.got_len, len < 26 ? 0 : 4);
		assert_int_equal(record_alert(), -1);
	}
}

static void test_truncated(void **state)
{
	record_everywhere(record_truncated);
}

/* --- tickets --- */

struct record_ticket {
	const char *bytes;
	size_t len;
	bool sound;
};

#define RECORD_TICKET(body, sound)                                          \
	{                                                                   \
		"\x04\x00\x00" body, sizeof("\x04\x00\x00" body) - 1, sound \
	}

static const struct record_ticket record_tickets[] = {
	RECORD_TICKET("\x10\0\0\1\0\0\0\0\0\1n\0\2tt\0\0", true),
	RECORD_TICKET("\x0f\0\0\1\0\0\0\0\0\0\0\2tt\0\0", true),
	RECORD_TICKET("\x0e\0\0\1\0\0\0\0\0\1n\0\0\0\0", false), /* empty */
	RECORD_TICKET("\x11\0\0\1\0\0\0\0\0\1n\0\2tt\0\0x", false),
	RECORD_TICKET("\x0f\0\0\1\0\0\0\0\0\1n\0\2tt\0", false),
	RECORD_TICKET("\x10\0\0\1\0\0\0\0\0\1n\0\3tt\0\0", false),
	RECORD_TICKET("\x00", false),
};

static void record_ticket_begin(struct tls_sessions *sessions)
{
	record_begin(PAIR_CLIENT);
	/* A client that looks out for tickets: a session of its own is what it needs. */
	struct tls_client_want want = pair_want();
	pair_stop(&pair);
	pair_start(&pair, store, store, sessions, &want);
	assert_true(pair_handshake(&pair));
	const struct record_key *k = &pair.ends[PAIR_SERVER].tls->writing;
	record_key_wipe(&peer.key);
	assert_true(record_key_init(&peer.key, k->suite, k->secret, k->secret_len, 0));
}

static void test_tickets(void **state)
{
	for (int way = 0; way < 4; way++) {
		for (size_t i = 0; i < ARRAY_LEN(record_tickets); i++) {
			const struct record_ticket *row = &record_tickets[i];
			struct tls_sessions *sessions = tls_sessions_new(10);
			peer.in_place = way & 1;
			record_ticket_begin(sessions);
			if (way & 2) /* behind the first bytes they are read, but not taken */
				record_put_text("x");
			record_put(22, row->bytes, row->len, 0);
			if (row->sound) {
				record_put_text("y");
				assert_int_equal(record_give(), TLS_MORE);
				assert_null(pair.ends[PAIR_CLIENT].tls->ssl);
			} else {
				record_give_refused(SSL_AD_DECODE_ERROR);
			}
			pair_stop(&pair);
			tls_sessions_free(sessions);
		}
	}
}

/* What only the library finds wrong: its own alert must not leave, for it was sealed under a key
 * and a number that are ours. */
static void test_ticket_with_wrong_extension(void **state)
{
	struct tls_sessions *sessions = tls_sessions_new(10);
	size_t used;
	record_ticket_begin(sessions);
	struct pair_end *c = &pair.ends[PAIR_CLIENT];
	assert_int_equal(tls_write(c->tls, (const uint8_t *)"before", 6, &used), TLS_DONE);
	pair_carry(&pair, PAIR_CLIENT);
	assert_int_equal(
		tls_read(pair.ends[PAIR_SERVER].tls, &pair.ends[PAIR_SERVER].plain), TLS_DONE);
	record_put(22, "\x04\0\0\x15\0\0\1\0\0\0\0\0\1n\0\2tt\0\5\0\x2a\0\1x", 25, 0);
	assert_int_equal(record_give(), TLS_FAILED);
	assert_int_equal(buf_len(&c->wire), RECORD_OVERHEAD + 2);
	assert_int_equal(record_alert(), SSL_AD_DECODE_ERROR);
	pair_stop(&pair);
	tls_sessions_free(sessions);
}

static void test_ticket_to_server(void **state)
{
	record_begin(PAIR_SERVER);
	record_put(22, record_tickets[0].bytes, record_tickets[0].len, 0);
	record_give_refused(SSL_AD_UNEXPECTED_MESSAGE);
}

/* As long as a message may be, over many records, with others around it. */
static void test_long_ticket(void **state)
{
	static uint8_t message[4 + 16384];
	size_t ticket_len = sizeof(message) - 4 - 4 - 4 - 1 - 2 - 2;
	message[0] = 4;
	message[2] = 0x40;
	message[6] = 1;
	message[13] = (uint8_t)(ticket_len >> 8);
	message[14] = (uint8_t)ticket_len;
	for (size_t piece = 7; piece <= 16384; piece = piece * 5 + 3) {
		struct tls_sessions *sessions = tls_sessions_new(10);
		record_ticket_begin(sessions);
		struct tls *t = pair.ends[PAIR_CLIENT].tls;
		if (piece < sizeof(message) / 30)
			t->silent_count = 0;
		for (size_t at = 0; at < sizeof(message); at += piece) {
			size_t n = sizeof(message) - at < piece ? sizeof(message) - at : piece;
			record_put(22, message + at, n, 0);
			if (at / piece % 20 == 0) {
				assert_int_equal(record_give(), TLS_MORE);
				t->silent_count = 0; /* that rule has its own test */
			}
		}
		record_put_text("x");
		assert_int_equal(record_give(), TLS_MORE);
		assert_null(t->part);
		pair_stop(&pair);
		tls_sessions_free(sessions);
	}
}

/* --- when the library's session goes --- */

static void test_session_goes(void **state)
{
	size_t used;
	record_begin(PAIR_SERVER);
	/* With the handshake; only a client that keeps tickets waits for one. */
	assert_null(pair.ends[PAIR_CLIENT].tls->ssl);
	struct tls *s = pair.ends[PAIR_SERVER].tls;
	assert_null(s->ssl);
	assert_non_null(s->ticket);
	assert_int_equal(tls_write(s, (const uint8_t *)"x", 1, &used), TLS_DONE);
	assert_null(s->ticket);
	assert_int_equal(pair_drain(&pair, PAIR_CLIENT), TLS_MORE);
	assert_int_equal(buf_len(&pair.ends[PAIR_CLIENT].plain), 1);
	/* What it knew is still known. */
	assert_string_equal(tls_peer_id(s).at, pair_ids[PAIR_WEB]);
	assert_int_equal(tls_peer_again(s, store, CERTS_NOW), TLS_FAILURE_NONE);
	assert_false(tls_resumed(s));
}

static int record_teardown(void **state)
{
	if (pair.mesh)
		pair_done(&pair);
	pair.mesh = NULL;
	record_key_wipe(&peer.key);
	memset(&peer, 0, sizeof(peer));
	return 0;
}

#define RECORD_TEST(name) cmocka_unit_test_teardown(name, record_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RECORD_TEST(test_keys),
		RECORD_TEST(test_wrong_keys),
		RECORD_TEST(test_wipes),
		RECORD_TEST(test_number_ends),
		RECORD_TEST(test_several),
		RECORD_TEST(test_fragments),
		RECORD_TEST(test_longest),
		RECORD_TEST(test_closes),
		RECORD_TEST(test_alerts),
		RECORD_TEST(test_updates),
		RECORD_TEST(test_split_update),
		RECORD_TEST(test_room_for_update),
		RECORD_TEST(test_moved_input),
		RECORD_TEST(test_read_after_open),
		RECORD_TEST(test_wanted),
		RECORD_TEST(test_no_block_to_carry),
		RECORD_TEST(test_tampered),
		RECORD_TEST(test_replayed),
		RECORD_TEST(test_wrong_heads),
		RECORD_TEST(test_wrong_types),
		RECORD_TEST(test_too_long),
		RECORD_TEST(test_wrong_alerts),
		RECORD_TEST(test_wrong_messages),
		RECORD_TEST(test_between_parts),
		RECORD_TEST(test_floods),
		RECORD_TEST(test_truncated),
		RECORD_TEST(test_tickets),
		RECORD_TEST(test_ticket_with_wrong_extension),
		RECORD_TEST(test_ticket_to_server),
		RECORD_TEST(test_long_ticket),
		RECORD_TEST(test_session_goes),
	};
	pair_mesh_init(&mesh);
	store = pair_mesh_store(&mesh, 1);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	tls_store_unref(store);
	pair_mesh_done(&mesh);
	return failed;
}
