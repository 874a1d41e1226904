/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream.h"

#include "outside.h"
#include <stdlib.h>

/* A far end without channels may have got them since, with a new version or configuration. */
#define UPSTREAM_PLAIN_MS (5 * 60 * 1000)
/* Refusing a request must not cost more than serving it, however many places there are. */
#define UPSTREAM_LOOKS_MAX 256

/* All that must be the same for a connection to be used again. */
struct upstream_place {
	enum call_way way;
	struct str source_id, service;
	uint16_t port; /* MESH: of the endpoint */
	struct address address;
	/* MESH: whose certificates and anchors proved whom to be one of these; OUTSIDE: whose
	 * authorities proved what name, where the TLS is ours */
	struct tls_store *tls;
	const struct str *ids;
	uint32_t id_count;
	bool channels; /* MESH: requests may share it; switched off, none does any more */
};

/* Connections to one place for one caller. Lives as long as it has users. */
struct upstream_pool {
	struct map_node node; /* in worker.upstreams */
	struct list listed;   /* in worker.pools or worker.stale_pools */
	struct worker *worker;
	bool wanted;	  /* some call under the current plan could lead there */
	struct list idle; /* of struct carrier, by pooled; the newest first */
	uint32_t idle_count;
	uint32_t user_count;	 /* carriers, trunks, and calls that know it */
	struct list trunks;	 /* of struct trunk, by pooled */
	uint64_t plain_until_ns; /* the far end has no channels: so long it is not asked again */
	struct upstream_place place; /* its texts follow */
	struct str ids[];
};

/* `ret_name`: what the place may point to. */
static struct upstream_place upstream_place_of(const struct call *call, struct str *ret_name)
{
	struct upstream_place place = {
		.way = call->way,
		.source_id = call->source_id,
		.service = call->service ? call->service->name : STR(""),
		.address = call->upstream,
	};
	if (call->way == CALL_WAY_MESH) {
		place.port = call->endpoint->address.port;
		place.tls = call->hold->plan->tls;
		place.ids = call->service->ids;
		place.id_count = call->service->id_count;
		place.channels = call->hold->plan->conf->channels;
	} else if (call->external) {
		place.service = call->external->name;
		place.tls = call->hold->plan->outside_tls[call->external->index];
		*ret_name = outside_server_name(call);
		place.ids = ret_name;
		place.id_count = ret_name->len > 0;
	}
	return place;
}

static bool upstream_same_ids(
	const struct str *a, uint32_t a_count, const struct str *b, uint32_t b_count)
{
	bool same = a_count == b_count;
	for (uint32_t i = 0; same && i < a_count; i++)
		same = str_eq(a[i], b[i]);
	return same;
}

static bool upstream_same_tls(const struct upstream_place *place, const struct tls_store *tls)
{
	return place->tls == tls ||
	       (place->tls && tls && tls_store_same_for(place->tls, tls, place->source_id));
}

static bool upstream_same_place(const struct upstream_place *a, const struct upstream_place *b)
{
	return a->way == b->way && a->port == b->port && a->channels == b->channels &&
	       upstream_same_tls(a, b->tls) && address_equal(&a->address, &b->address) &&
	       str_eq(a->source_id, b->source_id) && str_eq(a->service, b->service) &&
	       upstream_same_ids(a->ids, a->id_count, b->ids, b->id_count);
}

/* Not of all of it: what differs seldom is only compared. */
static uint64_t upstream_hash(const struct upstream_place *place)
{
	uint64_t hash = 0x75705f6b6579ull + (uint64_t)place->way + place->port;
	hash = hash_bytes(hash, place->source_id.at, place->source_id.len);
	hash = hash_bytes(hash, place->service.at, place->service.len);
	return hash_bytes(hash + place->address.port, place->address.ip, sizeof(place->address.ip));
}

