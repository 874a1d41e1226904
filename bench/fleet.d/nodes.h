/* SPDX-License-Identifier: Apache-2.0 */
/* Many nodes' state rooms (state/sync.h) on one loop, each with its own connections to the store:
 * what a machine's state process does, without the machine. Not simulated: the protocol, the
 * records, signatures, timers, everything that the room itself does. Left out: nothing is kept on
 * disk (a thousand nodes would write what one machine's disk never sees), and only nodes that
 * observe hand pictures on. */
#pragma once

#include "base/arena.h"
#include "base/json.h"
#include "conf/conf.h"
#include "ring/loop.h"
#include "state/sync.h"

struct nodes_options {
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
	struct nodes *nodes;
	struct sync *sync; /* NULL: not begun, or over */
	struct conf conf;
	struct address address;
	uint32_t down_count; /* observers: endpoints that are not up in the last picture */
	uint64_t met_ns;     /* when it came to be as waited for; 0: not yet */
};

/* What all nodes of a process are waited for to be; UINT64_MAX: of no interest. */
struct nodes_wish {
	uint64_t nodes, endpoints, revision, down;
	uint64_t held;		 /* at least */
	uint64_t agreed_wall_ns; /* connected, and agreed with the store after that */
};

struct nodes {
	struct loop loop;
	struct nodes_options options;
	struct node *at;
	uint32_t begun_count;
	uint64_t begin_ns; /* when the first one began */
	struct arena arena;
	struct bundle bundle; /* of the operators' keys */
	int dir_fd;	      /* of a directory that is gone */
	struct task task;
	struct timer beat; /* beginning of nodes, and looking at what is waited for */
	bool is_waiting;
	struct nodes_wish wish;
	uint64_t wish_end_ns;
	bool is_over; /* everything has been closed */
};

#define NODES_KIND_FIRST   1 /* task kinds from here on */
#define NODES_KIND_NODES   1
#define NODES_KIND_NODE	   2
#define NODES_KIND_CONSOLE 3 /* not of this file */
#define NODES_KIND_SYNC	   (4 * SYNC_KINDS)

int nodes_init(struct nodes *n, const struct nodes_options *options, struct err *err) MUST_CHECK;
void nodes_done(struct nodes *n);
/* A task of one of the kinds of NODES, NODE and SYNC. */
void nodes_step(struct nodes *n, struct task *t);
/* Gives a node one more endpoint than the others have, or takes it again. */
int nodes_extra(struct nodes *n, uint32_t index, bool has_extra, struct err *err) MUST_CHECK;
/* What the checks say of a node's first endpoint. */
void nodes_tell_health(struct nodes *n, uint32_t index, bool up);
/* Begins to wait; nodes_waited() tells the end: all are as wished, or the time is over. Which ones,
 * and when, is in node.met_ns until the next wish. */
void nodes_wait(struct nodes *n, const struct nodes_wish *wish, uint64_t timeout_ns);
bool nodes_waited(struct nodes *n);
/* How they stand, in sums and extremes. */
void nodes_view(const struct nodes *n, struct json *j);
/* All leave the mesh; is_over when they have. */
void nodes_close(struct nodes *n);
