/* SPDX-License-Identifier: Apache-2.0 */
/* What a request needs once everything is warm, and that neither that nor the change to another
 * plan depends on how much is configured. bench/micro has the instructions. */
#include "large.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CONNECTIONS 8

#define GET "GET /api/orders/1042?limit=20 HTTP/1.1\r\nHost: orders\r\nUser-Agent: test/1\r\n\r\n"
#define OK  "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\nVary: Accept\r\n\r\nok"

static const struct large_size sizes[] = {
	{.services = 10, .endpoints = 2, .policies = 10},
	{.services = 1000, .endpoints = 10, .policies = 1000},
};

/* --- the heap --- */

static uint64_t heap_count;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *__wrap_malloc(size_t size)
{
	heap_count++;
	return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	heap_count++;
	return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
	heap_count++;
	return __real_realloc(memory, size);
}

/* --- a lab --- */

struct large {
	struct lab lab;
	char *objects;
	enum lab_workload to;
	int clients[CONNECTIONS];
	uint64_t heap, steps; /* of the workers */
};

static bool large_turns(struct large *l)
{
	bool moved = false;
	for (uint32_t i = 0; i < l->lab.machine_count; i++) {
		struct worker *w = lab_worker(&l->lab, i);
		uint64_t completions = w->loop.ring.completion_count;
		uint64_t heap = heap_count, fake = fake_memory_count();
		worker_turn(w);
		l->heap += heap_count - heap - (fake_memory_count() - fake);
		l->steps += w->loop.step_count;
		moved |= w->loop.step_count > 0 || w->loop.ring.completion_count != completions;
	}
	return moved;
}

static bool large_serve(struct large *l)
{
	bool served = false;
	int fd;
	for (uint32_t i = 0; (fd = lab_served(&l->lab, l->to, i)) >= 0; i++) {
		if (!fake_is_open(fd) || fake_peer_received(fd).len == 0)
			continue;
		fake_peer_forget(fd);
		fake_peer_send_text(fd, OK);
		served = true;
	}
	return served;
}

static void large_round(struct large *l)
{
	bool moved;
	for (size_t i = 0; i < CONNECTIONS; i++)
		fake_peer_send_text(l->clients[i], GET);
	do {
		moved = large_turns(l);
		moved |= large_serve(l);
	} while (moved);
	for (size_t i = 0; i < CONNECTIONS; i++) {
		lab_expect_holds(l->clients[i], "200 OK");
		fake_peer_forget(l->clients[i]);
	}
}

static void large_start(struct large *l, const struct large_size *size, enum lab_workload to)
{
	*l = (struct large){.objects = large_mesh(size), .to = to};
	lab_start(&l->lab,
		&(struct lab_options){.machine_count = 2, .no_log = true, .objects = l->objects});
	for (size_t i = 0; i < CONNECTIONS; i++) {
		l->clients[i] = lab_dial(&l->lab, LAB_WEB, to);
		fake_peer_send_text(l->clients[i], GET);
	}
	lab_pump(&l->lab);
	while (large_serve(l))
		lab_pump(&l->lab);
	for (size_t i = 0; i < CONNECTIONS; i++)
		fake_peer_forget(l->clients[i]);
	for (int i = 0; i < 4; i++)
		large_round(l);
	l->heap = l->steps = 0;
}

static void large_finish(struct large *l)
{
	for (size_t i = 0; i < CONNECTIONS; i++)
		fake_peer_close(l->clients[i]);
	lab_finish(&l->lab);
	free(l->objects);
}

/* --- tests --- */

static void test_a_warm_request_takes_nothing_from_the_heap(void **state)
{
	static const enum lab_workload to[] = {LAB_SHOP, LAB_ORDERS};
	for (size_t i = 0; i < ARRAY_LEN(to); i++) {
		struct large l;
		large_start(&l, &sizes[0], to[i]);
		for (int round = 0; round < 50; round++)
			large_round(&l);
		assert_true(heap_count > 0); /* it does count */
		assert_int_equal(l.heap, 0);
		large_finish(&l);
	}
}

static void test_what_is_configured_costs_a_request_nothing(void **state)
{
	uint64_t steps[ARRAY_LEN(sizes)];
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct large l;
		large_start(&l, &sizes[i], LAB_ORDERS);
		for (int round = 0; round < 10; round++)
			large_round(&l);
		steps[i] = l.steps;
		/* only those that are about the service are ever looked at */
		const struct snapshot *s = lab_worker(&l.lab, 1)->current->plan->snapshot;
		assert_true(s->policy_count > sizes[i].policies);
		assert_int_equal(snapshot_service(s, STR("orders"))->policy_count, 2);
		assert_int_equal(l.heap, 0);
		large_finish(&l);
	}
	assert_int_equal(steps[0], steps[1]);
	/* in each of two proxies: received, routed, sent; received, sent, ended; the ends of two
	 * sends; and a share in what a turn does for the connection between the two */
	assert_true(steps[0] <= 10 * CONNECTIONS * 2 * 9);
}

/* With many connections, each worker looks at a few of them in a turn, and serves between. */
static void test_a_plan_is_turned_over_bit_by_bit(void **state)
{
	enum { IDLE = 300 };
	static int idle[IDLE];
	struct large l;
	large_start(&l, &sizes[1], LAB_SHOP);
	struct worker *w = lab_worker(&l.lab, 0);
	for (int i = 0; i < IDLE; i++) {
		idle[i] = lab_dial(&l.lab, LAB_WEB, LAB_CACHE);
		lab_pump(&l.lab);
	}
	assert_int_equal(lab_alive(&l.lab, 0, TASK_TUNNEL), IDLE);
	lab_replan(&l.lab, 0, NULL);
	const struct plan *before = l.lab.machines[0].plans[0];
	uint32_t turns = 0, most = 0;
	do {
		lab_turns(&l.lab, 1);
		most = w->loop.step_count > most ? w->loop.step_count : most;
		turns++;
	} while (!list_empty(&w->stale) || w->generation != 2);
	assert_true(most <= 2 * WORKER_SWAP_STEPS + 2);
	assert_true(turns > IDLE / WORKER_SWAP_STEPS);
	large_round(&l);
	lab_pump(&l.lab);
	/* tunnels have a plan of their own; nothing of the rest holds the old one */
	for (int i = 0; i < IDLE; i++) {
		fake_peer_close(idle[i]);
		fake_peer_close(lab_served(&l.lab, LAB_CACHE, (uint32_t)i));
	}
	lab_pump(&l.lab);
	assert_int_equal(atomic_load(&before->holder_count), 0);
	large_finish(&l);
}

/* Else one worker would go on by the old policies, while all others have the new ones. */
static void test_a_plan_is_taken_without_memory(void **state)
{
	struct large l;
	const uint64_t one = 1;
	large_start(&l, &sizes[0], LAB_SHOP);
	struct worker *w = lab_worker(&l.lab, 0);
	lab_replan(&l.lab, 0, NULL);
	fake_complete_recv(&w->wake_read, &one, sizeof(one));
	(void)large_turns(&l);
	assert_int_equal(worker_generation(w), 2);
	assert_int_equal(l.heap, 0);
	lab_pump(&l.lab);
	assert_int_equal(atomic_load(&l.lab.machines[0].plans[0]->holder_count), 0);
	large_round(&l);
	large_finish(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_warm_request_takes_nothing_from_the_heap),
		cmocka_unit_test(test_what_is_configured_costs_a_request_nothing),
		cmocka_unit_test(test_a_plan_is_turned_over_bit_by_bit),
		cmocka_unit_test(test_a_plan_is_taken_without_memory),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
