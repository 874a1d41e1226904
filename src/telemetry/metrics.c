/* SPDX-License-Identifier: Apache-2.0 */
/* One worker's numbers. The worker alone writes; the control thread reads at any time.
 *
 * A series (one label set) is made when it is first seen, filled, and then published by moving
 * `series_count` forward; from then on its labels never change and its values are relaxed atomics.
 * Nothing is ever removed, so a reader needs no lock and no lifetime rule but that of the table.
 *
 * A histogram keeps plain bucket counts. Their sum is its _count, and for the duration also the
 * number of requests, so that a reader never sees those disagree. */
#include "telemetry/metrics.h"

#include "base/assert.h"
#include "base/map.h"
#include "telemetry/exposition.h"
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* Istio's own bounds, so that dashboards' percentiles compare. */
static const double metric_ms_bounds[] = {0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000,
	10000, 30000, 60000, 300000, 600000, 1800000, 3600000};
/* Istio uses the bounds above for bytes too, where they end at 3.6 MB. Decades say more with fewer
 * lines, and a quantile over them means the same. */
static const double metric_byte_bounds[] = {100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

/* Places in series.values[] of an HTTP series: buckets (the last one is +Inf), then the sum. */
enum {
	HTTP_DURATION = 0,
	HTTP_DURATION_SUM_NS = HTTP_DURATION + ARRAY_LEN(metric_ms_bounds) + 1,
	HTTP_REQUEST = HTTP_DURATION_SUM_NS + 1,
	HTTP_REQUEST_SUM = HTTP_REQUEST + ARRAY_LEN(metric_byte_bounds) + 1,
	HTTP_RESPONSE = HTTP_REQUEST_SUM + 1,
	HTTP_RESPONSE_SUM = HTTP_RESPONSE + ARRAY_LEN(metric_byte_bounds) + 1,
	HTTP_VALUES,
};
enum { TCP_OPENED, TCP_CLOSED, TCP_SENT, TCP_RECEIVED, TCP_VALUES };

enum series_kind { SERIES_HTTP, SERIES_MIRROR /* with the values of HTTP */, SERIES_TCP };

struct metric_series {
	struct map_node node; /* the owner's, never read by others */
	enum series_kind kind;
	struct metric_labels labels; /* spans into `text` */
	char *exposed;		     /* the labels as text, escaped; into `text` too */
	char *text;
	_Atomic uint64_t values[];
};

struct metrics {
	struct metric_values values;
	struct map by_labels; /* the owner's */
	uint32_t series_max;
	_Atomic uint32_t series_count;	/* published */
	struct metric_series *series[]; /* series_max slots */
};

struct metrics *metrics_new(uint32_t series_max)
{
	struct metrics *m = calloc(1, sizeof(*m) + series_max * sizeof(m->series[0]));
	if (!m)
		return NULL;
	m->series_max = series_max;
	map_init(&m->by_labels);
	return m;
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; i < atomic_load(&m->series_count); i++) {
		free(m->series[i]->text);
		free(m->series[i]);
	}
	map_done(&m->by_labels);
	free(m);
}

struct metric_values *metrics_values(struct metrics *m)
{
	return &m->values;
}

/* --- a label set --- */

/* What tells series apart. A caller that is no service of ours has nothing but its principal; the
 * rest follows from these, and a rare collision costs one comparison. */
static uint64_t series_hash(enum series_kind kind, const struct metric_labels *l)
{
	uint64_t h = (uint64_t)kind | (uint64_t)l->at_source << 2 | (uint64_t)l->mutual_tls << 3 |
		     (uint64_t)l->local << 4 | (uint64_t)l->response_code << 5;
	h = hash_bytes(h, l->source_workload.at, l->source_workload.len);
	h = hash_bytes(h, l->source_principal.at, l->source_principal.len);
	h = hash_bytes(h, l->destination_workload.at, l->destination_workload.len);
	h = hash_bytes(h, l->destination_service.at, l->destination_service.len);
	return hash_bytes(h, l->response_flags.at, l->response_flags.len);
}

