/* SPDX-License-Identifier: Apache-2.0 */
/* What an authority's answer is worth: read and checked against what was asked for, before it goes
 * to the keeper. All X.509 of this room. Pure; texts made here are the caller's: free(at). */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define JUDGE_CHAIN_MAX 8 /* certificates: what a handshake takes */

/* --- certificates --- */

enum judge_verdict {
	JUDGE_GOOD,
	JUDGE_BAD,	 /* not what was asked for */
	JUDGE_UNTRUSTED, /* does not lead to an anchor that we have: there may be new ones */
	JUDGE_NOT_YET,	 /* valid later */
	JUDGE_OVER,	 /* no longer valid */
};

struct judge_view {
	int64_t from_s, until_s;
	char serial[64]; /* hexadecimal, lower case */
};
/* The first certificate of a chain. False: none that can be read. */
bool judge_view(struct str pem, struct judge_view *ret_view);

struct judge_want {
	struct str id;		  /* the whole SPIFFE id */
	struct str request;	  /* DER of the request: whose key it must be for */
	struct str anchors;	  /* PEM; empty: nothing leads to an anchor */
	struct str intermediates; /* PEM that may complete the chain; may be empty */
	int64_t now_s;
};
/* `pem`: the answer, in any order. *ret_chain: leaf first, then what leads to the anchor without
 * the anchor, then what else was sent that is no anchor (it may lead to anchors that others have
 * still). On anything but GOOD, err says why; NOT_YET and OVER fill the view, too. */
enum judge_verdict judge_answer(const struct judge_want *want, struct str pem,
	struct str *ret_chain, struct judge_view *ret_view, struct err *err) MUST_CHECK;
/* Whether a chain leads to one of these anchors, whatever the time. */
bool judge_leads(struct str chain, struct str anchors, struct str intermediates);

/* --- anchors --- */

/* Parts an answer to "cacerts" into anchors (what signs itself) and others. -EBADMSG: no anchor, or
 * one that our TLS would not take. */
int judge_anchors(struct str pem, struct str trust_domain, struct str *ret_anchors,
	struct str *ret_others, struct err *err) MUST_CHECK;
/* The earliest beginning and the latest end of those in a text. */
bool judge_anchors_view(struct str pem, struct judge_view *ret_view);
/* The same certificates, or the same CRLs, in any order. */
bool judge_same(struct str a, struct str b);

/* `fingerprint`: SHA-256 of DER in hexadecimal, with colons or without, either case. *ret_anchor is
 * the self-signed certificate of that fingerprint, as PEM; -ENOENT: none, and err lists those that
 * there are. -EINVAL: no fingerprint. */
int judge_fingerprint(
	struct str pem, struct str fingerprint, struct str *ret_anchor, struct err *err) MUST_CHECK;

/* --- CRLs --- */

/* Whether the first certificate of a chain stands in a list that bears its issuer's name. */
bool judge_revoked(struct str chain, struct str crls);

struct judge_lists {
	bool is_older;	 /* one that came is older than what is in force, which stays */
	bool is_stale;	 /* the time of one of the result is over */
	int64_t until_s; /* the earliest end in the result; 0: none */
};
/* What is to be in force after `pem` has come: of each authority the list with the higher number.
 * One that bears the name of an authority of ours (PEM) and is not signed by it is -EBADMSG, and
 * nothing is taken. One of an authority that we do not know is taken: of an issuer that has just
 * begun, or of a sister of ours; a handshake believes it only if it is signed by the issuer that is
 * being judged. One that is in force and did not come stays as long as its authority is there. */
int judge_crls(struct str pem, struct str in_force, struct str authorities, int64_t now_s,
	struct str *ret_pem, struct judge_lists *ret_lists, struct err *err) MUST_CHECK;
