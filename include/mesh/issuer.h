/* SPDX-License-Identifier: Apache-2.0 */
/* Who signs the tokens of end users, and where a request carries them. Its keys are no part of the
 * mesh: they are fetched, or a file of each machine. */
#pragma once

#include "mesh/snapshot.h"

#define ISSUERS_MAX	     32
#define ISSUER_TOKEN_HEADER  "authorization"
#define ISSUER_LEEWAY_MAX_MS 300000

struct issuer {
	struct str name;       /* as a service's: it is part of a file's name */
	struct str issuer;     /* "iss", exactly; no two issuers have the same */
	struct str *audiences; /* one of them is in "aud"; none: whatever that is */
	uint32_t audience_count;
	struct str url; /* https, of its keys; empty: they are in a file */
	struct str
		header; /* in which requests carry its tokens; "authorization": behind "Bearer" */
	uint32_t leeway_s; /* that its clock may differ */
	bool is_forwarded; /* the header goes on to the workload */
};

/* NULL: there is none of that "iss". */
const struct issuer *issuer_of(const struct snapshot *s, struct str iss);
