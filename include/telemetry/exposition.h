/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics as text, in two formats: Prometheus (version 0.0.4) and OpenMetrics (1.0.0). A growing
 * text; families one after the other, the samples of a family together. */
#pragma once

#include "base/assert.h"
#include "base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct metric_text {
	char *text;
	size_t len, size;
	bool openmetrics;
	bool cut; /* memory was exhausted: the text is not complete and must not be served */
};

void metric_text_init(struct metric_text *out, bool openmetrics);
void metric_text_done(struct metric_text *out);
/* What stands in Content-Type. */
const char *metric_text_type(bool openmetrics);

/* Opens a family. `name` is the samples' name: counters end in _total, build descriptions (type
 * "info") in _info; what OpenMetrics leaves away from a family's name is left away here. */
void metric_text_family(
	struct metric_text *out, const char *name, const char *type, const char *help);
/* `labels`: `a="b",c="d"`, already escaped; NULL = none. */
void metric_text_u64(struct metric_text *out, const char *name, const char *labels, uint64_t value);
void metric_text_real(struct metric_text *out, const char *name, const char *labels, double value);
/* The end mark, where the format has one. Nothing may follow. */
void metric_text_end(struct metric_text *out);

void metric_text_put(struct metric_text *out, const char *format, ...) PRINTF_LIKE(2, 3);

/* Appends `name="value"`, escaped, to a NUL-terminated label list of `size` bytes, with a comma
 * before it when the list is not empty. False: it does not fit and the list is as it was. */
bool metric_label_add(char *labels, size_t size, const char *name, struct str value) MUST_CHECK;

/* process_* (CPU, memory, file descriptors, start time) and ringmain_build_info. */
struct process_watch {
	int statm_fd;	   /* -1: not to be had */
	void *descriptors; /* DIR of /proc/self/fd, or NULL */
	uint64_t descriptor_count_max;
	uint64_t start_wall_ns;
};
/* Opens what is needed in /proc, so that later, behind a seccomp filter, nothing has to be opened.
 * What cannot be opened is left out of the text. */
void process_watch_init(struct process_watch *p, uint64_t start_wall_ns);
void process_watch_done(struct process_watch *p);
void process_watch_write(struct process_watch *p, struct metric_text *out);
