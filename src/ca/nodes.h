/* SPDX-License-Identifier: Apache-2.0 */
/* What each machine has shown last, nodes/<name>: "anchors ETAG SINCE SEEN" and "crls ETAG SINCE
 * SEEN", lines. A machine is known to have anchors when it has shown their ETag: not before. */
#pragma once

#include "folder.h"

#define NODES_ETAG_MAX 72

struct nodes_shown {
	char etag[NODES_ETAG_MAX]; /* "": nothing yet */
	int64_t since_s, seen_s;   /* first and last time that it showed this */
};

struct nodes_row {
	struct nodes_shown anchors, crls;
};

/* All empty where there is none. */
void nodes_read(const struct folder *f, struct str node, struct nodes_row *ret_row);
/* Written only when it tells something new, or the last time is a minute ago. The caller has the
 * lock. */
int nodes_show(const struct folder *f, struct str node, bool is_crls, struct str etag,
	int64_t now_s, struct err *err) MUST_CHECK;
int nodes_forget(const struct folder *f, struct str node, struct err *err) MUST_CHECK;
