/* SPDX-License-Identifier: Apache-2.0 */
/* A service whose calls are being moved from one version to another, as far as is known here. The
 * legs of the snapshot's routes are divided by it already (conf/build_rollouts.c); this is for
 * those who count the calls of both versions, and for those who show it. */
#pragma once

#include "mesh/snapshot.h"

struct rollout {
	const struct service *service;
	struct str from, to; /* versions */
	uint64_t attempt;
	uint32_t percent; /* of the calls, that `to` is to get */
	/* that it gets: another one when the endpoints of one of the two are all down */
	uint32_t share;
	struct str state;	   /* "stepping"; "waiting" before anybody has begun */
	uint32_t step, step_count; /* step: 1 is the first; 0: before it */
	struct str order;	   /* "run" */
	struct str why;		   /* of the last change; may be empty */
};
