/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the control thread, shared by its files:
 *
 *   control.c        start-up, the loop, the line to the keeper
 *   control_say.c    what the keeper is told with each tick
 *   control_identities.c   how it stands with certificates, for status
 *   control_outside.c   what is wanted of the world outside, and what comes of it
 *   control_plans.c  plans: from the keeper's bundle and the state process's picture of the mesh */
#pragma once

#include "admin/admin.h"
#include "base/bundle.h"
#include "proxy/worker.h"
#include <pthread.h>

#define CONTROL_WORKERS_MAX PROXY_WORKERS_MAX

enum control_task { CONTROL_TASK_CHANNEL = 1, CONTROL_TASK_TICK };

struct control_worker {
	pthread_t thread;
	struct worker *worker;
	_Atomic bool ended;
	int signer_fd;
};

struct control {
	int channel_fd;
	struct proxy proxy;
	struct control_worker *threads;
	struct list retired; /* of struct plan, superseded and still held */
	int access_fd;
	struct ledger *ledger;
	struct loop loop;
	struct task channel_task, tick_task;
	struct op channel_poll;
	struct timer tick;
	struct admin *admin;
	/* what the plan in force was made of, for the next one */
	struct bundle *bundle;
	struct bundle *picture; /* of the mesh; NULL: none yet, or standalone */
	struct bundle *refused; /* a newer one, which does not go with the configuration */
	int waiting_fd;		/* the newest, to be looked at; -1: none */
	uint64_t waiting_number;
	uint64_t picture_number;     /* of the one in force */
	struct wire_state_view view; /* as it came last */
	uint64_t picture_next_ns;    /* not before */
	uint64_t told_generation;    /* the keeper knows that this one is in force */
	uint64_t ping_number;	     /* not yet answered; 0 = none */
	uint64_t taken_unsaid;	     /* the picture whose turn is over; 0: the keeper knows */
	/* the world outside */
	struct bundle *outside;	       /* what is known of it; NULL: nothing yet */
	int facts_fd;		       /* newer, to be looked at; -1: none */
	const struct bundle *facts_of; /* what proxy.facts were made of beside it */
	uint64_t want_plan;	       /* the number of the plan whose wants were looked at */
	uint64_t want_told;	       /* a fingerprint of those that the keeper has; 0: none */
	uint64_t refused_unsaid;       /* the generation that is refused; 0: the keeper knows */
	bool keeper_gone;
};

/* --- control.c --- */

/* False: not now, for the keeper is behind: to be told again with the next tick. */
bool control_tell(struct control *c, const void *message, size_t len);
/* The descriptor stays the caller's; -1: none. */
bool control_tell_fd(struct control *c, const void *message, size_t len, int pass_fd);
struct wire_head control_head(enum wire_kind kind);

/* --- control_say.c --- */

/* With each tick. `turns`: by worker, of the ping that is to be answered; the caller keeps it. */
void control_say(struct control *c, uint64_t *turns);
/* --- control_identities.c --- */

/* From the state process; the descriptor stays the caller's. */
void control_take_identities(struct control *c, const struct wire_identities *m, int fd);
/* A plan is in force: what its bundle says of trust. */
void control_look_at_trust(struct control *c);
void control_identities_done(struct control *c);

/* --- control_outside.c --- */

/* Takes the descriptor over. */
void control_take_facts(struct control *c, int fd);
/* With each turn: tells what is wanted, and makes a plan of what came, when there is time. */
void control_step_outside(struct control *c);
/* What a plan made of this configuration is to know; a reference of its own. NULL, with text: it
 * cannot be. */
struct facts *control_facts(struct control *c, const struct bundle *b, char *text, size_t size);
void control_outside_done(struct control *c);

/* --- control_plans.c --- */

/* A plan of the same two halves: what is known of the world outside has changed. */
void control_plan_again(struct control *c);

/* The first one; with the picture that came before it if they go together, else without. */
int control_first_plan(struct control *c, uint64_t generation, int fd, struct err *err) MUST_CHECK;
/* A new configuration: in force, or refused and the one before stays. */
void control_take_plan(struct control *c, const struct wire_plan *message, int fd);
/* The outcome of a reload, for status. */
void control_note(struct control *c, uint64_t wall_ns, bool ok);
/* Takes the descriptor over; looked at by the next control_step_picture() that has the time. */
void control_keep_picture(struct control *c, const struct wire_state *message, int fd);
void control_step_picture(struct control *c);
/* What could not be told before. */
void control_tell_unsaid(struct control *c);
void control_take_view(struct control *c, const struct wire_state_view *view);
/* Superseded plans that nobody holds any more. */
void control_free_retired(struct control *c);
void control_plans_done(struct control *c);
