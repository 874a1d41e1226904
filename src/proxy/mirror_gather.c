/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of a request while it is still read. */
#include "exchange_head.h"
#include "exchange_route.h"
#include "mirror.h"

#define MIRROR_ARENA_MAX (256u << 10)
/* Of all buffers, from which on no copy is begun: so many quarters. */
#define MIRROR_BUFFER_QUARTERS 3

uint32_t mirror_block_count(uint32_t body_bytes)
{
	const uint32_t bytes = sizeof(((struct mirror_block *)NULL)->bytes);
	return (body_bytes + bytes - 1) / bytes;
}

static bool mirror_is_welcome(const struct worker *w)
{
	uint64_t held = w->buffers.block_count, max = w->buffers.block_count_max;
	return held * 4 < max * MIRROR_BUFFER_QUARTERS;
}

/* Longer than is kept, or of a kind that cannot be told twice. */
static bool mirror_is_too_large(const struct exchange *x)
{
	return x->request->framing == HTTP_FRAMING_LENGTH &&
	       x->request->body_bytes > worker_conf(x->being.worker)->mirror_body_max;
}

static bool mirror_copy_text(struct mirror *m, struct str from, struct str *to)
{
	*to = arena_str(&m->arena, from);
	return to->at;
}

/* What the service gets, with the mark and the token: whether the copy's workload is to have that
 * is judged there. The body is all there when it is sent, so that nobody has
 * to ask for it. */
static bool mirror_copy_request(struct mirror *m, const struct exchange *x)
{
	m->request = arena_take(&m->arena, sizeof(*m->request));
	if (!m->request || !exchange_copy_head(&m->arena, x->request, m->request))
		return false;
	m->request->expect_continue = false;
	m->method = m->request->method;
	m->user_agent = http_header_of(m->request, HTTP_NAME_USER_AGENT);
	http_header_remove(m->request, HTTP_NAME_MIRROR);
	return http_header_add(m->request, STR(HEADER_MIRROR), STR("1")) &&
	       tokens_put_back(&x->token, m->request, &m->arena) &&
	       mirror_copy_text(m, x->route->path, &m->path) &&
	       mirror_copy_text(m, x->route->authority, &m->authority) &&
	       mirror_copy_text(m, x->route->name, &m->route) &&
	       mirror_copy_text(m, x->request_id, &m->request_id);
}

static void mirror_begin_one(struct exchange *x, const struct call_lead *lead)
{
	struct worker *w = x->being.worker;
	const struct route_request request = exchange_facts(x);
	struct mirror *m = mirror_is_welcome(w) ? pool_take(&w->mirrors) : NULL;
	if (!m) {
		metric_add(&w->values->mirrors_dropped_total, 1);
		return;
	}
	being_init(&m->being, w, TASK_MIRROR);
	timer_init(&m->timer, &m->being.task);
	list_init(&m->gathered);
	list_init(&m->blocks);
	call_init(&m->call);
	arena_init(&m->arena, MIRROR_ARENA_MAX);
	m->authorisation = authorisation_none();
	metric_add(&w->values->mirrors_active, 1);
	list_add_last(&x->route->gathering, &m->gathered);
	if (!mirror_copy_request(m, x) || !mirror_copy_text(m, lead->service, &m->lead.service) ||
		!mirror_copy_text(m, lead->version, &m->lead.version)) {
		mirror_drop(m, &w->values->mirrors_dropped_total);
		return;
	}
	m->lead.is_nowhere = lead->is_nowhere;
	outbound_value(&x->carrier[DOWN]->call, &m->tries, lead, &request);
}

void mirror_begin(struct exchange *x)
{
	struct worker *w = x->being.worker;
	const struct exchange_route *r = x->route;
	for (uint32_t i = 0; i < r->mirror_count; i++) {
		metric_add(&w->values->mirrors_total, 1);
		if (mirror_is_too_large(x))
			metric_add(&w->values->mirrors_large_total, 1);
		else
			mirror_begin_one(x, &r->mirrors[i]);
	}
	if (x->input_ended[DOWN])
		mirror_whole(x);
}

/* The first of those that gather; NULL: none. */
static struct mirror *mirror_first(const struct exchange *x)
{
	if (!x->route || list_empty(&x->route->gathering))
		return NULL;
	return CONTAINER_OF(x->route->gathering.next, struct mirror, gathered);
}

/* Some of it, into the last block or one more. 0: there is none. */
static size_t mirror_keep(struct mirror *m, struct str body)
{
	struct worker *w = m->being.worker;
	struct mirror_block *b = CONTAINER_OF(m->blocks.prev, struct mirror_block, listed);
	if (list_empty(&m->blocks) || b->len == sizeof(b->bytes)) {
		b = pool_take_used(&w->mirror_blocks);
		if (!b)
			return 0;
		b->len = b->used = 0;
		list_init(&b->listed);
		list_add_last(&m->blocks, &b->listed);
	}
	size_t room = sizeof(b->bytes) - b->len;
	size_t len = body.len < room ? body.len : room;
	memcpy(b->bytes + b->len, body.at, len);
	b->len += (uint32_t)len;
	return len;
}

static void mirror_keep_all(struct mirror *m, struct str body)
{
	struct metric_values *values = m->being.worker->values;
	m->request_bytes += body.len;
	if (m->request_bytes > worker_conf(m->being.worker)->mirror_body_max) {
		mirror_drop(m, &values->mirrors_large_total);
		return;
	}
	while (body.len > 0) {
		size_t len = mirror_keep(m, body);
		if (len == 0) {
			mirror_drop(m, &values->mirrors_dropped_total);
			return;
		}
		body = (struct str){body.at + len, body.len - len};
	}
}

void mirror_body(struct exchange *x, struct str body)
{
	struct list gathering;
	struct list *node;
	if (!mirror_first(x))
		return;
	list_init(&gathering);
	list_move_all(&x->route->gathering, &gathering);
	while ((node = list_pop(&gathering))) {
		struct mirror *m = CONTAINER_OF(node, struct mirror, gathered);
		list_add_last(&x->route->gathering, node);
		mirror_keep_all(m, body);
	}
}

/* With the trailers that have come. */
static bool mirror_copy_trailers(struct mirror *m, const struct http_head *trailers)
{
	if (!trailers)
		return true;
	m->trailers = arena_take(&m->arena, sizeof(*m->trailers));
	return m->trailers && exchange_copy_head(&m->arena, trailers, m->trailers);
}

void mirror_whole(struct exchange *x)
{
	const struct call *call = &x->carrier[DOWN]->call;
	struct mirror *m;
	while ((m = mirror_first(x))) {
		/* under a plan since it began, the address may be an endpoint's own, of which there
		 * are no copies */
		if (call->picks && mirror_copy_trailers(m, x->trailers[DOWN]))
			mirror_send(m, call);
		else
			mirror_drop(m, &m->being.worker->values->mirrors_dropped_total);
	}
}

void mirror_leave(struct exchange *x)
{
	struct mirror *m;
	while ((m = mirror_first(x)))
		mirror_drop(m, &m->being.worker->values->mirrors_cut_total);
}
