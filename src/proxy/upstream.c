/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream.h"

#include <stdio.h>
#include <stdlib.h>

#define UPSTREAM_KEY_MAX (TLS_ID_MAX + ADDRESS_TEXT_MAX + 128)

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

static struct carrier *upstream_find(
	struct plan_hold *hold, const char *key, size_t key_len, uint64_t hash, uint32_t *ret_count)
{
	struct carrier *found = NULL;
	*ret_count = 0;
	for (struct map_node *node = map_first(&hold->idle_carriers, hash); node;
		node = map_next(node)) {
		struct carrier *c = CONTAINER_OF(node, struct carrier, pooled);
		if (c->key_len != key_len || memcmp(c->key, key, key_len) != 0)
			continue;
		++*ret_count;
		if (!found)
			found = c;
	}
	return found;
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

struct carrier *upstream_take(struct worker *w, const struct call *call)
{
	char key[UPSTREAM_KEY_MAX];
	uint32_t count;
	size_t key_len = upstream_key(call, key);
	uint64_t hash = upstream_hash(key, key_len);
	struct carrier *c;
	while ((c = upstream_find(call->hold, key, key_len, hash, &count))) {
		if (upstream_usable(c))
			break;
		carrier_close(c, true);
	}
	if (!c)
		return NULL;
	upstream_forget(c);
	timer_clear(&w->loop, &c->timer);
	c->reused = true;
	metric_add(&w->values->pool_reused_total, 1);
	return c;
}

bool upstream_name(struct carrier *c, const struct call *call)
{
	char key[UPSTREAM_KEY_MAX];
	c->key_len = upstream_key(call, key);
	c->key = malloc(c->key_len);
	if (!c->key)
		return false;
	memcpy(c->key, key, c->key_len);
	return true;
}

static bool upstream_keepable(const struct carrier *c)
{
	const struct conn *conn = &c->line->conn;
	const struct worker *w = c->being.worker;
	return c->state == CARRIER_OPEN && c->key && http_reusable(c->http) && !conn->eof &&
	       !conn->transport_eof && conn->failure == CONN_FAILURE_NONE && !w->draining &&
	       c->hold == w->current && !line_expired(c->line, w);
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
	uint32_t count = 0;
	if (c->state == CARRIER_CLOSING)
		return;
	if (!upstream_keepable(c)) {
		carrier_close(c, false);
		return;
	}
	uint64_t hash = upstream_hash(c->key, c->key_len);
	upstream_find(c->hold, c->key, c->key_len, hash, &count);
	if (count >= worker_conf(w)->pool_idle_max ||
		!map_add(&c->hold->idle_carriers, &c->pooled, hash)) {
		carrier_close(c, false);
		return;
	}
	c->idle = true;
	metric_add(&w->values->pool_idle, 1);
	timer_set(&w->loop, &c->timer, upstream_deadline_ns(c));
	loop_ready(&w->loop, &c->being.task); /* arms the receive that sees the far end close */
}

void upstream_forget(struct carrier *c)
{
	if (!c->idle)
		return;
	map_remove(&c->hold->idle_carriers, &c->pooled);
	c->idle = false;
	metric_add(&c->being.worker->values->pool_idle, -1);
}

void upstream_purge(struct plan_hold *hold)
{
	for (size_t i = 0; i < hold->idle_carriers.slot_count; i++) {
		while (hold->idle_carriers.slots[i])
			carrier_close(
				CONTAINER_OF(hold->idle_carriers.slots[i], struct carrier, pooled),
				false);
	}
}
