/* SPDX-License-Identifier: Apache-2.0 */
/* The only loop of a worker: wait and record, decide, free. Everything that happens to a connection
 * happens in here, on this thread, one object's step at a time. */
#include "proxy/worker.h"

#include "balancer.h"
#include "base/log.h"
#include "carrier.h"
#include "decisions.h"
#include "exchange.h"
#include "listener.h"
#include "mirror.h"
#include "net/socket.h"
#include "routing.h"
#include "seen.h"
#include "session.h"
#include "tokens.h"
#include "trunk.h"
#include "tunnel.h"
#include "upstream.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A record of 16 KiB and what TLS adds to it fit into one receive block. */
#define WORKER_BLOCK_BYTES   16640
#define WORKER_BLOCK_COUNT   512
#define WORKER_LARGE_BYTES   131072 /* one buffer of a bulk transfer */
#define WORKER_LARGE_SHARE   8	    /* they are this part of all buffers, at most */
#define WORKER_MIRROR_SHARE  8	    /* so are those of mirrors */
#define WORKER_RING_ENTRIES  1024
#define WORKER_COMPLETIONS   16384
#define WORKER_SESSIONS_KEPT 1024 /* TLS sessions for resumption */
#define WORKER_TURN_SLOW_NS  CLOCK_MS

void being_init(struct being *b, struct worker *w, enum worker_task kind)
{
	task_init(&b->task, (uint16_t)kind);
	b->worker = w;
	b->number = (uint64_t)w->index << 48 | ++w->last_number;
	b->born_ns = w->loop.now_ns;
	list_add_last(&w->live, &b->live);
}

void being_end(struct being *b)
{
	struct worker *w = b->worker;
	list_remove(&b->live);
	loop_bury(&w->loop, &b->task);
}

/* --- plans --- */

static struct plan_hold *plan_hold_begin(struct worker *w, struct plan *plan)
{
	struct plan_hold *hold = &plan->holds[w->index];
	*hold = (struct plan_hold){.worker = w, .plan = plan, .user_count = 1};
	return hold;
}

struct plan_hold *plan_hold_ref(struct plan_hold *hold)
{
	hold->user_count++;
	return hold;
}

void plan_hold_unref(struct plan_hold *hold)
{
	ASSERT(hold->user_count > 0);
	if (--hold->user_count > 0)
		return;
	/* with the last of them the plan may go at once, and this with it */
	atomic_fetch_sub_explicit(&hold->plan->holder_count, 1, memory_order_release);
}

/* Opaque bytes are looked at once more, and every call is settled anew where it can be: a plan that
 * is over is not kept for a connection that lives long. */
static void worker_look_again(struct worker *w, uint32_t max)
{
	struct list *node;
	for (uint32_t i = 0; i < max && (node = list_pop(&w->stale)); i++) {
		struct being *b = CONTAINER_OF(node, struct being, live);
		list_add_last(&w->live, &b->live);
		if (b->task.kind == TASK_TUNNEL || b->task.kind == TASK_CARRIER ||
			b->task.kind == TASK_TRUNK || b->task.kind == TASK_SESSION ||
			b->task.kind == TASK_MIRROR)
			loop_ready(&w->loop, &b->task);
	}
}

/* Some more of it, once a turn. What is left keeps the next turn from waiting. */
static void worker_turn_over(struct worker *w)
{
	worker_look_again(w, WORKER_SWAP_STEPS);
	upstream_look_again(w, WORKER_SWAP_STEPS);
	balancer_look_again(w, WORKER_SWAP_STEPS, WORKER_SWAP_ENDPOINTS);
	w->turning_over = !list_empty(&w->stale) || !list_empty(&w->stale_pools) ||
			  !list_empty(&w->stale_crowds);
	if (w->turning_over)
		loop_ready(&w->loop, &w->wake);
}

/* Calls keep the old plan until they are looked at again; pooled connections that nothing leads to
 * any more are let go. */
static void worker_take_plan(struct worker *w)
{
	struct plan *plan = atomic_exchange_explicit(&w->next_plan, NULL, memory_order_acquire);
	if (!plan)
		return;
	plan_hold_unref(w->current);
	w->current = plan_hold_begin(w, plan);
	list_move_all(&w->live, &w->stale);
	list_move_all(&w->pools, &w->stale_pools);
	list_move_all(&w->live_crowds, &w->stale_crowds);
	w->turning_over = true;
	atomic_store_explicit(&w->generation, plan->generation, memory_order_release);
}

/* --- news from the control thread --- */

static void worker_wake(struct worker *w)
{
	uint64_t one = 1;
	ssize_t n = write(w->wake_fd, &one, sizeof(one));
	(void)n; /* full means that it is awake already */
}

