/* SPDX-License-Identifier: Apache-2.0 */
/* Where a call to a service's own address leads: the rules of its route, in order; the first that
 * matches decides. Pure, and nothing is allocated.
 *
 * What no rule matches goes on as if there were no route. A rule matches when everything that it
 * asks for is so; of a list any item will do. Paths are compared in the normal form that policy
 * sees, without the query. Of a header, query key or cookie that comes several times each value is
 * asked by itself, and one that matches is enough; `invert` turns the answer about all of them.
 * Opaque bytes have a source and nothing else: a rule that asks for more, or that answers by
 * itself, does not match them. */
#pragma once

#include "mesh/regex.h"
#include "mesh/snapshot.h"

enum route_path_kind {
	ROUTE_PATH_EXACT,
	ROUTE_PATH_PREFIX,   /* whole segments: "/a" is of "/a" and "/a/b", not of "/ab" */
	ROUTE_PATH_TEMPLATE, /* "{name}" is one segment, "*" at the end any rest */
	ROUTE_PATH_REGEX,    /* of the whole path */
};
struct route_path {
	enum route_path_kind kind;
	struct str text;     /* PREFIX: without a slash at the end, so "" for "/" */
	struct regex *regex; /* REGEX; the snapshot's */
};

enum route_text_kind { ROUTE_TEXT_PRESENT, ROUTE_TEXT_EXACT, ROUTE_TEXT_PREFIX, ROUTE_TEXT_SUFFIX };
/* So many in a whole mesh: each takes memory in every process that knows the mesh. */
#define ROUTE_REGEXES_MAX 256

/* A header, query key or cookie. */
struct route_field {
	struct str name; /* headers: letter case aside */
	enum route_text_kind kind;
	struct str text;
	bool invert;
};

struct route_fields {
	struct route_field *at;
	uint32_t count;
};

struct route_when {
	struct route_path *paths;
	uint32_t path_count;
	struct str *methods;
	uint32_t method_count;
	struct str *hosts; /* lower case, without port; "*.example.com" is any name below it */
	uint32_t host_count;
	struct route_fields headers, query, cookies;
	struct str *from; /* as in policies */
	uint32_t from_count;
};

struct route_leg {
	const struct service *service; /* NULL: not known here */
	struct str version;	       /* empty: any */
	uint32_t weight;	       /* 0: gets nothing */
	const struct rollout *rollout; /* that has divided it; NULL: none */
};
/* Of a rule as it is written; a rollout makes two legs of one, with other weights. */
#define ROUTE_LEGS_MAX	  16
#define ROUTE_WEIGHT_MAX  1000
#define ROUTE_MIRRORS_MAX 4

struct route_header {
	struct str name, value;
};
struct route_edit { /* in this order */
	struct str *removed;
	uint32_t removed_count;
	struct route_header *set; /* in place of all that there are */
	uint32_t set_count;
	struct route_header *added;
	uint32_t added_count;
};
/* Bytes of names and values of one edit. */
#define ROUTE_EDIT_BYTES_MAX 2048
/* Headers that one edit sets or adds: a message as large as is taken still has room for them. */
#define ROUTE_EDIT_HEADERS_MAX 24
#define ROUTE_BODY_BYTES_MAX   4096

enum route_action {
	ROUTE_FORWARD,
	ROUTE_REDIRECT, /* answered by the caller's proxy */
	ROUTE_RESPOND,	/* the same */
};

/* Each part empty: as it came. */
struct route_target {
	struct str host;
	struct str path;   /* in place of the whole path; the query stays */
	bool has_prefix;   /* in place of the prefix that matched: */
	struct str prefix; /* without a slash at the end */
	struct str scheme; /* REDIRECT */
};

/* Why a request may be tried again: bits of a mask. */
enum route_retry_on {
	ROUTE_RETRY_CONNECT = 1u << 0, /* nothing was sent */
	ROUTE_RETRY_REFUSED = 1u << 1, /* its machine says that it got nothing of it */
	ROUTE_RETRY_RESET = 1u << 2,   /* the connection ended before a response */
	ROUTE_RETRY_GATEWAY = 1u << 3, /* 502, 503, 504, or a try that took too long */
	ROUTE_RETRY_5XX = 1u << 4,
	ROUTE_RETRY_409 = 1u << 5,
	ROUTE_RETRY_429 = 1u << 6,
	ROUTE_RETRY_CANCELLED = 1u << 7, /* of gRPC, in a response without a body: */
	ROUTE_RETRY_DEADLINE_EXCEEDED = 1u << 8,
	ROUTE_RETRY_INTERNAL = 1u << 9,
	ROUTE_RETRY_RESOURCE_EXHAUSTED = 1u << 10,
	ROUTE_RETRY_UNAVAILABLE = 1u << 11,
};
struct route_retry {
	uint32_t attempts; /* besides the first; 0: none */
	uint32_t on;	   /* enum route_retry_on */
	uint32_t per_try_ms, backoff_ms;
	uint32_t wait_max_ms; /* no longer than this when the server says how long */
	bool any_method;      /* also where it might do harm twice */
};

