/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/preamble.h"

#include "base/assert.h"

#define PREAMBLE_FIXED_BYTES 16
#define PREAMBLE_V4_BYTES    12 /* two addresses, two ports */
#define PREAMBLE_V6_BYTES    36

#define PREAMBLE_COMMAND_LOCAL 0x20 /* with the version in the upper half */
#define PREAMBLE_COMMAND_PROXY 0x21

#define PREAMBLE_UNSPEC 0x00 /* family in the upper half, transport in the lower */
#define PREAMBLE_TCP4	0x11
#define PREAMBLE_TCP6	0x21

#define PREAMBLE_TLV_AUTHORITY 0x02
#define PREAMBLE_TLV_BYTES     3 /* type and length */

static const uint8_t preamble_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static uint16_t preamble_u16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static struct address preamble_address_v4(const uint8_t *ip, const uint8_t *port)
{
	struct address a = {.family = AF_INET, .port = preamble_u16(port)};
	memcpy(a.ip, ip, 4);
	return a;
}

static struct address preamble_address_v6(const uint8_t *ip, const uint8_t *port)
{
	struct sockaddr_storage s = {0};
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&s;
	in6->sin6_family = AF_INET6;
	memcpy(&in6->sin6_addr, ip, 16);
	memcpy(&in6->sin6_port, port, 2);
	return address_of(&s);
}

/* The address part of `body`; *ret_used is its length. */
static bool preamble_read_addresses(
	uint8_t transport, const uint8_t *body, size_t len, struct preamble *p, size_t *ret_used)
{
	switch (transport) {
	case PREAMBLE_UNSPEC:
		*ret_used = 0;
		return true;
	case PREAMBLE_TCP4:
		*ret_used = PREAMBLE_V4_BYTES;
		if (len < PREAMBLE_V4_BYTES)
			return false;
		p->source = preamble_address_v4(body, body + 8);
		p->destination = preamble_address_v4(body + 4, body + 10);
		return true;
	case PREAMBLE_TCP6:
		*ret_used = PREAMBLE_V6_BYTES;
		if (len < PREAMBLE_V6_BYTES)
			return false;
		p->source = preamble_address_v6(body, body + 32);
		p->destination = preamble_address_v6(body + 16, body + 34);
		return true;
	default:
		return false;
	}
}

/* A name is compared and logged, so nothing but visible ASCII may stand in it. */
static bool preamble_read_authority(const uint8_t *value, size_t len, struct preamble *p)
{
	if (p->authority_len > 0 || len == 0 || len >= sizeof(p->authority))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (value[i] <= ' ' || value[i] >= 0x7f)
			return false;
	}
	memcpy(p->authority, value, len);
	p->authority[len] = '\0';
	p->authority_len = len;
	return true;
}

static bool preamble_read_tlvs(const uint8_t *tlvs, size_t len, struct preamble *p)
{
	while (len > 0) {
		if (len < PREAMBLE_TLV_BYTES)
			return false;
		size_t value_len = preamble_u16(tlvs + 1);
		if (value_len > len - PREAMBLE_TLV_BYTES)
			return false;
		if (tlvs[0] == PREAMBLE_TLV_AUTHORITY &&
			!preamble_read_authority(tlvs + PREAMBLE_TLV_BYTES, value_len, p))
			return false;
		tlvs += PREAMBLE_TLV_BYTES + value_len;
		len -= PREAMBLE_TLV_BYTES + value_len;
	}
	return true;
}

enum preamble_result preamble_read(
	const uint8_t *bytes, size_t len, struct preamble *ret_preamble, size_t *ret_used)
{
	size_t known = len < sizeof(preamble_signature) ? len : sizeof(preamble_signature);
	if (known > 0 && memcmp(bytes, preamble_signature, known) != 0)
		return PREAMBLE_BAD;
	if (len < PREAMBLE_FIXED_BYTES)
		return PREAMBLE_MORE;

	uint8_t command = bytes[12], transport = bytes[13];
	size_t body_len = preamble_u16(bytes + 14);
	if (command != PREAMBLE_COMMAND_LOCAL && command != PREAMBLE_COMMAND_PROXY)
		return PREAMBLE_BAD;
	if (body_len > PREAMBLE_BYTES_MAX - PREAMBLE_FIXED_BYTES)
		return PREAMBLE_BAD;
	if (len < PREAMBLE_FIXED_BYTES + body_len)
		return PREAMBLE_MORE;

	const uint8_t *body = bytes + PREAMBLE_FIXED_BYTES;
	struct preamble p = {0};
	size_t address_len;
	/* LOCAL: the sender speaks for itself; the specification has the rest ignored. */
	if (command == PREAMBLE_COMMAND_PROXY) {
		if (!preamble_read_addresses(transport, body, body_len, &p, &address_len))
			return PREAMBLE_BAD;
		if (!preamble_read_tlvs(body + address_len, body_len - address_len, &p))
			return PREAMBLE_BAD;
	}
	*ret_preamble = p;
	*ret_used = PREAMBLE_FIXED_BYTES + body_len;
	return PREAMBLE_DONE;
}

static uint8_t *preamble_put_u16(uint8_t *at, uint16_t number)
{
	at[0] = (uint8_t)(number >> 8);
	at[1] = (uint8_t)number;
	return at + 2;
}

static uint8_t *preamble_put_ip(uint8_t *at, const struct address *a, uint8_t family)
{
	if (family == AF_INET) {
		memcpy(at, a->ip, 4);
		return at + 4;
	}
	if (a->family == AF_INET) {
		memset(at, 0, 10);
		memset(at + 10, 0xff, 2);
		memcpy(at + 12, a->ip, 4);
	} else {
		memcpy(at, a->ip, 16);
	}
	return at + 16;
}

size_t preamble_write(const struct preamble *p, uint8_t ret_bytes[PREAMBLE_BYTES_MAX])
{
	ASSERT(p->authority_len < sizeof(p->authority));
	ASSERT(!p->source.family == !p->destination.family);
	uint8_t family = p->source.family;
	if (p->destination.family != family)
		family = AF_INET6;

	uint8_t *at = ret_bytes;
	memcpy(at, preamble_signature, sizeof(preamble_signature));
	at[12] = PREAMBLE_COMMAND_PROXY;
	at[13] = family == AF_INET ? PREAMBLE_TCP4 : family ? PREAMBLE_TCP6 : PREAMBLE_UNSPEC;
	at += PREAMBLE_FIXED_BYTES;
	if (family) {
		at = preamble_put_ip(at, &p->source, family);
		at = preamble_put_ip(at, &p->destination, family);
		at = preamble_put_u16(at, p->source.port);
		at = preamble_put_u16(at, p->destination.port);
	}
	if (p->authority_len > 0) {
		*at++ = PREAMBLE_TLV_AUTHORITY;
		at = preamble_put_u16(at, (uint16_t)p->authority_len);
		memcpy(at, p->authority, p->authority_len);
		at += p->authority_len;
	}
	size_t len = (size_t)(at - ret_bytes);
	preamble_put_u16(ret_bytes + 14, (uint16_t)(len - PREAMBLE_FIXED_BYTES));
	return len;
}
