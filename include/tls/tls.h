/* SPDX-License-Identifier: Apache-2.0 */
/* Plaintext ⇄ TLS 1.3 records in memory (BoringSSL's handshake and AEADs, records of our own; of
 * TLS 1.2, too, with servers outside of the mesh); the peer's SPIFFE identity out. No I/O, no clock
 * of its own, no private key: signatures are asked for and brought back by the caller.
 *
 * Two objects: a tls_store is one generation of this machine's identities and trust anchors,
 * immutable and shared by all threads; a tls is one connection's session on one worker. */
#pragma once

#include "base/assert.h"
#include "base/buf.h"
#include "base/bundle.h"
#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define TLS_ID_MAX	   2048	 /* bytes of a SPIFFE id, SPIFFE-ID 2.3 */
#define TLS_WIRE_BYTES_MIN 17408 /* one full record, its overhead and a KeyUpdate */

struct tls_store;
struct tls;

/* ALPN protocols between proxies. */
enum tls_alpn {
	TLS_ALPN_NONE,
	TLS_ALPN_TCP,	   /* ringmain-tcp/1 */
	TLS_ALPN_HTTP1,	   /* http/1.1 */
	TLS_ALPN_CHANNELS, /* ringmain-channels/1 */
	TLS_ALPN_CHECK,	   /* ringmain-check/1: nothing is carried, see tls_client_new_check() */
};

/* Why a handshake failed; the first reason found. One list: name, text. Identity rules are numbered
 * as in the X509-SVID specification, sections 3 to 5. */
#define TLS_FAILURE_LIST(X)                                                                       \
	X(NONE, "")                                                                               \
	X(PROTOCOL, "not TLS 1.3, or a malformed handshake")                                      \
	X(VERSION, "the server speaks neither TLS 1.3 nor 1.2")                                   \
	X(CLOSED, "the peer closed during the handshake")                                         \
	X(ALERT, "the peer refused our certificate or the handshake")                             \
	X(NO_IDENTITY, "this machine has no certificate for the workload")                        \
	X(UNKNOWN_NAME, "the requested name is no workload of this machine")                      \
	X(ALPN, "no application protocol in common")                                              \
	X(NO_CERTIFICATE, "the peer offered no certificate")                                      \
	X(CHAIN, "the chain does not lead to a trust anchor of its own trust domain")             \
	X(EXPIRED, "a certificate of the chain has expired")                                      \
	X(NOT_YET_VALID, "a certificate of the chain is not yet valid")                           \
	X(SAN_COUNT, "not exactly one URI SAN")                                                   \
	X(SAN_ID, "the URI SAN is no valid SPIFFE id of a workload")                              \
	X(TRUST_DOMAIN, "no trust anchors for the peer's trust domain")                           \
	X(CA_LEAF, "the leaf is a CA certificate")                                                \
	X(KEY_USAGE, "key usage missing, not critical, or not that of a leaf")                    \
	X(EXTENDED_KEY_USAGE, "extended key usage without both client and server authentication") \
	X(SUBJECT, "empty subject and the SAN is not critical")                                   \
	X(WEAK, "weak or unsupported key or signature algorithm")                                 \
	X(CHAIN_LENGTH, "chain too long or too large")                                            \
	X(UNEXPECTED_ID, "the server's id is not one that the destination service may have")      \
	X(NAME, "the server's certificate is for another name")                                   \
	X(REVOKED, "a certificate of the chain has been revoked")                                 \
	X(MACHINE, "a machine's or an authority's certificate, not a workload's")                 \
	X(REVOCATION_UNKNOWN, "the list of revoked certificates is missing or too old")           \
	X(SIGNATURE, "our own key could not sign")                                                \
	X(MEMORY, "out of memory")

enum tls_failure {
#define X(name, text) TLS_FAILURE_##name,
	TLS_FAILURE_LIST(X)
#undef X
};
const char *tls_failure_text(enum tls_failure failure);
const char *tls_failure_name(enum tls_failure failure); /* "SAN_COUNT" */

/* --- the store: control thread --- */

/* Builds a generation from a bundle's `chain`, `key`, `roots` and `crl` items for `trust_domain`. A
 * broken item is an error that names it; nothing is half built. `generation` numbers are never
 * reused. Trust anchors: per trust domain, chosen by the leaf's own domain. A certificate passes
 * ten seconds before it is valid, and not one after. Lists of revoked certificates count when they
 * are whole (no deltas, no distribution points) and signed by the issuer's key; of two the higher
 * number, and no number is less than any. */
