/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a tls: its states, and what only its handshake needs. */
#pragma once

#include "record.h"
#include "sessions.h"
#include "store.h"
#include "verify.h"

/*  server: HELLO ─ ClientHello read ─▶ NAME ─ chosen ─▶ HANDSHAKE ◀─▶ SIGN
 *  client: HELLO ─ session offered ──────────────────▶ HANDSHAKE ◀─▶ SIGN
 *                                                      HANDSHAKE ──▶ OPEN ─ close_notify ─▶ CLOSED
 *  (CLOSED is the incoming half; the outgoing one ends with tls_close_notify().)
 *  from anywhere: FAILED, which is final.
 *  NAME waits for tls_server_choose(), SIGN for tls_sign_done(); the others for bytes or room. */
enum tls_state {
	TLS_STATE_HELLO,
	TLS_STATE_NAME,
	TLS_STATE_HANDSHAKE,
	TLS_STATE_SIGN,
	TLS_STATE_OPEN,
	TLS_STATE_CLOSED,
	TLS_STATE_FAILED,
};

#define HANDSHAKE_SIGN_BYTES_MAX      256
#define HANDSHAKE_SIGNATURE_BYTES_MAX 128

/* What only the handshake needs; freed when it is done. */
struct handshake_setup {
	int64_t wall_s;
	struct str *server_ids; /* a client's; the texts follow in the same block */
	size_t server_id_count;
	uint32_t alpn_mask; /* a server's */
	bool alpn_offered;
	enum tls_alpn alpn_other; /* a client's second choice */
	bool is_outside; /* a client of a service that workloads call: no protocol will do, too */
	char *host;	 /* what a server outside of the mesh must be called */
	char *refused_names;
	struct tls_sign_request sign;
	uint8_t sign_bytes[HANDSHAKE_SIGN_BYTES_MAX];
	bool signature_came;
	uint8_t signature[HANDSHAKE_SIGNATURE_BYTES_MAX];
	size_t signature_len;
};

struct message_part;

struct tls {
	enum tls_state state;
	enum tls_failure failure;
	enum tls_alpn alpn;
	bool server, resumed, input_eof, close_sent;
	bool update_owed; /* the peer asked for a new key of ours */
	uint8_t peer_alert;
	uint8_t silent_count; /* records without a byte for the caller, in a row */
	/* NULL when it has no more to do: a server's with the handshake, a client's when the first
	 * bytes have come, behind which no ticket is taken. */
	SSL *ssl;
	struct tls_store *store;
	const struct tls_identity *identity; /* NULL until a server has chosen */
	struct buf *wire_out;
	uint8_t *input;
	size_t input_len;
	struct buf carry; /* a record that spans inputs; held only while there is one */
	uint8_t *plain;	  /* opened in place, in the input or in `carry`, and not yet taken */
	size_t plain_len;
	struct message_part *part; /* of a handshake message that spans records */
	uint8_t *ticket;	   /* a server's, sealed: it leaves before our first record */
	size_t ticket_start, ticket_len;
	struct handshake_setup *setup; /* NULL after the handshake */
	char *server_name;
	STACK_OF(CRYPTO_BUFFER) * chain; /* the peer's, after the handshake */
	struct verify_peer peer;
	char *peer_serial;	       /* NULL: none was shown, or it is a workload's */
	enum tls_shown shown;	       /* to an authority */
	struct tls_sessions *sessions; /* a client's */
	struct sessions_key session_key;
	uint32_t records_left;		    /* until the sending key is changed */
	struct record_key reading, writing; /* after the handshake */
};

/* How many records one key may seal. AES-GCM allows 2^24.5 (RFC 8446, 5.5). */
#define TLS_RECORDS_PER_KEY (1u << 23)

/* Shows an identity's chain; false: out of memory. */
bool handshake_present(struct tls *t, const struct tls_identity *identity) MUST_CHECK;
/* A client's name of the server, and protocols; false: out of memory. */
bool handshake_offer(struct tls *t, const struct tls_client_want *want) MUST_CHECK;
/* The protocols alone. */
bool handshake_offer_alpn(struct tls *t, enum tls_alpn alpn, enum tls_alpn other) MUST_CHECK;
/* When the handshake is done. */
void handshake_setup_free(struct tls *t);
void handshake_install_client(SSL_CTX *client);
void handshake_install_server(SSL_CTX *server);

/* The only writer of the state. */
void tls_move(struct tls *t, enum tls_state to);
/* Keeps the first reason. */
void tls_fail(struct tls *t, enum tls_failure failure);
/* The result of an SSL call that did not succeed (its return value is `r`). */
enum tls_result tls_result_of(struct tls *t, int r);
/* Before a record of ours goes out: the ticket goes first. False: it has no room. */
bool handshake_send_ticket(struct tls *t) MUST_CHECK;
/* Gives up what the library keeps. */
void handshake_let_go(struct tls *t);
/* Takes a client's session over. */
void handshake_keep_ticket(struct tls *t, SSL_SESSION *session);
