/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_retry.h"

#include "exchange_route.h"
#include "routing.h"

/* So many times the first one is the longest backoff. */
#define EXCHANGE_BACKOFF_MAX 10

uint32_t exchange_retry_reason(enum reason reason)
{
	if (reason == REASON_UPSTREAM_TIMEOUT)
		return ROUTE_RETRY_GATEWAY | ROUTE_RETRY_5XX;
	if (reason == REASON_UPSTREAM_CLOSED)
		return ROUTE_RETRY_RESET | ROUTE_RETRY_5XX;
	return reason_row(reason)->retry ? ROUTE_RETRY_CONNECT : 0;
}

uint32_t exchange_retry_response(uint16_t status, enum exchange_told told)
{
	uint32_t on = told == EXCHANGE_TOLD_UNSENT  ? ROUTE_RETRY_REFUSED
		      : told == EXCHANGE_TOLD_RESET ? ROUTE_RETRY_RESET
						    : 0;
	if (status >= 502 && status <= 504)
		on |= ROUTE_RETRY_GATEWAY;
	if (status >= 500)
		on |= ROUTE_RETRY_5XX;
	if (status == 409)
		on |= ROUTE_RETRY_409;
	return on;
}

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

bool exchange_retry_may(struct exchange *x, uint32_t on)
{
	struct exchange_route *r = x->route;
	struct worker *w = x->being.worker;
	if (!r || !(r->retry.on & on) || r->retry_count >= r->retry.attempts ||
		x->response_started || !exchange_is_whole(x) ||
		!exchange_is_harmless(x, r->retry.on & on))
		return false;
	if (!exchange_retry_fits(x))
		return false;
	x->again_ns = w->loop.now_ns + exchange_backoff_ns(x);
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
