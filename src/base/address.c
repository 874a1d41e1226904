/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"

#include "base/assert.h"
#include <arpa/inet.h>
#include <stdio.h>

static const uint8_t address_mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static struct address address_of_v6(const uint8_t ip[16], uint16_t port)
{
	struct address a = {.port = port};
	if (memcmp(ip, address_mapped_prefix, sizeof(address_mapped_prefix)) == 0) {
		a.family = AF_INET;
		memcpy(a.ip, ip + 12, 4);
	} else {
		a.family = AF_INET6;
		memcpy(a.ip, ip, 16);
	}
	return a;
}

struct address address_of(const struct sockaddr_storage *s)
{
	struct address a = {0};
	if (s->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)s;
		a.family = AF_INET;
		memcpy(a.ip, &in->sin_addr, 4);
		a.port = ntohs(in->sin_port);
	} else if (s->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)s;
		a = address_of_v6(in6->sin6_addr.s6_addr, ntohs(in6->sin6_port));
	}
	return a;
}

void address_to_sockaddr(const struct address *a, struct sockaddr_storage *ret_s)
{
	*ret_s = (struct sockaddr_storage){.ss_family = a->family};
	if (a->family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)ret_s;
		memcpy(&in->sin_addr, a->ip, 4);
		in->sin_port = htons(a->port);
	} else if (a->family == AF_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_s;
		memcpy(&in6->sin6_addr, a->ip, 16);
		in6->sin6_port = htons(a->port);
	}
}

