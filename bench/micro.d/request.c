/* SPDX-License-Identifier: Apache-2.0 */
/* Whole requests through a worker on the simulated kernel, whose own share is left out. Some
 * connections are served in one turn, as under load; each request is the same, and goes the whole
 * way: captured connection, policy, pooled upstream, counters. The access log is off, as in the
 * comparisons with other proxies. */
#include "micro.h"
#include "texts.h"
#include "unit/proxy/large.h"

#include <stdlib.h>

#define REQUEST_CONNECTIONS 8

struct request_way {
	enum lab_workload to;
	uint32_t measured; /* machine */
	struct large_size size;
};

struct request {
	struct lab lab;
	char *objects;
	const struct request_way *way;
	struct text_response text;
	int clients[REQUEST_CONNECTIONS];
	uint64_t steps; /* on the measured machine */
};

static void request_turn(void *argument)
{
	struct worker *w = argument;
	worker_turn(w);
}

/* One turn of every worker; false when nothing moved. */
static bool request_turns(struct request *r)
{
	bool moved = false;
	for (uint32_t i = 0; i < r->lab.machine_count; i++) {
		struct worker *w = lab_worker(&r->lab, i);
		uint64_t before = w->loop.ring.completion_count;
		if (i == r->way->measured)
			micro_measure(request_turn, w);
		else
			worker_turn(w);
		moved |= w->loop.step_count > 0 || w->loop.ring.completion_count != before;
		if (i == r->way->measured)
			r->steps += w->loop.step_count;
	}
	return moved;
}

/* The workload answers what it has got. */
static bool request_serve(struct request *r)
{
	bool served = false;
	for (uint32_t i = 0; i < REQUEST_CONNECTIONS; i++) {
		int fd = lab_served(&r->lab, r->way->to, i);
		if (fd < 0 || fake_peer_received(fd).len == 0)
			continue;
		fake_peer_forget(fd);
		fake_peer_send(fd, r->text.bytes, sizeof(r->text.bytes));
		served = true;
	}
	return served;
}

static void request_round(struct request *r)
{
	for (size_t i = 0; i < REQUEST_CONNECTIONS; i++)
		fake_peer_send(r->clients[i], TEXT_REQUEST, sizeof(TEXT_REQUEST) - 1);
	bool moved;
	do {
		moved = request_turns(r);
		moved |= request_serve(r);
	} while (moved);
	for (size_t i = 0; i < REQUEST_CONNECTIONS; i++) {
		ASSERT(fake_peer_received(r->clients[i]).len > TEXT_BODY_BYTES);
		fake_peer_forget(r->clients[i]);
	}
}

static void request_run(void *state, uint32_t count)
{
	for (uint32_t i = 0; i < count; i += REQUEST_CONNECTIONS)
		request_round(state);
}

static void *request_start(const struct request_way *way)
{
	struct request *r = calloc(1, sizeof(*r));
	ASSERT(r);
	r->way = way;
	r->text = text_response();
	r->objects = large_mesh(&way->size);
	lab_start(&r->lab,
		&(struct lab_options){.machine_count = 2, .no_log = true, .objects = r->objects});
	for (size_t i = 0; i < REQUEST_CONNECTIONS; i++) {
		r->clients[i] = lab_dial(&r->lab, LAB_WEB, way->to);
		fake_peer_send(r->clients[i], TEXT_REQUEST, sizeof(TEXT_REQUEST) - 1);
	}
	lab_pump(&r->lab); /* handshakes, which need signatures */
	while (request_serve(r))
		lab_pump(&r->lab);
	for (size_t i = 0; i < REQUEST_CONNECTIONS; i++)
		fake_peer_forget(r->clients[i]);
	return r;
}

static void request_stop(void *state)
{
	struct request *r = state;
	for (size_t i = 0; i < REQUEST_CONNECTIONS; i++)
		fake_peer_close(r->clients[i]);
	lab_finish(&r->lab);
	free(r->objects);
	free(r);
}

static uint64_t request_steps(const void *state)
{
	const struct request *r = state;
	return r->steps;
}

#define REQUEST_SMALL                                          \
	{                                                      \
		.services = 10, .endpoints = 2, .policies = 10 \
	}
#define REQUEST_LARGE                                               \
	{                                                           \
		.services = 1000, .endpoints = 10, .policies = 1000 \
	}

static void *request_start_outbound(void)
{
	static const struct request_way way = {LAB_ORDERS, 0, REQUEST_SMALL};
	return request_start(&way);
}

static void *request_start_inbound(void)
{
	static const struct request_way way = {LAB_ORDERS, 1, REQUEST_SMALL};
	return request_start(&way);
}

static void *request_start_local(void)
{
	static const struct request_way way = {LAB_SHOP, 0, REQUEST_SMALL};
	return request_start(&way);
}

static void *request_start_outbound_large(void)
{
	static const struct request_way way = {LAB_ORDERS, 0, REQUEST_LARGE};
	return request_start(&way);
}

static void *request_start_inbound_large(void)
{
	static const struct request_way way = {LAB_ORDERS, 1, REQUEST_LARGE};
	return request_start(&way);
}

const struct micro_case micro_request_cases[] = {
	{"request: outbound, plain to mutual TLS", 128, request_start_outbound, request_run,
		request_stop, request_steps},
	{"request: inbound, mutual TLS to plain", 128, request_start_inbound, request_run,
		request_stop, request_steps},
	{"request: same machine", 128, request_start_local, request_run, request_stop,
		request_steps},
	{"request: outbound, of 1000 services x 10, 1000 policies", 128,
		request_start_outbound_large, request_run, request_stop, request_steps},
	{"request: inbound, of 1000 services x 10, 1000 policies", 128, request_start_inbound_large,
		request_run, request_stop, request_steps},
	{0},
};
