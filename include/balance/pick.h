/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint of a service gets the next call. Pure. */
#pragma once

#include "mesh/snapshot.h"

/* One that is up, by weight; when none is, one that is down (its checks may be what is broken:
 * Envoy's panic threshold); when there is none of these either, one that was drained. In
 * the same order come then other addresses of the instances, and last those in `tried`, which have
 * just failed. NULL: the service has no
 * endpoint. `subset`: among these of it only; NULL: among all. `random`: 64 bits, all of them used.
 */
const struct endpoint *pick_endpoint(const struct service *service, const struct subset *subset,
	const struct endpoint *const *tried, uint32_t tried_count, uint64_t random);
