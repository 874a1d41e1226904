/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's inside, shared by the files of this room. */
#pragma once

#include "base/pool.h"
#include "net/conn.h"
#include "proxy/reason.h"
#include "proxy/report.h"
#include "proxy/worker.h"
#include "ring/loop.h"
#include "signer.h"
#include <stdatomic.h>

enum worker_task {
	TASK_WAKE = 1,
	TASK_LISTENER,
	TASK_SIGNER,
	TASK_SESSION,
	TASK_CARRIER,
	TASK_EXCHANGE,
	TASK_TUNNEL,
	TASK_TRUNK,
	TASK_MIRROR,
};

/* First member of every object the worker steps: what is common to their lives. */
struct being {
	struct task task;
	struct worker *worker;
	struct list live; /* in worker.live or worker.stale */
	uint64_t number;  /* for logs */
	uint64_t born_ns;
};

struct listener {
	struct task task;
	struct op accept;
	int32_t backlog[RING_TURN_MAX];
	struct proxy_listener as;
	struct timer retry; /* after running out of descriptors */
	struct worker *worker;
};

struct worker {
	uint32_t index, worker_count;
	struct loop loop;
	struct buf_pool buffers, large_buffers;
	struct pool sessions, carriers, exchanges, tunnels, trunks, channels;
	struct pool heads; /* the codecs' */
	struct pool mirrors, mirror_blocks;
	struct list live;	   /* of struct being */
	struct list stale;	   /* the same, but not yet looked at under the current plan */
	bool turning_over;	   /* to it, in every turn a bit */
	int accepted_fd_max;	   /* beyond it descriptors are kept for other things */
	uint32_t connection_count; /* downstream connections now */
	uint32_t idle_count;	   /* pooled upstream connections now */
	uint32_t idle_count_max;
	uint32_t handshake_count; /* server handshakes in progress */
	struct list queued;	  /* of struct session, by session.queue: handshakes to come */
	uint64_t last_number;
	struct plan_hold *current;
	struct map upstreams;	  /* of struct upstream_pool, see upstream.h */
	struct map turns;	  /* of splits, see routing.c */
	size_t turns_max;	  /* so many may there be before they are looked through */
	struct map crowds;	  /* of struct crowd, see balancer.h */
	struct list live_crowds;  /* the same */
	struct list stale_crowds; /* those that have not followed the current plan yet */
	struct list pools;	  /* the same */
	struct list stale_pools;  /* those not yet looked at under the current plan */
	struct signer signer;
	struct tls_sessions *tls_sessions;
	struct tokens *tokens; /* tokens.c's, once one was asked for */
	struct metrics *metrics;
	struct seen *seen;     /* what was let in to this machine's workloads */
	struct ledger *ledger; /* shared with the other workers and the state process */
	struct metric_values *values;
	struct access_queue *access;
	struct decisions *decisions; /* decisions.h */
	struct listener *listeners;
	uint32_t listener_count;
	/* news from the control thread */
	struct task wake;
	struct op wake_read;
	int wake_fd;
	int routes; /* socket_routes() */
	uint64_t wake_value;
	_Atomic(struct plan *) next_plan;
	_Atomic bool drain_asked;
	_Atomic(struct report *) asked, answered; /* report.c */
	bool has_report; /* the control thread's: one of its reports is here */
	_Atomic uint64_t generation;
	/* draining */
	bool draining;
	bool ending; /* nothing of others is left; our own operations are being ended */
	struct timer drain_timer;
};

/* So many connections are looked at or let go in one turn when the plan changes: a worker with many
 * of them does its work meanwhile. */
#define WORKER_SWAP_STEPS 16
/* And about so many endpoints, whose figures are kept. */
#define WORKER_SWAP_ENDPOINTS 4096

struct plan_hold *plan_hold_ref(struct plan_hold *hold);
void plan_hold_unref(struct plan_hold *hold);

static inline const struct conf *worker_conf(const struct worker *w)
{
	return w->current->plan->conf;
}

/* One more downstream connection may be taken. */
static inline bool worker_has_room(const struct worker *w)
{
	return w->connection_count < worker_conf(w)->connections_max / w->worker_count + 1;
}

/* Wall time, for certificates. */
static inline int64_t worker_wall_s(const struct worker *w)
{
	return (int64_t)(w->loop.wall_ns / CLOCK_S);
}

/* What worker_run() is made of, so that a test can do it by hand. worker_start() arms accepts and
 * the rest, on the worker's thread; worker_turn() is one turn of the loop; worker_ended() says that
 * the drain is over, and ends the worker's own operations once all others have ended. */
void worker_start(struct worker *w);
void worker_turn(struct worker *w);
bool worker_ended(struct worker *w);

/* report.c: fills in what the control thread has asked for; the worker's end. */
void report_answer(struct worker *w);
void report_done(struct worker *w);

/* Joins the worker's live list and gets a number. */
void being_init(struct being *b, struct worker *w, enum worker_task kind);
/* Leaves the list; the task is freed at the end of the turn. */
void being_end(struct being *b);
