/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a request is sent again because its rule says so. What the proxies do by themselves for
 * a request of which nothing was sent, or on a pooled connection that turned out to be closed, is
 * no part of it. */
#pragma once

#include "exchange_head.h"
#include "mesh/route.h"

/* Why, in the rule's terms, as a mask: of a try that failed, of a response. */
uint32_t exchange_retry_reason(const struct exchange *x, enum reason reason);
uint32_t exchange_retry_response(const struct http_head *head, enum exchange_told told);
/* Takes it from the budget when it may, and sets when it will be: x->again_ns, in `wait_ns` at the
 * earliest. */
bool exchange_retry_may(struct exchange *x, uint32_t on, uint64_t wait_ns);
/* How long the server wants to be left alone; 0: it does not say. False: it does not want this
 * request again. */
bool exchange_retry_wait(
	const struct exchange *x, const struct http_head *head, uint64_t *ret_ns) MUST_CHECK;
/* The response is that of a gateway that got none, or of what is overloaded. */
bool exchange_is_gateway_error(const struct http_head *head, enum exchange_told told);
/* When this try has taken too long. */
uint64_t exchange_try_deadline_ns(const struct exchange *x);
