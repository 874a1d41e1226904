/* SPDX-License-Identifier: Apache-2.0 */
/* What bench/micro measures: cases, each of which does some work many times. Only what runs inside
 * of micro_measure() is counted, by callgrind, which watches that function by its name. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct micro_case {
	const char *name; /* "group: what" */
	uint32_t count;	  /* operations counted */
	/* Everything that is done once; NULL: there is no state. */
	void *(*start)(void);
	/* Does the work `count` times. The first time it is called the count is small, and what it
	 * costs is thrown away: series, pools and blocks come to be then. */
	void (*run)(void *state, uint32_t count);
	void (*stop)(void *state);
	/* Tasks stepped so far, for cases that run a loop. */
	uint64_t (*steps)(const void *state);
};

/* Calls work(argument), counted. */
void micro_measure(void (*work)(void *argument), void *argument);

/* Each list ends with a case without a name. */
extern const struct micro_case micro_codec_cases[];
extern const struct micro_case micro_mesh_cases[];
extern const struct micro_case micro_record_cases[];
extern const struct micro_case micro_request_cases[];
extern const struct micro_case micro_token_cases[];
