/* SPDX-License-Identifier: Apache-2.0 */
/* An operator who publishes to the server in memory, with the known key. */
#pragma once

#include "known.h"

#define MESH	  "prod.example"
#define KEY(rest) "ringmain:{" MESH "}:" rest

struct publisher {
	struct object_set set;
	struct operator_key *key;
	uint64_t revision, time_s;
};

void publisher_init(struct publisher *p);
void publisher_done(struct publisher *p);
/* One revision more, in which the object stands with this text; NULL: in which it is no more. As an
 * operator's command would: objects, head, change and news. */
void publisher_put(struct publisher *p, const char *key, const char *text);
/* The signed head of what the publisher has now; the caller's to free. */
char *publisher_head(const struct publisher *p);
