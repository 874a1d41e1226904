/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator wants to know of a trust domain's anchors and lists of revoked certificates. */
#pragma once

#include "base/bundle.h"
#include <stdint.h>

struct tls_trust_view {
	struct str trust_domain; /* points into the bundle */
	uint32_t anchor_count;
	int64_t anchor_not_after_s; /* wall time, seconds: when the first of them ends; 0: none */
	uint32_t crl_count;
	uint64_t revoked_count;	   /* in all lists */
	int64_t crl_this_update_s; /* of the oldest; 0: there is none */
	int64_t crl_next_update_s; /* the earliest; 0: none is told */
};

/* The bundle's trust domains with anchors (items `roots`, and `crl` of the same name), by number;
 * false at the end. What cannot be read counts for nothing. Parses: not for a busy path. */
bool tls_trust_view(const struct bundle *b, uint32_t index, struct tls_trust_view *ret_view);
