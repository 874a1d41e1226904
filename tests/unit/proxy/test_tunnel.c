/* SPDX-License-Identifier: Apache-2.0 */
/* Opaque TCP through one proxy and through two: bytes, ends of stream, resets, timeouts, limits. */
#include "lab.h"

#include "telemetry/exposition.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct lab lab;

/* A connection that is open on both sides, over the way that the row of the table says. */
static const struct way {
	const char *name;
	enum lab_workload to;
	uint32_t machine_count;
} ways[] = {{"local", LAB_CACHE, 1}, {"mesh", LAB_LEDGER, 2}, {"plain", LAB_PLAIN, 1},
	{"passthrough", LAB_WORKLOAD_COUNT, 1}};

static struct address outside(void)
{
	struct address a = lab_address_of("203.0.113.9");
	a.port = 443;
	return a;
}

/* The far end's socket; *ret_client is ours. */
static int way_open(const struct way *way, const char *node, int *ret_client)
{
	lab_start(&lab, &(struct lab_options){.machine_count = way->machine_count, .node = node});
	struct address to = way->to == LAB_WORKLOAD_COUNT ? outside()
			    : way->to == LAB_PLAIN	  ? lab_address(LAB_PLAIN)
							  : lab_deliver(way->to);
	*ret_client = way->to == LAB_WORKLOAD_COUNT ? lab_dial_address(&lab, LAB_WEB, &to)
						    : lab_dial(&lab, LAB_WEB, way->to);
	lab_pump(&lab);
	int server = lab_connected(&to, 0);
	assert_int_not_equal(server, -1);
	return server;
}

static void test_bytes_go_both_ways(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		int client, server = way_open(&ways[i], NULL, &client);
		fake_peer_send_text(client, "ping");
		lab_pump(&lab);
		lab_expect_received(server, "ping");
		fake_peer_send_text(server, "pong");
		lab_pump(&lab);
		lab_expect_received(client, "pong");
		assert_int_equal(lab_last(&lab, 0)->kind, ACCESS_TCP_OPEN);
		assert_int_equal(lab_worker(&lab, 0)->connection_count, 1);
		assert_int_equal(lab_use(&lab, 0, LAB_WEB), 1);
		if (ways[i].to == LAB_CACHE)
			assert_int_equal(lab_serving_count(&lab, 0, LAB_CACHE), 1);
		if (ways[i].to == LAB_LEDGER)
			assert_int_equal(lab_serving_count(&lab, 1, LAB_LEDGER), 1);
		assert_int_equal(lab_values(&lab, 0)->connections_active, 2); /* both ends */
		lab_finish(&lab);
	}
}

static void test_half_close_passes_both_ways(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		for (int first = DOWN; first <= UP; first++) {
			int ends[2];
			ends[UP] = way_open(&ways[i], NULL, &ends[DOWN]);
			int early = ends[first], late = ends[!first];
			fake_peer_send_text(early, "last");
			fake_peer_shutdown(early);
			lab_pump(&lab);
			lab_expect_received(late, "last");
			assert_true(fake_peer_saw_end(late));
			assert_false(fake_peer_saw_end(early));
			fake_peer_send_text(late, "answer");
			fake_peer_shutdown(late);
			lab_pump(&lab);
			lab_expect_received(early, "answer");
			assert_true(fake_peer_saw_end(early));
			assert_false(fake_peer_saw_reset(early));
			assert_false(fake_peer_saw_reset(late));
			assert_int_equal(lab_alive(&lab, 0, TASK_TUNNEL), 0);
			lab_expect_reason(&lab, 0, "NONE");
			assert_int_equal(lab_last(&lab, 0)->received, first == DOWN ? 4 : 6);
			assert_int_equal(lab_last(&lab, 0)->sent, first == DOWN ? 6 : 4);
			assert_int_equal(lab_use(&lab, 0, LAB_WEB), 0);
			lab_finish(&lab);
		}
	}
}

static void test_reset_passes_on_as_reset(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		for (int first = DOWN; first <= UP; first++) {
			int ends[2];
			ends[UP] = way_open(&ways[i], NULL, &ends[DOWN]);
			fake_peer_reset(ends[first]);
			lab_pump(&lab);
			assert_true(fake_peer_saw_reset(ends[!first]));
			assert_int_equal(lab_alive(&lab, 0, TASK_TUNNEL), 0);
			lab_expect_reason(
				&lab, 0, first == DOWN ? "DOWNSTREAM_CLOSED" : "UPSTREAM_RESET");
			lab_finish(&lab);
		}
	}
}

