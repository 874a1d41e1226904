/* SPDX-License-Identifier: Apache-2.0 */
/* Policies in words and as JSON, with the names of the configuration's keys. */
#pragma once

#include "mesh/policy_explain.h"
#include "page_words.h"

const char *page_action_name(enum policy_action action);
const char *page_mode_name(enum policy_mode mode);	 /* "enforce", "audit" */
const char *page_default_name(enum policy_default by);	 /* "mesh", "deny", "authenticated" */
const char *page_mesh_default(const struct snapshot *s); /* "authenticated" or "deny" */
/* The configuration's key that a default is written in. */
const char *page_default_where(enum policy_default by);

/* "methods GET or PUT", "not_paths /a/x", "header x exact "y"". */
void page_say_policy_condition(struct page_words *w, const struct policy *p,
	enum policy_condition condition, uint32_t index);
/* What the request has in that place. Empty: nothing. */
void page_say_policy_fact(struct page_words *w, const struct policy_request *request,
	const struct policy *p, enum policy_condition condition, uint32_t index);
const char *page_condition_name(enum policy_condition condition); /* "not_paths" */

/* All conditions but `from` and `not_from`, as a list of texts. */
void page_put_policy_conditions(struct json *j, const char *key, const struct policy *p);
/* Why it closes its services, where it could not be read. */
void page_put_fault(struct json *j, const struct policy *p);
/* The whole rule, as a member of an array. */
void page_put_policy(struct json *j, const struct policy *p);
/* The entries of `from`, as they are written: those of one service once. */
void page_put_sources(
	struct json *j, const char *key, const struct source *sources, uint32_t count);
