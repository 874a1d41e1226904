/* SPDX-License-Identifier: Apache-2.0 */
#include "pair.h"

#include "tls/handshake.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants those above first */
#include <cmocka.h>

static struct pair_mesh mesh;
static struct tls_store *store;
static struct pair pair;

static int stream_setup_sized(uint32_t block_bytes)
{
	struct tls_client_want want = pair_want();
	pair_init(&pair, &mesh, block_bytes);
	pair_start(&pair, store, store, NULL, &want);
	return pair_handshake(&pair) ? 0 : -1;
}

static int stream_setup(void **state)
{
	return stream_setup_sized(20 << 10);
}

static int stream_teardown(void **state)
{
	pair_done(&pair);
	return 0;
}

static uint8_t stream_byte(uint64_t at)
{
	return (uint8_t)((at * 2654435761u) >> 13);
}

struct stream_way {
	uint64_t sent, received, total;
	uint8_t bytes[50000]; /* from `sent` on */
};

static void stream_send(struct stream_way *way, int from, size_t at_once)
{
	struct tls *t = pair.ends[from].tls;
	size_t len = way->total - way->sent < at_once ? way->total - way->sent : at_once;
	size_t used;
	for (size_t i = 0; i < len; i++)
		way->bytes[i] = stream_byte(way->sent + i);
	enum tls_result result = tls_write(t, way->bytes, len, &used);
	assert_true(result == TLS_DONE || result == TLS_FULL);
	assert_true(result == TLS_DONE || used == 0);
	way->sent += used;
}

static void stream_receive(struct stream_way *way, int to)
{
	struct pair_end *e = &pair.ends[to];
	pair_carry(&pair, !to);
	enum tls_result result = tls_read(e->tls, &e->plain);
	assert_true(result == TLS_DONE || result == TLS_MORE || result == TLS_FULL);
	assert_true(result != TLS_DONE || buf_len(&e->plain) > 0);
	for (size_t i = 0; i < buf_len(&e->plain); i++)
		assert_int_equal(buf_at(&e->plain)[i], stream_byte(way->received + i));
	way->received += buf_len(&e->plain);
	buf_consume(&e->plain, buf_len(&e->plain));
}

/* Both directions at once. */
static void stream_exchange(uint64_t total, size_t at_once)
{
	static struct stream_way ways[2];
	for (int i = 0; i < 2; i++)
		ways[i].sent = ways[i].received = 0, ways[i].total = total;
	for (int i = 0; i < 10000000; i++) {
		for (int end = 0; end < 2; end++) {
			stream_send(&ways[end], end, at_once);
			stream_receive(&ways[end], !end);
		}
		if (ways[0].received == total && ways[1].received == total)
			return;
	}
	fail_msg("bytes were lost: %llu and %llu of %llu", (unsigned long long)ways[0].received,
		(unsigned long long)ways[1].received, (unsigned long long)total);
}

static void test_both_ways(void **state)
{
	stream_exchange(3 << 20, 50000);
}

static void test_small_pieces(void **state)
{
	pair.chunk = 7;
	stream_exchange(2000, 100);
}

static void test_smallest_wire(void **state)
{
	stream_teardown(state);
	assert_int_equal(stream_setup_sized(TLS_WIRE_BYTES_MIN), 0);
	stream_exchange(1 << 20, 50000);
	pair.chunk = 1000;
	stream_exchange(1 << 18, 16384);
}

static void test_wide_wire(void **state)
{
	stream_teardown(state);
	assert_int_equal(stream_setup_sized(64 << 10), 0);
	stream_exchange(3 << 20, 50000);
	/* 48 KiB leave as three full records. */
	size_t used;
	static uint8_t bytes[48 << 10];
	assert_int_equal(tls_write(pair.ends[0].tls, bytes, sizeof(bytes), &used), TLS_DONE);
	assert_int_equal(used, sizeof(bytes));
	assert_int_equal(buf_len(&pair.ends[0].wire), sizeof(bytes) + 3 * 22);
}

static void test_full(void **state)
{
	struct pair_end *c = &pair.ends[PAIR_CLIENT];
	static uint8_t bytes[40000];
	size_t used;
	assert_int_equal(tls_write(c->tls, bytes, sizeof(bytes), &used), TLS_DONE);
	assert_int_equal(used, 16384); /* what is left is too little for a record worth sending */
	assert_int_equal(tls_write(c->tls, bytes, sizeof(bytes), &used), TLS_FULL);
	assert_int_equal(used, 0);
	assert_int_equal(tls_write(c->tls, bytes, 100, &used), TLS_DONE);
	assert_int_equal(used, 100);
	assert_int_equal(tls_write(c->tls, bytes, 0, &used), TLS_DONE);
}

