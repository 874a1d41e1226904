/* SPDX-License-Identifier: Apache-2.0 */
/* Many nodes' state rooms (state/sync.h) on one loop, each with its own connections to the store:
 * what a machine's state process does, without the machine. Not simulated: the protocol, the
 * records, signatures, timers, everything that the room itself does. Left out: nothing is kept on
 * disk (forgetful.c), and only nodes that observe hand pictures on. */
#pragma once

#include "base/arena.h"
#include "base/json.h"
#include "conf/conf.h"
#include "ring/loop.h"
#include "state/sync.h"

struct swarm_options {
	struct address redis;
	const char *mesh;      /* trust domain */
	const char *operators; /* PEM file of public keys */
	uint32_t first, count; /* numbers of the nodes: they give names and addresses */
	uint32_t endpoints;    /* of each node */
	uint32_t services;     /* that the endpoints are spread over */
	uint32_t observers;    /* so many nodes take their pictures, as the proxy process would */
	uint32_t pace;	       /* nodes that begin in a second; 0: all at once */
	uint32_t lease_ms, resync_ms, timeout_ms, hold_ms, hold_percent;
};

struct node {
	struct task task; /* the owner of `sync` */
	struct swarm *swarm;
	struct sync *sync; /* NULL: not begun, or over */
	struct conf conf;
	struct address address;
	uint32_t down_count; /* observers: endpoints that are not up in the last picture */
	uint64_t met_ns;     /* when it came to be as waited for; 0: not yet */
};

/* What all nodes of a process are waited for to be; UINT64_MAX: of no interest. */
struct swarm_wish {
	uint64_t nodes, endpoints, revision, down;
	uint64_t held;		 /* at least */
	uint64_t agreed_wall_ns; /* connected, and agreed with the store after that */
};

struct swarm {
	struct loop loop;
	struct swarm_options options;
	struct node *at;
	uint32_t begun_count;
	uint64_t begin_ns; /* when the first one began */
	struct arena arena;
	struct bundle bundle; /* of the operators' keys */
	int dir_fd;	      /* of a directory that is gone */
	struct task task;
	struct timer beat; /* beginning of nodes, and looking at what is waited for */
	bool is_waiting;
	struct swarm_wish wish;
	uint64_t wish_end_ns, look_ns;
	bool is_over; /* everything has been closed */
};

#define SWARM_KIND_FIRST   1 /* task kinds from here on */
#define SWARM_KIND_NODES   1
#define SWARM_KIND_NODE	   2
#define SWARM_KIND_CONSOLE 3 /* not of this file */
#define SWARM_KIND_SYNC	   (4 * SYNC_KINDS)

int swarm_init(struct swarm *s, const struct swarm_options *options, struct err *err) MUST_CHECK;
void swarm_done(struct swarm *s);
/* A task of one of the kinds of NODES, NODE and SYNC. */
void swarm_step(struct swarm *s, struct task *t);
/* Gives a node one more endpoint than the others have, or takes it again. */
int swarm_extra(struct swarm *s, uint32_t index, bool has_extra, struct err *err) MUST_CHECK;
/* What the checks say of a node's first endpoint. */
void swarm_tell_health(struct swarm *s, uint32_t index, bool up);
/* Begins to wait; swarm_waited() tells the end: all are as wished, or the time is over. Which ones,
 * and when, is in node.met_ns until the next wish. */
void swarm_wait(struct swarm *s, const struct swarm_wish *wish, uint64_t timeout_ns);
bool swarm_waited(struct swarm *s);
/* How they stand, in sums and extremes. */
void swarm_view(const struct swarm *s, struct json *j);
/* All leave the mesh; is_over when they have. */
void swarm_close(struct swarm *s);
