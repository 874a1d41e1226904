/* SPDX-License-Identifier: Apache-2.0 */
/* One question to all workers, and what they have answered so far. */
#pragma once

#include "proxy/proxy.h"
#include "proxy/report.h"

struct reports {
	uint32_t count;	       /* of workers */
	struct report **of;    /* by worker; NULL: it has not answered */
	struct report **asked; /* the same, of those that have it now, or are to get it */
	bool *is_given;
};

/* About services, or about the request of this id (empty: of none). NULL: out of memory. */
struct reports *reports_new(
	const struct proxy *p, const struct str *services, uint32_t service_count, struct str id);
/* Has them tell what they have let in besides. False: out of memory. */
bool reports_want_seen(struct reports *r) MUST_CHECK;
/* Asks who was not asked, takes what is there. True: all have answered. */
bool reports_look(struct reports *r, const struct proxy *p);
uint32_t reports_answered(const struct reports *r);
/* What has not come is not waited for. */
void reports_free(struct reports *r);
