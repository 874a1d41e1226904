/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_retry.h"

#include "codec/retry_after.h"
#include "exchange_private.h"
#include "exchange_route.h"
#include "routing.h"

/* So many times the first one is the longest backoff. */
#define EXCHANGE_BACKOFF_MAX 10

/* Once a byte of the request has left, nothing can be said to be unsent: the far end may even have
 * taken it before it refused our certificate. */
uint32_t exchange_retry_reason(const struct exchange *x, enum reason reason)
{
	bool has_left = x->flow[DOWN] != FLOW_HEAD;
	if (reason == REASON_UPSTREAM_TIMEOUT)
		return ROUTE_RETRY_GATEWAY | ROUTE_RETRY_5XX;
	if (!reason_row(reason)->retry)
		return 0;
	return has_left || reason == REASON_UPSTREAM_CLOSED ? ROUTE_RETRY_RESET | ROUTE_RETRY_5XX
							    : ROUTE_RETRY_CONNECT;
}

/* --- what a response says --- */

/* False: it is none of gRPC, or its end is still to come. */
static bool exchange_grpc_ends(const struct http_head *head, enum grpc_status *ret_status)
{
	return grpc_is_type(http_header_get(head, "content-type")) &&
	       grpc_status_read(http_header_get(head, "grpc-status"), ret_status);
}

static uint32_t exchange_retry_grpc(const struct http_head *head)
{
	static const uint32_t on[] = {[GRPC_CANCELLED] = ROUTE_RETRY_CANCELLED,
		[GRPC_DEADLINE_EXCEEDED] = ROUTE_RETRY_DEADLINE_EXCEEDED,
		[GRPC_INTERNAL] = ROUTE_RETRY_INTERNAL,
		[GRPC_RESOURCE_EXHAUSTED] = ROUTE_RETRY_RESOURCE_EXHAUSTED,
		[GRPC_UNAVAILABLE] = ROUTE_RETRY_UNAVAILABLE};
	enum grpc_status status;
	return exchange_grpc_ends(head, &status) && status < ARRAY_LEN(on) ? on[status] : 0;
}

bool exchange_is_gateway_error(const struct http_head *head, enum exchange_told told)
{
	enum grpc_status status;
	bool is_grpc_error = exchange_grpc_ends(head, &status) &&
			     (status == GRPC_UNAVAILABLE || status == GRPC_DEADLINE_EXCEEDED);
	return (head->status >= 502 && head->status <= 504) || told != EXCHANGE_TOLD_NOTHING ||
	       is_grpc_error;
}

uint32_t exchange_retry_response(const struct http_head *head, enum exchange_told told)
{
	uint16_t status = head->status;
	uint32_t on = told == EXCHANGE_TOLD_UNSENT  ? ROUTE_RETRY_REFUSED
		      : told == EXCHANGE_TOLD_RESET ? ROUTE_RETRY_RESET
						    : 0;
	if (status >= 502 && status <= 504)
		on |= ROUTE_RETRY_GATEWAY;
	if (status >= 500)
		on |= ROUTE_RETRY_5XX;
	if (status == 409)
		on |= ROUTE_RETRY_409;
	if (status == 429)
		on |= ROUTE_RETRY_429;
	return on | exchange_retry_grpc(head);
}

bool exchange_retry_wait(const struct exchange *x, const struct http_head *head, uint64_t *ret_ns)
{
	struct str pushback = http_header_get(head, "grpc-retry-pushback-ms");
	enum grpc_status status;
	uint64_t ms, seconds;
	*ret_ns = 0;
	if (pushback.at) {
		if (!grpc_pushback_read(pushback, &ms))
			return false;
		*ret_ns = (ms < RETRY_AFTER_S_MAX ? ms : RETRY_AFTER_S_MAX) * CLOCK_MS;
	} else if ((head->status == 503 || head->status == 429 ||
			   exchange_grpc_ends(head, &status)) &&
		   retry_after_read(http_header_get(head, "retry-after"),
			   worker_wall_s(x->being.worker), &seconds)) {
		*ret_ns = seconds * CLOCK_S;
	}
	return true;
}

/* --- whether it may --- */

bool exchange_idempotent(const struct exchange *x)
{
	struct str m = x->request->method;
	return str_eq(m, STR("GET")) || str_eq(m, STR("HEAD")) || str_eq(m, STR("OPTIONS")) ||
	       str_eq(m, STR("PUT")) || str_eq(m, STR("DELETE"));
}

static bool exchange_is_harmless(const struct exchange *x, uint32_t on)
{
	bool is_unseen = on & (ROUTE_RETRY_CONNECT | ROUTE_RETRY_REFUSED);
	return is_unseen || x->route->retry.any_method || exchange_idempotent(x);
}

/* It is all in our hands: either nothing has left them, or it has no body. */
static bool exchange_is_whole(const struct exchange *x)
{
	bool is_unsent = x->state == EXCHANGE_ROUTE || x->state == EXCHANGE_WAIT;
	return is_unsent || (x->input_ended[DOWN] && x->body_bytes[DOWN] == 0);
}

/* Twice as long each time, and by chance less, so that those who failed together do not come back
 * together. */
static uint64_t exchange_backoff_ns(struct exchange *x)
{
	const struct route_retry *retry = &x->route->retry;
	uint64_t times = UINT64_C(1) << x->route->retry_count;
	if (times > EXCHANGE_BACKOFF_MAX)
		times = EXCHANGE_BACKOFF_MAX;
	uint64_t most_ns = times * retry->backoff_ms * CLOCK_MS;
	return most_ns / 2 + loop_random(&x->being.worker->loop) % (most_ns / 2 + 1);
}

/* By the service's limits: that of retries under way, in which a request counts once, and that of
 * the budget, which is spent for good. */
static bool exchange_retry_fits(struct exchange *x)
{
	const struct call *call = &x->carrier[DOWN]->call;
	struct worker *w = x->being.worker;
	bool counts_already = x->retrying.use;
	if (!counts_already &&
		!service_hold_take(&x->retrying, w, call, call->service, BREAKER_RETRIES))
		return false;
	if (routing_may_retry(w, call))
		return true;
	if (!counts_already)
		service_hold_give(&x->retrying, BREAKER_RETRIES);
	metric_add(&w->values->retries_refused_total, 1);
	return false;
}

bool exchange_retry_may(struct exchange *x, uint32_t on, uint64_t wait_ns)
{
	struct exchange_route *r = x->route;
	struct worker *w = x->being.worker;
	if (!r || !(r->retry.on & on) || r->retry_count >= r->retry.attempts ||
		x->response_started || !exchange_is_whole(x) ||
		!exchange_is_harmless(x, r->retry.on & on) ||
		wait_ns > r->retry.wait_max_ms * CLOCK_MS)
		return false;
	/* who was told the same time does not come back at the same time */
	uint64_t again_ns = w->loop.now_ns + wait_ns + exchange_backoff_ns(x);
	if (again_ns >= exchange_deadline_ns(x) || !exchange_retry_fits(x))
		return false;
	x->again_ns = again_ns;
	r->retry_count++;
	return true;
}

uint64_t exchange_try_deadline_ns(const struct exchange *x)
{
	if (!x->route || x->route->retry.per_try_ms == 0 || !x->carrier[UP] || x->response ||
		x->response_started)
		return UINT64_MAX;
	return x->try_ns + x->route->retry.per_try_ms * CLOCK_MS;
}
