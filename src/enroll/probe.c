/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/conn.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define PROBE_MAGIC	  0x9406e003u
#define PROBE_BLOCKS	  8
#define PROBE_BLOCK_BYTES 24576

enum probe_state { PROBE_IDLE, PROBE_LOOKING, PROBE_LEAVING, PROBE_CLOSED, PROBE_STATE_COUNT };

struct probe {
	uint32_t magic;
	enum probe_state state;
	struct loop *loop;
	struct task *owner;
	struct task task;
	struct timer timer;
	struct probe_settings settings;
	struct list targets; /* of struct probe_target */
	uint32_t target_count;
	struct probe_target *at; /* looked at; NULL: it is gone */
	uint64_t deadline_ns;
	struct conn conn;
	struct buf_pool pool;
	bool closing;
};

#define BIT(state) (1u << PROBE_##state)

/* Allowed moves: a bit per target state. */
static const uint8_t probe_moves[] = {
	[PROBE_IDLE] = BIT(LOOKING) | BIT(CLOSED),
	[PROBE_LOOKING] = BIT(LEAVING),
	[PROBE_LEAVING] = BIT(IDLE),
	[PROBE_CLOSED] = 0,
};

static void probe_move(struct probe *p, enum probe_state state)
{
	ASSERT(p->magic == PROBE_MAGIC);
	ASSERT(probe_moves[p->state] & 1u << state);
	p->state = state;
	loop_ready(p->loop, &p->task);
}

/* --- what was found --- */

static const uint8_t probe_finding_moves[] = {
	[PROBE_WELL] = BIT(DOUBT),
	[PROBE_DOUBT] = BIT(WELL) | BIT(UNREACHED) | BIT(OTHER),
	[PROBE_UNREACHED] = BIT(WELL) | BIT(OTHER),
	[PROBE_OTHER] = BIT(WELL),
};

static void probe_find(struct probe *p, struct probe_target *t, enum probe_finding finding)
{
	ASSERT(probe_finding_moves[t->finding] & 1u << finding);
	t->finding = finding;
	loop_ready(p->loop, p->owner);
}

static void probe_tell(const struct probe *p, const struct probe_target *t)
{
	if (t->finding == PROBE_OTHER)
		log_error("identity",
			"%s: the mesh port (%u) serves certificate %s, and not %s, which is in "
			"force: a worker of the proxy has an old plan; see \"ringmain status\", "
			"and restart ringmain if it stays so",
			t->path, p->settings.port, t->found, t->expected);
	else
		log_warning("identity", "%s: the certificate that the mesh port serves %s", t->path,
			t->why);
}

static uint64_t probe_again_ns(const struct probe *p, const struct probe_target *t)
{
	uint64_t wait_ns = t->patience_ns / 4;
	if (wait_ns > PROBE_AGAIN_MS * CLOCK_MS)
		wait_ns = PROBE_AGAIN_MS * CLOCK_MS;
	return p->loop->now_ns + wait_ns;
}

/* The round is over with that. */
static void probe_bad(struct probe *p, struct probe_target *t, enum probe_finding kind)
{
	uint64_t now_ns = p->loop->now_ns;
	t->looks_left = 0;
	t->due_ns = probe_again_ns(p, t);
	if (t->finding == PROBE_WELL) {
		t->since_ns = now_ns;
		probe_find(p, t, PROBE_DOUBT);
	}
	bool is_told = t->finding == PROBE_OTHER || t->finding == kind;
	if (is_told || now_ns < t->since_ns + t->patience_ns)
		return;
	probe_find(p, t, kind);
	probe_tell(p, t);
}

static void PRINTF_LIKE(3, 4)
	probe_unreached(struct probe *p, struct probe_target *t, const char *format, ...)
{
	char text[100];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(t->why, sizeof(t->why), "cannot be looked at: 127.0.0.1:%u: %s", p->settings.port,
		text);
	probe_bad(p, t, PROBE_UNREACHED);
}

static void probe_good(struct probe *p, struct probe_target *t)
{
	uint64_t interval_ns = p->settings.interval_ms * CLOCK_MS;
	if (t->looks_left > 0)
		return;
	t->due_ns = p->loop->now_ns + interval_ns - interval_ns / 10 +
		    loop_random(p->loop) % (interval_ns / 5 + 1);
	if (t->finding == PROBE_WELL)
		return;
	if (t->finding != PROBE_DOUBT)
		log_info("identity",
			"%s: the mesh port serves certificate %s, which is in force, again",
			t->path, t->expected);
	t->found[0] = t->why[0] = '\0';
	probe_find(p, t, PROBE_WELL);
}

