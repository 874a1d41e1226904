/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of sync, shared by its files:
 *
 *   sync.c         its life: the two connections, time, what is handed on
 *   sync_keep.c    what is kept on disk for the next start
 *   sync_objects.c reads what operators publish, and judges it
 *   sync_nodes.c   reads what other nodes tell of themselves, and judges who is gone
 *   sync_own.c     tells of this node
 *   sync_rollouts.c reads how far rollouts are
 *   sync_carry.c   carries them on, when it is this node's turn
 *   sync_figures.c tells what this node has seen of them, and reads what all have
 *   sync_tokens.c  takes tokens of limits; how many is tokens.c, for which keys tokens_book.c
 *   mirror.c       what is known
 *   disk.c         what is kept
 *
 * Two connections: one asks, the other hears news, because a subscribed one can ask nothing
 * (RESP2); a third takes tokens. One command's answer is told from another's by its tag. */
#pragma once

#include "disk.h"
#include "mirror.h"
#include "state/store.h"
#include "state/sync.h"
#include "tokens_book.h"

/* Task kinds, from the first on. */
enum sync_kind { SYNC_KIND_SYNC, SYNC_KIND_ASKS, SYNC_KIND_HEARS, SYNC_KIND_TOKENS };

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
	SYNC_TAG_TIME,
	SYNC_TAG_ROLLOUT, /* with the rollout's number, as is the next one */
	SYNC_TAG_ROLLOUT_WRITE,
	SYNC_TAG_FIGURES,
	SYNC_TAG_OWN_FIGURES,
};
/* A tag is one of these, and above it the number of what it is about. */
#define SYNC_TAG_BITS 8

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
	bool is_known;	 /* what the store has was read to its end in this life of the connection,
			  * and agreed with */
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

/* Terms count up by one: so many there never are, unless somebody wants none to come. What is above
 * it is neither read nor written. */
#define ROLLOUT_TERM_MAX (UINT64_C(1) << 53)

/* What this node does for a rollout. Whoever puts the first entry of a term into its stream carries
 * it on: the store takes no id that is not higher than the last, so of several that try one wins,
 * and one that was overtaken, however long it has slept, cannot write any more.
 *
 *     WATCHES ── nobody writes, or the store has lost it ──▶ TAKES ── the store took it ──▶ CARRIES
 *        ▲                                                     │                               │
 *        └────────────────────── another was first, or lost ───┴─── overtaken, lost, at its end ┘
 */
enum rollout_part {
	ROLLOUT_WATCHES,
	ROLLOUT_TAKES,	 /* waits for: whether the store takes the first entry of our term */
	ROLLOUT_CARRIES, /* waits for: figures, the beat, the answer to what is being written */
};

struct sync_rollout {
	struct list node; /* in rollouts.all */
	uint64_t number;  /* in tags */
	bool is_found;	  /* among the objects that are being looked through */
	/* what operators have published */
	struct arena arena; /* of the rule */
	struct rollout_rule rule;
	uint8_t digest[OBJECT_DIGEST]; /* of the object */
	uint64_t begin_ns; /* nobody has begun with it, or another rule's is there: not before */
	/* its stream, as it was last read */
	bool is_asked, again; /* news came meanwhile */
	bool is_known;	      /* read in this life of the connection */
	bool is_garbled;      /* its last entry is refused */
	bool is_foreign;      /* it is of another rule than the one in force */
	struct mirror_place last;
	uint64_t last_ms;     /* when that was written, by the store's clock as its writer said */
	uint64_t last_new_ns; /* when it was first seen, by ours */
	uint64_t look_ns;     /* when it is to be read next */
	uint64_t quiet_ns;    /* not before that, whatever is hinted at */
	/* carrying it on */
	enum rollout_part part;
	struct rollout_watch watch;
	bool is_writing;
	uint64_t take_ns;	     /* no try before that */
	uint32_t refused_takes;	     /* in a row, while nobody else wrote either */
	struct mirror_place written; /* what is being written, or was last */
	size_t written_len;
	char written_text[ROLLOUT_TEXT_MAX];
	struct rollout_figures total;
	struct map before; /* of struct figures_of: what each node told at the last look */
	struct figures_of *befores;
	uint64_t reading;    /* the last reading of figures that had it in it */
	uint32_t told_count; /* nodes that told of it in that */
	uint32_t told_node;  /* which of them was the last, counted from 1 */
	uint64_t judged_ns;  /* 0: not yet */
	struct rollout_judged judged;
	char judged_why[ROLLOUT_WHY_MAX + 1];
	char why[200];	     /* what its stream says is refused: why; "" */
	char write_why[200]; /* what is written is refused: why; "" */
};

struct rollouts {
	struct list all; /* of struct sync_rollout, in the order of the objects */
	uint32_t count;
	uint64_t last_number;
	uint64_t object_count; /* of the mirror, as last looked through */
	uint64_t time_ms;      /* the store's clock, */
	uint64_t time_ns;      /* and ours when it told it; 0: not in this connection */
	bool is_time_asked;
	struct timer beat;
	char why[200];
};

/*      REST ── it carries, a beat ──▶ READING ──▶ REST                                  */
enum figures_state {
	FIGURES_REST,
	FIGURES_READING, /* waits for: the figures of a batch of nodes */
};

#define FIGURES_BATCH 64
struct figures {
	enum figures_state state;
	struct timer tell;
	char *told;	  /* what this node told last; NULL: nothing */
	uint64_t told_ns; /* when the store was last given it; 0: not in this connection */
	uint64_t read_ns; /* when the last reading began */
	char batch[FIGURES_BATCH][RECORD_NODE_MAX + 1];
	uint32_t batch_count, answered;
	char last[RECORD_NODE_MAX + 1]; /* the last name that was asked for */
	uint64_t reading;		/* number of this one */
	uint32_t looked;		/* nodes */
	bool is_cut;			/* it could not be asked to its end */
	char why[200], node_why[200];
};

