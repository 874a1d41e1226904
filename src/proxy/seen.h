/* SPDX-License-Identifier: Apache-2.0 */
/* What one worker has let in, counted: a table of fixed size, in which what is usual has a place of
 * its own and what is not shares one. */
#pragma once

#include "base/address.h"
#include "mesh/route.h"
#include "proxy/seen_view.h"

struct seen;

/* NULL: out of memory. */
struct seen *seen_new(uint64_t wall_ns);
void seen_free(struct seen *seen);

struct seen_call {
	struct str source_id;	      /* empty: none */
	const struct address *client; /* for a caller without identity */
	struct str service;
	uint16_t port;
	const struct route_request *http; /* as policy saw it; NULL: opaque bytes */
};
void seen_add(struct seen *seen, const struct seen_call *call);
void seen_look(const struct seen *seen, struct seen_view *ret_view);
