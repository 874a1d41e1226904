/* SPDX-License-Identifier: Apache-2.0 */
/* Counts of durations in slots that are wide in proportion to the value: any percentile comes out
 * with three significant digits, from one nanosecond to a thousand seconds, and two histograms add
 * up exactly. */
#pragma once

#include <stdint.h>

/* Each power of two has so many slots, so a slot is at most 1/1024 of its value wide. */
#define HISTOGRAM_HALF 1024
/* Values from 2^40 ns (18 minutes) on share the last slot. */
#define HISTOGRAM_VALUE_BITS 40
#define HISTOGRAM_SLOTS	     ((HISTOGRAM_VALUE_BITS - 11 + 2) * HISTOGRAM_HALF)

/* A quarter of a megabyte: not for the stack. */
struct histogram {
	uint64_t count, sum_ns, max_ns;
	uint64_t slots[HISTOGRAM_SLOTS];
};

void histogram_reset(struct histogram *h);
void histogram_record(struct histogram *h, uint64_t ns);
/* Adds what `other` counted. */
void histogram_merge(struct histogram *h, const struct histogram *other);
/* Percentiles are given in thousandths of a percent, so that they are exact: 99.9 % is 99900. */
#define HISTOGRAM_ALL 100000
/* The duration that so many of all do not exceed; never below the true one, and above it by at most
 * 1/1024. 0 when nothing was counted. */
uint64_t histogram_percentile(const struct histogram *h, uint32_t of_100000);
double histogram_mean_ns(const struct histogram *h);
