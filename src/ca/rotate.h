/* SPDX-License-Identifier: Apache-2.0 */
/* Changing the issuer, or the root and with it the issuer, in steps that overlap:
 *
 *   publish    next-issuer.* (and next-root.crt) are made; the next root is published beside the
 *              one in force
 *   activate   the next issuer signs; the one before stays in old/ for its revocation lists
 *   retire     the old root is published no longer, the old issuer's key is gone
 *   abort      instead of activate: everything as before
 *
 * The file `rotation`, "PHASE KIND SINCE", says what is the case, and is written before anything is
 * done for it: rotate_settle() then makes the other files agree, however often it begins anew. */
#pragma once

#include "folder.h"
#include <stdint.h>

#define ROTATE_PHASE_LIST(X)                                      \
	X(NONE, "none") /* no rotation */                         \
	X(PUBLISHED, "published")                                 \
	X(ACTIVATING, "activating") /* files are being changed */ \
	X(ACTIVATED, "activated")                                 \
	X(RETIRING, "retiring")                                   \
	X(ABORTING, "aborting")

enum rotate_phase {
#define X(name, text) ROTATE_##name,
	ROTATE_PHASE_LIST(X)
#undef X
};
enum rotate_kind { ROTATE_ISSUER, ROTATE_ROOT };

struct rotation {
	enum rotate_phase phase;
	enum rotate_kind kind;
	int64_t since_s;
};

const char *rotate_phase_text(enum rotate_phase phase);
int rotate_read(const struct folder *f, struct rotation *ret_rotation, struct err *err) MUST_CHECK;
/* Files to what `rotation` says. For this and all below the caller has the lock. */
int rotate_settle(const struct folder *f, struct err *err) MUST_CHECK;

/* What is wanted of a new issuer or root. */
struct rotate_order {
	enum rotate_kind kind;
	const char *root_dir; /* where the root's key is, and a new one goes */
	int64_t now_s, root_lifetime_s, issuer_lifetime_s;
};
/* The steps, without asking whether nodes lag. -EBUSY: not the step that comes next. */
int rotate_publish(
	const struct folder *f, const struct rotate_order *o, struct err *err) MUST_CHECK;
/* For an issuer below somebody else's root, instead of rotate_publish(): next-issuer.csr, and the
 * taking of what came of it (a file of PEM, the issuer first). */
int rotate_request(const struct folder *f, struct err *err) MUST_CHECK;
int rotate_install(
	const struct folder *f, const char *chain, int64_t now_s, struct err *err) MUST_CHECK;
int rotate_step(const struct folder *f, enum rotate_phase from, enum rotate_phase to, int64_t now_s,
	struct err *err) MUST_CHECK;
