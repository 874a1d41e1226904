/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of policy: one rule, and how rules that match are weighed. */
#pragma once

#include "mesh/policy.h"

enum policy_truth { POLICY_FALSE, POLICY_UNKNOWN, POLICY_TRUE };

/* Of a deny rule without `from`. */
#define POLICY_RANK_GUARD UINT32_MAX

/* Whether its `from` names the caller, and how exactly. */
enum policy_truth policy_ask_from(
	const struct policy *p, const struct policy_request *request, uint32_t *ret_rank);
/* All of it: what cannot be known matches a rule that denies or notes, and none that allows. */
bool policy_matches(
	const struct policy *p, const struct policy_request *request, uint32_t *ret_rank);

/* The most exact rule so far. */
struct policy_weighing {
	const struct policy *policy;
	uint32_t rank;
	bool has_allow; /* the service has an allow rule, whoever it is for */
};
struct policy_weighed {
	struct policy_weighing enforced, whole; /* without those that are audited, and with them */
	const struct policy *noted;
};
void policy_weigh(struct policy_weighing *w, const struct policy *p, uint32_t rank);
struct policy_verdict policy_conclude(const struct snapshot *s, const struct service *service,
	const struct policy_request *request, const struct policy_weighed *weighed);

/* --- path_lenient.c --- */

/* Whether a server that decodes escapes and drops path parameters may read one as the other. */
bool path_lenient_matches(const struct route_path *pattern, struct str path);