static void test_connect_refused(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	struct address to = lab_deliver(LAB_CACHE);
	fake_connect_rule(&to, -ECONNREFUSED);
	int client = lab_dial(&lab, LAB_WEB, LAB_CACHE);
	lab_pump(&lab);
	assert_true(fake_peer_saw_reset(client));
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_FAILED");
	lab_finish(&lab);
}

static void test_connect_times_out(void **state)
{
	lab_start(&lab, &(struct lab_options){.node = "timeouts: { connect = \"2s\"; };"});
	struct address to = lab_deliver(LAB_CACHE);
	fake_connect_rule(&to, FAKE_PENDING);
	int client = lab_dial(&lab, LAB_WEB, LAB_CACHE);
	lab_run(&lab, 1900 * CLOCK_MS);
	assert_false(fake_peer_saw_reset(client));
	lab_run(&lab, 200 * CLOCK_MS);
	assert_true(fake_peer_saw_reset(client));
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_TIMEOUT");
	lab_finish(&lab);
}

static void test_no_descriptors_left(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	fake_open_fails(1, -EMFILE);
	int client = lab_dial(&lab, LAB_WEB, LAB_CACHE);
	lab_pump(&lab);
	assert_true(fake_peer_saw_reset(client));
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_FAILED");
	lab_finish(&lab);
}

/* The far proxy's handshake never ends. */
static void test_upstream_handshake_is_under_the_connect_timeout(void **state)
{
	lab_start(&lab, &(struct lab_options){.node = "timeouts: { connect = \"2s\"; };"});
	int client = lab_dial(&lab, LAB_WEB, LAB_LEDGER);
	lab_run(&lab, 2100 * CLOCK_MS);
	assert_true(fake_peer_saw_reset(client));
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_TIMEOUT");
	lab_finish(&lab);
}

static void test_upstream_is_no_tls(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	int client = lab_dial(&lab, LAB_WEB, LAB_LEDGER);
	lab_pump(&lab);
	struct address to = lab_mesh_address(1);
	int server = lab_connected(&to, 0);
	fake_peer_send_text(server, "SSH-2.0-OpenSSH_9.2\r\n");
	lab_pump(&lab);
	assert_true(fake_peer_saw_reset(client));
	lab_expect_reason(&lab, 0, "PROTOCOL");
	assert_string_equal(lab_last(&lab, 0)->flags, "UF");
	lab_finish(&lab);
}

static void test_upstream_closes_in_its_handshake(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	int client = lab_dial(&lab, LAB_WEB, LAB_LEDGER);
	lab_pump(&lab);
	struct address to = lab_mesh_address(1);
	fake_peer_close(lab_connected(&to, 0));
	lab_pump(&lab);
	assert_true(fake_peer_saw_reset(client));
	assert_string_equal(lab_last(&lab, 0)->flags, "UF");
	assert_int_equal(lab_alive(&lab, 0, TASK_TUNNEL), 0);
	lab_finish(&lab);
}

static void test_no_certificate_of_our_own(void **state)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2});
	int client = lab_dial(&lab, LAB_NOCERT, LAB_LEDGER);
	lab_pump(&lab);
	assert_true(fake_peer_saw_reset(client));
	lab_expect_reason(&lab, 0, "NO_IDENTITY");
	lab_finish(&lab);
}

static void test_idle_timeout_counts_from_the_last_byte(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		int client,
			server = way_open(&ways[i],
				"timeouts: { idle = \"60s\"; half_close = \"600s\"; };", &client);
		lab_run(&lab, 50 * CLOCK_S);
		fake_peer_send_text(server, "tick");
		lab_run(&lab, 50 * CLOCK_S);
		assert_int_equal(lab_alive(&lab, 0, TASK_TUNNEL), 1);
		lab_run(&lab, 11 * CLOCK_S);
		assert_int_equal(lab_alive(&lab, 0, TASK_TUNNEL), 0);
		lab_expect_reason(&lab, 0, "IDLE_TIMEOUT");
		lab_finish(&lab);
	}
}

/* Of all series of a counter. */
static uint64_t counted(uint32_t machine, const char *name)
{
	struct metric_text out;
	uint64_t sum = 0;
	metric_text_init(&out, false);
	metrics_write(&lab.machines[machine].metrics, 1, &out);
	for (const char *at = out.text; (at = strstr(at, name)); at++) {
		if (at > out.text && at[-1] == '\n')
			sum += strtoull(strchr(at, '}') + 1, NULL, 10);
	}
	metric_text_done(&out);
	return sum;
}

