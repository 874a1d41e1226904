/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the index: the keys under which rules lie and requests look, and what was made of
 * them. policy_index.c says how they are used. */
#pragma once

#include "policy_private.h"

/* Segments of a path and of an id, and labels of a host, that are looked at: the work for a request
 * has a bound. */
#define POLICY_DEPTH_MAX 16
/* Of templates; with more of them the rest lies by what comes before the first brace. */
#define POLICY_SHAPES_MAX 16

/* Of which of its conditions a rule lies somewhere. */
enum policy_by { POLICY_BY_PATH, POLICY_BY_HOST, POLICY_BY_PORT, POLICY_BY_METHOD, POLICY_BYS };
#define POLICY_BY_ALL ((1u << POLICY_BYS) - 1)

enum policy_place_kind {
	PLACE_EVERYBODY = 1,
	PLACE_IDENTIFIED,
	PLACE_NOBODY,
	PLACE_UNNAMED,	/* may be anyone who is named */
	PLACE_UNPLACED, /* of no address that is known */
	PLACE_ID,
	PLACE_UNDER,
	PLACE_RANGE,
	PLACE_CALLER,  /* within one: of what he may at best */
	PLACE_UNKNOWN, /* within one: where a request does not say by what its rules lie */
	PLACE_BEHIND,  /* within one: where many rules lie by the same, by something else */
	PLACE_ODD,     /* within one: of a path that another server may divide otherwise */
	PLACE_RULE,    /* what one rule asks for, whoever calls */
};
enum policy_list_kind {
	LIST_ALWAYS = 1,
	LIST_MANY, /* rules that have a place of their own */
	LIST_EXACT,
	LIST_BELOW,
	LIST_SHAPED, /* of templates: by segments as a lenient server reads them */
	LIST_SPELT,  /* by segments to the letter */
	LIST_HOST,
	LIST_DOMAIN,
	LIST_ADDRESS,
	LIST_PORT,
	LIST_METHOD,
};

/* --- policy_key.c --- */

/* Of something of a kind, or of so many segments of it. Never 0. */
uint64_t policy_key(uint64_t h, unsigned kind, unsigned depth);
/* The place behind a list. */
uint64_t policy_key_behind(uint64_t place, uint64_t list);
/* The place within one for odd paths that begin so. */
uint64_t policy_key_odd(uint64_t place, uint64_t start, uint32_t depth);

/* The first segments, as many as there are up to POLICY_DEPTH_MAX, and all of it. */
struct policy_key_path {
	uint64_t below[POLICY_DEPTH_MAX + 1];
	uint32_t depth; /* of the last of them */
	uint64_t whole;
	uint64_t segments[POLICY_DEPTH_MAX]; /* each for itself */
	bool is_odd;			     /* path_is_odd() */
};
/* As a lenient server reads it. */
void policy_key_path(struct policy_key_path *key, struct str path);
/* A segment of an id ends with its slash. Without `segments`. */
void policy_key_id(struct policy_key_path *key, struct str id);

/* Some segments, bit by bit of `shape`, each for itself. */
struct policy_spelt {
	uint64_t segments[POLICY_DEPTH_MAX];
	uint32_t depth; /* how many there are */
	uint32_t shape; /* which of them are known */
};
uint64_t policy_key_shape(const uint64_t *segments, uint32_t shape, enum policy_list_kind kind);
/* Of a path to the letter. */
void policy_spell_path(struct policy_spelt *ret, struct str path);
/* What a template spells out, to the letter or as a lenient server reads it. False: nothing after
 * the first brace, or nothing that can be told from where it stands. */
bool policy_spell_template(struct policy_spelt *ret, struct str template, bool to_the_letter);

uint64_t policy_key_range(const struct address *a, uint32_t prefix_len);
uint64_t policy_key_address(const struct address *a);
uint64_t policy_key_port(uint16_t port);
/* Letter case aside. */
uint64_t policy_key_method(struct str method);
uint64_t policy_key_header(struct str name);
/* All of it, and what begins with a dot: how many of them. */
struct policy_key_host {
	uint64_t whole;
	uint64_t domains[POLICY_DEPTH_MAX];
	uint32_t depth;
};
void policy_key_host(struct policy_key_host *key, struct str host);
/* Of "*.example.com"; false: it has too many labels. */
bool policy_key_domain(struct str pattern, uint64_t *ret_key);

/* --- policy_build.c --- */

/* A rule, and for which of its sources and paths it lies there; NULL: for all. */
struct policy_hit {
	uint32_t rule;
	uint32_t rank; /* no more than that */
	uint32_t next; /* the next one that says something else, or less exactly */
	const struct source *source;
	const struct route_path *path;
};
struct policy_hits {
	uint32_t first, count;
};
struct policy_list {
	uint64_t place, list;
	struct policy_hits hits;
	bool is_taken, is_door;
};
struct policy_place {
	uint64_t hash; /* 0: free */
	struct policy_hits always, many;
	uint32_t by;		/* bit by POLICY_BY: that there are lists */
	uint32_t below, odd;	/* bit by depth: that there are lists; that there are places */
	uint32_t shaped, spelt; /* bit by shape */
	bool has_exact;
};
struct policy_index {
	struct policy_place *places;
	struct policy_list *lists;
	uint64_t *filter;  /* bit by hash: that there may be such a list; most have none */
	uint64_t *headers; /* names that are asked for; 0: free */
	uint32_t place_mask, list_mask, header_mask;
	struct policy_hit *hits;
	uint32_t shapes[POLICY_SHAPES_MAX]; /* bit by segment: that it is spelt out */
	uint32_t shape_count;
	uint32_t under;		      /* bit by depth: that there are such places */
	struct address_range *ranges; /* one of each family and length */
	uint32_t range_count;
	struct policy_weighed empty; /* with what allow rules mean for the default */
	struct policy_wants wants;
};

/* Of one that is not there the hash is 0. */
struct policy_place *policy_place_at(const struct policy_index *x, uint64_t hash);
struct policy_list *policy_list_at(const struct policy_index *x, uint64_t place, uint64_t list);
/* False: there is none. It is in memory that is near, where the lists are not. */
bool policy_list_may_be(const struct policy_index *x, uint64_t place, uint64_t list);
uint64_t *policy_header_at(const struct policy_index *x, uint64_t key);
