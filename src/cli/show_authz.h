/* SPDX-License-Identifier: Apache-2.0 */
/* What the pages about policies share. */
#pragma once

#include "show_inside.h"

/* "web-reads (mesh.conf:41)". */
void show_decider(FILE *out, struct str name, struct str where);
/* Of an answer to /authz/check, or of the part of another one that is like it: allowed or refused,
 * by which rule or default, and what is on trial. */
void show_verdict(FILE *out, const struct json_tree *e);
