/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the TLS of the other processes would take what is to be kept or loaded: asked of the very
 * code that will load it. One item that it refuses would stand in the way of every plan, and what
 * an authority sends, or a disk has lost, may not do that. */
#pragma once

#include "base/error.h"
#include "base/str.h"

enum accept_kind { ACCEPT_ROOTS, ACCEPT_CRLS };

/* -EBADMSG: no, and err says why. */
int accept_trust(
	enum accept_kind kind, struct str trust_domain, struct str pem, struct err *err) MUST_CHECK;
/* A chain of an identity of that trust domain: a workload's, or of any kind that is kept, the
 * machine's own being used in another way. `roots`: anchors of the trust domain that are accepted.
 */
int accept_workload(struct str trust_domain, struct str identity, struct str chain,
	struct str roots, struct err *err) MUST_CHECK;
int accept_chain(struct str trust_domain, struct str identity, struct str chain, struct str roots,
	struct err *err) MUST_CHECK;
