/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream.h"

#include <stdio.h>
#include <stdlib.h>

/* A far end without channels may have got them since, with a new version or configuration. */
#define UPSTREAM_PLAIN_MS (5 * 60 * 1000)
#define UPSTREAM_KEY_MAX  (TLS_ID_MAX + ADDRESS_TEXT_MAX + 128)

/* Connections to one place for one caller. Lives as long as it has users. */
struct upstream_pool {
	struct map_node node; /* in hold->upstreams */
	struct plan_hold *hold;
	struct list idle; /* of struct carrier, by pooled; the newest first */
	uint32_t idle_count;
	uint32_t user_count;	 /* carriers, trunks, and calls that know it */
	struct list trunks;	 /* of struct trunk, by pooled */
	uint64_t plain_until_ns; /* the far end has no channels: so long it is not asked again */
	size_t key_len;
	char key[];
};

/* Every part that must match, separated by a byte that none of them can hold. */
static size_t upstream_key(const struct call *call, char key[UPSTREAM_KEY_MAX])
{
	char address[ADDRESS_TEXT_MAX];
	struct str service = call->service ? call->service->name : STR("");
	unsigned port = call->endpoint ? call->endpoint->address.port : 0;
	int len = snprintf(key, UPSTREAM_KEY_MAX, "%d\n" STR_FMT "\n" STR_FMT "\n%u\n%s",
		(int)call->way, STR_ARG(call->source_id), STR_ARG(service), port,
		address_text(&call->upstream, address));
	ASSERT(len > 0 && len < UPSTREAM_KEY_MAX);
	return (size_t)len;
}

static uint64_t upstream_hash(const char *key, size_t key_len)
{
	return hash_bytes(0x75705f6b6579ull, key, key_len);
}

/* What has come since the last response, in this very turn maybe, would pass for the next one. */
static bool upstream_usable(const struct carrier *c)
{
	return conn_quiet(&c->line->conn) && !line_expired(c->line, c->being.worker);
}

static struct upstream_pool *upstream_find(
	const struct plan_hold *hold, const char *key, size_t key_len)
{
	struct map_node *node = map_first(&hold->upstreams, upstream_hash(key, key_len));
	for (; node; node = map_next(node)) {
		struct upstream_pool *pool = CONTAINER_OF(node, struct upstream_pool, node);
		if (pool->key_len == key_len && memcmp(pool->key, key, key_len) == 0)
			return pool;
	}
	return NULL;
}

static struct upstream_pool *upstream_new(struct plan_hold *hold, const char *key, size_t key_len)
{
	struct upstream_pool *pool = malloc(sizeof(*pool) + key_len);
	if (!pool)
		return NULL;
	*pool = (struct upstream_pool){.hold = hold, .key_len = key_len};
	list_init(&pool->idle);
	list_init(&pool->trunks);
	memcpy(pool->key, key, key_len);
	if (!map_add(&hold->upstreams, &pool->node, upstream_hash(key, key_len))) {
		free(pool);
		return NULL;
	}
	return pool;
}

static void upstream_release(struct upstream_pool *pool)
{
	if (!pool || --pool->user_count > 0)
		return;
	map_remove(&pool->hold->upstreams, &pool->node);
	free(pool);
}

/* The call's, looked for once. NULL: out of memory. */
static struct upstream_pool *upstream_pool_of(struct call *call)
{
	char key[UPSTREAM_KEY_MAX];
	if (call->pool)
		return call->pool;
	size_t key_len = upstream_key(call, key);
	struct upstream_pool *pool = upstream_find(call->hold, key, key_len);
	if (!pool)
		pool = upstream_new(call->hold, key, key_len);
	if (pool)
		pool->user_count++;
	call->pool = pool;
	return pool;
}

void upstream_done(struct call *call)
{
	upstream_release(call->pool);
	call->pool = NULL;
}

void upstream_leave(struct carrier *c)
{
	upstream_release(c->pool);
	c->pool = NULL;
}

void upstream_leave_trunk(struct trunk *t)
{
	upstream_release(t->pool);
	t->pool = NULL;
}

void upstream_plain(struct upstream_pool *pool)
{
	pool->plain_until_ns = pool->hold->worker->loop.now_ns + UPSTREAM_PLAIN_MS * CLOCK_MS;
}

/* --- fresh ones --- */

/* One with room, or one more. */
static struct trunk *upstream_trunk(
	struct worker *w, struct upstream_pool *pool, const struct call *call, enum reason *ret)
{
	LIST_EACH (&pool->trunks, it) {
		struct trunk *t = CONTAINER_OF(it, struct trunk, pooled);
		if (trunk_usable(t))
			return t;
	}
	struct trunk *t = trunk_dial(w, call, ret);
	if (!t)
		return NULL;
	t->pool = pool;
	pool->user_count++;
	list_add_last(&pool->trunks, &t->pooled);
	return t;
}

static bool upstream_shares(const struct upstream_pool *pool, const struct call *call)
{
	return call->way == CALL_WAY_MESH && call->hold->plan->conf->channels &&
	       pool->hold->worker->loop.now_ns >= pool->plain_until_ns;
}

