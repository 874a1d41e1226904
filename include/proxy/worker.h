/* SPDX-License-Identifier: Apache-2.0 */
/* A data-path thread: one ring, its listeners, its connections, shared nothing. The control thread
 * makes it, hands it plans, and asks it to drain; everything else is the worker's own. */
#pragma once

#include "base/error.h"
#include "ledger/ledger.h"
#include "proxy/proxy.h"
#include "telemetry/access.h"
#include "telemetry/metrics.h"
#include <stdbool.h>
#include <stdint.h>

struct worker;

struct worker_setup {
	uint32_t index, worker_count;
	uint64_t seed;
	const struct proxy_listener *listeners; /* those with .worker == index are taken */
	uint32_t listener_count;
	uint32_t file_count_max; /* descriptors that the process may have; 0 = no limit known */
	int signer_fd;		 /* to the keeper; stays the caller's */
	struct metrics *metrics;
	struct ledger *ledger;	     /* shared by all workers; outlives them */
	struct access_queue *access; /* NULL = log off */
	struct plan *plan;	     /* first one; counted for this worker by the caller */
};

/* Creates the ring and all that needs kernel help. Control thread, before the sandbox. */
int worker_new(
	const struct worker_setup *setup, struct worker **ret_worker, struct err *err) MUST_CHECK;
/* The thread's body: returns when drained. */
int worker_run(struct worker *w, struct err *err) MUST_CHECK;
/* After the thread has ended. */
void worker_free(struct worker *w);

/* From the control thread. The plan's holder_count was raised by the caller for this worker; the
 * worker lowers it when its last connection begun under the plan has ended. Returns a plan that was
 * handed over before and never taken (its count is the caller's again), or NULL. */
struct plan *worker_hand_plan(struct worker *w, struct plan *plan);
/* No new connections; idle ones closed, requests in progress finished, the rest cut at the plan's
 * drain timeout. Then worker_run() returns. */
void worker_drain(struct worker *w);
/* Generation in use, for status. */
uint64_t worker_generation(const struct worker *w);
/* Turns taken: stands still only when the worker is idle or stuck; worker_ping() makes an idle one
 * turn. */
void worker_ping(struct worker *w);
