/* SPDX-License-Identifier: Apache-2.0 */
/* The query of /routes/explain and /authz/check. What is taken is a request as a proxy could see
 * it, or its path is said to be refused. */
#include "admin/page_question.h"
#include "base/assert.h"
#include "codec/http.h"
#include "mesh/policy.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void fuzz_is_text(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		ASSERT((unsigned char)text.at[i] >= ' ' && text.at[i] != 0x7f);
}

static bool fuzz_is_normal(struct str path)
{
	char *again = malloc(path.len + 1);
	size_t len;
	ASSERT(again);
	bool is_same = path_normalise(path, again, &len) && str_eq(path, (struct str){again, len});
	free(again);
	return is_same;
}

static void fuzz_token(const struct page_question *q)
{
	struct policy_token token;
	bool is_one = page_question_token(q, &token);
	ASSERT(is_one == (token.claim_count > 0) && token.claim_count <= PAGE_QUESTION_CLAIMS_MAX);
	for (uint32_t i = 0; i < token.claim_count; i++) {
		struct str name = token.claims[i].name;
		ASSERT(name.len > 0);
		fuzz_is_text(name);
		fuzz_is_text(token.claims[i].value);
		/* those of one name stand together */
		for (uint32_t k = i + 2; k < token.claim_count; k++)
			ASSERT(!str_eq(name, token.claims[k].name) ||
				str_eq(name, token.claims[k - 1].name));
	}
}

/* An identity, an address or nobody, but never many. */
static void fuzz_caller(struct page_question *q, const struct snapshot *s)
{
	struct err err = {0};
	if (!page_question_caller(q, s, &err))
		ASSERT(err.text[0] != '\0');
	else
		ASSERT(q->source_id.len == 0 || str_starts(q->source_id, STR("spiffe://")));
}

/* An authority in its own form; only a service's name, as which nothing is let through, is not. */
static bool fuzz_is_authority(const struct page_question *q)
{
	char *copy = malloc(q->host.len + 1);
	ASSERT(copy);
	memcpy(copy, q->host.at, q->host.len);
	struct str again = {copy, q->host.len};
	bool is_one =
		http_authority_normalise(&again) ? str_eq(again, q->host) : str_eq(q->host, q->to);
	free(copy);
	return is_one;
}

static void fuzz_request(struct page_question *q)
{
	struct snapshot snapshot = {.trust_domain = STR("prod.example")};
	struct err err = {0};
	map_init(&snapshot.services_by_name);
	fuzz_caller(q, &snapshot);
	struct route_request r = page_question_request(q, &snapshot);
	ASSERT(q->to.len > 0 && r.authority.len > 0 && !r.is_http);
	ASSERT(page_question_passes(q, &err) == !q->is_path_refused);
	ASSERT(q->is_path_refused ? err.text[0] != '\0' : fuzz_is_normal(r.path));
	ASSERT(r.path.len + r.query.len <= q->path.len);
	fuzz_is_text(r.method);
	fuzz_is_text(r.authority);
	ASSERT(fuzz_is_authority(q));
	for (uint32_t i = 0; i < r.header_count; i++) {
		ASSERT(q->headers[i].name.len > 0);
		fuzz_is_text(q->headers[i].name);
		fuzz_is_text(q->headers[i].value);
	}
	fuzz_token(q);
	map_done(&snapshot.services_by_name);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct page_question q;
	struct err err;
	char *copy = malloc(len ? len : 1); /* so that a byte too far is seen */
	ASSERT(copy);
	if (len)
		memcpy(copy, bytes, len);
	if (page_question_read(&q, (struct str){copy, len}, &err))
		fuzz_request(&q);
	else
		ASSERT(err.text[0] != '\0');
	page_question_done(&q);
	free(copy);
	return 0;
}
