/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry/exposition.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void metric_text_init(struct metric_text *out, bool openmetrics)
{
	*out = (struct metric_text){.openmetrics = openmetrics};
}

void metric_text_done(struct metric_text *out)
{
	free(out->text);
	metric_text_init(out, out->openmetrics);
}

const char *metric_text_type(bool openmetrics)
{
	return openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
			   : "text/plain; version=0.0.4; charset=utf-8";
}

static bool metric_text_grow(struct metric_text *out, size_t bytes)
{
	if (out->len + bytes <= out->size)
		return true;
	size_t size = out->size ? out->size : 4096;
	while (size < out->len + bytes)
		size *= 2;
	char *text = realloc(out->text, size);
	if (!text) {
		out->cut = true;
		return false;
	}
	out->text = text;
	out->size = size;
	return true;
}

void metric_text_put(struct metric_text *out, const char *format, ...)
{
	if (out->cut)
		return;
	va_list args;
	va_start(args, format);
	va_list again;
	va_copy(again, args);
	int len = vsnprintf(
		out->text ? out->text + out->len : NULL, out->size - out->len, format, args);
	va_end(args);
	ASSERT(len >= 0);
	size_t bytes = (size_t)len;
	if (out->len + bytes >= out->size && metric_text_grow(out, bytes + 1))
		vsnprintf(out->text + out->len, bytes + 1, format, again);
	va_end(again);
	if (!out->cut)
		out->len += bytes;
}

/* OpenMetrics names a family without the suffix that its samples carry. */
static size_t metric_family_name_len(const char *name, const char *type, bool openmetrics)
{
	size_t len = strlen(name);
	const char *suffix = !strcmp(type, "counter") ? "_total" : "_info";
	bool suffixed = !strcmp(type, "counter") || !strcmp(type, "info");
	if (!openmetrics || !suffixed)
		return len;
	size_t suffix_len = strlen(suffix);
	ASSERT(len > suffix_len && !strcmp(name + len - suffix_len, suffix));
	return len - suffix_len;
}

void metric_text_family(
	struct metric_text *out, const char *name, const char *type, const char *help)
{
	int len = (int)metric_family_name_len(name, type, out->openmetrics);
	/* the Prometheus format has no type "info": there it is a gauge that is always 1 */
	const char *word = !out->openmetrics && !strcmp(type, "info") ? "gauge" : type;
	metric_text_put(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", len, name, help, len, name, word);
}

static void metric_text_name(struct metric_text *out, const char *name, const char *labels)
{
	if (labels && *labels)
		metric_text_put(out, "%s{%s} ", name, labels);
	else
		metric_text_put(out, "%s ", name);
}

void metric_text_u64(struct metric_text *out, const char *name, const char *labels, uint64_t value)
{
	metric_text_name(out, name, labels);
	metric_text_put(out, "%" PRIu64 "\n", value);
}

void metric_text_real(struct metric_text *out, const char *name, const char *labels, double value)
{
	metric_text_name(out, name, labels);
	metric_text_put(out, "%.15g\n", value);
}

void metric_text_end(struct metric_text *out)
{
	if (out->openmetrics)
		metric_text_put(out, "# EOF\n");
}

/* Both formats escape these three; bytes that are no printable ASCII would have to be checked as
 * UTF-8 and are shown as '?' instead: values come from names that are ASCII anyway. */
static size_t metric_label_escape(char *at, const char *end, struct str value)
{
	size_t len = 0;
	for (size_t i = 0; i < value.len; i++) {
		char c = value.at[i];
		bool escaped = c == '\\' || c == '"' || c == '\n';
		size_t need = escaped ? 2 : 1;
		if ((size_t)(end - at) < len + need)
			return SIZE_MAX;
		if (escaped)
			at[len++] = '\\';
		if (c == '\n')
			at[len++] = 'n';
		else
			at[len++] = (c >= 0x20 && c < 0x7f) ? c : '?';
	}
	return len;
}

bool metric_label_add(char *labels, size_t size, const char *name, struct str value)
{
	size_t before = strlen(labels);
	char *at = labels + before;
	int head = snprintf(at, size - before, "%s%s=\"", before ? "," : "", name);
	size_t used = before + (size_t)head;
	size_t len = SIZE_MAX;
	if (used + 2 <= size) /* the closing quote and the NUL */
		len = metric_label_escape(labels + used, labels + size - 2, value);
	if (len == SIZE_MAX) {
		*at = 0;
		return false;
	}
	memcpy(labels + used + len, "\"", 2);
	return true;
}