static void test_bytes_are_counted_while_it_lives(void **state)
{
	int client, server = way_open(&ways[1], "timeouts: { idle = \"60s\"; };", &client);
	uint64_t received = counted(0, "istio_tcp_received_bytes_total{");
	uint64_t sent = counted(1, "istio_tcp_sent_bytes_total{");
	for (uint64_t i = 1; i <= 3; i++) {
		fake_peer_send_text(client, "hello");
		fake_peer_send_text(server, "you");
		lab_run(&lab, 6 * CLOCK_S);
		assert_int_equal(counted(0, "istio_tcp_received_bytes_total{"), received + 5 * i);
		assert_int_equal(counted(1, "istio_tcp_sent_bytes_total{"), sent + 3 * i);
	}
	fake_peer_send_text(client, "and then the end");
	lab_pump(&lab);
	lab_run(&lab, 61 * CLOCK_S); /* counting is no movement */
	assert_int_equal(lab_alive(&lab, 0, TASK_TUNNEL), 0);
	lab_expect_reason(&lab, 0, "IDLE_TIMEOUT");
	assert_int_equal(counted(0, "istio_tcp_received_bytes_total{"), received + 15 + 16);
	assert_int_equal(counted(1, "istio_tcp_received_bytes_total{"),
		counted(0, "istio_tcp_received_bytes_total{"));
	lab_finish(&lab);
}

static void test_half_close_timeout(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		int client;
		(void)way_open(&ways[i], "timeouts: { half_close = \"5s\"; };", &client);
		fake_peer_shutdown(client);
		lab_run(&lab, 4 * CLOCK_S);
		assert_int_equal(lab_alive(&lab, 0, TASK_TUNNEL), 1);
		lab_run(&lab, 2 * CLOCK_S);
		assert_int_equal(lab_alive(&lab, 0, TASK_TUNNEL), 0);
		lab_finish(&lab);
	}
}

static void test_slow_reader_stops_the_sender(void **state)
{
	static char bytes[65536];
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		for (int reader = DOWN; reader <= UP; reader++) {
			int ends[2];
			ends[UP] = way_open(&ways[i], NULL, &ends[DOWN]);
			int slow = ends[reader], fast = ends[!reader];
			fake_peer_window(slow, 0);
			for (int k = 0; k < 16; k++)
				fake_peer_send(fast, bytes, sizeof(bytes));
			lab_pump(&lab);
			assert_true(fake_unread(fast) > 12 * sizeof(bytes));
			for (uint32_t m = 0; m < lab.machine_count; m++) {
				struct worker *w = lab_worker(&lab, m);
				assert_true(w->buffers.block_count <= 6);
				assert_true(w->loop.ring.blocks_out <= 2);
			}
			fake_peer_window(slow, SIZE_MAX);
			lab_pump(&lab);
			assert_int_equal(fake_unread(fast), 0);
			assert_int_equal(fake_peer_received(slow).len, 16 * sizeof(bytes));
			lab_finish(&lab);
		}
	}
}

/* An end of stream behind bytes that a slow reader has not taken yet comes after them. */
static void test_end_waits_for_the_bytes_before_it(void **state)
{
	static char bytes[65536];
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		int client, server = way_open(&ways[i], NULL, &client);
		fake_peer_window(server, 1000);
		fake_peer_send(client, bytes, sizeof(bytes));
		fake_peer_shutdown(client);
		lab_pump(&lab);
		assert_false(fake_peer_saw_end(server));
		fake_peer_window(server, SIZE_MAX);
		lab_pump(&lab);
		assert_int_equal(fake_peer_received(server).len, sizeof(bytes));
		assert_true(fake_peer_saw_end(server));
		lab_finish(&lab);
	}
}

enum { BULK_BYTES = 1 << 20 };
static char bulk[BULK_BYTES];

