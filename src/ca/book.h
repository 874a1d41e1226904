/* SPDX-License-Identifier: Apache-2.0 */
/* The authority's settings and registration as they stand on disk: read, and the registration
 * rewritten. */
#pragma once

#include "conf/authority.h"
#include "folder.h"

/* -EINVAL: the first error of the file, "DIR/ca.conf:3: ...". */
int book_settings(const struct folder *f, struct conf_ca **ret_ca, struct err *err) MUST_CHECK;
/* Settings that are not on disk yet; errors say "<place>:3: ...". */
int book_check_settings(struct str text, const char *place, struct err *err) MUST_CHECK;
int book_registration(const struct folder *f, struct conf_registration **ret_registration,
	struct err *err) MUST_CHECK;

/* Registers a node if need be, and gives it identities ("orders", "service/orders"). How many were
 * new, the node itself counted too. The caller has the lock for this and the next. */
int book_allow(const struct folder *f, struct str node, const struct str *identities,
	uint32_t count, struct err *err) MUST_CHECK;
/* Takes identities away; none given: the node. How many were taken; -ENOENT: no such node. */
int book_forbid(const struct folder *f, struct str node, const struct str *identities,
	uint32_t count, struct err *err) MUST_CHECK;
