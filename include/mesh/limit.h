/* SPDX-License-Identifier: Apache-2.0 */
/* How much a service's callers may ask of it: what a limit is, which requests it is about, and by
 * what they are told apart. Pure, and nothing is allocated.
 *
 * Each request that a limit matches takes one token of the bucket of its key: the values of the
 * limit's parts, one after the other. What a request does not have is an empty value, and a header
 * that comes several times is all of its values, joined by commas, as one (RFC 9110 5.2). Opaque
 * bytes have a source and a client, and nothing else. Copies for mirrors have keys of their own,
 * and so as much again: whoever says that a request is one gains no more by it. */
#pragma once

#include "mesh/route.h"

enum limit_scope {
	LIMIT_LOCAL, /* each machine by itself */
	LIMIT_MESH,  /* all machines together, by the store */
};

/* What holds of a limit of the whole mesh while the store is away. */
enum limit_away {
	LIMIT_AWAY_SHARE, /* each machine gives its share */
	LIMIT_AWAY_ALLOW,
	LIMIT_AWAY_DENY,
};

enum limit_part_kind {
	LIMIT_BY_SOURCE, /* the caller's identity; empty: none */
	LIMIT_BY_CLIENT, /* the address that the call comes from */
	LIMIT_BY_ROUTE,	 /* the rule that the caller's proxy went by; empty: none */
	LIMIT_BY_METHOD,
	LIMIT_BY_HOST,
	LIMIT_BY_PATH, /* in normal form, without the query */
	LIMIT_BY_HEADER,
	LIMIT_BY_COOKIE,
};
struct limit_part {
	enum limit_part_kind kind;
	struct str name; /* HEADER, COOKIE */
};
#define LIMIT_PARTS_MAX 8

struct limit {
	uint32_t index; /* in snapshot.limits */
	struct str name;
	const struct service *service;
	uint32_t amount, window_ms; /* so many requests in such a time */
	uint32_t burst;		    /* LOCAL: at once, at most */
	enum limit_scope scope;
	enum limit_away away;
	bool is_fair;	/* what the sources of one key get is divided among them */
	bool is_shadow; /* counts what it would refuse, and refuses nothing */
	struct limit_part parts[LIMIT_PARTS_MAX];
	uint32_t part_count;
	struct route_when when;
	struct str body;     /* of the answer; empty: the usual one */
	uint32_t node_count; /* machines with an endpoint of the service; at least 1 */
};
#define LIMITS_PER_SERVICE 16
/* How long a bucket may take to fill. */
#define LIMIT_FILL_MS_MAX (UINT64_C(7) * 24 * 3600 * 1000)

struct limit_request {
	struct route_request asks;
	struct str client; /* text of an address */
	struct str route;  /* name of a rule */
	bool is_mirror;	   /* it is said to be a copy for a mirror */
};

bool limit_matches(
	const struct snapshot *s, const struct limit *limit, const struct limit_request *request);

/* The key: bytes into `text`, which has room for limit_key_bytes(). Two requests have the same if
 * and only if they have the same value for each part, and both are copies or none is. Returns how
 * many. */
size_t limit_key_bytes(const struct limit *limit, const struct limit_request *request);
size_t limit_key_write(const struct limit *limit, const struct limit_request *request, char *text);

/* Of the service's limits one is by the rule of a route, so that callers' proxies have to tell. */
bool limit_wants_route(const struct service *service);
/* The rule of this name ("orders/canary"), as the snapshot has it; empty: there is none by which
 * requests go to this service. */
struct str limit_route_known(
	const struct snapshot *s, const struct service *service, struct str name);
