/* SPDX-License-Identifier: Apache-2.0 */
/* This process as Prometheus' standard process_* metrics show it. */
#include "base/clock.h"
#include "telemetry/exposition.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

void process_watch_init(struct process_watch *p, uint64_t start_wall_ns)
{
	struct rlimit limit = {0};
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	*p = (struct process_watch){
		.statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC),
		.descriptors = opendir("/proc/self/fd"),
		.descriptor_count_max = limit.rlim_cur,
		.start_wall_ns = start_wall_ns,
	};
}

void process_watch_done(struct process_watch *p)
{
	if (p->statm_fd >= 0)
		close(p->statm_fd);
	if (p->descriptors)
		closedir(p->descriptors);
	*p = (struct process_watch){.statm_fd = -1};
}

static void process_write_cpu(struct metric_text *out)
{
	struct rusage use;
	if (getrusage(RUSAGE_SELF, &use) < 0)
		return;
	double seconds = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
			 (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
	metric_text_family(out, "process_cpu_seconds_total", "counter",
		"Total user and system CPU time spent in seconds.");
	metric_text_real(out, "process_cpu_seconds_total", NULL, seconds);
}

static void process_write_memory(const struct process_watch *p, struct metric_text *out)
{
	char text[128] = {0};
	unsigned long pages, resident;
	if (p->statm_fd < 0 || pread(p->statm_fd, text, sizeof(text) - 1, 0) <= 0)
		return;
	if (sscanf(text, "%lu %lu", &pages, &resident) != 2)
		return;
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	metric_text_family(
		out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.");
	metric_text_u64(out, "process_virtual_memory_bytes", NULL, pages * page_bytes);
	metric_text_family(
		out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
	metric_text_u64(out, "process_resident_memory_bytes", NULL, resident * page_bytes);
}

static void process_write_descriptors(const struct process_watch *p, struct metric_text *out)
{
	uint64_t count = 0;
	if (p->descriptors) {
		rewinddir(p->descriptors);
		for (const struct dirent *e; (e = readdir(p->descriptors));)
			count += e->d_name[0] != '.';
	}
	if (count > 0) { /* never none, unless a filter forbids to look */
		metric_text_family(
			out, "process_open_fds", "gauge", "Number of open file descriptors.");
		metric_text_u64(out, "process_open_fds", NULL, count);
	}
	metric_text_family(
		out, "process_max_fds", "gauge", "Maximum number of open file descriptors.");
	metric_text_u64(out, "process_max_fds", NULL, p->descriptor_count_max);
}

void process_watch_write(struct process_watch *p, struct metric_text *out)
{
	metric_text_family(out, "ringmain_build_info", "info", "The version that runs");
	metric_text_u64(out, "ringmain_build_info", "version=\"" RINGMAIN_VERSION "\"", 1);
	metric_text_family(out, "process_start_time_seconds", "gauge",
		"Start time of the process since unix epoch in seconds.");
	metric_text_real(out, "process_start_time_seconds", NULL,
		(double)(p->start_wall_ns / CLOCK_MS) / 1e3);
	process_write_cpu(out);
	process_write_memory(p, out);
	process_write_descriptors(p, out);
}
