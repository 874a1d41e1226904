/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the state process, shared by its files:
 *
 *   state_process.c   start-up, plans, the loop, the line to the keeper
 *   state_mesh.c      with a store: the sync with it, and the checks of local workloads
 *   state_outside.c   what the proxy process wants to know of the world outside
 *   state_identity.c  with an authority: certificates, and what the keeper is asked for them
 */
#pragma once

#include "channel.h"
#include "conf/conf.h"
#include "enroll/enroll.h"
#include "fetch/fetch.h"
#include "health/health.h"
#include "ledger/ledger.h"
#include "ring/loop.h"
#include "state/sync.h"
#include <stdbool.h>
#include <stdint.h>

enum state_task {
	STATE_TASK_CHANNEL = 1,
	STATE_TASK_SIGNER,
	STATE_TASK_SIGNAL,
	STATE_TASK_TICK,
	STATE_TASK_SYNC_NEWS,
	STATE_TASK_HEALTH_NEWS,
	STATE_TASK_ENROLL_NEWS,
	STATE_TASK_FETCH_NEWS,
	STATE_TASK_FETCH,
};

#define STATE_HEALTH_KIND 100
#define STATE_SYNC_KIND	  (50 * SYNC_KINDS)
#define STATE_ENROLL_KIND (60 * ENROLL_KINDS)

/* Something to hear from, watched by the loop. */
struct state_ear {
	int fd; /* -1: none, or gone */
	struct task task;
	struct op poll;
};

/* What goes on with the store. */
struct state_mesh {
	struct sync *sync; /* NULL: there is no store */
	struct health *health;
	struct task sync_news, health_news;
	int picture_fd; /* not told yet; -1: none */
	uint64_t picture_number;
	struct state_view pictured; /* when that one was made */
	bool view_due;
	uint64_t viewed_ns; /* when the last view was told */
	char take_out_why[128];
};

/* What goes on with the authority. */
struct state_identity {
	struct enroll *enroll; /* NULL: there is no authority */
	struct task news;
	/* The keeper's question that did not go through yet. */
	bool unsaid;
	struct wire_identity asked;
	int asked_fd;	    /* that goes with it; -1: none */
	uint64_t rows_ns;   /* when rows were looked at last */
	uint64_t rows_told; /* a fingerprint of those told last; 0: none */
};

/* What goes on with the world outside. */
struct state_outside {
	struct fetch *fetch;
	struct task news;
	int facts_fd; /* not told yet; -1: none */
	uint32_t facts_count;
};

struct state_process {
	struct state_ear channel, signer, signals;
	int dir_fd; /* -1: there is no store */
	struct ledger *ledger;
	struct loop loop;
	struct task tick_task;
	struct timer tick;
	struct state_mesh mesh;
	struct state_identity identity;
	struct state_outside outside;
	struct conf *conf; /* as last taken */
	bool leaving, keeper_gone;
};

/* --- state_process.c --- */

struct wire_head state_head(enum wire_kind kind);
/* False: not now. */
bool state_tell(struct state_process *s, const void *message, size_t len, int pass_fd);
/* Asks the keeper for a signature; false: it cannot be asked now. */
bool state_ask_signature(
	struct state_process *s, struct wire_sign *m, const uint8_t *bytes, size_t len) MUST_CHECK;

/* --- state_mesh.c --- */

void state_mesh_init(struct state_process *s);
/* The first plan makes the sync, later ones change it. */
int state_mesh_configure(struct state_process *s, const struct conf *conf, const struct bundle *b,
	struct err *err) MUST_CHECK;
/* The plan is in force. */
void state_mesh_configured(struct state_process *s);
void state_mesh_step_sync(struct state_process *s);
void state_mesh_step_health(struct state_process *s);
void state_mesh_tick(struct state_process *s);
/* After each step of the sync: it may want signatures. */
void state_mesh_after_step(struct state_process *s);
void state_mesh_take_out(struct state_process *s, const struct wire_take_out *m);
void state_mesh_close(struct state_process *s);
bool state_mesh_idle(const struct state_process *s);
void state_mesh_free(struct state_process *s);

/* --- state_outside.c --- */

void state_outside_init(struct state_process *s);
/* Once there is a loop. */
int state_outside_start(struct state_process *s, struct err *err) MUST_CHECK;
/* The plan is in force. */
void state_outside_configured(struct state_process *s);
/* The descriptor stays the caller's. */
void state_outside_want(struct state_process *s, int fd);
void state_outside_remember(struct state_process *s, int fd);
void state_outside_step(struct state_process *s);
void state_outside_tick(struct state_process *s);
void state_outside_close(struct state_process *s);
bool state_outside_idle(const struct state_process *s);
void state_outside_free(struct state_process *s);

/* --- state_identity.c --- */

/* Requests for signatures have this bit when they are for the authority. */
#define STATE_SIGN_ENROLL (1ull << 63)

void state_identity_init(struct state_process *s);
/* On an error what was there goes on as it is. */
int state_identity_configure(struct state_process *s, const struct conf *conf,
	const struct bundle *b, struct err *err) MUST_CHECK;
void state_identity_tick(struct state_process *s);
/* After each step, and when there is news: it may want something. */
void state_identity_after_step(struct state_process *s);
/* An answer of the keeper's; the descriptor stays the caller's. */
void state_identity_answer(struct state_process *s, const struct wire_identity *m, int fd);
void state_identity_signed(
	struct state_process *s, uint64_t request, const uint8_t *signature, size_t len);
void state_identity_close(struct state_process *s);
bool state_identity_idle(const struct state_process *s);
void state_identity_free(struct state_process *s);
