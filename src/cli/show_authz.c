/* SPDX-License-Identifier: Apache-2.0 */
/* Policies for people: what one request would come to, what one came to, and all rules of a service
 * in the order in which they count. */
#include "show_inside.h"

void show_authz_check(FILE *out, const struct json_tree *answer)
{
	struct str policy = json_tree_text(answer, "policy");
	fprintf(out, "%s by " STR_FMT "\n",
		json_tree_true(answer, "allowed") ? "allowed" : "× refused",
		STR_ARG(policy.len ? policy : STR("default")));
}

void show_authz_why(FILE *out, const struct json_tree *answer)
{
	show_authz_check(out, answer);
}

void show_authz_list(FILE *out, const struct json_tree *answer)
{
	show_fact(out, "default", STR_FMT, STR_ARG(json_tree_text(answer, "default")));
}