static bool series_matches(
	const struct metric_series *s, enum series_kind kind, const struct metric_labels *l)
{
	const struct metric_labels *have = &s->labels;
	return s->kind == kind && have->at_source == l->at_source &&
	       have->response_code == l->response_code && have->mutual_tls == l->mutual_tls &&
	       have->local == l->local && str_eq(have->source_workload, l->source_workload) &&
	       str_eq(have->destination_workload, l->destination_workload) &&
	       str_eq(have->destination_service, l->destination_service) &&
	       str_eq(have->response_flags, l->response_flags) &&
	       str_eq(have->source_principal, l->source_principal) &&
	       str_eq(have->destination_principal, l->destination_principal) &&
	       str_eq(have->source_version, l->source_version) &&
	       str_eq(have->destination_version, l->destination_version) &&
	       str_eq(have->protocol, l->protocol);
}

static struct str metric_or(struct str value, const char *fallback)
{
	return value.len ? value : str_of(fallback);
}

struct label_row {
	const char *name;
	struct str value;
};

/* Istio's labels in Istio's order. False: they do not fit. */
static bool series_expose(
	enum series_kind kind, const struct metric_labels *l, char *text, size_t size)
{
	const struct str none = STR("unknown");
	struct str source = metric_or(l->source_workload, "unknown");
	struct str destination = metric_or(l->destination_workload, "unknown");
	struct str service = metric_or(l->destination_service, "unknown");
	const char *policy = l->at_source ? "unknown" : l->mutual_tls ? "mutual_tls" : "none";
	char code[8];
	snprintf(code, sizeof(code), "%u", l->response_code);
	const struct label_row rows[] = {
		{"reporter", str_of(l->at_source ? "source" : "destination")},
		{"source_workload", source},
		{"source_workload_namespace", none},
		{"source_principal", metric_or(l->source_principal, "unknown")},
		{"source_app", source},
		{"source_version", metric_or(l->source_version, "unknown")},
		{"source_canonical_service", source},
		{"source_canonical_revision", metric_or(l->source_version, "latest")},
		{"destination_workload", destination},
		{"destination_workload_namespace", none},
		{"destination_principal", metric_or(l->destination_principal, "unknown")},
		{"destination_app", destination},
		{"destination_version", metric_or(l->destination_version, "unknown")},
		{"destination_canonical_service", destination},
		{"destination_canonical_revision", metric_or(l->destination_version, "latest")},
		{"destination_service", service},
		{"destination_service_name", service},
		{"destination_service_namespace", none},
		{"request_protocol", metric_or(l->protocol, "unknown")},
		{"response_flags", metric_or(l->response_flags, "-")},
		{"connection_security_policy", str_of(policy)},
	};
	text[0] = 0;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (!metric_label_add(text, size, rows[i].name, rows[i].value))
			return false;
	return kind == SERIES_TCP || metric_label_add(text, size, "response_code", str_of(code));
}

static void series_copy(struct str *value, char **at)
{
	if (value->len)
		memcpy(*at, value->at, value->len);
	value->at = *at;
	*at += value->len;
}

/* Keeps the labels and their text in one piece of memory. */
static bool series_keep(struct metric_series *s, const char *exposed)
{
	struct metric_labels *l = &s->labels;
	struct str *const spans[] = {&l->source_workload, &l->source_principal,
		&l->destination_workload, &l->destination_principal, &l->destination_service,
		&l->source_version, &l->destination_version, &l->protocol, &l->response_flags};
	size_t bytes = strlen(exposed) + 1;
	for (size_t i = 0; i < ARRAY_LEN(spans); i++)
		bytes += spans[i]->len;
	s->text = malloc(bytes);
	if (!s->text)
		return false;
	char *at = s->text;
	for (size_t i = 0; i < ARRAY_LEN(spans); i++)
		series_copy(spans[i], &at);
	memcpy(at, exposed, strlen(exposed) + 1);
	s->exposed = at;
	return true;
}

static size_t series_value_count(enum series_kind kind)
{
	return kind == SERIES_TCP ? TCP_VALUES : HTTP_VALUES;
}

/* Two SPIFFE ids of the greatest length fit. */
#define EXPOSED_MAX 8192

static struct metric_series *series_new(enum series_kind kind, const struct metric_labels *labels)
{
	char exposed[EXPOSED_MAX];
	if (!series_expose(kind, labels, exposed, sizeof(exposed)))
		return NULL;
	size_t value_count = series_value_count(kind);
	struct metric_series *s = calloc(1, sizeof(*s) + value_count * sizeof(s->values[0]));
	if (!s)
		return NULL;
	s->kind = kind;
	s->labels = *labels;
	if (!series_keep(s, exposed)) {
		free(s);
		return NULL;
	}
	return s;
}