static void bulk_fill(void)
{
	for (size_t i = 0; i < sizeof(bulk); i++)
		bulk[i] = (char)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

static void expect_bulk(int fd)
{
	assert_int_equal(fake_peer_received(fd).len, sizeof(bulk));
	assert_memory_equal(fake_peer_received(fd).at, bulk, sizeof(bulk));
}

static void expect_no_memory(void)
{
	for (uint32_t m = 0; m < lab.machine_count; m++) {
		struct worker *w = lab_worker(&lab, m);
		assert_int_equal(w->buffers.block_count, 0);
		assert_int_equal(w->large_buffers.block_count, 0);
		assert_int_equal(w->loop.ring.blocks_out, 0);
	}
}

/* Much at once goes in few large pieces, in order, to a reader as slow as can be, and both ways. */
static void test_bulk_goes_in_large_pieces(void **state)
{
	bulk_fill();
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		int client, server = way_open(&ways[i], NULL, &client);
		fake_peer_window(client, 70000);
		fake_peer_send(client, bulk, sizeof(bulk));
		fake_peer_send(server, bulk, sizeof(bulk));
		uint32_t sends = fake_ops_count(FAKE_SEND);
		lab_pump(&lab);
		assert_true(fake_unread(server) > sizeof(bulk) / 2);
		expect_bulk(server);
		assert_true(fake_ops_count(FAKE_SEND) - sends < 32 * lab.machine_count);
		for (size_t window = 140000; window < sizeof(bulk); window += 70000) {
			fake_peer_window(client, 70000);
			lab_pump(&lab);
		}
		fake_peer_window(client, SIZE_MAX);
		lab_pump(&lab);
		expect_bulk(client);
		expect_no_memory();
		lab_finish(&lab);
	}
}

/* Without large buffers it goes in small ones. */
static void test_bulk_without_large_buffers(void **state)
{
	bulk_fill();
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		int client, server = way_open(&ways[i], NULL, &client);
		for (uint32_t m = 0; m < lab.machine_count; m++)
			lab_worker(&lab, m)->large_buffers.block_count_max = 0;
		fake_peer_send(client, bulk, sizeof(bulk));
		fake_peer_shutdown(client);
		lab_pump(&lab);
		expect_bulk(server);
		assert_true(fake_peer_saw_end(server));
		expect_no_memory();
		lab_finish(&lab);
	}
}

/* Bytes are taken, and their end is seen, although nobody is there for them any more: what the one
 * who has gone said before is still being read. */
static void test_bulk_to_one_that_has_gone(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		int client, server = way_open(&ways[i], NULL, &client);
		fake_peer_window(client, 0);
		fake_peer_send(server, bulk, sizeof(bulk));
		lab_pump(&lab);
		fake_peer_close(server);
		fake_peer_send(client, bulk, sizeof(bulk));
		lab_pump(&lab);
		assert_int_equal(fake_unread(client), 0);
		fake_peer_window(client, SIZE_MAX);
		lab_run(&lab, 2 * CLOCK_S);
		assert_int_equal(lab_alive(&lab, 0, TASK_TUNNEL), 0);
		expect_no_memory();
		lab_finish(&lab);
	}
}

static void test_bulk_in_chaos(void **state)
{
	bulk_fill();
	for (uint64_t seed = 1; seed <= 10; seed++) {
		for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
			int client, server = way_open(&ways[i], NULL, &client);
			fake_chaos(seed);
			fake_peer_send(client, bulk, sizeof(bulk));
			fake_peer_send(server, bulk, sizeof(bulk));
			fake_peer_shutdown(client);
			lab_pump(&lab);
			expect_bulk(server);
			expect_bulk(client);
			fake_chaos(0);
			lab_finish(&lab);
		}
	}
}

static void test_idle_tunnel_holds_no_memory(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		int client, server = way_open(&ways[i], NULL, &client);
		fake_peer_send_text(client, "ping");
		fake_peer_send_text(server, "pong");
		lab_pump(&lab);
		for (uint32_t m = 0; m < lab.machine_count; m++) {
			assert_int_equal(lab_worker(&lab, m)->buffers.block_count, 0);
			assert_int_equal(lab_worker(&lab, m)->loop.ring.blocks_out, 0);
		}
		lab_finish(&lab);
	}
}

static void test_policy_denies(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	int client = lab_dial(&lab, LAB_BILLING, LAB_CACHE);
	fake_peer_send_text(client, "secret please");
	lab_pump(&lab);
	assert_true(fake_peer_saw_reset(client));
	assert_int_equal(fake_opened_count(), 0); /* not even dialled */
	lab_expect_reason(&lab, 0, "POLICY_DENIED");
	assert_string_equal(lab_last(&lab, 0)->policy, "no-billing");
	lab_finish(&lab);
}

/* Bytes and an end that come before the upstream is there are kept for it. */
static void test_client_ends_before_the_connect(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	struct address to = lab_deliver(LAB_CACHE);
	fake_connect_rule(&to, FAKE_PENDING);
	int client = lab_dial(&lab, LAB_WEB, LAB_CACHE);
	fake_peer_send_text(client, "early");
	fake_peer_shutdown(client);
	lab_pump(&lab);
	fake_connect_rule(&to, 0);
	lab_pump(&lab);
	int server = lab_served(&lab, LAB_CACHE, 0);
	lab_expect_received(server, "early");
	assert_true(fake_peer_saw_end(server));
	lab_finish(&lab);
}

