/* SPDX-License-Identifier: Apache-2.0 */
/* Asks an authority's servers over EST (RFC 7030): one question at a time, on one connection that
 * stays open for a while. A server that cannot be reached, or does not answer, is followed by the
 * next one, the first being drawn by lot; the question has failed when all of them have.
 *
 *     IDLE ──ask──▶ FINDING ──address──▶ CONNECTING ──TLS──▶ ASKING ──answer──▶ OPEN ──ask──▶
 * ASKING ▲               ▲  next server ────────┴─────────────────┘                 │
 *      └───────────────┴──── all of them in vain; unused, or closed by the server ┘
 *
 * A question on a connection that turns out to have been closed is asked again on another: both the
 * questions for lists and the requests (same key, same answer) may be.
 *
 * Never calls its owner, whose task is made ready when there is news. */
#pragma once

#include "base/str.h"
#include "enroll/enroll.h"
#include "est/est.h"
#include "tls/tls.h"

#define LINK_TIMEOUT_MS	   10000 /* for a connect with its handshake; for each byte of an answer */
#define LINK_ANSWER_MS_MAX 60000 /* for all of it */
#define LINK_IDLE_MS	   20000
#define LINK_SERVERS_MAX   16
#define LINK_WHY_MAX	   512

struct link;

struct link_question {
	enum est_operation operation;
	struct str label;
	struct str body;	  /* POST: base64 */
	struct str etag;	  /* GET: If-None-Match; empty: none */
	struct str authorization; /* empty: none */
};

enum link_outcome {
	LINK_ANSWERED,	/* `body` has it, of the right media type */
	LINK_UNCHANGED, /* what the ETag stands for still holds */
	LINK_ABSENT,	/* the server has no such thing */
	LINK_LATER,	/* not yet, or too much to do: after retry_after_s */
	LINK_REFUSED,	/* with `status` */
	LINK_FAILED,	/* no answer, or none that can be used */
};
struct link_answer {
	enum link_outcome outcome;
	uint16_t status;	/* 0: FAILED without one */
	struct str body;	/* base64; valid until the next question */
	char etag[160];		/* "" when there is none, or a longer one */
	uint32_t retry_after_s; /* 0: not said */
	char why[LINK_WHY_MAX]; /* unless ANSWERED or UNCHANGED: for people, printable */
};

/* `tls` NULL: any server will do, see tls_client_new_provisional(); counted otherwise. Texts are
 * copied. At least one server, LINK_SERVERS_MAX at most: more are not asked. */
struct link_settings {
	const struct str *servers; /* "host:port" */
	uint32_t server_count;
	struct tls_store *tls;
	/* Signs for us; outlives the link. NULL: link_sign(). */
	const struct tls_key *key;
};
/* NULL: out of memory. */
struct link *link_new(
	struct loop *loop, uint16_t kind, struct task *owner, const struct link_settings *settings);
/* From the next connection on; one that is not in use is closed. On false, out of memory, nothing
 * has changed. */
bool link_configure(struct link *l, const struct link_settings *settings) MUST_CHECK;
struct task *link_task(struct link *l);
void link_step(struct task *t);

/* The link must have no question. Texts are copied. False: it does not fit, or no memory. */
bool link_ask(struct link *l, const struct link_question *question) MUST_CHECK;
bool link_asking(const struct link *l);
/* True once for each question. */
bool link_answer(struct link *l, struct link_answer *ret_answer);
/* Gives the question up. */
void link_forget(struct link *l);

/* Our clock minus the authority's as of its last answer, seconds; false: not known. */
bool link_skew(const struct link *l, int64_t *ret_skew_s);

/* As store_sign() (state/store.h). */
struct link_sign {
	uint64_t number;
	const struct tls_sign_request *request;
};
bool link_sign(struct link *l, struct link_sign *ret_sign);
void link_sign_done(struct link *l, uint64_t number, const uint8_t *signature, size_t len);

void link_close(struct link *l);
bool link_closed(const struct link *l);
void link_free(struct link *l);
