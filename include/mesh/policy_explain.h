/* SPDX-License-Identifier: Apache-2.0 */
/* Why a rule decides about a request, or does not: the same conditions asked one by one, for
 * whoever wants to know it. Pure; not for the data path. */
#pragma once

#include "mesh/policy.h"

/* What a rule may ask for, in the order of the configuration's reference; NOT_ follows what it is
 * the negation of. */
enum policy_condition {
	POLICY_NO_CONDITION,
	POLICY_FROM, /* of an allow rule that names nobody: any identity */
	POLICY_NOT_FROM,
	POLICY_PORTS,
	POLICY_NOT_PORTS,
	POLICY_METHODS,
	POLICY_NOT_METHODS,
	POLICY_PATHS,
	POLICY_NOT_PATHS,
	POLICY_HOSTS,
	POLICY_NOT_HOSTS,
	POLICY_HEADER,
	POLICY_TOKEN, /* that there is one */
	POLICY_ISSUERS,
	POLICY_AUDIENCES,
	POLICY_CLAIM,
};
#define POLICY_CONDITIONS (POLICY_CLAIM + 1)

/* How many of a kind a rule has: a list is one, in which any item will do, but those of NOT_, of
 * headers and of claims are asked one by one. */
uint32_t policy_condition_count(const struct policy *p, enum policy_condition condition);

struct policy_finding {
	bool matches;  /* as policy_check() has it */
	uint32_t rank; /* how exactly it names the caller; of no meaning unless it names them */
	/* The first condition that is not so; if there is none, the first that cannot be known,
	 * which an allow rule does not match by, and any other does. NO_CONDITION: all are so. */
	enum policy_condition missed;
	uint32_t index; /* of those of its kind */
	bool is_unknown;
};
struct policy_finding policy_find(const struct policy *p, const struct policy_request *request);

/* What policy_check() takes for it: rules that are judged, and look-ups. `of_caller`: what
 * policy_might_allow() does. */
uint32_t policy_steps(
	const struct service *service, const struct policy_request *request, bool of_caller);

/* What a rule has to do with a verdict. */
enum policy_part {
	POLICY_PART_DECIDES,
	POLICY_PART_MISSED,	/* it does not match */
	POLICY_PART_LESS_EXACT, /* the one that decides names the caller more exactly */
	POLICY_PART_OUTVOTED,	/* equally exactly, and denies */
	POLICY_PART_LATER,	/* equally exactly, says the same and stands before it */
	POLICY_PART_AUDITED,	/* it is on trial: mode = "audit" */
	POLICY_PART_NOTED,	/* action = "audit" */
};
enum policy_part policy_part_of(const struct policy_verdict *verdict, const struct policy *p,
	const struct policy_finding *finding, const struct policy_request *request);

/* Why a rule cannot decide about a caller, whatever is asked. */
enum policy_never {
	POLICY_NEVER_NOT,      /* it may */
	POLICY_NEVER_OUTVOTED, /* one that asks for nothing more denies the same caller, or
				  everybody */
	/* it allows callers without identity, and one that asks for nothing more denies an
	 * identity: they may be that */
	POLICY_NEVER_UNKNOWN,
	POLICY_NEVER_LATER,  /* one that asks for nothing more says the same before it */
	POLICY_NEVER_HTTP,   /* it allows by what opaque bytes do not have, and the service has only
				those */
	POLICY_NEVER_STRICT, /* callers without identity do not get so far */
	POLICY_NEVER_DISABLED, /* but on its own machine, no caller has an identity there */
};

/* One source of one rule. */
struct policy_row {
	const struct policy *policy;
	const struct source *source; /* NULL: it names nobody */
	uint32_t rank;
	uint32_t number; /* of the rule, in the order in which they are written */
	uint32_t entry;	 /* of all rules', in the order in which they are written */
	bool is_more;	 /* not the first of the ids that its entry stands for */
	enum policy_never never;
	const struct policy *by; /* OUTVOTED, UNKNOWN, LATER */
};
/* In the order in which they count: the most exact first, of equal ones those that deny; the ones
 * that only note come last. Texts are the snapshot's, the rows the arena's. False: no memory. */
bool policy_rows(const struct service *service, struct arena *arena, struct policy_row **ret_rows,
	uint32_t *ret_count) MUST_CHECK;
