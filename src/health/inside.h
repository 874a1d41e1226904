/* SPDX-License-Identifier: Apache-2.0 */
/* One check of one workload, and the room that all of them share. */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "codec/http.h"
#include "health/health.h"
#include "net/conn.h"
#include <sys/types.h>

/* Checks that ask at the same time; more wait for their turn. */
#define HEALTH_ASKING_MAX 64
#define HEALTH_WHY_MAX	  192

enum check_kind { CHECK_HTTP, CHECK_TCP, CHECK_COMMAND };

enum check_state {
	CHECK_IDLE,
	CHECK_QUEUED,
	CHECK_CONNECTING,
	CHECK_READING,
	CHECK_DRAINING,
	CHECK_RUNNING,
	CHECK_ENDING,
	CHECK_CLOSING,
	CHECK_STATE_COUNT
};

struct check {
	struct task task;
	enum check_state state;
	enum check_kind kind;
	struct health *health;
	struct list node;   /* in health.checks or health.closing */
	struct list queued; /* in health.queue while QUEUED */
	bool turn;	    /* one of HEALTH_ASKING_MAX is its own */
	struct timer timer; /* IDLE: the next time; asking: the end of patience; else: look again */
	uint64_t next_ns;
	/* what it is, from the configuration; the texts are behind the struct */
	uint32_t uid;
	uint16_t port;
	struct str service, path;
	struct address deliver;
	char **argv; /* `argv_count` strings and NULL */
	uint32_t argv_count;
	uint64_t interval_ns;
	uint32_t timeout_ms, unhealthy_count, healthy_count;
	/* results */
	bool up, asked;
	uint32_t failure_count, success_count; /* in a row */
	uint64_t changed_wall_ns;
	char why[HEALTH_WHY_MAX];
	/* while asking */
	struct conn conn;
	struct http *http;
	pid_t pid; /* 0: none */
};

/* A workload of the configuration. */
struct place {
	uint32_t uid;
	uint16_t port;
	struct check *check; /* NULL: none */
};

struct health {
	struct loop *loop;
	uint16_t kind;
	struct task *owner;
	struct buf_pool pool;
	uint32_t asking_count;
	struct list queue;    /* of struct check, first come first served */
	struct list checks;   /* all that are in force */
	struct list closing;  /* all that are not */
	struct place *places; /* by the workloads of the configuration */
	uint32_t place_count;
	bool closed;
};

/* check.c. NULL: out of memory. It does nothing before check_start(). */
struct check *check_new(struct health *h, const struct conf_workload *workload);
void check_start(struct check *c);
/* It asks the same, of the same. */
bool check_same(const struct check *c, const struct conf_workload *workload);
void check_step(struct check *c);
/* Whatever it does, it ends; safe to repeat. The task is buried when it has. */
void check_close(struct check *c);
void check_free(struct check *c);
struct check *check_of(struct task *t);

/* Outcomes of asking, at most one of them for each time that it asks. The text says why it is not
 * well. Shortage: of this process, which tells nothing of the workload. */
void check_good(struct check *c);
void check_bad(struct check *c, const char *format, ...) PRINTF_LIKE(2, 3);
void check_failed(struct check *c, const char *what, int error); /* or a shortage */

/* ask.c: one question, by HTTP, TCP or a program. Returns the state to go to. */
enum check_state ask_begin(struct check *c);
enum check_state ask_connecting(struct check *c);
enum check_state ask_reading(struct check *c);
enum check_state ask_draining(struct check *c);
enum check_state ask_running(struct check *c);
/* Ends what is under way, in any state. */
void ask_cut(struct check *c);
/* True when nothing is left of it. */
bool ask_join(struct check *c) MUST_CHECK;

/* health.c: a place among those who ask. */
void health_queue(struct check *c);
void health_unqueue(struct check *c); /* gives it up, or no longer waits for it */