static struct metric_series *metrics_find(const struct metrics *m, enum series_kind kind,
	const struct metric_labels *l, uint64_t hash)
{
	for (struct map_node *n = map_first(&m->by_labels, hash); n; n = map_next(n)) {
		struct metric_series *s = CONTAINER_OF(n, struct metric_series, node);
		if (series_matches(s, kind, l))
			return s;
	}
	return NULL;
}

/* The series of these labels, made if need be. NULL: counted as dropped. */
static struct metric_series *metrics_series(
	struct metrics *m, enum series_kind kind, const struct metric_labels *labels)
{
	uint64_t hash = series_hash(kind, labels);
	struct metric_series *s = metrics_find(m, kind, labels, hash);
	if (s)
		return s;
	uint32_t count = atomic_load_explicit(&m->series_count, memory_order_relaxed);
	if (count < m->series_max)
		s = series_new(kind, labels);
	if (s && !map_add(&m->by_labels, &s->node, hash)) {
		free(s->text);
		free(s);
		s = NULL;
	}
	if (!s) {
		metric_add(&m->values.series_dropped_total, 1);
		return NULL;
	}
	m->series[count] = s;
	atomic_store_explicit(&m->series_count, count + 1, memory_order_release);
	return s;
}

/* --- recording --- */

static size_t metric_bucket(const double *bounds, size_t bound_count, double value)
{
	size_t i = 0;
	while (i < bound_count && value > bounds[i])
		i++;
	return i;
}

static void series_observe_bytes(struct metric_series *s, size_t first, size_t sum, uint64_t bytes)
{
	size_t bucket =
		metric_bucket(metric_byte_bounds, ARRAY_LEN(metric_byte_bounds), (double)bytes);
	metric_add(&s->values[first + bucket], 1);
	metric_add(&s->values[sum], (int64_t)bytes);
}

struct metric_series *metrics_request_series(struct metrics *m, const struct metric_labels *labels)
{
	return metrics_series(m, labels->is_mirror ? SERIES_MIRROR : SERIES_HTTP, labels);
}

void metrics_request(struct metrics *m, const struct metric_labels *labels, uint64_t duration_ns,
	uint64_t request_bytes, uint64_t response_bytes)
{
	metric_series_request(
		metrics_request_series(m, labels), duration_ns, request_bytes, response_bytes);
}

void metric_series_request(struct metric_series *s, uint64_t duration_ns, uint64_t request_bytes,
	uint64_t response_bytes)
{
	if (!s)
		return;
	size_t bucket = metric_bucket(
		metric_ms_bounds, ARRAY_LEN(metric_ms_bounds), (double)duration_ns / 1e6);
	metric_add(&s->values[HTTP_DURATION + bucket], 1);
	metric_add(&s->values[HTTP_DURATION_SUM_NS], (int64_t)duration_ns);
	series_observe_bytes(s, HTTP_REQUEST, HTTP_REQUEST_SUM, request_bytes);
	series_observe_bytes(s, HTTP_RESPONSE, HTTP_RESPONSE_SUM, response_bytes);
}

void metrics_tcp(struct metrics *m, const struct metric_labels *labels, uint64_t opened,
	uint64_t closed, uint64_t sent_bytes, uint64_t received_bytes)
{
	struct metric_series *s = metrics_series(m, SERIES_TCP, labels);
	if (!s)
		return;
	metric_add(&s->values[TCP_OPENED], (int64_t)opened);
	metric_add(&s->values[TCP_CLOSED], (int64_t)closed);
	metric_add(&s->values[TCP_SENT], (int64_t)sent_bytes);
	metric_add(&s->values[TCP_RECEIVED], (int64_t)received_bytes);
}

/* --- reading: all workers added up --- */

static uint64_t metric_bucket_total(const uint64_t *buckets, size_t bound_count)
{
	uint64_t total = 0;
	for (size_t i = 0; i <= bound_count; i++)
		total += buckets[i];
	return total;
}

static uint64_t metrics_request_count(const struct metrics *m)
{
	uint64_t total = 0;
	uint32_t count = atomic_load_explicit(&m->series_count, memory_order_acquire);
	for (uint32_t i = 0; i < count; i++) {
		const struct metric_series *s = m->series[i];
		for (size_t b = 0; s->kind == SERIES_HTTP && b <= ARRAY_LEN(metric_ms_bounds); b++)
			total += atomic_load_explicit(
				&s->values[HTTP_DURATION + b], memory_order_relaxed);
	}
	return total;
}

