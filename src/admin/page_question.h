/* SPDX-License-Identifier: Apache-2.0 */
/* A request that is not made but asked about: the query of /routes/explain. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "mesh/route.h"

#define PAGE_QUESTION_HEADERS_MAX 64

struct page_question {
	struct arena arena;
	struct str from, to, path; /* the path with its query, in normal form */
	bool is_tcp;
	struct route_header headers[PAGE_QUESTION_HEADERS_MAX];
	uint32_t header_count;
	struct str method, host;
};

/* From what stands behind the '?' of the page's path: names and percent-encoded values. False: what
 * is wrong is said. page_question_done() is due in any case. */
bool page_question_read(struct page_question *q, struct str query, struct err *err) MUST_CHECK;
void page_question_done(struct page_question *q);
/* As the data path would see it. */
struct route_request page_question_request(
	const struct page_question *q, const struct snapshot *s, struct str source_id);
