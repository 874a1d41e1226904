/* SPDX-License-Identifier: Apache-2.0 */
/* The load's last line: one JSON object with all that was measured. */
#pragma once

#include "crowd.h"

struct report {
	const struct crowd *crowd;
	uint64_t seconds_ns, cpu_ns, unanswered;
};

void report_print(const struct report *r);
