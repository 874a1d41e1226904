/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of sync, shared by its files:
 *
 *   sync.c         its life: the two connections, time, what is handed on
 *   sync_objects.c reads what operators publish, and judges it
 *   sync_nodes.c   reads what other nodes tell of themselves, and judges who is gone
 *   sync_own.c     tells of this node
 *   mirror.c       what is known
 *   disk.c         what is kept
 *
 * Two connections: one asks, the other hears news, because a subscribed one can ask nothing
 * (RESP2). One command's answer is told from another's by its tag. */
#pragma once

#include "disk.h"
#include "mirror.h"
#include "state/store.h"
#include "state/sync.h"

enum sync_life {
	SYNC_RUNNING,
	SYNC_LEAVING, /* waits for: the answer to our leaving, or its deadline */
	SYNC_CLOSING, /* waits for: the connections to end */
	SYNC_CLOSED,
};

enum sync_tag {
	SYNC_TAG_HEAD,
	SYNC_TAG_CHANGES,
	SYNC_TAG_OBJECTS,
	SYNC_TAG_SCAN,
	SYNC_TAG_LEASES,
	SYNC_TAG_RECORDS,
	SYNC_TAG_OWN_BEFORE, /* what stands there of an earlier life of this node */
	SYNC_TAG_OWN_RECORD,
	SYNC_TAG_OWN_LEASE,
	SYNC_TAG_OWN_KEPT,
	SYNC_TAG_OWN_LEFT, /* asked last: all that was told before has come */
	SYNC_TAG_NEIGHBOURS,
	SYNC_TAG_NEWS,
};

/* Names of nodes to look at. */
struct names {
	char (*at)[RECORD_NODE_MAX + 1];
	uint32_t count, size;
};

/*      REST ── news, a beat ──▶ HEAD ──▶ CHANGES ──▶ REST
 *       ▲                        │  └──────┬─▶ WHOLE
 *       └── same, refused, lost ─┴─────────┴─────┘                                     */
enum objects_state {
	OBJECTS_REST,
	OBJECTS_HEAD,	 /* waits for: the head */
	OBJECTS_CHANGES, /* waits for: the changes since our revision */
	OBJECTS_WHOLE,	 /* waits for: all objects */
};

struct objects {
	enum objects_state state;
	bool again;	 /* news came meanwhile */
	bool is_known;	 /* what the store has was read to its end once, and agreed with */
	char *head_text; /* being read to */
	size_t head_len;
	uint32_t tries; /* whole readings that did not fit their head: a change came in between */
	uint64_t store_revision;
	char why[200]; /* refused: why; "" */
};

/*      REST ── hints, a resync ──▶ SCAN ──▶ LEASES ──▶ RECORDS ──▶ REST
 *                                  (all)    (some)                                      */
enum nodes_state {
	NODES_REST,
	NODES_SCAN,    /* waits for: a part of all names */
	NODES_LEASES,  /* waits for: the leases of a batch of names */
	NODES_RECORDS, /* waits for: the records of a batch of those that are new */
};

struct nodes {
	enum nodes_state state;
	bool is_all;	    /* this look is over all nodes */
	bool all_wanted;    /* the next one shall be, */
	uint64_t all_ns;    /* but not before that */
	bool is_known;	    /* one over all nodes has ended */
	struct names names; /* of this look */
	uint32_t at, batch; /* where in the names the batch that was asked for begins; its length */
	uint32_t answered, refused; /* of the batch */
	uint32_t scans;		    /* parts of the list of names that were asked for */
	uint32_t fresh;		    /* LEASES: so many names at the front have a new record */
	char cursor[24];
	struct names wanted;  /* of the next look */
	uint64_t look_number; /* of this one */
	uint64_t settle_ns;   /* when the silent ones are to be judged; 0: none are */
	uint32_t held_count;
	char why[200];	      /* the store does not tell of nodes: why; "" */
	char record_why[200]; /* the last record that was refused, and why: told once */
};

/*      NEW ── a beat ──▶ ASKED ──▶ UNWRITTEN ◀──▶ WRITTEN
 *       ▲                  │
 *       └── refused, lost ─┘                                                             */
enum own_state {
	OWN_NEW,
	OWN_ASKED,     /* waits for: what an earlier life of this node left there */
	OWN_UNWRITTEN, /* that is known; the store has to be told */
	OWN_WRITTEN,   /* told in this life of the connection */
};