/* The server's ticket waits for its first write; here both meet a wire with hardly any room. */
static void test_ticket_and_no_room(void **state)
{
	struct pair_end *s = &pair.ends[PAIR_SERVER], *c = &pair.ends[PAIR_CLIENT];
	static uint8_t filler[20 << 10];
	size_t used;
	assert_true(buf_put(&s->wire, filler, sizeof(filler) - 100));
	size_t filled = sizeof(filler) - 100;
	assert_int_equal(tls_write(s->tls, (const uint8_t *)"hello world", 11, &used), TLS_FULL);
	assert_int_equal(used, 0);
	buf_consume(&s->wire, filled);
	assert_int_equal(buf_len(&s->wire), 100);
	/* More may follow the bytes that were given first. */
	assert_int_equal(tls_write(s->tls, (const uint8_t *)"hello world!!", 13, &used), TLS_DONE);
	assert_int_equal(used, 13);
	assert_int_equal(pair_drain(&pair, PAIR_CLIENT), TLS_MORE);
	assert_int_equal(buf_len(&c->plain), 13);
	assert_memory_equal(buf_at(&c->plain), "hello world!!", 13);
}

static void test_close_with_half_a_ticket(void **state)
{
	struct pair_end *s = &pair.ends[PAIR_SERVER], *c = &pair.ends[PAIR_CLIENT];
	static uint8_t filler[20 << 10];
	size_t used, filled = sizeof(filler) - 100;
	assert_true(buf_put(&s->wire, filler, filled));
	assert_int_equal(tls_write(s->tls, (const uint8_t *)"hello world", 11, &used), TLS_FULL);
	assert_int_equal(tls_close_notify(s->tls), TLS_FULL);
	buf_consume(&s->wire, filled);
	assert_int_equal(tls_close_notify(s->tls), TLS_DONE);
	assert_int_equal(pair_drain(&pair, PAIR_CLIENT), TLS_CLOSED);
	assert_int_equal(buf_len(&c->plain), 0);
}

static void test_read_into_full_buffer(void **state)
{
	struct pair_end *c = &pair.ends[PAIR_CLIENT], *s = &pair.ends[PAIR_SERVER];
	static uint8_t bytes[16384];
	size_t used;
	assert_int_equal(tls_write(c->tls, bytes, sizeof(bytes), &used), TLS_DONE);
	assert_true(buf_put(&s->plain, bytes, sizeof(bytes)));
	pair_carry(&pair, PAIR_CLIENT);
	assert_int_equal(tls_read(s->tls, &s->plain), TLS_DONE);
	assert_int_equal(tls_read(s->tls, &s->plain), TLS_FULL);
	assert_int_equal(buf_len(&s->plain), 20 << 10);
	buf_consume(&s->plain, sizeof(bytes));
	assert_int_equal(tls_read(s->tls, &s->plain), TLS_DONE);
	assert_int_equal(buf_len(&s->plain), sizeof(bytes));
	assert_int_equal(tls_read(s->tls, &s->plain), TLS_MORE);
}

static void test_input_left(void **state)
{
	struct pair_end *c = &pair.ends[PAIR_CLIENT], *s = &pair.ends[PAIR_SERVER];
	size_t used;
	tls_write(c->tls, (const uint8_t *)"one", 3, &used);
	size_t first = buf_len(&c->wire);
	assert_int_equal(first, 3 + 22);
	pair_carry(&pair, PAIR_CLIENT);
	assert_int_equal(tls_input_left(s->tls), first);
	assert_int_equal(tls_read(s->tls, &s->plain), TLS_DONE);
	assert_int_equal(tls_input_left(s->tls), 0);
	assert_int_equal(tls_read(s->tls, &s->plain), TLS_MORE);
}

static void test_close_notify(void **state)
{
	struct pair_end *c = &pair.ends[PAIR_CLIENT], *s = &pair.ends[PAIR_SERVER];
	size_t used;
	assert_int_equal(tls_write(c->tls, (const uint8_t *)"bye", 3, &used), TLS_DONE);
	assert_int_equal(tls_close_notify(c->tls), TLS_DONE);
	size_t len = buf_len(&c->wire);
	assert_int_equal(tls_close_notify(c->tls), TLS_DONE);
	assert_int_equal(buf_len(&c->wire), len); /* once */
	pair_carry(&pair, PAIR_CLIENT);
	assert_int_equal(tls_read(s->tls, &s->plain), TLS_CLOSED);
	assert_int_equal(buf_len(&s->plain), 3);
	assert_int_equal(tls_read(s->tls, &s->plain), TLS_CLOSED);
	assert_int_equal(tls_failure(s->tls), TLS_FAILURE_NONE);
	/* Half closed: the other direction goes on. */
	assert_int_equal(tls_write(s->tls, (const uint8_t *)"answer", 6, &used), TLS_DONE);
	assert_int_equal(tls_close_notify(s->tls), TLS_DONE);
	assert_int_equal(pair_drain(&pair, PAIR_CLIENT), TLS_CLOSED);
	assert_memory_equal(buf_at(&c->plain), "answer", 6);
}