struct plan *worker_hand_plan(struct worker *w, struct plan *plan)
{
	struct plan *untaken = atomic_exchange_explicit(&w->next_plan, plan, memory_order_acq_rel);
	worker_wake(w);
	return untaken;
}

void worker_drain(struct worker *w)
{
	atomic_store_explicit(&w->drain_asked, true, memory_order_release);
	worker_wake(w);
}

void worker_ping(struct worker *w)
{
	worker_wake(w);
}

uint64_t worker_generation(const struct worker *w)
{
	return atomic_load_explicit(&w->generation, memory_order_acquire);
}

static void worker_close_being(struct being *b)
{
	switch ((enum worker_task)b->task.kind) {
	case TASK_SESSION:
		session_close(CONTAINER_OF(b, struct session, being));
		return;
	case TASK_CARRIER:
		carrier_close(CONTAINER_OF(b, struct carrier, being), true);
		return;
	case TASK_TUNNEL:
		tunnel_close(CONTAINER_OF(b, struct tunnel, being), REASON_DRAINING);
		return;
	case TASK_TRUNK:
		trunk_close(CONTAINER_OF(b, struct trunk, being), true);
		return;
	case TASK_MIRROR:
		mirror_close(CONTAINER_OF(b, struct mirror, being));
		return;
	case TASK_EXCHANGE: /* ends with its carriers */
	case TASK_WAKE:
	case TASK_LISTENER:
	case TASK_SIGNER:
		return;
	}
}

static void worker_start_drain(struct worker *w)
{
	w->draining = true;
	timer_set(&w->loop, &w->drain_timer,
		w->loop.now_ns + worker_conf(w)->drain_timeout_ms * CLOCK_MS);
	for (uint32_t i = 0; i < w->listener_count; i++)
		listener_close(&w->listeners[i]);
	upstream_let_go(w);
	worker_look_again(w, UINT32_MAX);
	LIST_EACH (&w->live, it) {
		struct being *b = CONTAINER_OF(it, struct being, live);
		if (b->task.kind == TASK_CARRIER)
			carrier_drain(CONTAINER_OF(b, struct carrier, being));
		if (b->task.kind == TASK_TRUNK)
			trunk_drain(CONTAINER_OF(b, struct trunk, being));
	}
}

static void worker_cut(struct worker *w)
{
	worker_look_again(w, UINT32_MAX);
	LIST_EACH (&w->live, it)
		worker_close_being(CONTAINER_OF(it, struct being, live));
}

static void worker_step_wake(struct worker *w)
{
	if (w->wake_read.fresh)
		w->wake_read.fresh = false;
	worker_take_plan(w);
	report_answer(w);
	if (!w->draining && atomic_load_explicit(&w->drain_asked, memory_order_acquire))
		worker_start_drain(w);
	if (w->drain_timer.fired) {
		w->drain_timer.fired = false;
		worker_cut(w);
	}
	if (!w->wake_read.armed && !w->ending)
		ring_read(&w->loop.ring, &w->wake_read, w->wake_fd, &w->wake_value,
			sizeof(w->wake_value));
}

/* --- the loop --- */

static void worker_step(struct worker *w, struct task *t)
{
	switch ((enum worker_task)t->kind) {
	case TASK_WAKE:
		worker_step_wake(w);
		return;
	case TASK_LISTENER:
		listener_step(CONTAINER_OF(t, struct listener, task));
		return;
	case TASK_SIGNER:
		signer_step(&w->signer);
		return;
	case TASK_SESSION:
		session_step(CONTAINER_OF(t, struct session, being.task));
		return;
	case TASK_CARRIER:
		carrier_step(CONTAINER_OF(t, struct carrier, being.task));
		return;
	case TASK_EXCHANGE:
		exchange_step(CONTAINER_OF(t, struct exchange, being.task));
		return;
	case TASK_TUNNEL:
		tunnel_step(CONTAINER_OF(t, struct tunnel, being.task));
		return;
	case TASK_TRUNK:
		trunk_step(CONTAINER_OF(t, struct trunk, being.task));
		return;
	case TASK_MIRROR:
		mirror_step(CONTAINER_OF(t, struct mirror, being.task));
		return;
	}
}

