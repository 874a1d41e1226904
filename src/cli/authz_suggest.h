/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain authz suggest`. */
#pragma once

#include "json_tree.h"
#include <stdio.h>

/* The policies that the answer of /authz/seen comes to; `out` NULL: nothing. Exit status. */
int authz_suggest(FILE *out, const struct json_tree *answer);
