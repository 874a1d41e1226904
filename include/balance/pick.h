/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint of a service gets the next call. Pure. */
#pragma once

#include "mesh/snapshot.h"

/* One that is up, by weight; when none is up, one that is down (its checks may be what is broken;
 * Envoy's panic threshold), but never one that was drained unless there is nothing else. Those in
 * `tried` come only when no other of their kind is left. NULL: the service has no endpoint.
 * `random`: 64 bits, all of them used. */
const struct endpoint *pick_endpoint(const struct service *service,
	const struct endpoint *const *tried, uint32_t tried_count, uint64_t random);
