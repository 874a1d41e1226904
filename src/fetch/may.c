/* SPDX-License-Identifier: Apache-2.0 */
/* Where a URL in a mesh object must not lead, whoever wrote it: what listens there trusts whoever
 * is on this machine or this link. */
#include "fetch/fetch.h"

static bool fetch_is_forbidden(const struct address *a)
{
	return !address_is_host(a) || address_is_loopback(a) || address_is_own_link(a);
}

bool fetch_may_ask(
	const struct address *a, const struct address_range *allowed, uint32_t allowed_count)
{
	struct address inside[ADDRESS_INSIDE_MAX];
	for (uint32_t i = 0; i < allowed_count; i++) {
		if (address_in(a, &allowed[i]))
			return true;
	}
	bool is_forbidden = fetch_is_forbidden(a);
	for (uint32_t i = address_inside(a, inside); i > 0 && !is_forbidden; i--)
		is_forbidden = fetch_is_forbidden(&inside[i - 1]);
	return !is_forbidden;
}
