/* SPDX-License-Identifier: Apache-2.0 */
/* The service that a page is asked about. */
#pragma once

#include "base/arena.h"
#include "mesh/snapshot.h"
#include "page.h"

/* The one whose name is most like this one; empty: none is. */
struct str page_service_like(const struct snapshot *s, struct str name);
/* Whether a workload of this machine serves it, though the mesh knows no endpoint of it. */
bool page_service_is_here(const struct snapshot *s, const struct service *service);
/* 404. */
void page_no_service(struct page_response *response, const struct snapshot *s, struct str name);
/* By "?service=NAME" of a page's path, with *ret_service NULL without a query. False: it is another
 * query, or there is no such service, and that is the answer. */
bool page_service_asked(struct page_response *response, const struct snapshot *s, struct str path,
	const struct service **ret_service) MUST_CHECK;