bool address_same_ip(const struct address *a, const struct address *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool address_equal(const struct address *a, const struct address *b)
{
	return a->port == b->port && address_same_ip(a, b);
}

bool address_is_loopback(const struct address *a)
{
	static const uint8_t v6[16] = {[15] = 1};
	if (a->family == AF_INET)
		return a->ip[0] == 127;
	return a->family == AF_INET6 && memcmp(a->ip, v6, 16) == 0;
}

bool address_is_host(const struct address *a)
{
	static const uint8_t any[16] = {0};
	if (a->family == AF_INET)
		return a->ip[0] != 0 && a->ip[0] < 224;
	return a->family == AF_INET6 && a->ip[0] != 0xff && memcmp(a->ip, any, 16) != 0;
}

bool address_in(const struct address *a, const struct address_range *range)
{
	if (a->family != range->base.family)
		return false;
	unsigned whole = range->prefix_len / 8, rest = range->prefix_len % 8;
	if (memcmp(a->ip, range->base.ip, whole) != 0)
		return false;
	if (rest == 0)
		return true;
	unsigned mask = 0xffu << (8 - rest) & 0xffu;
	return ((a->ip[whole] ^ range->base.ip[whole]) & mask) == 0;
}

/* --- where nobody is sent --- */

/* Where in an IPv6 address there is an IPv4 one; `is_guess`: or is not. */
static const struct {
	uint8_t prefix[12], prefix_len, at[4];
	bool is_guess;
} address_wraps[] = {
	{{0}, 12, {12, 13, 14, 15}, false},			   /* ::192.0.2.1 */
	{{[10] = 0xff, [11] = 0xff}, 12, {12, 13, 14, 15}, false}, /* ::ffff:192.0.2.1 */
	{{[8] = 0xff, [9] = 0xff}, 12, {12, 13, 14, 15}, false},   /* ::ffff:0:192.0.2.1 */
	{{0x00, 0x64, 0xff, 0x9b}, 12, {12, 13, 14, 15}, false},   /* NAT64 */
	{{0x20, 0x02}, 2, {2, 3, 4, 5}, false},			   /* 6to4 */
	/* NAT64's local prefix, divided by its users: RFC 6052, 2.2 */
	{{0x00, 0x64, 0xff, 0x9b, 0, 1}, 6, {12, 13, 14, 15}, true},
	{{0x00, 0x64, 0xff, 0x9b, 0, 1}, 6, {6, 7, 9, 10}, true},
	{{0x00, 0x64, 0xff, 0x9b, 0, 1}, 6, {7, 9, 10, 11}, true},
	{{0x00, 0x64, 0xff, 0x9b, 0, 1}, 6, {9, 10, 11, 12}, true},
};

uint32_t address_inside(const struct address *a, struct address ret_inside[ADDRESS_INSIDE_MAX])
{
	uint32_t count = 0;
	for (size_t i = 0; i < ARRAY_LEN(address_wraps) && a->family == AF_INET6; i++) {
		struct address inside = {.family = AF_INET, .port = a->port};
		if (memcmp(a->ip, address_wraps[i].prefix, address_wraps[i].prefix_len) != 0)
			continue;
		for (size_t j = 0; j < 4; j++)
			inside.ip[j] = a->ip[address_wraps[i].at[j]];
		if (inside.ip[0] != 0 || !address_wraps[i].is_guess)
			ret_inside[count++] = inside;
	}
	return count;
}

static const struct address_range address_own_link[] = {
	{{AF_INET, {169, 254}, 0}, 16},		  /* link-local, and most clouds' metadata */
	{{AF_INET, {192, 0, 0}, 0}, 24},	  /* of protocols; Oracle's metadata */
	{{AF_INET, {168, 63, 129, 16}, 0}, 32},	  /* Azure */
	{{AF_INET, {100, 100, 100, 200}, 0}, 32}, /* Alibaba */
	{{AF_INET, {224}, 0}, 4},
	{{AF_INET6, {0xfe, 0x80}, 0}, 10},
	{{AF_INET6, {0xfe, 0xc0}, 0}, 10},	       /* site-local, as it once was */
	{{AF_INET6, {0xfd, 0x00, 0x0e, 0xc2}, 0}, 32}, /* Amazon */
	{{AF_INET6, {0xfd, 0x20, 0x00, 0xce, [14] = 0x02, 0x54}, 0}, 128},	       /* Google */
	{{AF_INET6, {0xfd, 0x00, 0x00, 0xc1, [12] = 0xa9, 0xfe, 0xa9, 0xfe}, 0}, 128}, /* Oracle */
	{{AF_INET6, {0xfd, 0x00, 0x00, 0x42, [15] = 0x42}, 0}, 128}, /* Scaleway */
	{{AF_INET6, {0xff}, 0}, 8},
};

static bool address_is_in_own_link(const struct address *a)
{
	for (size_t i = 0; i < ARRAY_LEN(address_own_link); i++) {
		if (address_in(a, &address_own_link[i]))
			return true;
	}
	return false;
}

bool address_is_own_link(const struct address *a)
{
	struct address inside[ADDRESS_INSIDE_MAX];
	bool is_link = address_is_in_own_link(a);
	for (uint32_t i = address_inside(a, inside); i > 0 && !is_link; i--)
		is_link = address_is_in_own_link(&inside[i - 1]);
	return is_link;
}

/* --- text --- */

bool address_parse(struct str text, struct address *ret_address)
{
	char name[INET6_ADDRSTRLEN + 1];
	if (text.len == 0 || text.len >= sizeof(name) || memchr(text.at, 0, text.len))
		return false;
	memcpy(name, text.at, text.len);
	name[text.len] = '\0';
	uint8_t ip[16];
	if (inet_pton(AF_INET, name, ip) == 1) {
		struct address a = {.family = AF_INET};
		memcpy(a.ip, ip, 4);
		*ret_address = a;
		return true;
	}
	if (inet_pton(AF_INET6, name, ip) == 1) {
		*ret_address = address_of_v6(ip, 0);
		return true;
	}
	return false;
}

bool address_port_parse(struct str text, struct address *ret_address)
{
	struct str ip = text, port = STR_NONE;
	if (!text.at || text.len == 0)
		return false;
	const char *colon = memrchr(text.at, ':', text.len);
	const char *bracket = text.at[0] == '[' ? memchr(text.at, ']', text.len) : NULL;
	bool is_one_colon = colon && memchr(text.at, ':', text.len) == colon;
	if (bracket) {
		ip = (struct str){text.at + 1, (size_t)(bracket - text.at) - 1};
		size_t rest = text.len - ip.len - 2;
		if (rest > 0 && bracket[1] != ':')
			return false;
		port = rest > 0 ? (struct str){bracket + 2, rest - 1} : STR_NONE;
	} else if (is_one_colon) {
		ip.len = (size_t)(colon - text.at);
		port = (struct str){colon + 1, text.len - ip.len - 1};
	}
	uint64_t number = 0;
	if (port.at && (!str_to_u64(port, &number) || number == 0 || number > UINT16_MAX))
		return false;
	if (!address_parse(ip, ret_address))
		return false;
	ret_address->port = (uint16_t)number;
	return true;
}

bool address_range_parse(struct str text, struct address_range *ret_range)
{
	struct address_range range;
	const char *slash = text.len ? memchr(text.at, '/', text.len) : NULL;
	struct str ip = {text.at, slash ? (size_t)(slash - text.at) : text.len};
	if (!address_parse(ip, &range.base))
		return false;
	bool is_v4 = range.base.family == AF_INET;
	bool is_mapped = is_v4 && slash && memchr(ip.at, ':', ip.len);
	uint64_t bits = is_v4 ? 32 : 128, prefix_len = bits;
	if (slash && !str_to_u64((struct str){slash + 1, text.len - ip.len - 1}, &prefix_len))
		return false;
	/* "::ffff:10.0.0.0/104": below 96 it would be of more than IPv4 addresses. */
	if (is_mapped && prefix_len < 96)
		return false;
	prefix_len -= is_mapped ? 96 : 0;
	if (prefix_len > bits)
		return false;
	range.prefix_len = (uint8_t)prefix_len;
	*ret_range = range;
	return true;
}

/* A decimal number and what follows it. */
static char *address_write(char *at, unsigned number, char next)
{
	char digits[10];
	size_t first = sizeof(digits);
	do
		digits[--first] = (char)('0' + number % 10);
	while (number /= 10);
	memcpy(at, digits + first, sizeof(digits) - first);
	at += sizeof(digits) - first;
	*at++ = next;
	return at;
}

const char *address_ip_text(const struct address *a, char text[ADDRESS_TEXT_MAX])
{
	char *at = text;
	if (a->family == AF_INET) {
		for (int i = 0; i < 4; i++)
			at = address_write(at, a->ip[i], i < 3 ? '.' : '\0');
	} else if (!a->family || !inet_ntop(a->family, a->ip, text, ADDRESS_TEXT_MAX)) {
		snprintf(text, ADDRESS_TEXT_MAX, "-");
	}
	return text;
}

/* Written into each line of the access log: without printf. */
const char *address_text(const struct address *a, char text[ADDRESS_TEXT_MAX])
{
	char ip[ADDRESS_TEXT_MAX], *at = text;
	bool is_bracketed = a->family == AF_INET6;
	address_ip_text(a, a->family ? ip : text);
	if (!a->family)
		return text;
	size_t len = strnlen(ip, INET6_ADDRSTRLEN);
	if (is_bracketed)
		*at++ = '[';
	memcpy(at, ip, len);
	at += len;
	if (is_bracketed)
		*at++ = ']';
	*at++ = ':';
	address_write(at, a->port, '\0');
	return text;
}
