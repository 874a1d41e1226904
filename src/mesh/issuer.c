/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh/issuer.h"

const struct issuer *issuer_of(const struct snapshot *s, struct str iss)
{
	for (uint32_t i = 0; i < s->issuer_count; i++) {
		if (str_eq(s->issuers[i].issuer, iss))
			return &s->issuers[i];
	}
	return NULL;
}