static void probe_saw(struct probe *p, struct probe_target *t, struct str serial)
{
	if (str_eq(serial, str_of(t->expected))) {
		probe_good(p, t);
		return;
	}
	snprintf(t->found, sizeof(t->found), STR_FMT, STR_ARG(serial));
	probe_bad(p, t, PROBE_OTHER);
}

/* --- one look --- */

static void probe_failed(struct probe *p, struct probe_target *t)
{
	const struct conn *c = &p->conn;
	enum tls_failure failure = tls_failure(c->tls);
	if (c->failure == CONN_FAILURE_CONNECT)
		probe_unreached(p, t, "%s", strerror(c->error));
	else if (failure == TLS_FAILURE_ALERT)
		probe_unreached(p, t, "it refuses \"%.30s\" (TLS alert %u)", t->server_name,
			tls_peer_alert(c->tls));
	else if (c->failure == CONN_FAILURE_HANDSHAKE && failure != TLS_FAILURE_CLOSED)
		probe_unreached(p, t, "TLS: %s", tls_failure_text(failure));
	else
		probe_unreached(p, t, "it closed the connection during the handshake");
}

static void probe_leave(struct probe *p)
{
	conn_close(&p->conn, false);
	p->at = NULL;
	probe_move(p, PROBE_LEAVING);
}

/* The handshake is done: the serial is that of one whose key the server has. The round of a target
 * that has got another one to expect meanwhile has been given up. */
static void probe_look(struct probe *p)
{
	struct probe_target *t = p->at;
	conn_step(&p->conn);
	if (!t)
		probe_leave(p);
	else if (p->conn.state == CONN_OPEN) {
		t->looks_left--;
		probe_saw(p, t, tls_peer_serial(p->conn.tls));
		conn_flush(&p->conn); /* the last of the handshake */
		probe_leave(p);
	} else if (p->conn.failure != CONN_FAILURE_NONE || p->conn.transport_eof) {
		probe_failed(p, t);
		probe_leave(p);
	} else if (p->loop->now_ns >= p->deadline_ns) {
		probe_unreached(p, t, "no handshake within %u s", PROBE_TIMEOUT_MS / 1000);
		probe_leave(p);
	} else {
		conn_flush(&p->conn);
	}
}

static uint32_t probe_looks(const struct probe *p, const struct probe_target *t)
{
	uint32_t round = PROBE_PER_WORKER * p->settings.worker_count;
	uint32_t looks =
		t->finding == PROBE_WELL ? (round + p->target_count - 1) / p->target_count : round;
	return looks < PROBE_LOOKS_MAX ? looks : PROBE_LOOKS_MAX;
}

static void probe_begin(struct probe *p, struct probe_target *t)
{
	const struct address at = {
		.family = AF_INET, .ip = {127, 0, 0, 1}, .port = p->settings.port};
	if (t->looks_left == 0)
		t->looks_left = probe_looks(p, t);
	conn_init(&p->conn, p->loop, &p->pool, &p->task);
	int r = conn_dial(&p->conn, &at);
	if (r < 0) {
		probe_unreached(p, t, "no socket: %s", strerror(-r));
		return;
	}
	p->at = t;
	p->deadline_ns = p->loop->now_ns + PROBE_TIMEOUT_MS * CLOCK_MS;
	probe_move(p, PROBE_LOOKING);
	struct tls *tls = tls_client_new_check(str_of(t->server_name), &p->conn.wire);
	if (tls) {
		conn_secure(&p->conn, tls);
		conn_flush(&p->conn);
	} else {
		probe_unreached(p, t, "out of memory");
		probe_leave(p);
	}
}

/* --- whose turn it is --- */

static struct probe_target *probe_next(const struct probe *p)
{
	struct probe_target *first = NULL;
	for (struct list *n = p->targets.next; n != &p->targets; n = n->next) {
		struct probe_target *t = CONTAINER_OF(n, struct probe_target, node);
		if (!first || t->due_ns < first->due_ns)
			first = t;
	}
	return first;
}

static void probe_idle(struct probe *p)
{
	struct probe_target *t = probe_next(p);
	timer_clear(p->loop, &p->timer);
	if (p->closing) {
		probe_move(p, PROBE_CLOSED);
		loop_ready(p->loop, p->owner);
		return;
	}
	if (t && t->due_ns <= p->loop->now_ns)
		probe_begin(p, t);
	t = p->state == PROBE_IDLE ? probe_next(p) : NULL;
	if (t)
		timer_set(p->loop, &p->timer, t->due_ns);
}

