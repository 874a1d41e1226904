/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry/metrics.h"

#include "base/assert.h"
#include "telemetry/exposition.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct metric_labels at_destination = {
	.source_workload = {"web", 3},
	.source_principal = {"spiffe://prod.example/service/web", 33},
	.destination_workload = {"orders", 6},
	.destination_principal = {"spiffe://prod.example/service/orders", 36},
	.destination_service = {"orders", 6},
	.destination_version = {"v1", 2},
	.protocol = {"http", 4},
	.response_code = 200,
	.response_flags = {"-", 1},
	.mutual_tls = true,
};

#define ORDERS_LABELS                                                                             \
	"reporter=\"destination\",source_workload=\"web\",source_workload_namespace=\"unknown\"," \
	"source_principal=\"spiffe://prod.example/service/web\",source_app=\"web\","              \
	"source_version=\"unknown\",source_canonical_service=\"web\","                            \
	"source_canonical_revision=\"latest\",destination_workload=\"orders\","                   \
	"destination_workload_namespace=\"unknown\","                                             \
	"destination_principal=\"spiffe://prod.example/service/orders\","                         \
	"destination_app=\"orders\",destination_version=\"v1\","                                  \
	"destination_canonical_service=\"orders\",destination_canonical_revision=\"v1\","         \
	"destination_service=\"orders\",destination_service_name=\"orders\","                     \
	"destination_service_namespace=\"unknown\",request_protocol=\"http\","                    \
	"response_flags=\"-\",connection_security_policy=\"mutual_tls\",response_code=\"200\""

static char *exposed(struct metrics *const *workers, uint32_t count, bool openmetrics)
{
	struct metric_text out;
	metric_text_init(&out, openmetrics);
	metrics_write(workers, count, &out);
	metric_text_end(&out);
	assert_false(out.cut);
	assert_int_equal(strlen(out.text), out.len);
	return out.text;
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part)) {
		print_error("missing: %s\nin:\n%s\n", part, text);
		fail();
	}
}

static size_t count_of(const char *text, const char *part)
{
	size_t n = 0;
	for (; (text = strstr(text, part)); text += strlen(part))
		n++;
	return n;
}

static void requests_in_prometheus_text(void **state)
{
	struct metrics *m = metrics_new(10);
	metrics_request(m, &at_destination, 700000, 0, 1000);	  /* 0.7 ms */
	metrics_request(m, &at_destination, 12000000, 101, 5000); /* 12 ms */
	char *text = exposed(&m, 1, false);
	const char *start =
		"# HELP istio_requests_total Requests answered or failed\n"
		"# TYPE istio_requests_total counter\n"
		"istio_requests_total{" ORDERS_LABELS "} 2\n"
		"# HELP istio_request_duration_milliseconds Duration of requests, until "
		"the last byte of the response\n"
		"# TYPE istio_request_duration_milliseconds histogram\n";
	assert_memory_equal(text, start, strlen(start));
	static const char *const bounds[] = {"0.5\"} 0", "1\"} 1", "5\"} 1", "10\"} 1", "25\"} 2",
		"50\"} 2", "100\"} 2", "250\"} 2", "500\"} 2", "1000\"} 2", "2500\"} 2",
		"5000\"} 2", "10000\"} 2", "30000\"} 2", "60000\"} 2", "300000\"} 2", "600000\"} 2",
		"1800000\"} 2", "3600000\"} 2", "+Inf\"} 2"};
	for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
		char line[2048];
		snprintf(line, sizeof(line),
			"istio_request_duration_milliseconds_bucket{" ORDERS_LABELS ",le=\"%s\n",
			bounds[i]);
		assert_has(text, line);
	}
	assert_has(text, "istio_request_duration_milliseconds_sum{" ORDERS_LABELS "} 12.700000\n");
	assert_has(text, "istio_request_duration_milliseconds_count{" ORDERS_LABELS "} 2\n");
	assert_has(text, "istio_request_bytes_bucket{" ORDERS_LABELS ",le=\"100\"} 1\n");
	assert_has(text, "istio_request_bytes_bucket{" ORDERS_LABELS ",le=\"1000\"} 2\n");
	assert_has(text, "istio_request_bytes_sum{" ORDERS_LABELS "} 101\n");
	assert_has(text, "istio_response_bytes_bucket{" ORDERS_LABELS ",le=\"1000\"} 1\n");
	assert_has(text, "istio_response_bytes_sum{" ORDERS_LABELS "} 6000\n");
	assert_null(strstr(text, "# EOF"));
	free(text);
	metrics_free(m);
}