struct own {
	enum own_state state;
	uint64_t start, number;
	char *text;	     /* the record as it was last made */
	char *content;	     /* the same without what changes with every record */
	uint32_t unanswered; /* records on their way */
	bool has_left;	     /* the store has our leaving */
	uint64_t granted_ns; /* when the store last took our lease; 0: not in this connection */
	uint64_t granted_since_ns; /* of an unbroken row of them */
	char drained[64][64];	   /* services, "" = all; kept on disk */
	uint32_t drained_count;
	char neighbours[3][RECORD_NODE_MAX + 1]; /* whose leases were asked for last */
	uint32_t neighbour_count, neighbours_answered;
	char why[200];	      /* the store does not take what we tell, or whose name is ours; "" */
	char record_why[256]; /* there is no record to be told; "" */
};

struct sync_workload {
	char service[64], version[RECORD_WORD_MAX + 1];
	uint16_t port;
	uint32_t weight;
	bool is_up, is_told; /* by the checks */
};

struct sync {
	struct loop *loop;
	struct task task;
	struct task *owner;
	uint16_t kind_first;
	enum sync_life life;
	int dir_fd;
	struct ledger *ledger;
	/* configuration, copied */
	struct arena arena;
	struct str mesh, node, zone;
	struct address *addresses;
	uint32_t address_count;
	struct sync_workload *workloads; /* those of the configuration, in its order */
	uint32_t workload_count;
	uint64_t lease_ns, resync_ns, hold_ns;
	uint32_t hold_percent;
	struct operator_keys *operators;
	/* the store; its settings' texts are in the arena */
	struct store_settings settings;
	bool is_reopening; /* the connections are ending; new ones follow, unless it is all over */
	struct store *asks, *hears;
	bool is_store_gone;		/* has been said */
	uint64_t asks_life, hears_life; /* as last seen */
	uint64_t ready_ns;		/* when `asks` was last found ready anew */
	uint32_t reconnect_count;
	uint64_t bytes_before[2]; /* in and out, of connections that have been replaced */
	struct mirror mirror;
	struct objects objects;
	struct nodes nodes;
	struct own own;
	struct timer beat, look, resync, hand_on, save, leave;
	struct timer patience; /* with the first results of the checks; cleared: at its end */
	uint64_t handed_change, saved_change; /* mirror.change_count of the last picture, file */
	uint64_t picture_number;
	bool picture_due;
	char picture_why[200]; /* the last one could not be made: why; "" */
	char save_why[200];    /* the same of the file */
	uint64_t save_wait_ns; /* before it is tried again; 0: the last one went well */
	bool is_loaded;	       /* what is known is worth to be handed on */
	uint64_t agreed_wall_ns;
	uint64_t refused_count, resync_count;
};

/* --- sync.c --- */
/* Something of ours, or of somebody else's, was not taken. Told to the log when it is another than
 * before in `why`. */
void sync_refuse(struct sync *s, char *why, size_t size, const char *format, ...) PRINTF_LIKE(4, 5);
/* Give or take a part in `part`. */
uint64_t sync_jitter(struct sync *s, uint64_t ns, uint32_t part);
/* A command with words that end with a NULL `at`. False: not now. */
bool sync_ask(struct sync *s, enum sync_tag tag, const struct str *words, size_t count);
struct str sync_key(const struct sync *s, char text[], const char *kind, struct str name);
bool sync_is_ready(const struct sync *s);
/* Puts a timer to now + ns, unless it fires earlier already. */
void sync_soon(struct sync *s, struct timer *t, uint64_t ns);

/* --- sync_objects.c --- */
void objects_look(struct sync *s);
void objects_answer(struct sync *s, enum sync_tag tag, const struct store_answer *answer);
/* What was asked will not be answered. */
void objects_lost(struct sync *s);
void objects_done(struct sync *s);

/* --- sync_nodes.c --- */
/* Looks at a node soon, at all of them. */
void nodes_hint(struct sync *s, struct str name);
void nodes_hint_all(struct sync *s);
/* Begins a look when one is wanted and none is under way; judges those who have been silent. */
void nodes_step(struct sync *s);
void nodes_answer(struct sync *s, enum sync_tag tag, const struct store_answer *answer);
void nodes_lost(struct sync *s);
void nodes_done(struct sync *s);

/* --- sync_own.c --- */
int own_init(struct sync *s, struct err *err) MUST_CHECK;
/* Makes the record anew, and tells it when it is another than before. */
void own_tell(struct sync *s);
/* Renews the lease, and looks at the neighbours. */
void own_beat(struct sync *s);
void own_answer(struct sync *s, enum sync_tag tag, const struct store_answer *answer);
void own_lost(struct sync *s);
/* Tells a record without endpoints. */
void own_leave(struct sync *s);
/* The store has what was last told. */
bool own_is_told(const struct sync *s);
bool own_is_drained(const struct sync *s, const char *service);
void own_done(struct sync *s);
