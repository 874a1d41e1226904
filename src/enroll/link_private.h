/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a link: link.c has the states, link_dial.c the connection, link_read.c the answer.
 */
#pragma once

#include "base/clock.h"
#include "codec/http.h"
#include "fetch/lookup.h"
#include "link.h"
#include "net/conn.h"

#define LINK_SHOWN_MAX 160 /* of what a server says, in an error */

enum link_state {
	LINK_IDLE,
	LINK_FINDING,
	LINK_CONNECTING,
	LINK_ASKING,
	LINK_OPEN,
	LINK_CLOSING,
	LINK_CLOSED,
	LINK_STATE_COUNT
};

struct link {
	uint32_t magic;
	enum link_state state;
	struct loop *loop;
	struct task *owner;
	struct task task;
	struct timer timer;
	/* settings */
	struct str servers[LINK_SERVERS_MAX];
	uint32_t server_count;
	char *texts; /* of them */
	struct tls_store *tls;
	const struct tls_key *key;
	/* the round */
	uint32_t at;	/* server */
	uint32_t tried; /* so many in vain for this question */
	struct lookup *lookup;
	struct lookup_found found;
	uint32_t found_at;
	/* the connection */
	struct conn conn;
	struct buf_pool pool;
	struct http *http;
	bool up;   /* dialled, and not given up */
	bool used; /* it has answered before */
	uint64_t began_ns, heard_ns;
	uint64_t sign_number;
	bool sign_asked, sign_news;
	/* the question */
	bool asking;
	enum est_operation operation;
	char path[EST_LABEL_MAX + 64];
	char etag[160];
	char *request; /* body and authorization */
	struct str body, authorization;
	/* the answer */
	bool answered, heard;
	struct link_answer answer;
	char *text;
	size_t text_len, text_size;
	bool has_skew;
	int64_t skew_s;
};

/* --- link.c --- */

void link_move(struct link *l, enum link_state state);
/* This server is of no use for the question: the next address, the next server, or the end. */
void link_fail(struct link *l, const char *format, ...) PRINTF_LIKE(2, 3);
/* The connection ends, in its own time. */
void link_drop(struct link *l);
/* The socket of the connection before has ended. */
bool link_rid(struct link *l);
/* There is an answer: l->answer. `keep`: the connection may carry another question. */
void link_answered(struct link *l, bool keep);

/* --- link_dial.c --- */

struct str link_host(const struct link *l);
/* A step in one of these states. */
void link_find(struct link *l);
void link_connect(struct link *l);
/* The connection has failed, or was closed: why, in words. */
void link_fail_as_conn(struct link *l);

/* --- link_read.c --- */

/* Writes the question; false: does not fit. */
bool link_write(struct link *l) MUST_CHECK;
/* Takes in what has come. */
void link_read(struct link *l);
/* A text of a server's, made fit to be shown: its first line, printable, and short. */
const char *link_shown(struct str text, char shown[LINK_SHOWN_MAX + 1]);