int tls_store_new(const struct bundle *b, struct str trust_domain, uint64_t generation,
	struct tls_store **ret_store, struct err *err) MUST_CHECK;
/* The same, after `before` (NULL: none): what has not changed since then goes on. Trust domains
 * whose anchors and lists are the same texts keep what was verified against them, identities with
 * the same chain and the same anchors their sessions. */
int tls_store_renew(const struct tls_store *before, const struct bundle *b, struct str trust_domain,
	uint64_t generation, struct tls_store **ret_store, struct err *err) MUST_CHECK;
/* Builds one for servers outside of the mesh, which have DNS names or addresses in place of SPIFFE
 * ids, from a bundle's items of kind `pki`: the authorities that their certificates may be of, and
 * a chain of our own for a server that asks for one, signed for by key `pki-key` (P-256). For
 * tls_client_new_pki() only. */
int tls_store_new_pki(
	const struct bundle *b, struct tls_store **ret_store, struct err *err) MUST_CHECK;
/* The same from the PEM text of many authorities, as a system keeps them for all its programs: one
 * that cannot be used is left out, and *ret_left_out says how many were. `before`, when it is of
 * the same text (NULL: none), is shared. For tls_client_new_outside() only. */
int tls_store_new_outside(struct str pem, struct tls_store *before, struct tls_store **ret_store,
	uint32_t *ret_left_out, struct err *err) MUST_CHECK;
/* Builds one for the server side of an authority (EST): items `pki` "chain" (PEM, ours), `pki-key`
 * (its number in decimal, whatever its name) and the `roots` and `crl` of `trust_domain`, whose
 * machines may show a certificate. For tls_server_new_est() only. */
int tls_store_new_est(const struct bundle *b, struct str trust_domain, struct tls_store **ret_store,
	struct err *err) MUST_CHECK;
/* What a list of revoked certificates that is over its time means (RFC 5280 5.1.2.5): that the one
 * known last holds on (false, the default), or that nobody of that authority is let in (true), nor
 * of one without a list in a trust domain that has some. Who is in already stays. Before the first
 * session. A trust domain without any list has none to go by: nothing is revoked. */
void tls_store_refuse_stale_crls(struct tls_store *s, bool refuse);
/* No tickets are given, taken or kept; before the first session. */
void tls_store_resume_nothing(struct tls_store *s);
/* Whether it would be the same again if it were built from this. */
bool tls_store_made_of(const struct tls_store *s, const struct bundle *b, struct str trust_domain);
/* Whether a connection that `id` (a whole SPIFFE id) opened under one would be what it is under the
 * other, too: the same chain of ours, the same anchors and lists for the peer's. */
bool tls_store_same_for(const struct tls_store *a, const struct tls_store *b, struct str id);
/* Thread-safe counting; sessions hold a reference of their own. */
struct tls_store *tls_store_ref(struct tls_store *s);
void tls_store_unref(struct tls_store *s);

/* What an operator wants to know of one identity; false at the end of the list. */
struct tls_identity_view {
	struct str path;		   /* "service/orders" */
	struct str id;			   /* the whole SPIFFE id */
	int64_t not_before_s, not_after_s; /* wall time, seconds */
	char serial[64];
	uint32_t key_number;
};
bool tls_store_identity(
	const struct tls_store *s, size_t index, struct tls_identity_view *ret_view);
/* Whether this machine has a certificate for an identity path. */
bool tls_store_has_identity(const struct tls_store *s, struct str path);
/* Whether this machine could prove now (seconds of wall time) that it is this identity: what a peer
 * with the same anchors and lists of revoked certificates would say to its certificate, or
 * TLS_FAILURE_NO_IDENTITY. Any thread. */
enum tls_failure tls_store_prove(const struct tls_store *s, struct str path, int64_t wall_s);

/* --- a session --- */

/* What the far end must be and what we are, decided by the caller. */
struct tls_client_want {
	struct str identity;	/* our identity path; tickets and sessions never cross it */
	struct str server_name; /* SNI, at most 255 bytes */
	enum tls_alpn alpn;
	enum tls_alpn alpn_other;     /* will do, too; NONE: nothing else will */
	const struct str *server_ids; /* SPIFFE ids the server may have; copied */
	size_t server_id_count;
};

/* Client sessions for resumption, keyed by (our identity with its chain and the anchors, server
 * name, server ids). One per worker, and it outlives the worker's clients; bounded, oldest out
 * first; a newer generation that was not made after the one before (tls_store_renew) empties it.
 * NULL when memory is exhausted. */
struct tls_sessions;
struct tls_sessions *tls_sessions_new(uint32_t session_count_max);
void tls_sessions_free(struct tls_sessions *s);

