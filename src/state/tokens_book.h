/* SPDX-License-Identifier: Apache-2.0 */
/* All keys whose limits hold for the whole mesh and that are in use here: between the ledger, of
 * which it reads what is wanted and into which it puts what was got, and the store, for which it
 * makes commands and whose answers it is given. Does no I/O. Bounded: a fixed number of slots, of
 * commands in a turn, of commands without an answer; who is left out in one turn comes first in the
 * next. */
#pragma once

#include "ledger/lease.h"
#include "tokens.h"

#define BOOK_TURN_NS  (20 * 1000000ull)
#define BOOK_COMMANDS 256 /* in a turn, and without an answer */

enum book_kind {
	BOOK_BORN, /* make the number, 0, and tell when to forget it, unless there is one */
	BOOK_TAKE, /* add; answered with the sum */
	BOOK_LOOK, /* read */
	BOOK_BACK, /* take off; answered with what is left */
	BOOK_KEEP, /* tell when to forget it */
};
struct book_command {
	uint64_t tag; /* to be given back with the answer */
	enum book_kind kind;
	struct ledger_id id;
	uint64_t window;
	uint32_t count;
	uint64_t keep_ms; /* how long the number is of use */
};

struct book_row {
	struct lease_slot slot;
	struct tokens tokens;
	bool is_active;
};

struct book {
	struct ledger *ledger;
	struct book_row *rows; /* by slot; mostly untouched memory */
	uint16_t *active;
	uint32_t active_count, cursor;
	struct book_command queue[4 * BOOK_COMMANDS];
	uint32_t queue_at, queue_count;
	uint32_t away_count; /* commands without an answer */
	uint64_t granted_total, lent_total, back_total;
};

/* False: out of memory. */
bool book_init(struct book *b, struct ledger *l);
void book_done(struct book *b);
/* Whether anything was asked for here since the last turn, or is under way. Cheap. */
bool book_is_busy(const struct book *b);
/* Takes note of what is asked for; the turn does it, too. */
void book_look(struct book *b);
/* Makes commands. The ledger's clock has been set. */
void book_turn(struct book *b, uint64_t now_ns);
/* The next command to be sent. */
bool book_next(struct book *b, struct book_command *ret_command);

enum book_outcome {
	BOOK_TOLD,   /* a number */
	BOOK_FAILED, /* no answer, or an error that says nothing of this key */
	BOOK_GARBLED /* what stands there is no number: the key is away for this window */
};
/* For each command that was sent, once. `number` with TOLD. */
void book_answer(
	struct book *b, uint64_t tag, enum book_outcome outcome, int64_t number, uint64_t now_ns);
/* Whether the command of this tag wrote a number: a store may answer others, and refuse these. */
bool book_is_write(uint64_t tag);
/* All that have no answer will have none. */
void book_lost(struct book *b);
