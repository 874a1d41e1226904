/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps this machine's certificates fresh: asks the authority (EST) for each of its identities
 * before the one in force ends, for the anchors and for the CRLs. Runs in the state process, on its
 * loop. It has no key: requests come from the keeper, and answers go there, checked.
 *
 * One connection to one authority at a time, one request after the other on it: what is due first
 * goes first. Beside that it looks again and again which certificates the mesh port of this machine
 * really serves (a handshake over loopback, tls_client_new_check()), a while after each renewal and
 * then every conf->authority.refresh_ms. When each certificate is due, and how long to wait after a
 * failure, is enroll/schedule.h. */
#pragma once

#include "base/bundle.h"
#include "base/error.h"
#include "conf/conf.h"
#include "ring/loop.h"
#include <stdbool.h>
#include <stdint.h>

struct enroll;

#define ENROLL_KINDS 4 /* task kinds that the room takes, from kind_first on, a multiple of it */

/* `b`: kinds conf, chain, roots, crl, est and est-key (base/bundle.h) of the state process's
 * bundle; copied from. `owner` is made ready when there is news. */
int enroll_new(struct loop *loop, uint16_t kind_first, struct task *owner, const struct conf *conf,
	const struct bundle *b, struct enroll **ret_enroll, struct err *err) MUST_CHECK;
void enroll_step(struct task *t);
/* What is in force now: new certificates, anchors or configuration. On an error nothing has
 * changed. This is how it learns that something it handed over has been taken everywhere. */
int enroll_configure(struct enroll *e, const struct conf *conf, const struct bundle *b,
	struct err *err) MUST_CHECK;

/* What the keeper is asked for, one thing at a time: after every enroll_step(), until false. The
 * texts are valid until the next call. */
enum enroll_ask_kind {
	ENROLL_ASK_REQUEST,	/* a PKCS#10 request for `identity`; answer: enroll_request() */
	ENROLL_ASK_CERTIFICATE, /* take `text` (PEM chain) for `identity`; answer: enroll_kept() */
	ENROLL_ASK_TRUST, /* take `text` (PEM anchors) and `crls` for the trust domain `identity`;
			     answer: enroll_kept() */
};
struct enroll_ask {
	enum enroll_ask_kind kind;
	struct str identity; /* a path ("service/orders", "node/vm-a"), or a trust domain */
	struct str text, crls;
};
bool enroll_ask(struct enroll *e, struct enroll_ask *ret_ask);
/* DER; empty: the keeper cannot, and `why` says why. */
void enroll_request(struct enroll *e, struct str identity, struct str der, const char *why);
/* `why` "": it is on disk, and will be in force soon. */
void enroll_kept(struct enroll *e, struct str identity, const char *why);

/* What a handshake with the authority needs signed (key `est-key`), as sync_sign() (state/sync.h).
 */
struct enroll_sign {
	uint64_t number;
	uint32_t key_number;
	uint16_t algorithm;
	const uint8_t *bytes;
	size_t len;
};
bool enroll_sign(struct enroll *e, struct enroll_sign *ret_sign);
void enroll_sign_done(struct enroll *e, uint64_t number, const uint8_t *signature, size_t len);

/* How it stands with one identity, or one trust domain's anchors. */
enum enroll_state {
	ENROLL_MISSING, /* never had one, asking */
	ENROLL_FRESH,	/* in force, not due yet */
	ENROLL_DUE,	/* in force, the next is being asked for */
	ENROLL_FAILING, /* in force, and the last try to get the next failed */
	ENROLL_ENDING,	/* the same, and little time is left: see schedule.h */
	ENROLL_EXPIRED, /* over */
	ENROLL_REVOKED, /* in force, and its authority has withdrawn it: peers refuse it */
	ENROLL_STATES
};
struct enroll_row {
	struct str identity; /* path, or trust domain for anchors */
	bool is_trust;
	enum enroll_state state;
	int64_t not_before_s, not_after_s;    /* of the one in force, wall time; 0: none */
	int64_t next_s;			      /* when it is tried next, wall time */
	uint32_t renewed_count, failed_count; /* since this process began; failures in a row */
	char serial[64];		      /* hexadecimal, of the one in force */
	/* Of the one that the mesh port really serves, when that has been another for half a minute
	 * (a quarter of its life when that is shorter), as somebody's that serves; "" else. */
	char served_serial[64];
	char why[160]; /* the last failure, or why it is not known what is served; "" */
};
/* False at the end. */
bool enroll_row(const struct enroll *e, uint32_t index, struct enroll_row *ret_row);
/* Our clock minus the authority's, seconds; 0: not known. */
int64_t enroll_skew_s(const struct enroll *e);

/* Ends everything; enroll_idle() tells when it has. */
void enroll_close(struct enroll *e);
bool enroll_idle(const struct enroll *e);
void enroll_free(struct enroll *e);

/* `ringmain join`: the first certificate of this machine. Exit status 0, 1, 2. Blocks. */
int enroll_join_main(int argc, char **argv);