/* Its line is fresh. */
static enum reason upstream_begin(struct carrier *c, const struct call *call)
{
	struct worker *w = c->being.worker;
	enum reason reason = REASON_NONE;
	if (!upstream_shares(c->pool, call)) {
		metric_add(&w->values->pool_opened_total, 1);
		return call_dial(w, call, CALL_HTTP, c->line);
	}
	struct trunk *t = upstream_trunk(w, c->pool, call, &reason);
	if (!t)
		return reason;
	trunk_join(t, c->line);
	if (t->state != TRUNK_OPEN)
		return REASON_NONE; /* waits for: its handshake */
	c->reused = true;
	metric_add(&w->values->pool_reused_total, 1);
	loop_ready(&w->loop, &c->being.task); /* nothing else is to come */
	return trunk_connect(c->line) ? REASON_NONE : REASON_UPSTREAM_CLOSED;
}

struct carrier *upstream_dial(struct worker *w, struct call *call, enum reason *ret_reason)
{
	struct upstream_pool *pool = upstream_pool_of(call);
	*ret_reason = REASON_OVERLOAD;
	if (!pool)
		return NULL;
	pool->user_count++;
	struct carrier *c = carrier_new_up(w, call->hold);
	if (!c) {
		upstream_release(pool);
		return NULL;
	}
	c->pool = pool;
	*ret_reason = upstream_begin(c, call);
	if (*ret_reason == REASON_NONE)
		return c;
	carrier_close(c, true);
	return NULL;
}

/* The first of those who waited takes the connection, the others dial. */
static enum reason upstream_connect_plain(struct carrier *c, const struct call *call)
{
	struct worker *w = c->being.worker;
	struct line *line = trunk_take_line(c->line->trunk);
	if (!line) {
		trunk_leave(c->line);
		return upstream_begin(c, call);
	}
	line_drop(c->line, w);
	c->line = line;
	line_own(line, &c->being.task);
	return REASON_NONE;
}

enum reason upstream_connect(struct carrier *c, const struct call *call)
{
	const struct trunk *t = c->line->trunk;
	switch (t->state) {
	case TRUNK_DIAL:
		return REASON_NONE;
	case TRUNK_OPEN:
		if (trunk_connect(c->line))
			return REASON_NONE;
		trunk_leave(c->line);
		return upstream_begin(c, call);
	case TRUNK_PLAIN:
		return upstream_connect_plain(c, call);
	case TRUNK_CLOSING:
		return t->reason;
	}
	return REASON_UPSTREAM_CLOSED;
}

/* --- idle ones --- */

static struct carrier *upstream_first(const struct upstream_pool *pool)
{
	return CONTAINER_OF(pool->idle.next, struct carrier, pooled);
}

struct carrier *upstream_take(struct worker *w, struct call *call)
{
	struct upstream_pool *pool = upstream_pool_of(call);
	/* what is unusable closes, which takes it off the list */
	while (pool && !list_empty(&pool->idle) && !upstream_usable(upstream_first(pool)))
		carrier_close(upstream_first(pool), true);
	if (!pool || list_empty(&pool->idle))
		return NULL;
	struct carrier *c = upstream_first(pool);
	upstream_forget(c); /* its timer may go on, and means nothing while it is in use */
	c->reused = true;
	metric_add(&w->values->pool_reused_total, 1);
	return c;
}

static bool upstream_keepable(const struct carrier *c)
{
	const struct conn *conn = &c->line->conn;
	const struct worker *w = c->being.worker;
	return c->state == CARRIER_OPEN && c->pool && http_reusable(c->http) && !conn->eof &&
	       !conn->transport_eof && conn->failure == CONN_FAILURE_NONE && !w->draining &&
	       c->hold == w->current && !line_expired(c->line, w) &&
	       c->pool->idle_count < worker_conf(w)->pool_idle_max &&
	       w->idle_count < w->idle_count_max;
}

static uint64_t upstream_deadline_ns(const struct carrier *c)
{
	const struct worker *w = c->being.worker;
	uint64_t idle_ns = w->loop.now_ns + worker_conf(w)->pool_idle_timeout_ms * CLOCK_MS;
	uint64_t expiry_ns = line_expiry_ns(c->line, w);
	return idle_ns < expiry_ns ? idle_ns : expiry_ns;
}

void upstream_put(struct carrier *c)
{
	struct worker *w = c->being.worker;
	if (c->state == CARRIER_CLOSING)
		return;
	if (!upstream_keepable(c)) {
		carrier_close(c, false);
		return;
	}
	http_rest(c->http);
	list_add_first(&c->pool->idle, &c->pooled);
	c->pool->idle_count++;
	w->idle_count++;
	c->idle = true;
	metric_add(&w->values->pool_idle, 1);
	timer_set(&w->loop, &c->timer, upstream_deadline_ns(c));
	if (!conn_listens(&c->line->conn)) /* which sees the far end close */
		loop_ready(&w->loop, &c->being.task);
}

void upstream_forget(struct carrier *c)
{
	struct worker *w = c->being.worker;
	if (!c->idle)
		return;
	list_remove(&c->pooled);
	c->pool->idle_count--;
	w->idle_count--;
	c->idle = false;
	metric_add(&w->values->pool_idle, -1);
}

/* A closed carrier leaves its pool only later, when it is joined: the pools stay meanwhile. */
uint32_t upstream_purge(struct plan_hold *hold, uint32_t max)
{
	for (size_t i = 0; i < hold->upstreams.slot_count; i++) {
		for (struct map_node *node = hold->upstreams.slots[i]; node; node = node->next) {
			struct upstream_pool *pool = CONTAINER_OF(node, struct upstream_pool, node);
			for (; max > 0 && !list_empty(&pool->idle); max--)
				carrier_close(upstream_first(pool), false);
		}
	}
	return max;
}
