/* SPDX-License-Identifier: Apache-2.0 */
/* Where a URL in a mesh object must not lead, whoever wrote it: what listens there trusts whoever
 * is on this machine or this link. */
#include "fetch/fetch.h"

static const char *const fetch_forbidden[] = {
	"0.0.0.0/8",
	"127.0.0.0/8",
	"169.254.0.0/16",     /* link-local, and the metadata of most clouds */
	"100.100.100.200/32", /* metadata elsewhere */
	"168.63.129.16/32",
	"192.0.0.0/24",
	"224.0.0.0/3", /* multicast, reserved, broadcast */
	"::/127",      /* "any" and loopback */
	"fe80::/10",
	"fec0::/10",
	"ff00::/8",
	"fd00:ec2::254/128",
};

/* An IPv4 address inside an IPv6 one is judged as itself. */
static bool fetch_is_wrapped(const struct address *a, struct address *ret)
{
	static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
	static const uint8_t compatible[12] = {0};
	if (a->family != AF_INET6)
		return false;
	*ret = (struct address){.family = AF_INET};
	if (a->ip[0] == 0x20 && a->ip[1] == 0x02) /* 6to4 */
		memcpy(ret->ip, a->ip + 2, 4);
	else if (memcmp(a->ip, nat64, sizeof(nat64)) == 0 ||
		 memcmp(a->ip, compatible, sizeof(compatible)) == 0)
		memcpy(ret->ip, a->ip + 12, 4);
	else
		return false;
	return true;
}

static bool fetch_is_forbidden(const struct address *a)
{
	for (size_t i = 0; i < ARRAY_LEN(fetch_forbidden); i++) {
		struct address_range range;
		bool is_range = address_range_parse(str_of(fetch_forbidden[i]), &range);
		ASSERT(is_range);
		if (address_in(a, &range))
			return true;
	}
	return false;
}

bool fetch_may_ask(
	const struct address *a, const struct address_range *allowed, uint32_t allowed_count)
{
	struct address inside;
	for (uint32_t i = 0; i < allowed_count; i++) {
		if (address_in(a, &allowed[i]))
			return true;
	}
	return a->family != 0 && !fetch_is_forbidden(a) &&
	       !(fetch_is_wrapped(a, &inside) && fetch_is_forbidden(&inside));
}