struct sync_workload {
	char service[64], version[RECORD_WORD_MAX + 1];
	uint16_t port;
	uint32_t weight;
	bool is_up, is_told; /* by the checks */
};

struct sync_tokens {
	struct store *store; /* NULL: no limits yet, or not now */
	struct book book;
	struct timer turn;
	uint64_t life;
	uint64_t heard_ns;   /* the last answer, or the first question after the last one */
	uint64_t doubted_ns; /* since when; 0: not */
	bool is_refusing;    /* it answers, but not with what was asked for */
	bool is_away;	     /* was said */
	/* the store's clock minus ours */
	bool is_clock_known;
	int64_t clock_offset_ns;
	uint64_t clock_error_ns, clock_ns; /* how well it is known, and since when; 0: ask again */
	uint64_t time_sent_ns;		   /* asked, and not answered yet; 0: not */
	uint64_t looked_change;		   /* mirror.change_count when limits were looked for */
	bool has_limits;
	uint64_t away_count, command_count, refused_count;
	char why[200];	       /* doubted: why; "" */
	char garbled_why[200]; /* some key is no number: told once */
};

struct sync {
	struct loop *loop;
	struct task task;
	struct task *owner;
	uint16_t kind_first;
	enum sync_life life;
	int dir_fd;
	struct ledger *ledger; /* the owner's; NULL: none */
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
	struct sync_tokens tokens;
	bool is_store_gone;		/* has been said */
	uint64_t asks_life, hears_life; /* as last seen */
	uint64_t ready_ns;		/* when `asks` was last found ready anew */
	uint32_t reconnect_count;
	uint64_t bytes_before[2]; /* in and out, of connections that have been replaced */
	struct mirror mirror;
	struct objects objects;
	struct nodes nodes;
	struct own own;
	struct rollouts rollouts;
	struct figures figures;
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

/* As sync_ask(), of something that has a number. */
bool sync_ask_of(
	struct sync *s, enum sync_tag tag, uint64_t number, const struct str *words, size_t count);

/* --- sync_keep.c --- */
#define KEEP_NS (2 * CLOCK_S) /* from a change until it is saved */
/* The last known state; the one before when that is unusable; else none. Blocks on disk. */
void sync_load(struct sync *s);
/* What has changed since the last time; when it cannot be, it is tried again later. Blocks on disk.
 */
void sync_save(struct sync *s);

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

/* --- sync_tokens.c --- */
int sync_tokens_init(struct sync *s, struct err *err) MUST_CHECK;
void sync_tokens_step(struct sync *s);
void sync_tokens_lost(struct sync *s);
void sync_tokens_view(const struct sync *s, struct state_view *view);
void sync_tokens_done(struct sync *s);

/* --- sync_rollouts.c --- */
void rollouts_init(struct sync *s);
/* Reads how far the rollout of a service is, of all of them. */
void rollouts_hint(struct sync *s, struct str service);
void rollouts_look(struct sync *s);
/* Follows the objects; what is due is done. */
void rollouts_step(struct sync *s);
void rollouts_answer(
	struct sync *s, enum sync_tag tag, uint64_t number, const struct store_answer *answer);
/* The answer to what was asked with this tag ended the connection. */
void rollouts_unreadable(struct sync *s, uint64_t tag);
void rollouts_lost(struct sync *s);
void rollouts_done(struct sync *s);
/* Of one of them; "": nothing is refused. */
const char *rollouts_why(const struct sync *s);
/* How often what belongs to rollouts is looked at: the less often, the more nodes do so. */
uint64_t rollouts_beat_ns(const struct sync *s);
/* The store's clock. */
uint64_t rollouts_now_ms(const struct sync *s);
/* Takes what stands at this place of its stream; what is new of it is told to the log. False: it is
 * refused, and why is said. */
bool rollout_take(struct sync *s, struct sync_rollout *r, struct mirror_place place,
	struct str text) MUST_CHECK;
/* NULL: it is not. */
bool rollout_is_over(const struct rollout_progress *progress);
/* Of the rule in force; NULL: none is known. */
const struct rollout_progress *rollout_progress_of(
	const struct sync *s, const struct sync_rollout *r);
#define ROLLOUTS_EACH(s, it)                                                             \
	for (struct sync_rollout *it =                                                   \
			CONTAINER_OF((s)->rollouts.all.next, struct sync_rollout, node); \
		&it->node != &(s)->rollouts.all;                                         \
		it = CONTAINER_OF(it->node.next, struct sync_rollout, node))

/* --- sync_carry.c --- */
/* Its stream has just been read: whether it is this node's turn. */
void carry_consider(struct sync *s, struct sync_rollout *r);
/* The figures of all nodes are there. */
void carry_judge(struct sync *s, struct sync_rollout *r);
void carry_answer(struct sync *s, struct sync_rollout *r, const struct store_answer *answer);
/* It is not ours any more, if it was. */
void carry_end(struct sync *s, struct sync_rollout *r);

/* --- sync_figures.c --- */
/* Reads the figures of all nodes, unless that is under way; then carry_judge(). */
void figures_read(struct sync *s);
/* Tells this node's own soon. */
void figures_tell_soon(struct sync *s);
void figures_step(struct sync *s);
void figures_answer(struct sync *s, enum sync_tag tag, const struct store_answer *answer);
void figures_lost(struct sync *s);
void figures_done(struct sync *s);
/* Of the buckets of latencies. */
void figures_bounds(uint64_t ret_bounds_ns[ROLLOUT_LATENCIES]);
/* Forgets what nodes have told of it. */
void figures_forget(struct sync_rollout *r);
