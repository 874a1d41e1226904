/* SPDX-License-Identifier: Apache-2.0 */
/* How many tokens of one key of a limit of the whole mesh this node takes, and when. Pure: who asks
 * the store and moves tokens in the ledger is sync_tokens.c.
 *
 * A window is fixed: from one multiple of its length to the next, by the store's clock. So there is
 * one number per key and window in the store; whoever adds to it knows what was there before, and
 * keeps what the amount allows: that is why all grants of a window together never go beyond it,
 * however late, often or never answers come. A window that slides would let through less at an
 * edge, where up to twice the amount may pass within one window's length; it would cost a second
 * number, an answer that depends on the moment, and a limit whose reset nobody can be told.
 *
 * A node takes what it is about to need, a quarter of a window ahead, and of what is left in the
 * store not more than a half, or a quarter when others take too: so a node that comes later finds
 * something, and shares converge from window to window. Before a window begins it takes the first
 * of it. What it does not need it gives back; what it dies with is lost for that window. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What is known of one window. */
struct tokens_window {
	uint64_t number;
	uint64_t total;	       /* taken by all nodes, as last told */
	uint64_t looked_ns;    /* when that was */
	uint32_t mine;	       /* by this one */
	uint32_t booked;       /* of what the data path has lent itself */
	uint32_t wanted, debt; /* what was asked for, and what was paid with it */
	bool is_known, is_asked;
	bool is_born; /* the store was told when to forget it */
};

struct tokens {
	uint32_t amount, window_ms;
	struct tokens_window windows[2]; /* of even and odd numbers */
	double rate;			 /* wishes in a nanosecond, lately */
	double share;	    /* of what all took in the last window that ended; 0: none */
	uint64_t seen_ns;   /* the last step; 0: none */
	uint64_t wished_ns; /* the last wish */
	uint64_t wished_window;
	uint32_t hand, lent, next_hand; /* in the window of the last step and the one after */
	uint64_t refused;
	uint32_t owed;	      /* lent beyond the amount: the next window pays */
	uint64_t owed_window; /* where that was */
};

void tokens_init(struct tokens *t, uint32_t amount, uint32_t window_ms);

/* What the ledger shows. */
struct tokens_seen {
	uint64_t now_ns;     /* monotonic */
	uint64_t store_ns;   /* the store's clock */
	uint32_t hand, lent; /* of the window that runs */
	uint32_t next_hand;  /* of the one after */
	uint64_t refused;    /* counts up */
};

enum tokens_kind {
	TOKENS_TAKE, /* add `count` to the window's number */
	TOKENS_LOOK, /* read it */
	TOKENS_BACK, /* take `count` out of the ledger, as far as they are there, and off the number
		      */
};
struct tokens_ask {
	enum tokens_kind kind;
	bool is_first; /* with TAKE: tell when to forget it before */
	uint64_t window;
	uint32_t count;
};
#define TOKENS_ASKS 3

/* One turn; how many of `asks` are to be done. TAKE and LOOK are answered by exactly one of the
 * functions below, unless their window is long over. */
uint32_t tokens_step(
	struct tokens *t, const struct tokens_seen *seen, struct tokens_ask asks[TOKENS_ASKS]);

/* What an answer means for the ledger. */
struct tokens_told {
	bool is_old;  /* nothing: not asked for any more */
	bool is_anew; /* the number was lost, and is there again by our TAKE: without an end */
	uint32_t granted;
	uint32_t back;	   /* to be taken off the number again: it went beyond the amount */
	uint32_t unleased; /* what the store has left */
	uint32_t credit;   /* what may be lent in this window in all */
};
/* The number after TAKE, or as LOOK read it. Anything may stand there. */
struct tokens_told tokens_taken(struct tokens *t, uint64_t window, int64_t total, uint64_t now_ns);
struct tokens_told tokens_looked(struct tokens *t, uint64_t window, int64_t total, uint64_t now_ns);
/* No answer, or an error: whether it was done is not known, so what was asked for is lost, and what
 * was paid is paid again. */
void tokens_failed(struct tokens *t, uint64_t window);
/* So many were taken out of the ledger after TOKENS_BACK. */
void tokens_given_back(struct tokens *t, uint64_t window, uint32_t count);
/* Nothing is under way, held, owed or expected. */
bool tokens_idle(const struct tokens *t, uint64_t now_ns);
