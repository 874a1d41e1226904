/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of policy: one rule, and how rules that match are weighed. */
#pragma once

#include "mesh/policy.h"

enum policy_truth { POLICY_FALSE, POLICY_UNKNOWN, POLICY_TRUE };

/* The host that a request is for. What is no plain name and no plain address may be any host. */
enum policy_host_kind { POLICY_HOST_UNKNOWN, POLICY_HOST_NAME, POLICY_HOST_ADDRESS };
struct policy_host {
	enum policy_host_kind kind;
	struct str text;
	struct address address;
};

struct policy_open;

/* A request, and what all rules have to know of it, found once. */
struct policy_asked {
	const struct policy_request *request;
	/* Where rules that ask for a token are weighed, as though it were what they ask for; NULL:
	 * with the others, by the request's token. */
	struct policy_open *open;
	bool is_odd; /* path_is_odd() */
	struct policy_host host;
	/* The one of a rule's `from` and `paths` that is asked; NULL: all. */
	const struct source *source;
	const struct route_path *path;
};
struct policy_asked policy_asked_of(const struct policy_request *request);

/* Of a deny rule without `from`. */
#define POLICY_RANK_GUARD UINT32_MAX

/* Whether its `from` names the caller, and how exactly. */
enum policy_truth policy_ask_from(
	const struct policy *p, const struct policy_asked *asked, uint32_t *ret_rank);
/* All of it: what cannot be known matches a rule that denies or notes, and none that allows. */
bool policy_matches(const struct policy *p, const struct policy_asked *asked, uint32_t *ret_rank);
/* Only who calls, and the port. */
bool policy_matches_caller(
	const struct policy *p, const struct policy_asked *asked, uint32_t *ret_rank);

/* The most exact rule so far; of equal ones that say the same, the first in file order, in whatever
 * order they come. */
struct policy_weighing {
	const struct policy *policy;
	uint32_t rank, place;
	bool has_allow; /* the service has an allow rule, whoever it is for */
};
struct policy_weighed {
	struct policy_weighing enforced, whole; /* without those that are audited, and with them */
	const struct policy *noted;
	uint32_t noted_place;
	uint32_t steps; /* rules that were judged, and look-ups */
};
struct policy_open {
	struct policy_weighed allow, rest;
};
/* Where this rule is weighed. */
struct policy_weighed *policy_weighed_for(
	struct policy_weighed *weighed, const struct policy_asked *asked, const struct policy *p);
/* `place`: where among the service's policies it stands. Whether one that matches so is more than
 * what was weighed. One of a lower rank, or that says the same and stands after it, is not if this
 * one is not. */
bool policy_outweighs(
	const struct policy_weighing *w, const struct policy *p, uint32_t place, uint32_t rank);
/* Whether it would be of any meaning if it matched, at no more than this rank. */
bool policy_matters(const struct policy_weighed *weighed, const struct policy *p, uint32_t place,
	uint32_t rank);
void policy_weigh(struct policy_weighing *w, const struct policy *p, uint32_t place, uint32_t rank);
/* Asks one of the service's policies and weighs it. More than once is as good as once, and one
 * source and path after the other as all together. */
void policy_judge(struct policy_weighed *weighed, const struct service *service, uint32_t place,
	const struct policy_asked *asked);
/* Notes what the service's allow rules mean for the default of the mesh. */
void policy_count_allows(struct policy_weighed *weighed, const struct policy *p);
struct policy_verdict policy_conclude(const struct snapshot *s, const struct service *service,
	const struct policy_request *request, const struct policy_weighed *weighed);

/* --- policy_host.c --- */

struct policy_host policy_host_of(struct str authority);
/* One of a rule: "10.0.0.1", "[::1]". */
bool policy_host_address(struct str host, struct address *ret);
/* Whether it is one of these. */
enum policy_truth policy_host_ask(
	const struct str *hosts, uint32_t count, const struct policy_host *host);

/* What a service's rules ask for, taken together. */
struct policy_wants {
	/* the first that asks for more of a request than bytes have; NULL: none */
	const struct policy *http, *audited_http;
	bool token;
	uint64_t headers; /* bit by policy_header_bit() of their names */
};
uint64_t policy_header_bit(struct str name);
/* Rule by rule. */
struct policy_wants policy_wants_of(const struct service *service);

/* --- policy_index.c --- */

/* The same, from the index where there is one. */
struct policy_wants policy_wants(const struct service *service);

bool policy_index_asks_header(const struct policy_index *x, struct str name);

/* Judges at least those of the service's policies that match and make a difference. `open`: NULL is
 * allowed. */
void policy_index_ask(struct policy_weighed *weighed, struct policy_open *open,
	const struct service *service, const struct policy_request *request);
/* Has policy_judge_caller() judge enough of them for what it comes to. */
void policy_index_ask_caller(struct policy_weighed *weighed, const struct service *service,
	const struct policy_request *request);

/* --- policy_might.c, policy_open.c --- */

/* Of what a caller may at best: weighs a rule that will match, or for one that allows, may. */
void policy_judge_caller(struct policy_weighed *weighed, const struct service *service,
	uint32_t place, const struct policy_asked *asked);
bool policy_is_weighed_for_caller(const struct policy *p);

/* --- path_lenient.c --- */

/* A path that is being read as a lenient server would. */
struct path_lenient {
	struct str path;
	size_t at, soft_end;
	int held; /* the first character of a segment that was begun; -1: none */
	bool is_within;
	bool is_odd; /* so far: another server may divide it into other segments */
};
struct path_lenient path_lenient_of(struct str path);
/* The next character; -1 at the end. */
int path_lenient_next(struct path_lenient *p);

/* Whether servers may take the path of a request for two that have nothing in common, so that no
 * reading of it would do for all: where one may read a segment "." or ".." and there is none as it
 * stands, where an escaped "/", "?" or "#" is within parameters, or where what would be read is
 * hidden too deep to tell. */
bool path_is_ambiguous(struct str path);
/* What of a template comes before its first brace. */
struct str path_template_start(struct str template);
/* Whether another server may divide it into other segments. */
bool path_is_odd(struct str path);
/* Whether a server that reads paths leniently may take one for what the other says. `is_odd`:
 * path_is_odd() of `path`. No more of it is read than the pattern is about. */
bool path_lenient_matches(const struct route_path *pattern, struct str path, bool is_odd);
