/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a store: what its files share. store.c has the states, store_dial.c the connection
 * under it, store_greet.c what is said before it is READY, store_queue.c commands and answers. */
#pragma once

#include "net/conn.h"
#include "state/store.h"
#include "store_reader.h"

#define STORE_COMMANDS_MAX   1024
#define STORE_QUEUED_MAX     (16u << 20)
#define STORE_PUSHES_MAX     1024
#define STORE_SAY_MAX	     64 /* words of store_say() */
#define STORE_BACKOFF_MIN_NS (100 * CLOCK_MS)
#define STORE_BACKOFF_MAX_NS (10 * CLOCK_S)
/* READY for so long, and the next wait is a short one again. */
#define STORE_SETTLED_NS (10 * CLOCK_S)
/* A whole answer may take so many times the timeout, if bytes keep coming. */
#define STORE_PATIENCE 10

#define STORE_REPLICATION_ID 40

/* Whose command it is: the owner's, or one of ours while the connection is made. */
enum store_question {
	STORE_QUESTION_OWNER,
	STORE_QUESTION_AUTH,
	STORE_QUESTION_NAME,
	STORE_QUESTION_PRIMARY, /* a Sentinel: where it is */
	STORE_QUESTION_ROLE,
	STORE_QUESTION_REPLICATION,
	STORE_QUESTION_SUBSCRIBE,
};

struct store_command {
	struct list node; /* in pending, then in answered */
	enum store_question question;
	uint64_t tag;
	char *bytes; /* hiredis's; NULL once all of it is on its way */
	size_t len, sent;
	enum store_failure failure;
	redisReply *reply;
	size_t reply_bytes;
	bool is_unreadable;
};

struct store_message {
	struct list node;
	redisReply *reply;
	size_t reply_bytes;
};

struct store {
	uint32_t magic;
	enum store_state state;
	struct loop *loop;
	struct task *owner;
	struct task task;
	struct timer timer;
	struct store_settings settings; /* its texts are copies */
	char *texts;
	size_t texts_bytes;
	/* the round */
	uint32_t at;	/* address of the settings that it is at */
	uint32_t tried; /* so many of them in vain in this round */
	uint32_t waits; /* in a row: the next one may be so much longer */
	uint64_t rounds_in_vain;
	uint64_t retry_ns;	/* DOWN: when the next round begins */
	struct address address; /* connected to, or tried */
	bool found;		/* by a Sentinel: not an address of the settings */
	bool why_old;		/* of an earlier round: the next failure replaces it */
	char why[512];
	/* the connection */
	struct conn conn;
	struct buf_pool pool;
	struct store_reader reader;
	bool up;      /* dialled, and not given up */
	bool greeted; /* what is said first is queued */
	uint64_t dialled_ns, heard_ns, ready_ns;
	uint64_t pinged_ns;
	bool pinged;
	uint64_t sign_number;
	bool sign_asked, sign_news;
	/* commands in order: pending, the first of which is asked, and then answered */
	struct list pending, answered;
	struct store_command *filling; /* the first that is not wholly on its way, or NULL */
	uint32_t command_count;	       /* in both lists, and taken but not done */
	size_t queued_bytes;	       /* of commands, not on their way */
	uint64_t asked_ns;	       /* when the first of `pending` became that */
	struct list messages;
	uint32_t message_count;
	size_t untaken_bytes; /* of replies in answered and messages */
	/* what is known */
	uint64_t life;
	char replication_id[STORE_REPLICATION_ID + 1];
	uint64_t bytes_in, bytes_out; /* of connections before */
};

/* --- store.c --- */

/* Gives this connection up, with why in words: what is pending is lost, and the next address or the
 * end of the wait is next. */
void store_fail(struct store *s, const char *format, ...) PRINTF_LIKE(2, 3);
/* A Sentinel has told where the primary is. */
void store_found(struct store *s, const struct address *primary);
/* The greeting is over. */
void store_ready(struct store *s);
void store_move(struct store *s, enum store_state state);
void store_news(struct store *s);

/* --- store_dial.c --- */

/* Begins to connect to s->address; on a failure the store has failed. */
void store_dial(struct store *s);
/* The owner has not taken what is there: as long, nothing is read, and nobody is late. */
bool store_withheld(const struct store *s);
/* Takes in what came, for as long as it is to be used. */
void store_receive(struct store *s);
/* Puts commands on their way. */
void store_transmit(struct store *s);
/* When what is waited for is too late, in ns; 0: nothing is waited for. */
uint64_t store_deadline(const struct store *s);
/* That time has come. */
void store_overdue(struct store *s);

/* --- store_tls.c --- */

/* Makes the fresh connection TLS. False: out of memory. */
bool store_secure(struct store *s) MUST_CHECK;
/* The handshake has failed: why, in words. */
void store_fail_as_tls(struct store *s);
/* The handshake waits for our key. */
void store_need_signature(struct store *s);

/* --- store_greet.c --- */

void store_greet(struct store *s);
/* The answer to one of our own questions; takes the reply over. */
void store_greeted(struct store *s, enum store_question question, redisReply *reply);
/* An error that means: this is not the primary any more, or not yet. */
bool store_reply_leads_away(const redisReply *reply);
/* The text of an error reply or the like, fit to be shown: printable, short, and without a
 * password. */
#define STORE_SHOWN_MAX 160
const char *store_shown(const struct store *s, const redisReply *reply, char text[STORE_SHOWN_MAX]);

/* --- store_queue.c --- */

/* False: out of memory. */
bool store_ask(struct store *s, enum store_question question, uint64_t tag, const struct str *words,
	size_t word_count) MUST_CHECK;
/* All of it is on its way. */
void store_command_sent(struct store_command *c);
/* A whole reply; takes it over. */
void store_take_reply(struct store *s, redisReply *reply, size_t bytes);
/* What has come is the answer to the first that waits for one, and cannot be read. */
void store_blame(struct store *s);
/* All that is pending is lost. */
void store_lose(struct store *s);
/* Everything goes, answers not taken too. */
void store_queue_free(struct store *s);