/* More callers than there are receive blocks have sent something and wait for a server that does
 * not come: they give their blocks back, so that others get on. */
static void test_those_who_wait_hold_no_blocks(void **state)
{
	lab_start(&lab, &(struct lab_options){.serving = LAB_HTTP});
	struct address to = lab_deliver(LAB_CACHE);
	uint32_t block_count = lab_worker(&lab, 0)->loop.ring.limits.block_count;
	fake_connect_rule(&to, FAKE_PENDING);
	for (uint32_t i = 0; i < block_count + 10; i++) {
		int waiting = lab_dial(&lab, LAB_WEB, LAB_CACHE);
		fake_peer_send_text(waiting, "early");
		lab_pump(&lab);
	}
	assert_true(lab_worker(&lab, 0)->loop.ring.blocks_out <= block_count / 2 + 1);
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	fake_peer_send_text(client, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
	lab_pump(&lab);
	lab_expect_holds(client, "shop:/a");
	fake_connect_rule(&to, 0);
	lab_pump(&lab);
	lab_expect_received(lab_served(&lab, LAB_CACHE, block_count + 9), "early");
	lab_finish(&lab);
}

static void test_client_resets_before_the_connect(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	struct address to = lab_deliver(LAB_CACHE);
	fake_connect_rule(&to, FAKE_PENDING);
	int client = lab_dial(&lab, LAB_WEB, LAB_CACHE);
	lab_pump(&lab);
	fake_peer_reset(client);
	lab_pump(&lab);
	assert_int_equal(lab_alive(&lab, 0, TASK_TUNNEL), 0);
	lab_expect_reason(&lab, 0, "DOWNSTREAM_CLOSED");
	lab_finish(&lab);
}

/* The server speaks first and nobody waits for the client. */
static void test_server_first_over_the_mesh(void **state)
{
	int client, server = way_open(&ways[1], NULL, &client);
	fake_peer_send_text(server, "220 hello\r\n");
	lab_pump(&lab);
	lab_expect_received(client, "220 hello\r\n");
	lab_finish(&lab);
}

static void test_many_at_once(void **state)
{
	int clients[100];
	lab_start(&lab, &(struct lab_options){.machine_count = 2, .serving = LAB_ECHO});
	for (int i = 0; i < 100; i++) {
		clients[i] = lab_dial(&lab, i % 2 ? LAB_WEB : LAB_BILLING, LAB_LEDGER);
		fake_peer_send_text(clients[i], i % 2 ? "web" : "billing");
	}
	lab_pump(&lab);
	for (int i = 0; i < 100; i++)
		lab_expect_received(clients[i], i % 2 ? "web" : "billing");
	assert_int_equal(lab_use(&lab, 0, LAB_WEB), 50);
	assert_int_equal(lab_use(&lab, 1, LAB_LEDGER), 100);
	lab_finish(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_go_both_ways),
		cmocka_unit_test(test_half_close_passes_both_ways),
		cmocka_unit_test(test_reset_passes_on_as_reset),
		cmocka_unit_test(test_connect_refused),
		cmocka_unit_test(test_connect_times_out),
		cmocka_unit_test(test_no_descriptors_left),
		cmocka_unit_test(test_upstream_handshake_is_under_the_connect_timeout),
		cmocka_unit_test(test_upstream_is_no_tls),
		cmocka_unit_test(test_upstream_closes_in_its_handshake),
		cmocka_unit_test(test_no_certificate_of_our_own),
		cmocka_unit_test(test_idle_timeout_counts_from_the_last_byte),
		cmocka_unit_test(test_bytes_are_counted_while_it_lives),
		cmocka_unit_test(test_half_close_timeout),
		cmocka_unit_test(test_slow_reader_stops_the_sender),
		cmocka_unit_test(test_end_waits_for_the_bytes_before_it),
		cmocka_unit_test(test_bulk_goes_in_large_pieces),
		cmocka_unit_test(test_bulk_without_large_buffers),
		cmocka_unit_test(test_bulk_to_one_that_has_gone),
		cmocka_unit_test(test_bulk_in_chaos),
		cmocka_unit_test(test_idle_tunnel_holds_no_memory),
		cmocka_unit_test(test_policy_denies),
		cmocka_unit_test(test_client_ends_before_the_connect),
		cmocka_unit_test(test_those_who_wait_hold_no_blocks),
		cmocka_unit_test(test_client_resets_before_the_connect),
		cmocka_unit_test(test_server_first_over_the_mesh),
		cmocka_unit_test(test_many_at_once),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