/* The same labels, and no figure of the callers' requests. */
static void copies_for_mirrors_are_apart(void **state)
{
	struct metrics *m = metrics_new(10);
	struct metric_labels copy = at_destination;
	copy.is_mirror = true;
	for (int i = 0; i < 3; i++)
		metrics_request(m, &copy, 700000, 5, 1000);
	metrics_request(m, &at_destination, 700000, 0, 1000);
	char *text = exposed(&m, 1, false);
	assert_has(text, "\nistio_requests_total{" ORDERS_LABELS "} 1\n");
	assert_has(text, "\nringmain_mirrored_requests_total{" ORDERS_LABELS "} 3\n");
	assert_has(text,
		"\nringmain_mirrored_request_duration_milliseconds_count{" ORDERS_LABELS "} 3\n");
	assert_has(text, "\nistio_request_bytes_sum{" ORDERS_LABELS "} 0\n");
	free(text);
	struct metric_totals totals;
	metrics_totals(&m, 1, &totals);
	assert_int_equal(totals.requests_total, 1);
	metrics_free(m);
}

static void requests_in_openmetrics(void **state)
{
	struct metrics *m = metrics_new(10);
	metrics_request(m, &at_destination, 1000000, 0, 0);
	char *text = exposed(&m, 1, true);
	assert_has(
		text, "# TYPE istio_requests counter\nistio_requests_total{" ORDERS_LABELS "} 1\n");
	assert_has(text, "le=\"0.5\"} 0\n");
	assert_has(text, "le=\"1.0\"} 1\n");
	assert_has(text, "le=\"100000000.0\"} 1\n");
	assert_has(text, "le=\"+Inf\"} 1\n");
	assert_has(text, "# TYPE ringmain_connections counter\nringmain_connections_total 0\n");
	assert_has(
		text, "# TYPE ringmain_connections_active gauge\nringmain_connections_active 0\n");
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
	assert_int_equal(count_of(text, "# EOF"), 1);
	free(text);
	metrics_free(m);
}

static void tcp_series(void **state)
{
	struct metrics *m = metrics_new(10);
	struct metric_labels l = at_destination;
	l.protocol = STR("tcp");
	l.response_code = 0;
	metrics_tcp(m, &l, 1, 0, 0, 0);
	metrics_tcp(m, &l, 0, 0, 4096, 12);
	metrics_tcp(m, &l, 0, 1, 1, 0);
	char *text = exposed(&m, 1, false);
	assert_has(text, "\nistio_tcp_connections_opened_total{reporter=\"destination\"");
	assert_has(text, "request_protocol=\"tcp\",response_flags=\"-\","
			 "connection_security_policy=\"mutual_tls\"} 4097\n");
	assert_int_equal(count_of(text, "istio_tcp_connections_closed_total{"), 1);
	assert_int_equal(count_of(text, "istio_tcp_received_bytes_total{"), 1);
	assert_null(strstr(text, "response_code"));
	assert_null(strstr(text, "istio_requests_total{"));
	free(text);
	metrics_free(m);
}

static void missing_labels_are_unknown(void **state)
{
	struct metrics *m = metrics_new(10);
	metrics_request(m, &(struct metric_labels){.at_source = true}, 0, 0, 0);
	char *text = exposed(&m, 1, false);
	assert_has(text, "istio_requests_total{reporter=\"source\",source_workload=\"unknown\","
			 "source_workload_namespace=\"unknown\",source_principal=\"unknown\"");
	assert_has(text, "request_protocol=\"unknown\",response_flags=\"-\","
			 "connection_security_policy=\"unknown\",response_code=\"0\"} 1\n");
	free(text);
	metrics_free(m);
}

