/* SPDX-License-Identifier: Apache-2.0 */
/* When exchanges begin: as soon as a connection is free (closed loop), or at a constant rate
 * however slow the answers are (open loop). In the open loop an exchange counts from when it was
 * due, so the wait for a free connection is in its latency: no coordinated omission. */
#pragma once

#include "crowd.h"

struct generator {
	struct crowd *crowd;
	uint64_t rate; /* exchanges per second; 0: closed loop */
	uint64_t warmup_ns, duration_ns;
	uint64_t start_ns, measure_ns; /* monotonic */
	uint64_t begun_count;	       /* exchanges begun since start_ns */
	uint64_t cpu_ns;	       /* of this process, while measuring */
	uint64_t unanswered;	       /* at the end: due, but without an answer */
};

/* Prints {"measuring": true} when the warm-up is over; the crowd's tally and the errand's bytes are
 * what came after it. */
void generator_run(struct generator *g);