/* NULL when memory is exhausted. `wire_out` is where records are appended: the connection's; its
 * blocks have at least TLS_WIRE_BYTES_MIN. Every call on the session, tls_read() included, may
 * append to it and move its bytes, so none of them while a send from it is in flight. An identity
 * that the store does not have is a failure of the handshake. `sessions` may be NULL: no
 * resumption. */
struct tls *tls_client_new(struct tls_store *s, struct tls_sessions *sessions,
	const struct tls_client_want *want, struct buf *wire_out);
/* The same for a server outside of the mesh. Its certificate must have `host` among its alternative
 * names (RFC 9525; the common name does not count): a DNS name, or an address in text form. It must
 * lead to one of the authorities, for servers, be valid now, with strong keys and signatures. */
struct tls *tls_client_new_pki(struct tls_store *s, struct str host, struct buf *wire_out);
/* The same for a service outside of the mesh that workloads call, with TLS 1.2 if it must be: with
 * ECDHE and an AEAD. `alpn` is offered, NONE: none is;
 * a server that knows nothing of it will do. It is judged at its handshake, once and for all:
 * tls_peer_again() has nothing against it, and its certificate ends no connection. */
struct tls *tls_client_new_outside(
	struct tls_store *s, struct str host, enum tls_alpn alpn, struct buf *wire_out);
/* Between workloads: machines' and authorities' certificates (spiffe_path_reserved) are refused. */
struct tls *tls_server_new(struct tls_store *s, struct buf *wire_out);
/* The first contact with an authority whose anchors are not known yet (RFC 7030 4.1.1): any server
 * certificate will do, so nothing secret may be sent and nothing that comes be believed before it
 * is proved otherwise (a fingerprint). `host` is the SNI when it is a DNS name. No certificate of
 * ours. */
struct tls *tls_client_new_provisional(struct str host, struct buf *wire_out);
/* Looks which certificate a server of the mesh shows for a name (SNI), whichever it is: any will
 * do, and tls_peer_serial() tells it. Offers TLS_ALPN_CHECK alone, so nothing can be carried. It
 * shows no certificate, and a server that wants one ends such a session with the client's last
 * message (TLS_FAILURE_NO_CERTIFICATE there); when the handshake is done here, the server has
 * proved that it has the key. NULL: out of memory, or too long a name. */
struct tls *tls_client_new_check(struct str server_name, struct buf *wire_out);
/* An authority's server: asks the client for a certificate and does without. One that is shown has
 * to be a good X509-SVID of the store's trust domain, whatever its path; it may have expired, its
 * issuer with it: that is for tls_peer_shown() to say and the caller to judge. A revoked one ends
 * the handshake; but a list need not name one for ever that has expired, which the authority knows
 * better than its list. No tickets; never TLS_NAME; http/1.1 or no protocol. TLS 1.3 only, as
 * everywhere: curl and openssl of any system of today speak it, an appliance with TLS 1.2 does not.
 */
struct tls *tls_server_new_est(struct tls_store *s, struct buf *wire_out);
enum tls_shown { TLS_SHOWN_NOTHING, TLS_SHOWN_GOOD, TLS_SHOWN_EXPIRED };
enum tls_shown tls_peer_shown(const struct tls *t);
/* Of the leaf that the peer has shown, hexadecimal, lower case; "" when none, and in sessions
 * between workloads. On a client as soon as the server's certificate has been verified. */
struct str tls_peer_serial(const struct tls *t);
void tls_free(struct tls *t);

/* Gives ciphertext to be read: the span stays the caller's and must stay valid until it is used up,
 * and its bytes are opened in place; tls_input_left() says how much of its end is still unused.
 * While some is left, only those very bytes may be given again, copied to another place. */
void tls_input(struct tls *t, uint8_t *bytes, size_t len);
size_t tls_input_left(const struct tls *t);
/* How many bytes to receive next, at most, so that the record after the one under way begins at
 * the start of an input: such a one is opened without being moved. */
size_t tls_input_wanted(const struct tls *t);
/* The transport has ended: reads then report a truncated stream (FAILED with TLS_FAILURE_CLOSED)
 * unless close_notify came. */
void tls_input_eof(struct tls *t);