void metrics_totals(
	struct metrics *const *workers, uint32_t worker_count, struct metric_totals *ret_totals)
{
	*ret_totals = (struct metric_totals){0};
	for (uint32_t w = 0; w < worker_count; w++) {
		const struct metric_values *values = &workers[w]->values;
#define X(member, name, type, help) \
	ret_totals->member += atomic_load_explicit(&values->member, memory_order_relaxed);
		METRIC_LIST(X)
#undef X
		ret_totals->requests_total += metrics_request_count(workers[w]);
	}
}

/* One label set over all workers. */
struct sum {
	struct map_node node;
	const struct metric_series *series; /* the first worker's: kind and labels */
	uint64_t values[HTTP_VALUES];
};
_Static_assert((int)HTTP_VALUES >= (int)TCP_VALUES, "a sum has room for either kind");

struct sums {
	struct map by_text;
	struct sum *rows;
	size_t count;
};

static struct sum *sums_row(struct sums *sums, const struct metric_series *s)
{
	size_t len = strlen(s->exposed);
	uint64_t hash = hash_bytes((uint64_t)s->kind, s->exposed, len);
	for (struct map_node *n = map_first(&sums->by_text, hash); n; n = map_next(n)) {
		struct sum *row = CONTAINER_OF(n, struct sum, node);
		if (row->series->kind == s->kind && !strcmp(row->series->exposed, s->exposed))
			return row;
	}
	struct sum *row = &sums->rows[sums->count];
	if (!map_add(&sums->by_text, &row->node, hash))
		return NULL;
	row->series = s;
	sums->count++;
	return row;
}

static bool sums_add(struct sums *sums, const struct metric_series *s)
{
	struct sum *row = sums_row(sums, s);
	if (!row)
		return false;
	size_t count = series_value_count(s->kind);
	for (size_t i = 0; i < count; i++)
		row->values[i] += atomic_load_explicit(&s->values[i], memory_order_relaxed);
	return true;
}

/* False when memory is exhausted. */
static bool sums_init(struct sums *sums, struct metrics *const *workers, uint32_t worker_count)
{
	size_t room = 1;
	*sums = (struct sums){0};
	map_init(&sums->by_text);
	for (uint32_t w = 0; w < worker_count; w++)
		room += workers[w]->series_max;
	sums->rows = calloc(room, sizeof(*sums->rows));
	if (!sums->rows)
		return false;
	for (uint32_t w = 0; w < worker_count; w++) {
		uint32_t count =
			atomic_load_explicit(&workers[w]->series_count, memory_order_acquire);
		for (uint32_t i = 0; i < count; i++)
			if (!sums_add(sums, workers[w]->series[i]))
				return false;
	}
	return true;
}

static void sums_done(struct sums *sums)
{
	map_done(&sums->by_text);
	free(sums->rows);
}

struct histogram {
	const char *name, *help;
	const double *bounds;
	size_t bound_count;
	size_t first, sum; /* places in values[] */
	bool sum_is_ns;	   /* shown in milliseconds */
};

static void histogram_write(
	const struct histogram *h, const struct sum *row, struct metric_text *out)
{
	const char *labels = row->series->exposed;
	uint64_t total = 0;
	for (size_t i = 0; i <= h->bound_count; i++) {
		char bound[32] = "+Inf";
		if (i < h->bound_count) {
			/* OpenMetrics wants canonical floats */
			double b = h->bounds[i];
			bool whole = b >= 1 && out->openmetrics;
			snprintf(bound, sizeof(bound), whole ? "%.1f" : "%.15g", b);
		}
		total += row->values[h->first + i];
		metric_text_put(out, "%s_bucket{%s,le=\"%s\"} %" PRIu64 "\n", h->name, labels,
			bound, total);
	}
	uint64_t sum = row->values[h->sum];
	if (h->sum_is_ns)
		metric_text_put(out, "%s_sum{%s} %" PRIu64 ".%06" PRIu64 "\n", h->name, labels,
			sum / 1000000, sum % 1000000);
	else
		metric_text_put(out, "%s_sum{%s} %" PRIu64 "\n", h->name, labels, sum);
	metric_text_put(out, "%s_count{%s} %" PRIu64 "\n", h->name, labels, total);
}

