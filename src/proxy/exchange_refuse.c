/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_refuse.h"

#include "exchange_limit.h"

#define EXCHANGE_REFUSAL_HEADERS (5 + EXCHANGE_LIMIT_HEADERS)

struct exchange_refusal {
	struct http_header headers[EXCHANGE_REFUSAL_HEADERS];
	uint16_t header_count;
};

static void exchange_refusal_add(struct exchange_refusal *r, struct str name, struct str value)
{
	ASSERT(r->header_count < EXCHANGE_REFUSAL_HEADERS);
	r->headers[r->header_count++] = (struct http_header){.name = name, .value = value};
}

bool exchange_is_grpc(const struct exchange *x)
{
	return grpc_is_type(http_header_get(x->request, "content-type"));
}

/* What the reason table says, unless somebody chose another status. */
static enum grpc_status exchange_grpc_status(enum reason reason, uint16_t status)
{
	const struct reason_row *row = reason_row(reason);
	return row->status == status ? row->grpc : grpc_status_of_http(status);
}

/* Our own texts are plain ASCII without '%', so that the message needs no escapes. */
static void exchange_refuse_grpc(struct exchange_refusal *r, const struct exchange *x,
	enum grpc_status status, const char *text)
{
	exchange_refusal_add(r, STR("Content-Type"), http_header_get(x->request, "content-type"));
	exchange_refusal_add(r, STR("Grpc-Status"), grpc_status_text(status));
	exchange_refusal_add(r, STR("Grpc-Message"), str_of(text));
}

bool exchange_is_overload(enum reason reason)
{
	return reason == REASON_BREAKER_CONNECTIONS || reason == REASON_BREAKER_PENDING ||
	       reason == REASON_BREAKER_REQUESTS;
}

bool exchange_write_refusal(struct exchange *x, enum reason reason, enum exchange_told told,
	uint16_t status, const char *text, bool close)
{
	struct carrier *down = x->carrier[DOWN];
	struct exchange_refusal r = {.header_count = 0};
	bool is_grpc = exchange_is_grpc(x);
	if (is_grpc)
		exchange_refuse_grpc(&r, x, exchange_grpc_status(reason, status), text);
	if (told != EXCHANGE_TOLD_NOTHING)
		exchange_refusal_add(&r, exchange_told_name(told), STR("1"));
	if (exchange_is_overload(reason))
		exchange_refusal_add(&r, STR(HEADER_OVERLOADED), STR("true"));
	if (reason == REASON_RATE_LIMITED)
		r.header_count += exchange_limit_refusal(x, r.headers + r.header_count);
	x->status = is_grpc ? 200 : status;
	struct http_refusal refusal = {.status = x->status,
		.headers = r.headers,
		.header_count = r.header_count,
		.text = is_grpc ? NULL : text,
		.close = close};
	return http_write_refusal(down->http, x->stream[DOWN], &refusal, &down->line->conn.out);
}