static void worker_reap(struct task *t)
{
	switch ((enum worker_task)t->kind) {
	case TASK_SESSION:
		session_free(CONTAINER_OF(t, struct session, being.task));
		return;
	case TASK_CARRIER:
		carrier_free(CONTAINER_OF(t, struct carrier, being.task));
		return;
	case TASK_EXCHANGE:
		exchange_free(CONTAINER_OF(t, struct exchange, being.task));
		return;
	case TASK_TUNNEL:
		tunnel_free(CONTAINER_OF(t, struct tunnel, being.task));
		return;
	case TASK_TRUNK:
		trunk_free(CONTAINER_OF(t, struct trunk, being.task));
		return;
	case TASK_MIRROR:
		mirror_free(CONTAINER_OF(t, struct mirror, being.task));
		return;
	case TASK_WAKE:
	case TASK_LISTENER:
	case TASK_SIGNER:
		ASSERT(!"not an object that dies");
	}
}

static void worker_time_turn(struct worker *w)
{
	uint64_t now_ns, wall_ns;
	ring_now(&w->loop.ring, &now_ns, &wall_ns);
	if (now_ns - w->loop.now_ns > WORKER_TURN_SLOW_NS)
		metric_add(&w->values->loop_slow_turns_total, 1);
}

void worker_turn(struct worker *w)
{
	struct task *t;
	loop_wait(&w->loop);
	while ((t = loop_next(&w->loop)))
		worker_step(w, t);
	if (w->turning_over)
		worker_turn_over(w);
	while ((t = loop_dead(&w->loop)))
		worker_reap(t);
	metric_add(&w->values->loop_turns_total, 1);
	worker_time_turn(w);
	atomic_store_explicit(&w->values->buffers_held,
		w->buffers.block_count + w->large_buffers.block_count, memory_order_relaxed);
	atomic_store_explicit(&w->values->receive_starved_total, w->loop.ring.no_block_count,
		memory_order_relaxed);
}

/* A connection that the kernel handed over before the cancel reached it is served, too: nobody else
 * can. So the listeners end first, then whatever came from them, then the worker's own operations.
 */
bool worker_ended(struct worker *w)
{
	if (!w->draining)
		return false;
	bool ended = true;
	for (uint32_t i = 0; i < w->listener_count; i++)
		ended = listener_close(&w->listeners[i]) && ended;
	if (!ended || !list_empty(&w->live) || !list_empty(&w->stale))
		return false;
	w->ending = true;
	timer_clear(&w->loop, &w->drain_timer);
	if (w->wake_read.armed)
		ring_cancel(&w->loop.ring, &w->wake_read);
	return signer_close(&w->signer) && !w->wake_read.armed;
}

void worker_start(struct worker *w)
{
	for (uint32_t i = 0; i < w->listener_count; i++)
		listener_start(&w->listeners[i]);
	signer_start(&w->signer);
	loop_ready(&w->loop, &w->wake);
}

int worker_run(struct worker *w, struct err *err)
{
	int r = ring_enable(&w->loop.ring, err);
	if (r < 0)
		return r;
	worker_start(w);
	while (!worker_ended(w))
		worker_turn(w);
	return 0;
}

/* --- birth and death --- */

/* Each may hold a buffer of what its mirror does not take. Returns how many there may be. */
static uint32_t worker_init_mirrors(struct worker *w, const struct conf *conf)
{
	uint32_t count = (conf->mirrors_max + w->worker_count - 1) / w->worker_count;
	uint32_t most = w->buffers.block_count_max / WORKER_MIRROR_SHARE;
	uint64_t blocks;
	if (count > most)
		count = most;
	blocks = (uint64_t)count * mirror_block_count(conf->mirror_body_max);
	pool_init(&w->mirrors, sizeof(struct mirror), count);
	pool_init(&w->mirror_blocks, sizeof(struct mirror_block),
		blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks);
	return count;
}

static void worker_init_pools(struct worker *w, const struct conf *conf)
{
	uint32_t share = conf->connections_max / w->worker_count + 1;
	uint64_t bytes = conf->buffers_bytes_max / w->worker_count;
	uint64_t large = bytes / WORKER_LARGE_SHARE / WORKER_LARGE_BYTES;
	uint64_t blocks = (bytes - large * WORKER_LARGE_BYTES) / conf->buffer_bytes + 1;
	buf_pool_init(&w->buffers, conf->buffer_bytes,
		blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks);
	buf_pool_init_large(&w->large_buffers, &w->buffers, WORKER_LARGE_BYTES,
		large > UINT32_MAX ? UINT32_MAX : (uint32_t)large);
	pool_init(&w->sessions, sizeof(struct session), share);
	uint32_t mirrors = worker_init_mirrors(w, conf);
	/* To the clients, to the servers for them, to mirrors, and idle ones: none can take
	 * another's place. */
	w->idle_count_max = share;
	pool_init(&w->carriers, sizeof(struct carrier), share * 3 + mirrors);
	pool_init(&w->exchanges, sizeof(struct exchange), share);
	pool_init(&w->heads, http_head_bytes(), UINT32_MAX); /* bounded by the carriers */
	pool_init(&w->tunnels, sizeof(struct tunnel), share);
	pool_init(&w->trunks, sizeof(struct trunk), share * 2 + mirrors);
	pool_init(&w->channels, sizeof(struct channel), share * 3 + mirrors);
}

