/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_limit.h"

#include "exchange_head.h"
#include "exchange_refuse.h"
#include "exchange_route.h"
#include <stdio.h>

/* From the caller's proxy to the service's: which rule it went by. Believed between proxies only,
 * and only of a rule that leads to the service: of others there may be any number, each with tokens
 * of its own. */
#define HEADER_ROUTE "x-ringmain-route"

#define HEADER_LIMIT	 "RateLimit-Limit"
#define HEADER_REMAINING "RateLimit-Remaining"
#define HEADER_RESET	 "RateLimit-Reset"
#define HEADER_RETRY	 "Retry-After"

/* --- the rule --- */

enum reason exchange_tell_route(struct exchange *x)
{
	const struct call *call = &x->carrier[DOWN]->call;
	if (call->way != CALL_WAY_MESH || !call->service || !limit_wants_route(call->service))
		return REASON_NONE;
	if (!x->route || http_header_add(x->request, STR(HEADER_ROUTE), x->route->name))
		return REASON_NONE;
	return REASON_OVERLOAD;
}

static struct str exchange_route_told(struct exchange *x)
{
	const struct call *call = &x->carrier[DOWN]->call;
	if (call->direction == CALL_OUTBOUND)
		return x->route ? x->route->name : STR("");
	if (call->direction != CALL_INBOUND_MESH)
		return STR("");
	return limit_route_known(call->hold->plan->snapshot, call->service, x->told_route);
}

/* --- asking --- */

static uint64_t exchange_seconds(uint64_t ns)
{
	return ns / CLOCK_S + (ns % CLOCK_S > 0);
}

/* Copies: the plan that they come from may be gone before the response is there. */
static bool exchange_keep_verdict(struct exchange *x, const struct limiter_verdict *v)
{
	struct exchange_limit *l = x->limit;
	*l = (struct exchange_limit){.name = STR(""), .shadow = STR(""), .body = STR("")};
	if (v->shadow)
		l->shadow = arena_str(&x->arena, v->shadow->name);
	if (v->tightest)
		l->name = arena_str(&x->arena, v->tightest->name);
	if (v->refused)
		l->body = arena_str(&x->arena, v->refused->body);
	l->is_counted = v->tightest;
	l->quota = v->quota;
	l->remaining = v->remaining;
	l->reset_s = exchange_seconds(v->reset_ns);
	l->retry_s = exchange_seconds(v->retry_ns);
	l->retry_s += l->retry_s == 0;
	return l->name.at && l->shadow.at && l->body.at;
}

enum reason exchange_ask_limits(struct exchange *x)
{
	const struct call *call = &x->carrier[DOWN]->call;
	struct worker *w = x->being.worker;
	char client[ADDRESS_TEXT_MAX];
	struct limiter_verdict verdict;
	if (call->way != CALL_WAY_LOCAL || call->service->limit_count == 0 || x->limit)
		return REASON_NONE;
	x->limit = arena_take(&x->arena, sizeof(*x->limit));
	if (!x->limit)
		return REASON_OVERLOAD;
	struct limit_request request = {.route = exchange_route_told(x), .is_mirror = x->is_mirror};
	request.asks = exchange_facts(x);
	request.client = str_of(address_ip_text(&call->client, client));
	if (!limiter_ask(call->hold->plan, w->ledger, call->service, &request, &x->arena,
		    w->loop.now_ns, &verdict) ||
		!exchange_keep_verdict(x, &verdict)) {
		x->limit = NULL;
		return REASON_OVERLOAD;
	}
	return verdict.refused ? REASON_RATE_LIMITED : REASON_NONE;
}

struct str exchange_limit_named(const struct exchange *x)
{
	if (!x->limit)
		return STR("");
	return x->reason == REASON_RATE_LIMITED ? x->limit->name : STR("");
}

/* --- telling --- */

static bool exchange_add_number(
	const struct exchange *x, struct http_head *head, struct str name, uint64_t number)
{
	struct str value =
		arena_printf((struct arena *)&x->arena, "%llu", (unsigned long long)number);
	return value.at && http_header_add(head, name, value);
}

static bool exchange_add_left(const struct exchange *x, struct http_head *head)
{
	const struct exchange_limit *l = x->limit;
	return exchange_add_number(x, head, STR(HEADER_LIMIT), l->quota) &&
	       exchange_add_number(x, head, STR(HEADER_REMAINING), l->remaining) &&
	       exchange_add_number(x, head, STR(HEADER_RESET), l->reset_s);
}

void exchange_limit_response(const struct exchange *x, struct http_head *head)
{
	uint16_t count = head->header_count;
	if (!x->limit || !x->limit->is_counted || http_header_get(head, HEADER_LIMIT).at)
		return;
	if (!exchange_add_left(x, head))
		head->header_count = count; /* all three or none */
}

/* --- refusing --- */

const char *exchange_limit_text(const struct exchange *x)
{
	return x->limit->body.len > 0 && !exchange_is_grpc(x)
		       ? x->limit->body.at
		       : reason_row(REASON_RATE_LIMITED)->text;
}

uint16_t exchange_limit_refusal(
	struct exchange *x, struct http_header ret_headers[EXCHANGE_LIMIT_HEADERS])
{
	const struct exchange_limit *l = x->limit;
	const struct {
		struct str name;
		uint64_t number;
	} rows[EXCHANGE_LIMIT_HEADERS] = {
		{STR(HEADER_RETRY), l->retry_s},
		{STR(HEADER_LIMIT), l->quota},
		{STR(HEADER_REMAINING), l->remaining},
		{STR(HEADER_RESET), l->reset_s},
	};
	for (uint16_t i = 0; i < EXCHANGE_LIMIT_HEADERS; i++) {
		struct str value =
			arena_printf(&x->arena, "%llu", (unsigned long long)rows[i].number);
		if (!value.at)
			return i;
		ret_headers[i] = (struct http_header){.name = rows[i].name, .value = value};
	}
	return EXCHANGE_LIMIT_HEADERS;
}