void probe_step(struct task *task)
{
	struct probe *p = CONTAINER_OF(task, struct probe, task);
	ASSERT(p->magic == PROBE_MAGIC);
	p->timer.fired = false;
	switch (p->state) {
	case PROBE_IDLE: /* waits for: a target that is due */
		probe_idle(p);
		return;
	case PROBE_LOOKING: /* waits for: the connect, the handshake, its end of time */
		probe_look(p);
		if (p->state == PROBE_LOOKING)
			timer_set(p->loop, &p->timer, p->deadline_ns);
		return;
	case PROBE_LEAVING: /* waits for: the socket's end */
		if (conn_join(&p->conn))
			probe_move(p, PROBE_IDLE);
		return;
	case PROBE_CLOSED:
	case PROBE_STATE_COUNT:
		return;
	}
}

/* --- targets --- */

void probe_target_init(struct probe_target *t, const char *path)
{
	*t = (struct probe_target){.path = path};
	list_init(&t->node);
}

void probe_forget(struct probe *p, struct probe_target *t)
{
	if (list_empty(&t->node))
		return;
	list_remove(&t->node);
	p->target_count--;
	if (p->at == t) {
		p->at = NULL;
		loop_ready(p->loop, &p->task);
	}
	t->finding = PROBE_WELL;
	t->expected[0] = t->found[0] = t->why[0] = '\0';
	t->looks_left = 0;
}

static void probe_add(struct probe *p, struct probe_target *t)
{
	if (!list_empty(&t->node))
		return;
	list_add_last(&p->targets, &t->node);
	p->target_count++;
}

void probe_watch(struct probe *p, struct probe_target *t, const char *server_name,
	const char *serial, int64_t left_s)
{
	uint64_t patience_ms = left_s > 0 ? (uint64_t)left_s * 1000 / 4 : 0;
	uint64_t settle_ns = PROBE_SETTLE_MS * CLOCK_MS;
	if (!serial[0] || !server_name[0]) {
		probe_forget(p, t);
		return;
	}
	probe_add(p, t);
	if (strcmp(t->expected, serial) == 0 && strcmp(t->server_name, server_name) == 0)
		return;
	snprintf(t->server_name, sizeof(t->server_name), "%s", server_name);
	snprintf(t->expected, sizeof(t->expected), "%s", serial);
	if (patience_ms < PROBE_PATIENCE_LEAST)
		patience_ms = PROBE_PATIENCE_LEAST;
	if (patience_ms > PROBE_PATIENCE_MS)
		patience_ms = PROBE_PATIENCE_MS;
	t->patience_ns = patience_ms * CLOCK_MS;
	t->looks_left = 0;
	if (p->at == t) /* what it shows may be of before */
		p->at = NULL;
	if (settle_ns > t->patience_ns / 4)
		settle_ns = t->patience_ns / 4;
	t->due_ns = p->loop->now_ns + settle_ns;
	loop_ready(p->loop, &p->task);
}

/* --- life --- */

struct probe *probe_new(struct loop *loop, uint16_t kind, struct task *owner)
{
	struct probe *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->magic = PROBE_MAGIC;
	p->loop = loop;
	p->owner = owner;
	task_init(&p->task, kind);
	timer_init(&p->timer, &p->task);
	list_init(&p->targets);
	buf_pool_init(&p->pool, PROBE_BLOCK_BYTES, PROBE_BLOCKS);
	return p;
}

void probe_configure(struct probe *p, const struct probe_settings *settings)
{
	p->settings = *settings;
	if (p->settings.worker_count == 0)
		p->settings.worker_count = 1;
}

struct task *probe_task(struct probe *p)
{
	return &p->task;
}

void probe_close(struct probe *p)
{
	if (p->closing)
		return;
	p->closing = true;
	p->at = NULL;
	loop_ready(p->loop, &p->task);
}

bool probe_closed(const struct probe *p)
{
	return p->state == PROBE_CLOSED;
}

void probe_free(struct probe *p)
{
	if (!p)
		return;
	ASSERT(p->magic == PROBE_MAGIC);
	ASSERT(p->state == PROBE_CLOSED || p->state == PROBE_IDLE);
	timer_clear(p->loop, &p->timer);
	list_remove(&p->task.node);
	list_remove(&p->task.hungry);
	buf_pool_done(&p->pool);
	p->magic = 0;
	free(p);
}