enum tls_result {
	TLS_MORE, /* needs more input */
	TLS_FULL, /* wire_out has no room: flush, then call again (empty: its pool is exhausted) */
	TLS_NAME, /* server: the ClientHello is read; waits for tls_server_choose() */
	TLS_SIGN, /* waits for tls_sign_done() */
	TLS_DONE, /* handshake complete, or bytes read or written */
	TLS_CLOSED, /* the peer sent close_notify */
	TLS_FAILED, /* tls_failure() says why; an alert may stand in wire_out */
};
/* `wall_s`: wall time in seconds, for certificate dates. */
enum tls_result tls_handshake(struct tls *t, int64_t wall_s);
enum tls_failure tls_failure(const struct tls *t);
/* With TLS_FAILURE_ALERT: which one the peer sent (TLS AlertDescription), for logs. */
uint8_t tls_peer_alert(const struct tls *t);
/* With TLS_FAILURE_NAME: the names that the certificate has, for logs: "DNS:a.example,
 * IP:10.0.0.1".
 */
struct str tls_refused_names(const struct tls *t);

/* While TLS_NAME: read tls_server_name() (may be empty), then say which identity to serve it with
 * (STR_NONE refuses with unrecognized_name) and which protocols to take: one bit (1u << TLS_ALPN_x)
 * each, TLS_ALPN_NONE for a client that names none; no protocol in common ends the handshake. Then
 * call tls_handshake() again. */
void tls_server_choose(struct tls *t, struct str identity, uint32_t alpn_mask);

/* While TLS_SIGN: what the key must sign (ECDSA_SECP256R1_SHA256 over the unhashed bytes). */
struct tls_sign_request {
	uint32_t key_number;
	uint16_t algorithm; /* TLS SignatureScheme */
	const uint8_t *bytes;
	size_t len;
};
const struct tls_sign_request *tls_sign_request(const struct tls *t);
/* The answer; len 0 means it was refused. Then call tls_handshake() again. */
void tls_sign_done(struct tls *t, const uint8_t *signature, size_t len);

/* A private key in hand, for a command of an operator, on whose machine there need be no keeper. */
struct tls_key;
#define TLS_SIGNATURE_MAX 128
/* From PEM, P-256, without a password; it must be that of the store's own chain
 * (tls_store_new_pki, tls_store_new_est). */
int tls_key_new(struct str pem, const struct tls_store *s, struct tls_key **ret_key,
	struct err *err) MUST_CHECK;
void tls_key_free(struct tls_key *k);
/* What tls_sign_done() wants; the length, 0 when it cannot. */
size_t tls_key_sign(const struct tls_key *k, const struct tls_sign_request *request,
	uint8_t ret_signature[TLS_SIGNATURE_MAX]);

/* After the handshake. Valid until tls_free(). */
struct str tls_peer_id(const struct tls *t);	  /* SPIFFE id */
struct str tls_own_identity(const struct tls *t); /* our identity path in it; empty: none */
struct str tls_server_name(const struct tls *t);  /* SNI, either side */
enum tls_alpn tls_alpn(const struct tls *t);	  /* a server's, also of a handshake that failed */
/* The earliest end of validity in the peer's verified path. */
int64_t tls_peer_not_after_s(const struct tls *t);
/* Whether the peer's chain leads to an anchor of the generation `now`, too, and nothing of it has
 * been revoked. Its end of validity is another question: a chain that has expired is judged as of
 * its last second. */
enum tls_failure tls_peer_again(const struct tls *t, const struct tls_store *now, int64_t wall_s);
bool tls_resumed(const struct tls *t);

/* Opens the next record where it stands: DONE when tls_plain() has its bytes, which stay there
 * until they are taken; as long as some are, nothing more is opened. When tls_input_several() says
 * that the input holds more than one whole record, tls_read() is better: it joins them. */
bool tls_input_several(const struct tls *t);
enum tls_result tls_open(struct tls *t);
size_t tls_plain(const struct tls *t, const uint8_t **ret_bytes);
void tls_plain_take(struct tls *t, size_t len);
/* Reads plaintext into `out`, that of tls_plain() first, as long as there is room and input. DONE:
 * out got something; FULL: it has no room. CLOSED and FAILED are told at once, and out may have got
 * the bytes before the end. Either of the two: FULL also when a record spans inputs and the pool of
 * wire_out has no block for it. */
enum tls_result tls_read(struct tls *t, struct buf *out);
/* Seals as many of the bytes as there is room for in wire_out; *ret_used says how many. DONE when
 * that is more than none; FULL: flush, then call again. */
enum tls_result tls_write(struct tls *t, const uint8_t *bytes, size_t len, size_t *ret_used);
/* Appends close_notify once; FULL when there is no room. Reading goes on until the peer's;
 * writing is possible after TLS_CLOSED, until this. */
enum tls_result tls_close_notify(struct tls *t);
