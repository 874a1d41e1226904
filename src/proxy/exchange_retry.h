/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a request is sent again because its rule says so. What the proxies do by themselves for
 * a request of which nothing was sent, or on a pooled connection that turned out to be closed, is
 * no part of it. */
#pragma once

#include "exchange_head.h"
#include "mesh/route.h"

/* Why, in the rule's terms, as a mask: of a try that failed, of a response. */
uint32_t exchange_retry_reason(enum reason reason);
uint32_t exchange_retry_response(uint16_t status, enum exchange_told told);
/* Takes it from the budget when it may, and sets when it will be: x->again_ns. */
bool exchange_retry_may(struct exchange *x, uint32_t on);
/* When this try has taken too long. */
uint64_t exchange_try_deadline_ns(const struct exchange *x);