/* What has come since the last response, in this very turn maybe, would pass for the next one. */
static bool upstream_usable(const struct carrier *c)
{
	return conn_quiet(&c->line->conn) && !line_expired(c->line, c->being.worker);
}

static struct upstream_pool *upstream_find(
	const struct worker *w, const struct upstream_place *place)
{
	struct map_node *node = map_first(&w->upstreams, upstream_hash(place));
	for (; node; node = map_next(node)) {
		struct upstream_pool *pool = CONTAINER_OF(node, struct upstream_pool, node);
		if (upstream_same_place(&pool->place, place))
			return pool;
	}
	return NULL;
}

static struct str upstream_copy(char **at, struct str text)
{
	struct str copy = {*at, text.len};
	if (text.len > 0)
		memcpy(*at, text.at, text.len);
	*at += text.len;
	return copy;
}

static struct upstream_pool *upstream_new(struct worker *w, const struct upstream_place *place)
{
	size_t texts = place->source_id.len + place->service.len;
	for (uint32_t i = 0; i < place->id_count; i++)
		texts += place->ids[i].len;
	struct upstream_pool *pool =
		malloc(sizeof(*pool) + place->id_count * sizeof(*pool->ids) + texts + 1);
	if (!pool)
		return NULL;
	*pool = (struct upstream_pool){.worker = w, .place = *place};
	list_init(&pool->idle);
	list_init(&pool->trunks);
	char *at = (char *)(pool->ids + place->id_count);
	for (uint32_t i = 0; i < place->id_count; i++)
		pool->ids[i] = upstream_copy(&at, place->ids[i]);
	pool->place.ids = pool->ids;
	pool->place.source_id = upstream_copy(&at, place->source_id);
	pool->place.service = upstream_copy(&at, place->service);
	if (!map_add(&w->upstreams, &pool->node, upstream_hash(place))) {
		free(pool);
		return NULL;
	}
	if (place->tls) /* another one would not get its address meanwhile */
		tls_store_ref(place->tls);
	list_add_last(&w->pools, &pool->listed);
	return pool;
}

static void upstream_release(struct upstream_pool *pool)
{
	if (!pool || --pool->user_count > 0)
		return;
	map_remove(&pool->worker->upstreams, &pool->node);
	list_remove(&pool->listed);
	tls_store_unref(pool->place.tls);
	free(pool);
}

