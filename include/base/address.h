/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses: text, compare, hash. IPv4-mapped IPv6 is turned into IPv4 wherever an address
 * enters, so that one address has one form. */
#pragma once

#include "base/str.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* "10.0.0.1:80", "[fd00::1]:80" and the NUL. */
#define ADDRESS_TEXT_MAX 64

struct address {
	uint8_t family; /* AF_INET, AF_INET6, or 0 = none */
	uint8_t ip[16]; /* network order; 4 used for AF_INET, the rest zero */
	uint16_t port;	/* host order */
};

struct address_range {
	struct address base; /* port unused */
	uint8_t prefix_len;
};

struct address address_of(const struct sockaddr_storage *s);
void address_to_sockaddr(const struct address *a, struct sockaddr_storage *ret_s);
bool address_equal(const struct address *a, const struct address *b);
bool address_same_ip(const struct address *a, const struct address *b);
bool address_is_loopback(const struct address *a);
/* One that a single machine may have: not "any", multicast, broadcast or reserved. */
bool address_is_host(const struct address *a);
bool address_in(const struct address *a, const struct address_range *range);
/* IPv4 addresses that somebody on the way may take out of an IPv6 one (mapped and its like, NAT64,
 * 6to4), with its port: how many. Of NAT64's local prefix only its users know where in it. */
#define ADDRESS_INSIDE_MAX 4
uint32_t address_inside(const struct address *a, struct address ret_inside[ADDRESS_INSIDE_MAX]);
/* On this machine's own link, or the cloud's that it runs in: link-local, a group's, where clouds
 * tell a machine its secrets. What listens there trusts whoever reaches it. An address inside
 * counts, too. */
bool address_is_own_link(const struct address *a);
/* "10.0.0.1", "fd00::1" without port (port 0); no names, no scopes. False: not an address. */
bool address_parse(struct str text, struct address *ret_address);
/* "10.0.0.1:80", "[fd00::1]:80"; the port may be left out, and is 0 then. */
bool address_port_parse(struct str text, struct address *ret_address);
/* "10.0.0.0/8", "fd00::/8", or a bare address. */
bool address_range_parse(struct str text, struct address_range *ret_range);
/* With the port ("10.0.0.1:80") into `text`; returns text. */
const char *address_text(const struct address *a, char text[ADDRESS_TEXT_MAX]);
/* Without the port. */
const char *address_ip_text(const struct address *a, char text[ADDRESS_TEXT_MAX]);