static void security_policy_by_reporter(void **state)
{
	static const struct {
		bool at_source, mutual_tls, local;
		const char *want;
	} rows[] = {
		{true, true, false, "unknown"},
		{false, true, false, "mutual_tls"},
		{false, false, false, "none"},
		{false, false, true, "none"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct metrics *m = metrics_new(1);
		struct metric_labels l = {.at_source = rows[i].at_source,
			.mutual_tls = rows[i].mutual_tls,
			.local = rows[i].local};
		metrics_request(m, &l, 0, 0, 0);
		char *text = exposed(&m, 1, false), part[64];
		snprintf(part, sizeof(part), "connection_security_policy=\"%s\"", rows[i].want);
		assert_has(text, part);
		free(text);
		metrics_free(m);
	}
}

static void every_label_tells_series_apart(void **state)
{
	struct metrics *m = metrics_new(100);
	struct metric_labels rows[11];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		rows[i] = at_destination;
	rows[1].at_source = true;
	rows[2].source_workload = STR("x");
	rows[3].source_principal = STR("x");
	rows[4].destination_workload = STR("x");
	rows[5].destination_principal = STR("x");
	rows[6].destination_service = STR("x");
	rows[7].source_version = STR("x");
	rows[8].destination_version = STR("x");
	rows[9].response_code = 404;
	rows[10].response_flags = STR("UF");
	for (int twice = 0; twice < 2; twice++)
		for (size_t i = 0; i < ARRAY_LEN(rows); i++)
			metrics_request(m, &rows[i], 0, 0, 0);
	char *text = exposed(&m, 1, false);
	assert_int_equal(count_of(text, "istio_requests_total{"), ARRAY_LEN(rows));
	assert_int_equal(count_of(text, "response_code=\"404\"} 2\n"), 1 + 3); /* and 3 _count */
	free(text);
	metrics_free(m);
}

static void labels_are_copied(void **state)
{
	struct metrics *m = metrics_new(10);
	char name[] = "orders";
	struct metric_labels l = {.destination_service = {name, 6}};
	metrics_request(m, &l, 0, 0, 0);
	memcpy(name, "xxxxxx", 6);
	char *text = exposed(&m, 1, false);
	assert_has(text, "destination_service=\"orders\"");
	free(text);
	metrics_free(m);
}

static void full_table_drops_and_counts(void **state)
{
	struct metrics *m = metrics_new(2);
	struct metric_labels l = at_destination;
	for (uint16_t code = 200; code < 205; code++) {
		l.response_code = code;
		metrics_request(m, &l, 0, 0, 0);
	}
	l.response_code = 201; /* one that is kept goes on counting */
	metrics_request(m, &l, 0, 0, 0);
	char *text = exposed(&m, 1, false);
	assert_int_equal(count_of(text, "istio_requests_total{"), 2);
	assert_has(text, "ringmain_series_dropped_total 3\n");
	assert_has(text, "response_code=\"201\"} 2\n");
	free(text);
	metrics_free(m);
}

static void workers_are_added_up(void **state)
{
	struct metrics *workers[3] = {metrics_new(4), metrics_new(4), metrics_new(4)};
	struct metric_labels only_second = at_destination;
	only_second.response_code = 503;
	metrics_request(workers[0], &at_destination, 1000000, 10, 0);
	metrics_request(workers[1], &only_second, 0, 0, 0);
	metrics_request(workers[1], &at_destination, 2000000, 20, 0);
	for (int w = 0; w < 3; w++)
		metric_add(&metrics_values(workers[w])->connections_active, 2);
	metric_add(&metrics_values(workers[2])->connections_active, -1);
	char *text = exposed(workers, 3, false);
	assert_has(text, "istio_requests_total{" ORDERS_LABELS "} 2\n");
	assert_has(text, "istio_request_duration_milliseconds_sum{" ORDERS_LABELS "} 3.000000\n");
	assert_has(text, "istio_request_bytes_sum{" ORDERS_LABELS "} 30\n");
	assert_int_equal(count_of(text, "istio_requests_total{"), 2);
	assert_has(text, "ringmain_connections_active 5\n");
	free(text);
	struct metric_totals totals;
	metrics_totals(workers, 3, &totals);
	assert_int_equal(totals.requests_total, 3);
	assert_int_equal(totals.connections_active, 5);
	for (int w = 0; w < 3; w++)
		metrics_free(workers[w]);
}

static void labels_are_escaped(void **state)
{
	char labels[64] = "";
	assert_true(metric_label_add(labels, sizeof(labels), "a", STR("x\\y\"z\n\xff\t")));
	assert_string_equal(labels, "a=\"x\\\\y\\\"z\\n??\"");
	assert_true(metric_label_add(labels, sizeof(labels), "b", STR_NONE));
	assert_string_equal(labels, "a=\"x\\\\y\\\"z\\n??\",b=\"\"");
}

static void label_list_takes_all_or_nothing(void **state)
{
	char exact[9] = ""; /* a="1234" and the NUL */
	assert_true(metric_label_add(exact, sizeof(exact), "a", STR("1234")));
	assert_string_equal(exact, "a=\"1234\"");
	for (size_t size = 1; size < 9; size++) {
		char *list = calloc(1, size);
		assert_false(metric_label_add(list, size, "a", STR("1234")));
		assert_string_equal(list, "");
		free(list);
	}
}

static void infos_and_reals(void **state)
{
	for (int open = 0; open < 2; open++) {
		struct metric_text out;
		metric_text_init(&out, open);
		metric_text_family(&out, "a_info", "info", "A");
		metric_text_u64(&out, "a_info", "v=\"1\"", 1);
		metric_text_family(&out, "b_seconds", "gauge", "B");
		metric_text_real(&out, "b_seconds", NULL, 1764000000.125);
		metric_text_end(&out);
		assert_string_equal(out.text,
			open ? "# HELP a A\n# TYPE a info\na_info{v=\"1\"} 1\n# HELP b_seconds B\n"
			       "# TYPE b_seconds gauge\nb_seconds 1764000000.125\n# EOF\n"
			     : "# HELP a_info A\n# TYPE a_info gauge\na_info{v=\"1\"} 1\n"
			       "# HELP b_seconds B\n# TYPE b_seconds gauge\n"
			       "b_seconds 1764000000.125\n");
		metric_text_done(&out);
	}
}

static void process_metrics(void **state)
{
	struct process_watch p;
	struct metric_text out;
	metric_text_init(&out, false);
	process_watch_init(&p, 1764000000500000000ull);
	process_watch_write(&p, &out);
	assert_has(out.text, "\nprocess_start_time_seconds 1764000000.5\n");
	assert_has(out.text, "ringmain_build_info{version=\"" RINGMAIN_VERSION "\"} 1\n");
	assert_has(out.text, "\nprocess_cpu_seconds_total ");
	assert_has(out.text, "\nprocess_resident_memory_bytes ");
	assert_has(out.text, "\nprocess_open_fds ");
	process_watch_done(&p);
	metric_text_done(&out);
}

/* --- one writer, one reader, at once: for the thread sanitizer --- */

#define RACE_REQUESTS 20000

static void *race_write(void *argument)
{
	struct metrics *m = argument;
	struct metric_labels l = at_destination;
	for (uint32_t i = 0; i < RACE_REQUESTS; i++) {
		l.response_code = (uint16_t)(200 + i % 50);
		metrics_request(m, &l, i, 1, 1);
		metric_add(&metrics_values(m)->connections_total, 1);
	}
	return NULL;
}

static void reader_sees_whole_series(void **state)
{
	struct metrics *m = metrics_new(100);
	pthread_t writer;
	assert_int_equal(pthread_create(&writer, NULL, race_write, m), 0);
	for (int i = 0; i < 20; i++) {
		char *text = exposed(&m, 1, i % 2);
		/* every series that can be seen is complete */
		assert_int_equal(count_of(text, "istio_requests_total{"),
			count_of(text, "istio_response_bytes_count{"));
		free(text);
	}
	pthread_join(writer, NULL);
	struct metric_totals totals;
	metrics_totals(&m, 1, &totals);
	assert_int_equal(totals.requests_total, RACE_REQUESTS);
	assert_int_equal(totals.connections_total, RACE_REQUESTS);
	metrics_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_in_prometheus_text),
		cmocka_unit_test(copies_for_mirrors_are_apart),
		cmocka_unit_test(requests_in_openmetrics),
		cmocka_unit_test(tcp_series),
		cmocka_unit_test(missing_labels_are_unknown),
		cmocka_unit_test(security_policy_by_reporter),
		cmocka_unit_test(every_label_tells_series_apart),
		cmocka_unit_test(labels_are_copied),
		cmocka_unit_test(full_table_drops_and_counts),
		cmocka_unit_test(workers_are_added_up),
		cmocka_unit_test(labels_are_escaped),
		cmocka_unit_test(label_list_takes_all_or_nothing),
		cmocka_unit_test(infos_and_reals),
		cmocka_unit_test(process_metrics),
		cmocka_unit_test(reader_sees_whole_series),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
