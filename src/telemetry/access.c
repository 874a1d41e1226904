/* SPDX-License-Identifier: Apache-2.0 */
/* The access log's queues and its writer thread.
 *
 * A queue is a ring of bytes with one producer (a worker) and one consumer (the writer). The
 * producer moves `head` by whole lines and the writer takes all up to `head` at once, so lines of
 * different queues never mix in the file.
 *
 * Waking the writer costs a system call, so a worker does it only when the writer really sleeps.
 * After it has written something the writer naps for a few milliseconds and looks again: under load
 * lines are collected by the clock and nobody wakes anybody. */
#include "telemetry/access.h"

#include "base/assert.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A power of two; about 1300 lines. */
#define ACCESS_QUEUE_BYTES (1u << 20)
#define ACCESS_NAP_NS	   5000000
#define ACCESS_END_WAIT_NS 500000000

struct access_queue {
	struct access_log *log;
	char *bytes;
	/* running byte counts, each on a cache line of its writer's */
	_Alignas(64) _Atomic uint64_t head; /* the worker's */
	_Alignas(64) _Atomic uint64_t tail; /* the writer's */
};

struct access_log {
	int fd;
	bool torn;    /* the writer's: what was written last does not end a line */
	bool is_file; /* a regular file: never makes anybody wait for a reader */
	uint32_t queue_count;
	struct access_queue *queues;
	pthread_t thread;
	_Atomic uint32_t asleep; /* futex: 1 while the writer sleeps, or is about to */
	_Atomic bool ending;
	_Atomic uint64_t failed_count; /* lines */
};

static void access_futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
	/* the outcome does not matter: sleepers look again, and a waker without sleepers is none */
	(void)syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

/* A worker writes `head` and then reads `asleep`; the writer writes `asleep` and then reads `head`.
 * Only sequential consistency makes sure that at least one of them sees the other's news. */
static void access_wake(struct access_log *log)
{
	if (atomic_load(&log->asleep) && atomic_exchange(&log->asleep, 0))
		access_futex(&log->asleep, FUTEX_WAKE, 1);
}

/* --- the worker's side --- */

struct access_queue *access_log_queue(struct access_log *log, uint32_t index)
{
	if (!log || log->fd < 0)
		return NULL;
	ASSERT(index < log->queue_count);
	return &log->queues[index];
}

static bool access_queue_put(struct access_queue *q, const char *line, size_t len)
{
	uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
	uint64_t tail = atomic_load_explicit(&q->tail, memory_order_acquire);
	if (len > ACCESS_QUEUE_BYTES - (head - tail))
		return false;
	size_t at = head % ACCESS_QUEUE_BYTES;
	size_t first = len < ACCESS_QUEUE_BYTES - at ? len : ACCESS_QUEUE_BYTES - at;
	memcpy(q->bytes + at, line, first);
	memcpy(q->bytes, line + first, len - first);
	atomic_store(&q->head, head + len); /* seq_cst: see access_wake() */
	return true;
}

bool access_write(struct access_queue *q, const struct access_entry *entry)
{
	char line[ACCESS_LINE_MAX];
	if (!q)
		return true;
	size_t len = access_format(entry, line, sizeof(line));
	if (len == 0 || !access_queue_put(q, line, len))
		return false;
	access_wake(q->log);
	return true;
}

/* --- the writer's side --- */

static uint64_t access_line_count(const struct access_queue *q, uint64_t from, uint64_t to)
{
	uint64_t count = 0;
	for (uint64_t i = from; i < to; i++)
		count += q->bytes[i % ACCESS_QUEUE_BYTES] == '\n';
	return count;
}

/* A pipe or socket that takes nothing must not keep the process from ending, and a thread inside
 * write(2) cannot be called off; so readiness is waited for instead. False: give up. */
static bool access_writable(const struct access_log *log)
{
	struct pollfd p = {.fd = log->fd, .events = POLLOUT};
	const struct timespec wait = {.tv_nsec = ACCESS_END_WAIT_NS};
	int r = 1;
	while (!log->is_file && (r = ppoll(&p, 1, &wait, NULL)) <= 0)
		if (atomic_load(&log->ending) || (r < 0 && errno != EINTR))
			return false;
	return true;
}

/* How many bytes were written, or -1: it cannot be done. */
static ssize_t access_write_some(const struct access_log *log, const char *bytes, size_t len)
{
	for (;;) {
		if (!access_writable(log))
			return -1;
		/* after readiness so much can be written without waiting */
		ssize_t n = write(log->fd, bytes, log->is_file || len < PIPE_BUF ? len : PIPE_BUF);
		if (n >= 0 || (errno != EINTR && errno != EAGAIN))
			return n;
	}
}

