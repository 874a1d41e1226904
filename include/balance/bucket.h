/* SPDX-License-Identifier: Apache-2.0 */
/* A bucket of tokens: it fills at an even pace, holds so many at most, and each request takes one.
 * From any moment to any other no more than depth + pace * time are taken. One word, changed by
 * compare and swap, so that any thread may take at any time. Pure.
 *
 * The word is the time at which the bucket will be full, in ticks: a nanosecond has as many as make
 * the price of a token a whole number, if 16 are enough; else the price is rounded up, by less than
 * a sixteenth of a nanosecond. Times are CLOCK_MONOTONIC, ns, good for 36 years. A thread whose
 * clock lags behind others' gets less, never more. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BUCKET_TICKS_MAX 16

struct bucket_rate {
	uint64_t ticks; /* of a nanosecond */
	uint64_t cost;	/* of a token */
	uint64_t depth; /* of a full bucket */
};
/* All at least 1; `burst` windows' worth of time is at most a year. */
struct bucket_rate bucket_rate_of(uint32_t amount, uint64_t window_ns, uint32_t burst);

struct bucket { /* all zero: full */
	_Atomic uint64_t full_at;
};

struct bucket_left {
	uint64_t remaining; /* tokens */
	uint64_t next_ns;   /* until there is one more; 0: there is one */
	uint64_t full_ns;   /* until it is full */
};

enum bucket_result {
	BUCKET_TAKEN,
	BUCKET_EMPTY,
	BUCKET_SHUT, /* it is being made another's: find it again */
};

/* How a token was taken, so that it can be put back. */
struct bucket_taking {
	uint64_t before, after;
};

/* Of one that is shut: as if it were full. */
struct bucket_left bucket_look(
	const struct bucket *b, const struct bucket_rate *r, uint64_t now_ns);
/* `ret_left`: after that. */
enum bucket_result bucket_take(struct bucket *b, const struct bucket_rate *r, uint64_t now_ns,
	struct bucket_taking *ret_taking, struct bucket_left *ret_left);
/* Puts it back, unless somebody has taken one since: then it is lost, which is the safe side. */
void bucket_put_back(struct bucket *b, const struct bucket_taking *taking);

/* One that is full can be made another's: it is shut, and then opened as a full one. False: it is
 * not full. */
bool bucket_shut(struct bucket *b, const struct bucket_rate *r, uint64_t now_ns);
void bucket_open(struct bucket *b, const struct bucket_rate *r, uint64_t now_ns);
