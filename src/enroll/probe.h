/* SPDX-License-Identifier: Apache-2.0 */
/* Looks which certificate the machine's own mesh port really serves: a new one that lies on disk,
 * and is in force for the keeper, is of no use while a worker of the proxy shows the old one.
 *
 *      IDLE ──something is due──▶ LOOKING ──certificate, failure, timeout──▶ LEAVING ──▶ IDLE
 *
 * One connection at a time, over loopback, which is always this machine. The kernel deals
 * connections out to the workers, each of which has a listening socket, and nobody can choose; so a
 * round of all identities has as many as PROBE_PER_WORKER for each worker, and one misses a given
 * worker with a chance of one in fifty. All identities are in one plan: a worker with an old one is
 * found by any of those that were renewed since.
 *
 * A finding that is not the expected one is a doubt: a plan takes a moment to be in force
 * everywhere. The identity is then looked at again and again, with all the connections of a round,
 * until one round is good, or the doubt is so old that it is told.
 *
 * Never calls its owner, whose task is made ready when there is news. */
#pragma once

#include "base/list.h"
#include "mesh/snapshot.h"
#include "ring/loop.h"

#define PROBE_PER_WORKER     4
#define PROBE_LOOKS_MAX	     64 /* of one identity in a round */
#define PROBE_TIMEOUT_MS     10000
#define PROBE_SETTLE_MS	     2000 /* after a renewal */
#define PROBE_AGAIN_MS	     5000 /* in doubt */
#define PROBE_PATIENCE_MS    30000
#define PROBE_PATIENCE_LEAST 3000 /* for lifetimes of seconds */
#define PROBE_SERIAL_MAX     64
#define PROBE_WHY_MAX	     160

enum probe_finding {
	PROBE_WELL,	 /* or not looked at yet */
	PROBE_DOUBT,	 /* not well, and not for long */
	PROBE_UNREACHED, /* told: it cannot be looked at; `why` */
	PROBE_OTHER,	 /* told: another one is served; `found` */
	PROBE_FINDINGS
};

/* What is looked at, part of its owner's. */
struct probe_target {
	struct list node;
	const char *path; /* the identity's */
	char server_name[SERVER_NAME_MAX];
	char expected[PROBE_SERIAL_MAX];
	uint64_t patience_ns;
	enum probe_finding finding;
	uint64_t since_ns; /* of the doubt */
	uint64_t due_ns;
	uint32_t looks_left; /* in this round; 0: none begun */
	char found[PROBE_SERIAL_MAX];
	char why[PROBE_WHY_MAX];
};

struct probe_settings {
	uint16_t port;
	uint32_t worker_count;
	uint32_t interval_ms;
};

struct probe;

struct probe *probe_new(struct loop *loop, uint16_t kind, struct task *owner);
void probe_configure(struct probe *p, const struct probe_settings *settings);
/* `path` stays the caller's. */
void probe_target_init(struct probe_target *t, const char *path);
/* From now on this certificate should be shown for that name; `left_s`: so long it holds. Without a
 * serial or a name nothing is looked at. */
void probe_watch(struct probe *p, struct probe_target *t, const char *server_name,
	const char *serial, int64_t left_s);
void probe_forget(struct probe *p, struct probe_target *t);
struct task *probe_task(struct probe *p);
void probe_step(struct task *task);
void probe_close(struct probe *p);
bool probe_closed(const struct probe *p);
void probe_free(struct probe *p);
