/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>

/* The points of a latency chart in thousandths of a percent, denser towards the end that hurts. */
static const uint32_t report_percents[] = {0, 10000, 20000, 30000, 40000, 50000, 60000, 70000,
	75000, 80000, 85000, 90000, 92500, 95000, 97000, 98000, 99000, 99500, 99750, 99900, 99950,
	99975, 99990, 99995, 99999, 100000};

static void report_us(const char *key, double ns)
{
	printf("\"%s\": %.3f, ", key, ns / 1000);
}

static void report_percentile(const struct histogram *h, const char *key, uint32_t of_100000)
{
	report_us(key, (double)histogram_percentile(h, of_100000));
}

static void report_latencies(const struct histogram *h)
{
	report_percentile(h, "p50_us", 50000);
	report_percentile(h, "p90_us", 90000);
	report_percentile(h, "p99_us", 99000);
	report_percentile(h, "p999_us", 99900);
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
		printf("%s[%g, %.3f]", i ? ", " : "", report_percents[i] / 1000.0,
			(double)histogram_percentile(h, report_percents[i]) / 1000);
	printf("]}\n");
	fflush(stdout);
}