static void test_close_notify_without_room(void **state)
{
	struct pair_end *c = &pair.ends[PAIR_CLIENT];
	static uint8_t filler[20 << 10];
	assert_true(buf_put(&c->wire, filler, sizeof(filler)));
	assert_int_equal(tls_close_notify(c->tls), TLS_FULL);
	buf_consume(&c->wire, sizeof(filler) - 10);
	buf_consume(&c->wire, 10);
	assert_int_equal(tls_close_notify(c->tls), TLS_DONE);
	assert_int_equal(pair_drain(&pair, PAIR_SERVER), TLS_CLOSED);
}

static void test_truncated(void **state)
{
	struct pair_end *c = &pair.ends[PAIR_CLIENT], *s = &pair.ends[PAIR_SERVER];
	size_t used;
	assert_int_equal(tls_write(c->tls, (const uint8_t *)"cut", 3, &used), TLS_DONE);
	pair_carry(&pair, PAIR_CLIENT);
	tls_input_eof(s->tls);
	assert_int_equal(tls_read(s->tls, &s->plain), TLS_FAILED);
	assert_int_equal(buf_len(&s->plain), 3);
	assert_int_equal(tls_failure(s->tls), TLS_FAILURE_CLOSED);
	assert_int_equal(tls_write(s->tls, (const uint8_t *)"x", 1, &used), TLS_FAILED);
	assert_int_equal(tls_close_notify(s->tls), TLS_FAILED);
}

static void test_cut_inside_a_record(void **state)
{
	struct pair_end *c = &pair.ends[PAIR_CLIENT], *s = &pair.ends[PAIR_SERVER];
	size_t used;
	assert_int_equal(tls_write(c->tls, (const uint8_t *)"cut", 3, &used), TLS_DONE);
	pair.chunk = 12;
	pair_carry(&pair, PAIR_CLIENT);
	tls_input_eof(s->tls);
	assert_int_equal(tls_read(s->tls, &s->plain), TLS_FAILED);
	assert_int_equal(tls_failure(s->tls), TLS_FAILURE_CLOSED);
}

static void test_damaged_record(void **state)
{
	struct pair_end *c = &pair.ends[PAIR_CLIENT], *s = &pair.ends[PAIR_SERVER];
	size_t used;
	assert_int_equal(tls_write(c->tls, (const uint8_t *)"text", 4, &used), TLS_DONE);
	buf_at(&c->wire)[7] ^= 1;
	assert_int_equal(pair_drain(&pair, PAIR_SERVER), TLS_FAILED);
	assert_int_equal(tls_failure(s->tls), TLS_FAILURE_PROTOCOL);
	assert_int_equal(pair_drain(&pair, PAIR_CLIENT), TLS_FAILED);
	assert_int_equal(tls_failure(c->tls), TLS_FAILURE_ALERT);
	assert_int_equal(tls_peer_alert(c->tls), SSL_AD_BAD_RECORD_MAC);
}

/* The sender changes its key when the old one has sealed enough. */
static void test_rekeys(void **state)
{
	for (int end = 0; end < 2; end++)
		pair.ends[end].tls->records_left = 3;
	stream_exchange(300000, 16384);
	assert_true(pair.ends[0].tls->records_left > 1000);
	/* The KeyUpdate goes before the record that the old key may not seal any more. */
	size_t used;
	pair.ends[PAIR_CLIENT].tls->records_left = 0;
	assert_int_equal(
		tls_write(pair.ends[PAIR_CLIENT].tls, (const uint8_t *)"x", 1, &used), TLS_DONE);
	assert_int_equal(buf_len(&pair.ends[PAIR_CLIENT].wire), 5 + 22 + 1 + 22);
	assert_int_equal(pair_drain(&pair, PAIR_SERVER), TLS_MORE);
	assert_int_equal(buf_len(&pair.ends[PAIR_SERVER].plain), 1);
}

static void test_holds_no_handshake(void **state)
{
	for (int end = 0; end < 2; end++)
		assert_null(pair.ends[end].tls->setup);
}

#define STREAM_TEST(name) cmocka_unit_test_setup_teardown(name, stream_setup, stream_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_TEST(test_both_ways),
		STREAM_TEST(test_small_pieces),
		STREAM_TEST(test_smallest_wire),
		STREAM_TEST(test_wide_wire),
		STREAM_TEST(test_full),
		STREAM_TEST(test_ticket_and_no_room),
		STREAM_TEST(test_close_with_half_a_ticket),
		STREAM_TEST(test_read_into_full_buffer),
		STREAM_TEST(test_input_left),
		STREAM_TEST(test_close_notify),
		STREAM_TEST(test_close_notify_without_room),
		STREAM_TEST(test_truncated),
		STREAM_TEST(test_cut_inside_a_record),
		STREAM_TEST(test_damaged_record),
		STREAM_TEST(test_rekeys),
		STREAM_TEST(test_holds_no_handshake),
	};
	pair_mesh_init(&mesh);
	store = pair_mesh_store(&mesh, 1);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	tls_store_unref(store);
	pair_mesh_done(&mesh);
	return failed;
}
