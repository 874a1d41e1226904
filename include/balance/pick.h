/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint of a service gets the next call. Pure. */
#pragma once

#include "mesh/snapshot.h"

/* One that is up, by weight; when none is, one that is down (its checks may be what is broken:
 * Envoy's panic threshold); when there is none of these either, one that was drained. Those in
 * `tried` come in the same order after all others: they have just failed. NULL: the service has no
 * endpoint. `random`: 64 bits, all of them used. */
const struct endpoint *pick_endpoint(const struct service *service,
	const struct endpoint *const *tried, uint32_t tried_count, uint64_t random);
