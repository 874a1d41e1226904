/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>

/* The points of a latency chart, denser towards the end that hurts. */
static const double report_percents[] = {0, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95,
	97, 98, 99, 99.5, 99.75, 99.9, 99.95, 99.975, 99.99, 99.995, 99.999, 100};

static void report_us(const char *key, double ns)
{
	printf("\"%s\": %.3f, ", key, ns / 1000);
}

static void report_percentile(const struct histogram *h, const char *key, double percent)
{
	report_us(key, (double)histogram_percentile(h, percent));
}

static void report_latencies(const struct histogram *h)
{
	report_percentile(h, "p50_us", 50);
	report_percentile(h, "p90_us", 90);
	report_percentile(h, "p99_us", 99);
	report_percentile(h, "p999_us", 99.9);
	report_us("max_us", (double)h->max_ns);
	report_us("mean_us", histogram_mean_ns(h));
}

static void report_counts(const struct report *r)
{
	const struct tally *t = r->crowd->tally;
	const struct errand *e = r->crowd->errand;
	double seconds = (double)r->seconds_ns / 1e9;
	printf("\"requests\": %" PRIu64 ", \"seconds\": %.6f, ", t->requests, seconds);
	printf("\"requests_per_second\": %.1f, ", (double)t->requests / seconds);
	printf("\"errors\": %" PRIu64 ", \"unanswered\": %" PRIu64 ", ", t->errors, r->unanswered);
	printf("\"connections_opened\": %" PRIu64 ", ", t->connections_opened);
	printf("\"bytes_in\": %" PRIu64 ", \"bytes_out\": %" PRIu64 ", ", e->bytes_in,
		e->bytes_out);
}

void report_print(const struct report *r)
{
	const struct histogram *h = &r->crowd->tally->histogram;
	printf("{");
	report_counts(r);
	report_latencies(h);
	report_us("late_max_us", (double)r->crowd->tally->late_max_ns);
	report_us("cpu_us", (double)r->cpu_ns);
	if (r->crowd->trouble[0])
		printf("\"first_error\": \"%s\", ", r->crowd->trouble);
	printf("\"percentiles\": [");
	for (size_t i = 0; i < ARRAY_LEN(report_percents); i++)
		printf("%s[%g, %.3f]", i ? ", " : "", report_percents[i],
			(double)histogram_percentile(h, report_percents[i]) / 1000);
	printf("]}\n");
	fflush(stdout);
}