static void sums_write_count(const struct sums *sums, enum series_kind kind, const char *name,
	const char *help, struct metric_text *out)
{
	metric_text_family(out, name, "counter", help);
	for (size_t i = 0; i < sums->count; i++) {
		const struct sum *row = &sums->rows[i];
		if (row->series->kind == kind)
			metric_text_u64(out, name, row->series->exposed,
				metric_bucket_total(
					&row->values[HTTP_DURATION], ARRAY_LEN(metric_ms_bounds)));
	}
}

static void sums_write_histogram(const struct sums *sums, enum series_kind kind,
	const struct histogram *h, struct metric_text *out)
{
	metric_text_family(out, h->name, "histogram", h->help);
	for (size_t i = 0; i < sums->count; i++)
		if (sums->rows[i].series->kind == kind)
			histogram_write(h, &sums->rows[i], out);
}

static void sums_write_http(const struct sums *sums, struct metric_text *out)
{
	static const struct histogram histograms[] = {
		{"istio_request_duration_milliseconds",
			"Duration of requests, until the last byte of the response",
			metric_ms_bounds, ARRAY_LEN(metric_ms_bounds), HTTP_DURATION,
			HTTP_DURATION_SUM_NS, true},
		{"istio_request_bytes", "Bytes of request bodies", metric_byte_bounds,
			ARRAY_LEN(metric_byte_bounds), HTTP_REQUEST, HTTP_REQUEST_SUM, false},
		{"istio_response_bytes", "Bytes of response bodies", metric_byte_bounds,
			ARRAY_LEN(metric_byte_bounds), HTTP_RESPONSE, HTTP_RESPONSE_SUM, false},
	};
	sums_write_count(
		sums, SERIES_HTTP, "istio_requests_total", "Requests answered or failed", out);
	for (size_t h = 0; h < ARRAY_LEN(histograms); h++)
		sums_write_histogram(sums, SERIES_HTTP, &histograms[h], out);
}

/* Copies for mirrors: no request of a caller is among them. */
static void sums_write_mirrors(const struct sums *sums, struct metric_text *out)
{
	static const struct histogram duration = {"ringmain_mirrored_request_duration_milliseconds",
		"Duration of copies of requests for mirrors, until the last byte of the answer",
		metric_ms_bounds, ARRAY_LEN(metric_ms_bounds), HTTP_DURATION, HTTP_DURATION_SUM_NS,
		true};
	sums_write_count(sums, SERIES_MIRROR, "ringmain_mirrored_requests_total",
		"Copies of requests for mirrors, answered or failed", out);
	sums_write_histogram(sums, SERIES_MIRROR, &duration, out);
}

static void sums_write_tcp(const struct sums *sums, struct metric_text *out)
{
	static const struct {
		const char *name, *help;
	} counters[TCP_VALUES] = {
		[TCP_OPENED] = {"istio_tcp_connections_opened_total", "TCP connections opened"},
		[TCP_CLOSED] = {"istio_tcp_connections_closed_total", "TCP connections closed"},
		[TCP_SENT] = {"istio_tcp_sent_bytes_total", "Bytes sent towards the client"},
		[TCP_RECEIVED] = {"istio_tcp_received_bytes_total",
			"Bytes received from the client"},
	};
	for (size_t c = 0; c < TCP_VALUES; c++) {
		metric_text_family(out, counters[c].name, "counter", counters[c].help);
		for (size_t i = 0; i < sums->count; i++)
			if (sums->rows[i].series->kind == SERIES_TCP)
				metric_text_u64(out, counters[c].name,
					sums->rows[i].series->exposed, sums->rows[i].values[c]);
	}
}

static void metrics_write_values(
	struct metrics *const *workers, uint32_t worker_count, struct metric_text *out)
{
	struct metric_totals totals;
	metrics_totals(workers, worker_count, &totals);
#define X(member, name, type, help)                \
	metric_text_family(out, name, type, help); \
	metric_text_u64(out, name, NULL, totals.member);
	METRIC_LIST(X)
#undef X
}

void metrics_write(struct metrics *const *workers, uint32_t worker_count, struct metric_text *out)
{
	struct sums sums;
	if (sums_init(&sums, workers, worker_count)) {
		sums_write_http(&sums, out);
		sums_write_mirrors(&sums, out);
		sums_write_tcp(&sums, out);
	} else {
		out->cut = true;
	}
	sums_done(&sums);
	metrics_write_values(workers, worker_count, out);
}