/* The call's, looked for once. NULL: out of memory. */
static struct upstream_pool *upstream_pool_of(struct worker *w, struct call *call)
{
	if (call->pool)
		return call->pool;
	struct str name;
	struct upstream_place place = upstream_place_of(call, &name);
	struct upstream_pool *pool = upstream_find(w, &place);
	if (!pool)
		pool = upstream_new(w, &place);
	if (!pool)
		return NULL;
	pool->user_count++;
	pool->wanted = pool->wanted || call->hold == w->current;
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
	pool->plain_until_ns = pool->worker->loop.now_ns + UPSTREAM_PLAIN_MS * CLOCK_MS;
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

static bool upstream_shares(const struct upstream_pool *pool)
{
	return pool->place.channels && pool->worker->loop.now_ns >= pool->plain_until_ns;
}

bool upstream_is_there(struct worker *w, struct call *call)
{
	const struct upstream_pool *pool = upstream_pool_of(w, call);
	if (!pool || !upstream_shares(pool))
		return false;
	LIST_EACH (&pool->trunks, it) {
		const struct trunk *t = CONTAINER_OF(it, struct trunk, pooled);
		if (trunk_usable(t))
			return t->state == TRUNK_OPEN; /* it is the one that is taken */
	}
	return false;
}

/* Its line is fresh. */
static enum reason upstream_begin(struct carrier *c, const struct call *call)
{
	struct worker *w = c->being.worker;
	enum reason reason = REASON_NONE;
	if (!upstream_shares(c->pool)) {
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
	struct upstream_pool *pool = upstream_pool_of(w, call);
	*ret_reason = REASON_OVERLOAD;
	if (!pool)
		return NULL;
	pool->user_count++;
	struct carrier *c = carrier_new_up(w);
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
	struct upstream_pool *pool = upstream_pool_of(w, call);
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
	       c->pool->wanted && !line_expired(c->line, w) &&
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

static uint32_t upstream_idle_on(const struct upstream_pool *pool, const struct trunk *t)
{
	uint32_t count = 0;
	LIST_EACH (&pool->idle, it)
		count += CONTAINER_OF(it, struct carrier, pooled)->line->trunk == t;
	return count;
}

/* One channel makes no room: the connection that it shares does, once all of them are idle. */
static bool upstream_trunk_makes_room(const struct carrier *c)
{
	const struct trunk *t = c->line->trunk;
	return t && t->state == TRUNK_OPEN && line_is_lacked(t->line) &&
	       upstream_idle_on(c->pool, t) == t->user_count && line_take_lack(t->line);
}

void upstream_put(struct carrier *c)
{
	struct worker *w = c->being.worker;
	if (c->state == CARRIER_CLOSING)
		return;
	if (!upstream_keepable(c) || line_take_lack(c->line)) {
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
	if (upstream_trunk_makes_room(c))
		trunk_close(c->line->trunk, false);
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

/* --- to make room --- */

/* With nothing but idle channels, which end with it. */
static struct trunk *upstream_idle_trunk(const struct upstream_pool *pool)
{
	LIST_EACH (&pool->trunks, it) {
		struct trunk *t = CONTAINER_OF(it, struct trunk, pooled);
		if (t->state == TRUNK_OPEN && upstream_idle_on(pool, t) == t->user_count)
			return t;
	}
	return NULL;
}

/* The one that has been idle for the longest; NULL: all of them are channels. */
static struct carrier *upstream_idle_line(const struct upstream_pool *pool)
{
	for (struct list *it = pool->idle.prev; it != &pool->idle; it = it->prev) {
		struct carrier *c = CONTAINER_OF(it, struct carrier, pooled);
		if (!c->line->trunk)
			return c;
	}
	return NULL;
}

static bool upstream_close_one(const struct upstream_pool *pool)
{
	struct carrier *c = upstream_idle_line(pool);
	struct trunk *t = upstream_idle_trunk(pool);
	if (c)
		carrier_close(c, false);
	else if (t)
		trunk_close(t, false);
	return c || t;
}

/* The next time it goes on behind those that it has looked at, and begins with the one that had
 * something: it may have more. */
static bool upstream_close_one_of(struct list *pools, struct str service, uint32_t *max)
{
	const struct list *last = pools->prev;
	for (struct list *it = NULL; it != last && !list_empty(pools) && *max > 0; (*max)--) {
		it = pools->next;
		const struct upstream_pool *pool = CONTAINER_OF(it, struct upstream_pool, listed);
		if (str_eq(pool->place.service, service) && upstream_close_one(pool))
			return true;
		list_remove(it);
		list_add_last(pools, it);
	}
	return false;
}

bool upstream_make_room(struct worker *w, const struct service *service)
{
	uint32_t max = UPSTREAM_LOOKS_MAX;
	return upstream_close_one_of(&w->pools, service->name, &max) ||
	       upstream_close_one_of(&w->stale_pools, service->name, &max);
}

/* --- under a newer plan --- */

static bool upstream_has_source(const struct snapshot *s, struct str id)
{
	for (uint32_t i = 0; i < s->workload_count; i++) {
		if (str_eq(s->workloads[i].id, id))
			return true;
	}
	return false;
}

static bool upstream_leads_to_workload(const struct upstream_place *place, const struct snapshot *s)
{
	for (uint32_t i = 0; i < s->workload_count; i++) {
		const struct workload *w = &s->workloads[i];
		if (address_equal(&w->deliver, &place->address) &&
			str_eq(w->service->name, place->service))
			return true;
	}
	return false;
}

/* The endpoint behind it, NULL when there is none of that service any more. */
static const struct endpoint *upstream_endpoint(
	const struct upstream_place *place, const struct snapshot *s, uint16_t port)
{
	struct address at = place->address;
	at.port = port;
	const struct endpoint *e = snapshot_endpoint(s, &at);
	return e && str_eq(e->service->name, place->service) ? e : NULL;
}

static bool upstream_leads_to_mesh(const struct upstream_place *place, const struct plan *plan)
{
	const struct endpoint *e = upstream_endpoint(place, plan->snapshot, place->port);
	return e && service_mtls(e->service, e->address.port) != MTLS_DISABLED &&
	       upstream_same_tls(place, plan->tls) &&
	       place->address.port == plan->conf->mesh_port &&
	       place->channels == plan->conf->channels &&
	       upstream_same_ids(
		       place->ids, place->id_count, e->service->ids, e->service->id_count) &&
	       upstream_has_source(plan->snapshot, place->source_id);
}

static bool upstream_leads_in_plain(const struct upstream_place *place, const struct plan *plan)
{
	const struct snapshot *s = plan->snapshot;
	if (place->service.len == 0)
		return outside_leads(plan, place->source_id, STR(""), &place->address, NULL);
	const struct endpoint *e = upstream_endpoint(place, s, place->address.port);
	return e && service_mtls(e->service, e->address.port) == MTLS_DISABLED;
}

/* Whether a call under this plan may lead there. */
static bool upstream_leads(const struct upstream_place *place, const struct plan *plan)
{
	switch (place->way) {
	case CALL_WAY_LOCAL:
		return upstream_leads_to_workload(place, plan->snapshot);
	case CALL_WAY_MESH:
		return upstream_leads_to_mesh(place, plan);
	case CALL_WAY_PLAIN:
		return upstream_leads_in_plain(place, plan);
	case CALL_WAY_OUTSIDE:
		return outside_leads(
			plan, place->source_id, place->service, &place->address, place->tls);
	case CALL_WAY_PICK:
		break;
	}
	return false;
}

/* Closes idle ones; how many more might have been closed: 0 if some may be left. A closed carrier
 * leaves its pool only later, when it is joined: the pool stays meanwhile. */
static uint32_t upstream_close_idle(struct upstream_pool *pool, uint32_t max)
{
	for (; max > 0 && !list_empty(&pool->idle); max--)
		carrier_close(upstream_first(pool), false);
	return max;
}

static void upstream_unwant(struct upstream_pool *pool)
{
	pool->wanted = false;
	LIST_EACH (&pool->trunks, it)
		loop_ready(
			&pool->worker->loop, &CONTAINER_OF(it, struct trunk, pooled)->being.task);
}

void upstream_look_again(struct worker *w, uint32_t max)
{
	struct list *node;
	while (max > 0 && (node = list_pop(&w->stale_pools))) {
		struct upstream_pool *pool = CONTAINER_OF(node, struct upstream_pool, listed);
		list_add_last(&w->pools, node);
		max--;
		if (upstream_leads(&pool->place, w->current->plan))
			continue;
		upstream_unwant(pool);
		max = upstream_close_idle(pool, max);
		if (!list_empty(&pool->idle)) {
			list_remove(node);
			list_add_first(&w->stale_pools, node);
		}
	}
}

void upstream_let_go(struct worker *w)
{
	LIST_EACH (&w->pools, it)
		upstream_close_idle(CONTAINER_OF(it, struct upstream_pool, listed), UINT32_MAX);
	LIST_EACH (&w->stale_pools, it)
		upstream_close_idle(CONTAINER_OF(it, struct upstream_pool, listed), UINT32_MAX);
}

bool upstream_wanted(const struct upstream_pool *pool)
{
	return pool && pool->wanted;
}
