/* SPDX-License-Identifier: Apache-2.0 */
/* What became of one request. */
#include "show_authz.h"

void show_authz_why(FILE *out, const struct json_tree *answer)
{
	show_verdict(out, answer);
}
