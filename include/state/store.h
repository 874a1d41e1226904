/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to the store of the mesh's state: Redis or Valkey, found directly or through
 * Sentinels, over TCP or TLS, with our own connections; hiredis reads and writes the protocol
 * (RESP2, redis.io/docs/reference/protocol-spec; the RESP3 of newer servers is not needed, and
 * Debian 12's hiredis does not read it).
 *
 * One that is lost is made anew by itself, at the next address, and after a round of all of them in
 * vain after a wait that grows with full jitter. It is READY only at a server that says it is a
 * primary (ROLE), after AUTH and SUBSCRIBE have succeeded. Commands are answered in order, each
 * exactly once: what had no answer when the connection went is answered with STORE_LOST. An answer
 * of READONLY, LOADING, MASTERDOWN or UNBLOCKED is handed on, and leads to another look for the
 * primary; every other error of the server (NOREPLICAS, OOM, MISCONF, NOPERM) is the caller's.
 *
 *     DOWN ── time ──▶ LOOKING (Sentinels only) ──▶ CONNECTING ──▶ GREETING ──▶ READY
 *      ▲                   │                            │              │          │
 *      └───────────────────┴──────── failed, timed out, closed by the peer ───────┘
 *       (the next address of the round at once, DOWN after the last one)
 *
 * Never calls its owner: the owner's task is made ready when there is news. Everything a server
 * sends is bounded: bytes, elements, nesting, answers and pushes not yet taken. */
#pragma once

#include "base/address.h"
#include "base/error.h"
#include "base/str.h"
#include "ring/loop.h"
#include "tls/tls.h"
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

enum store_state {
	STORE_DOWN,
	STORE_LOOKING,
	STORE_CONNECTING,
	STORE_GREETING,
	STORE_READY,
	STORE_CLOSING,
	STORE_CLOSED
};
const char *store_state_name(enum store_state s); /* "down" */

struct store_settings {
	const struct address *addresses; /* with ports; of Sentinels when `sentinel` is given */
	uint32_t address_count;
	struct str sentinel; /* the primary's name, or empty */
	struct str username, password;
	struct str sentinel_username, sentinel_password;
	struct tls_store *tls; /* NULL: plain. Made by tls_store_new_pki(); counted by the store */
	/* What the certificate of a server, or Sentinel, must name: a DNS name or an address.
	 * Empty: the address that is dialled. */
	struct str tls_name;
	/* Signs for the chain of `tls`; outlives the store. NULL: see store_sign(). */
	const struct tls_key *tls_key;
	/* For a connect with its handshake, for a Sentinel, and for each answer: so long without a
	 * byte of it, ten times as long in all. */
	uint32_t timeout_ms;
	uint32_t reply_bytes_max; /* of one reply, and of all that wait to be taken */
	/* Subscribed to while GREETING; such a connection is for listening only: no commands, what
	 * comes is taken with store_push(), and it asks PING by itself when nothing has come for a
	 * while. Empty: a connection for commands. */
	struct str channel;
	struct str client_name; /* CLIENT SETNAME: shown to the server's operator; or empty */
};

struct store;

/* Why a command has no reply of the server. */
enum store_failure {
	STORE_OK,
	STORE_LOST,    /* the connection went before the answer: it may have been carried out */
	STORE_REFUSED, /* an error reply; its text is in reply->str */
};
const char *store_failure_name(enum store_failure f); /* "lost" */

struct store_answer {
	uint64_t tag; /* as given to store_send() */
	enum store_failure failure;
	redisReply *reply; /* NULL when LOST. Valid until store_answer_done() */
	/* LOST: it was this one's answer that ended the connection, for it was too long, or none */
	bool is_unreadable;
};

/* `kind`: of the store's own task, chosen by the loop's owner, who calls store_step() for it.
 * `owner` gets the news. `settings` is copied. NULL: out of memory. It is DOWN, and begins to
 * connect at once. */
struct store *store_new(struct loop *loop, uint16_t kind, struct task *owner,
	const struct store_settings *settings);
struct task *store_task(struct store *s);
/* The store whose task this is. */
struct store *store_of(struct task *t);
void store_step(struct store *s);

enum store_state store_state(const struct store *s);
/* Why it is not READY: the failures of the last round in words, with their addresses; empty when it
 * is, or if there was none. Never holds a password. */
const char *store_why(const struct store *s);
/* How often all addresses were tried in vain. */
uint64_t store_rounds_in_vain(const struct store *s);
/* Where it is connected to, or tries to be. */
const struct address *store_address(const struct store *s);
/* Counts up with every time that it becomes READY: what was asked under an earlier number was asked
 * of another connection. 0: never yet. */
uint64_t store_life(const struct store *s);
/* The replication id that the primary of this life told (INFO replication), 40 characters; empty:
 * it did not say. */
struct str store_replication_id(const struct store *s);
/* Bytes both ways since store_new(). */
uint64_t store_bytes_in(const struct store *s);
uint64_t store_bytes_out(const struct store *s);

/* Queues a command; goes out with the others of this turn. False: not READY, one for listening, or
 * too much is queued already (1024 commands whose answers are not taken, or 16 MiB): try again
 * after an answer. */
bool store_send(struct store *s, uint64_t tag, const struct str *words, size_t word_count);
/* The same from words, at most 64, that end with NULL. */
bool store_say(struct store *s, uint64_t tag, const char *word, ...);

/* The oldest answer not yet taken; false: none. */
bool store_answer(struct store *s, struct store_answer *ret_answer);
void store_answer_done(struct store *s, struct store_answer *answer);
/* The oldest message of the channel that was subscribed to, or NULL: an array of three strings,
 * "message", the channel and what was said; freed by the caller with freeReplyObject(). More than
 * 1024 not taken: the connection is ended, for what was missed is then asked for anyway. */
redisReply *store_push(struct store *s);

/* What a handshake needs signed, which the owner has the keeper do: ECDSA_SECP256R1_SHA256 over the
 * unhashed bytes. */
struct store_sign {
	uint64_t number; /* to be given back: answers to questions of the past have no effect */
	const struct tls_sign_request *request; /* valid until the next call on the store */
};
/* True once for each question. */
bool store_sign(struct store *s, struct store_sign *ret_sign);
/* `len` 0: refused. */
void store_sign_done(struct store *s, uint64_t number, const uint8_t *signature, size_t len);

/* Ends this connection and looks for the primary again. */
void store_reconnect(struct store *s, const char *why);
/* For good. The task is made ready until CLOSED; then store_free(). Answers not taken are lost. */
void store_close(struct store *s);
void store_free(struct store *s);