/* All that is in the queue; returns how many bytes that was. What cannot be written is lost, and
 * counted. */
static size_t access_queue_flush(struct access_log *log, struct access_queue *q)
{
	uint64_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
	uint64_t head = atomic_load(&q->head); /* seq_cst: see access_wake() */
	size_t whole = (size_t)(head - tail);
	if (whole == 0)
		return 0;
	/* a line that a failure cut short is ended first, so that the next one stands on its own */
	if (log->torn && access_write_some(log, "\n", 1) == 1)
		log->torn = false;
	while (tail < head) {
		size_t at = tail % ACCESS_QUEUE_BYTES, span = ACCESS_QUEUE_BYTES - at;
		size_t len = head - tail < span ? (size_t)(head - tail) : span;
		ssize_t n = access_write_some(log, q->bytes + at, len);
		if (n < 0) {
			atomic_fetch_add(&log->failed_count, access_line_count(q, tail, head));
			break;
		}
		tail += (uint64_t)n;
		log->torn = n > 0 && q->bytes[(tail - 1) % ACCESS_QUEUE_BYTES] != '\n';
	}
	atomic_store_explicit(&q->tail, head, memory_order_release);
	return whole;
}

/* The most that was in one queue. */
static size_t access_flush(struct access_log *log)
{
	size_t most = 0;
	for (uint32_t i = 0; i < log->queue_count; i++) {
		size_t len = access_queue_flush(log, &log->queues[i]);
		most = len > most ? len : most;
	}
	return most;
}

static void *access_writer(void *argument)
{
	struct access_log *log = argument;
	sigset_t all;
	sigfillset(&all); /* the others' business; and a closed pipe must not end the process */
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	while (!atomic_load(&log->ending)) {
		size_t most = access_flush(log);
		if (most > 0) {
			if (most < ACCESS_QUEUE_BYTES / 4) /* else it would be full too soon */
				nanosleep(&(struct timespec){.tv_nsec = ACCESS_NAP_NS}, NULL);
			continue;
		}
		atomic_store(&log->asleep, 1);
		if (!access_flush(log) && !atomic_load(&log->ending))
			access_futex(&log->asleep, FUTEX_WAIT, 1);
		atomic_store(&log->asleep, 0);
	}
	access_flush(log);
	return NULL;
}

/* --- life --- */

static void access_log_drop(struct access_log *log)
{
	for (uint32_t i = 0; i < log->queue_count; i++)
		free(log->queues[i].bytes);
	free(log->queues);
	if (log->fd >= 0)
		close(log->fd);
	free(log);
}

static int access_log_build(struct access_log *log, uint32_t queue_count, struct err *err)
{
	struct stat stat;
	log->is_file = fstat(log->fd, &stat) == 0 && S_ISREG(stat.st_mode);
	log->queues = aligned_alloc(64, queue_count * sizeof(*log->queues));
	if (!log->queues)
		return err_set(err, ENOMEM, "access log: out of memory");
	for (uint32_t i = 0; i < queue_count; i++) {
		log->queues[i] =
			(struct access_queue){.log = log, .bytes = malloc(ACCESS_QUEUE_BYTES)};
		log->queue_count++;
		if (!log->queues[i].bytes)
			return err_set(err, ENOMEM, "access log: out of memory");
	}
	int number = pthread_create(&log->thread, NULL, access_writer, log);
	if (number)
		return err_set(err, number, "access log: cannot start its writer thread: %s",
			strerror(number));
	return 0;
}

int access_log_new(int fd, uint32_t queue_count, struct access_log **ret_log, struct err *err)
{
	ASSERT(queue_count > 0);
	struct access_log *log = calloc(1, sizeof(*log));
	if (!log) {
		if (fd >= 0)
			close(fd);
		return err_set(err, ENOMEM, "access log: out of memory");
	}
	log->fd = fd;
	int r = fd < 0 ? 0 : access_log_build(log, queue_count, err);
	if (r < 0) {
		access_log_drop(log);
		return r;
	}
	*ret_log = log;
	return 0;
}

void access_log_free(struct access_log *log)
{
	if (!log)
		return;
	if (log->fd >= 0) {
		atomic_store(&log->ending, true);
		access_wake(log);
		pthread_join(log->thread, NULL);
	}
	access_log_drop(log);
}

uint64_t access_log_failed_count(const struct access_log *log)
{
	return atomic_load(&log->failed_count);
}
