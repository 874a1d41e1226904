/* SPDX-License-Identifier: Apache-2.0 */
/* From a wish to a new revision: read what stands, make what is to stand, check it, sign and write
 * it in one transaction; when somebody else was quicker, again. */
#pragma once

#include "edit.h"
#include "publisher.h"

struct publish_options {
	bool dry_run, json;
	bool replace_all; /* whatever stands there: what is given is everything */
	bool has_if_revision;
	uint64_t if_revision; /* of what must stand there */
	struct str why;
};

/* The exit status; everything is said. `files`: what the rows of the wish are from, or NULL. */
int publish_run(struct publisher *p, struct edit_wish *wish, const struct bundle *files,
	const struct publish_options *o);
