/* SPDX-License-Identifier: Apache-2.0 */
/* Asks this machine's workloads whether they are well: HTTP, TCP or a program's exit status, over
 * and over, each at its own pace. Runs in the state process, and never as root.
 *
 *     IDLE ── time ──▶ ASKING (connect, send, read; or the program runs) ──▶ IDLE
 *
 * A workload turns from up to down after `unhealthy_after` failures in a row, and back after
 * `healthy_after` good results; its first result counts at once, whatever it is. Until then it is
 * down: nobody is sent to a workload that has not answered once. */
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
	const char *why;	  /* the last failure in words; "" */
};

/* `kind_first`: task kinds from here on, HEALTH_KINDS of them, are the room's. `owner` is made
 * ready when a workload's `up` has turned. `conf` is copied from. */
#define HEALTH_KINDS 2
struct health *health_new(struct loop *loop, uint16_t kind_first, struct task *owner);
void health_step(struct task *t);
void health_reap(struct task *t);
/* New configuration: checks that stay the same (by uid, port and all that the check says) keep
 * their result. False: out of memory, and nothing has changed. */
bool health_configure(struct health *h, const struct conf *conf) MUST_CHECK;
/* Of conf->workloads[index] of the last health_configure(). */
struct health_view health_of(const struct health *h, uint32_t index);
/* Children that ended: call when SIGCHLD came. Reaps only its own. */
void health_child(struct health *h);
/* Ends what is under way; health_idle() tells when all has ended. Programs are killed. */
void health_close(struct health *h);
bool health_idle(const struct health *h);
void health_free(struct health *h);