static int worker_init_listeners(
	struct worker *w, const struct worker_setup *setup, struct err *err)
{
	w->listeners = calloc(setup->listener_count + 1, sizeof(*w->listeners));
	if (!w->listeners)
		return err_set(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < setup->listener_count; i++) {
		const struct proxy_listener *as = &setup->listeners[i];
		bool ours = as->worker == w->index && (as->kind == WIRE_LISTENER_OUTBOUND ||
							      as->kind == WIRE_LISTENER_INBOUND ||
							      as->kind == WIRE_LISTENER_MESH);
		if (ours)
			listener_init(&w->listeners[w->listener_count++], w, as);
	}
	return 0;
}

static int worker_init(struct worker *w, const struct worker_setup *setup, struct err *err)
{
	struct ring_limits limits = {
		.entries = WORKER_RING_ENTRIES,
		.completions = WORKER_COMPLETIONS,
		.block_bytes = WORKER_BLOCK_BYTES,
		.block_count = WORKER_BLOCK_COUNT,
	};
	list_init(&w->live);
	list_init(&w->stale);
	list_init(&w->pools);
	list_init(&w->stale_pools);
	map_init(&w->upstreams);
	map_init(&w->turns);
	map_init(&w->crowds);
	list_init(&w->live_crowds);
	list_init(&w->stale_crowds);
	list_init(&w->queued);
	w->index = setup->index;
	w->worker_count = setup->worker_count;
	ASSERT(setup->ledger);
	w->ledger = setup->ledger;
	w->metrics = setup->metrics;
	w->values = metrics_values(setup->metrics);
	w->access = setup->access;
	/* A descriptor is always the lowest free number, so a high one tells that few are left:
	 * these are kept for the servers of those already here, for the admin pages and for
	 * reloads. */
	w->accepted_fd_max = setup->file_count_max == 0
				     ? INT_MAX
				     : (int)(setup->file_count_max - setup->file_count_max / 4);
	worker_init_pools(w, setup->plan->conf);
	int r = loop_init(&w->loop, &limits, setup->seed + setup->index, err);
	if (r < 0)
		return r;
	task_init(&w->wake, TASK_WAKE);
	op_init(&w->wake_read, &w->wake);
	timer_init(&w->drain_timer, &w->wake);
	w->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (w->wake_fd < 0)
		return err_set(err, errno, "eventfd: %m");
	w->routes = socket_routes();
	if (w->routes < 0)
		return err_set(err, -w->routes,
			"the kernel cannot be asked for routes, no AF_NETLINK socket: %m");
	signer_init(&w->signer, &w->loop, setup->signer_fd, TASK_SIGNER);
	w->tls_sessions = tls_sessions_new(WORKER_SESSIONS_KEPT);
	w->decisions = decisions_new();
	w->seen = seen_new(w->loop.wall_ns);
	w->current = plan_hold_begin(w, setup->plan);
	if (!w->tls_sessions || !w->decisions || !w->seen)
		return err_set(err, ENOMEM, "out of memory");
	atomic_store(&w->generation, setup->plan->generation);
	return worker_init_listeners(w, setup, err);
}

int worker_new(const struct worker_setup *setup, struct worker **ret_worker, struct err *err)
{
	struct worker *w = calloc(1, sizeof(*w));
	if (!w)
		return err_set(err, ENOMEM, "out of memory");
	w->wake_fd = w->routes = -1;
	int r = worker_init(w, setup, err);
	if (r < 0) {
		worker_free(w);
		return r;
	}
	*ret_worker = w;
	return 0;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	if (w->current)
		plan_hold_unref(w->current);
	pool_done(&w->sessions);
	pool_done(&w->carriers);
	pool_done(&w->exchanges);
	pool_done(&w->heads);
	pool_done(&w->tunnels);
	pool_done(&w->trunks);
	pool_done(&w->channels);
	pool_done(&w->mirrors);
	pool_done(&w->mirror_blocks);
	if (w->buffers.large)
		buf_pool_done(&w->large_buffers);
	buf_pool_done(&w->buffers);
	tls_sessions_free(w->tls_sessions);
	decisions_free(w->decisions);
	seen_free(w->seen);
	tokens_free(w->tokens);
	free(w->listeners);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	if (w->routes >= 0)
		close(w->routes);
	map_done(&w->upstreams);
	routing_done(w);
	balancer_done(w);
	report_done(w);
	loop_done(&w->loop);
	free(w);
}
