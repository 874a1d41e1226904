/* SPDX-License-Identifier: Apache-2.0 */
/* What policy says of a request that is asked about, as the service's own machines would say it. */
#pragma once

#include "page.h"
#include "page_question.h"

/* What refuses a request before any rule is asked. */
enum page_barrier {
	PAGE_BARRIER_NONE,
	PAGE_BARRIER_PATH, /* it has no normal form */
	PAGE_BARRIER_MTLS, /* plain text, where mutual TLS is wanted */
	PAGE_BARRIER_HTTP, /* opaque bytes, where a rule asks for what they do not have */
};

struct page_judgement {
	const struct snapshot *snapshot;
	const struct service *service;
	struct policy_request request; /* its caller as the service's machine sees it */
	struct route_request http;
	struct policy_token token;
	struct policy_verdict verdict;
	enum page_barrier barrier;
	const struct policy *needs_http; /* HTTP: the rule */
	bool allowed;			 /* in the end */
};
/* `q` is read, and its caller known. It must outlive the judgement. */
void page_judge(const struct snapshot *s, const struct service *service,
	const struct page_question *q, struct page_judgement *ret);
/* The verdict, and all rules with their part in it, as members of the open object. */
void page_put_judgement(struct json *j, const struct page_judgement *judgement);
/* The rule, or which default, as two members of the open object. */
void page_put_decider(struct json *j, const char *key, const char *where_key,
	const struct policy *p, enum policy_default by);
