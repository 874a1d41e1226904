/* SPDX-License-Identifier: Apache-2.0 */
/* Asks this machine's workloads whether they are well: HTTP, TCP or a program's exit status, over
 * and over, each at its own pace (its interval, give or take a tenth). Runs in the state process,
 * and never as root.
 *
 *     IDLE ── time, and its turn ──▶ ASKING (connect, send, read; or the program runs) ──▶ IDLE
 *
 * A workload turns from up to down after `unhealthy_after` failures in a row, and back after
 * `healthy_after` good results; its first result counts at once, whatever it is. Until then it is
 * down: nobody is sent to a workload that has not answered once. One that was there under the
 * configuration before keeps what was known of it.
 *
 * What this process lacks for asking (descriptors, memory, processes) is no failure of the
 * workload: it counts as not asked. */
#pragma once

#include "base/error.h"
#include "conf/conf.h"
#include "ring/loop.h"
#include <stdbool.h>

struct health;

/* One check's outcome, for status. */
struct health_view {
	bool checked;		  /* the workload has a check */
	bool up;		  /* without a check: always */
	bool asked;		  /* there was a result already */
	uint32_t failure_count;	  /* in a row */
	uint64_t changed_wall_ns; /* when `up` last turned; 0: never */
	const char *why; /* the last failure in words; "" when all is well. Until the next step */
};

/* `kind_first`: task kinds from here on, HEALTH_KINDS of them, are the room's. `owner` is made
 * ready when there was a first result, when a workload's `up` has turned, and when all has ended.
 * The loop must have receive blocks. NULL: out of memory. */
#define HEALTH_KINDS 1
struct health *health_new(struct loop *loop, uint16_t kind_first, struct task *owner);
void health_step(struct task *t);
void health_reap(struct task *t);
/* New configuration, copied from: checks that stay the same (by uid, port and all that the check
 * says) go on as they are. A fresh check of a workload that was there before (by uid and port)
 * begins with what was known of it, and that is `up` when it had no check. False: out of memory,
 * and nothing has changed. Not after health_close(). */
bool health_configure(struct health *h, const struct conf *conf) MUST_CHECK;
/* Of conf->workloads[index] of the last health_configure(). After health_close() it tells nothing.
 */
struct health_view health_of(const struct health *h, uint32_t index);
/* Children have ended: call when SIGCHLD came, which must not be ignored. Reaps only its own. */
void health_child(struct health *h);
/* Ends what is under way; health_idle() tells when all has ended. Programs are killed, and reaped
 * by further calls of health_child(). */
void health_close(struct health *h);
bool health_idle(const struct health *h);
void health_free(struct health *h);