/* What is done to some of the requests, to see how their callers bear it: so many of a hundred. */
struct route_fault {
	uint32_t delay_ms, delay_percent; /* 0: none */
	uint32_t abort_percent;		  /* 0: none */
	uint16_t abort_status;
};
#define ROUTE_DELAY_MS_MAX 60000

/* By what a caller stays with the leg that it has got. */
enum route_sticky_kind {
	ROUTE_STICKY_NONE,
	ROUTE_STICKY_SOURCE,
	ROUTE_STICKY_HEADER,
	ROUTE_STICKY_COOKIE,
};
struct route_sticky {
	enum route_sticky_kind kind;
	struct str name; /* HEADER, COOKIE */
};

/* A rule that a rollout has made. */
#define ROUTE_INDEX_ROLLOUT UINT32_C(0x20000000) /* where no rule of the route matches */
#define ROUTE_INDEX_PREVIEW \
	UINT32_C(0x40000000) /* added to the index of the rule it stands before */

struct route_rule {
	struct str name; /* "orders/canary", or "orders/rules[2]" */
	uint32_t index;	 /* in its route, as that is written; or one of the two below */
	bool is_preview; /* a rollout's, for those who test: beside the rule of the same index */
	struct route_when when;
	enum route_action action;
	struct route_leg *legs; /* none: the service itself */
	uint32_t leg_count;
	struct route_sticky sticky;
	/* FORWARD: who gets a copy besides; `weight` is how many of a hundred requests */
	struct route_leg *mirrors;
	uint32_t mirror_count;
	uint32_t timeout_ms;	   /* 0: the node's */
	struct route_retry retry;  /* FORWARD */
	struct route_fault fault;  /* FORWARD */
	struct route_edit request; /* FORWARD */
	struct route_edit response;
	struct route_target target; /* FORWARD: what the request becomes */
	uint16_t status;	    /* REDIRECT, RESPOND */
	struct str body;	    /* RESPOND */
};

struct route {
	const struct service *service;
	struct route_rule *rules;
	uint32_t rule_count;
};

struct route_request {
	struct str source_id; /* empty: none */
	bool is_http;	      /* else the rest is not looked at */
	struct str method;
	struct str path;      /* normalised, without the query */
	struct str query;     /* without the '?' */
	struct str authority; /* lower case */
	/* each begins as a struct route_header does; so many bytes from one to the next */
	const void *headers;
	size_t header_bytes;
	uint32_t header_count;
};

/* What a rule asks for, in the order in which it is looked at. */
enum route_miss {
	ROUTE_MISS_NONE, /* it matches */
	ROUTE_MISS_FROM,
	ROUTE_MISS_OPAQUE, /* these are bytes, and it asks for more or answers by itself */
	ROUTE_MISS_PATH,
	ROUTE_MISS_METHOD,
	ROUTE_MISS_HOST,
	ROUTE_MISS_HEADER,
	ROUTE_MISS_QUERY,
	ROUTE_MISS_COOKIE,
};
struct route_verdict {
	enum route_miss miss; /* the first that is not so */
	uint32_t index;	      /* HEADER, QUERY, COOKIE: of which */
	size_t prefix_len;    /* NONE: how much of the path its prefix has matched */
};
/* What is asked for by itself, whatever is done with it then. */
struct route_verdict route_ask_when(const struct snapshot *s, const struct route_when *when,
	const struct route_request *request);
/* One rule by itself, wherever it stands. */
struct route_verdict route_ask(const struct snapshot *s, const struct route_rule *rule,
	const struct route_request *request);

/* The first rule that matches, or NULL. `ret_prefix_len`: as in its verdict. */
const struct route_rule *route_match(const struct snapshot *s, const struct route *route,
	const struct route_request *request, size_t *ret_prefix_len);

/* The parts of a `when`, for whoever asks the same of a request otherwise. */
bool route_path_matches(const struct route_path *p, struct str path);
bool route_host_matches(struct str pattern, struct str host);
bool route_text_matches(const struct route_field *f, struct str value);
const struct route_header *route_header_at(const struct route_request *r, uint32_t index);

/* Without the port: "[::1]" of "[::1]:80". */
struct str route_host(struct str authority);
/* The value by which the request sticks to a leg; empty: it has none. */
struct str route_sticky_value(
	const struct route_sticky *sticky, const struct route_request *request);

/* The value by which a call gets its endpoint, hashed: the same on every machine. `client`: whence
 * it came. False: it has none. */
bool route_balance_value(const struct balance_by *by, const struct route_request *request,
	const struct address *client, uint64_t *ret_hash);

/* What becomes of a path with its query: bytes into `text`, which has room for route_path_bytes().
 * Returns how many. In normal form if `path` is. */
size_t route_path_bytes(const struct route_target *target, struct str path);
size_t route_path_write(
	const struct route_target *target, struct str path, size_t prefix_len, char *text);
