/* SPDX-License-Identifier: Apache-2.0 */
/* A request that is not made but asked about: the query of /routes/explain and /authz/check. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "mesh/policy.h"
#include "mesh/route.h"

#define PAGE_QUESTION_HEADERS_MAX 64
#define PAGE_QUESTION_CLAIMS_MAX  64

struct page_question {
	struct arena arena;
	struct str from, to;
	struct str path; /* with its query, in normal form; as it was asked if that is refused */
	struct str asked_path; /* as it was asked */
	bool is_path_refused;  /* no proxy lets it through */
	bool is_tcp;
	struct route_header headers[PAGE_QUESTION_HEADERS_MAX];
	uint32_t header_count;
	struct str method, host;
	uint16_t port;	       /* 0: not said */
	struct address client; /* family 0: not said */
	struct policy_claim claims[PAGE_QUESTION_CLAIMS_MAX];
	uint32_t claim_count;
	struct str issuer;    /* of the token */
	struct str source_id; /* page_question_caller() */
	bool is_undeclared;   /* its service has no object: it is taken for the one of that name */
	bool is_neighbour;    /* on the service's own machine, which knows it without mutual TLS */
};

/* From what stands behind the '?' of the page's path: names and percent-encoded values. False: what
 * is wrong is said. page_question_done() is due in any case. */
bool page_question_read(struct page_question *q, struct str query, struct err *err) MUST_CHECK;
void page_question_done(struct page_question *q);
/* Finds out who `from` is: an identity, or the address of somebody without one. False: many, or
 * nobody; it is said. */
bool page_question_caller(
	struct page_question *q, const struct snapshot *s, struct err *err) MUST_CHECK;
/* False: the path is none that a proxy lets through, and that is said. */
bool page_question_passes(const struct page_question *q, struct err *err) MUST_CHECK;
/* As the data path would see it. */
struct route_request page_question_request(const struct page_question *q, const struct snapshot *s);
/* The token that the claims are of. False: there is none. */
bool page_question_token(const struct page_question *q, struct policy_token *ret_token);

/* Takes what is before `end`, or all, off the front. */
struct str page_cut(struct str *text, char end);
/* Plain text of percent-encoded one; at NULL: it is none. */
struct str page_decode(struct arena *a, struct str text);
/* What stands behind the '?' of a page's path; empty: nothing. */
struct str page_query(struct str path);
