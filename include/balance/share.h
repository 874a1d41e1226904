/* SPDX-License-Identifier: Apache-2.0 */
/* Fair shares of one bucket of tokens: what comes in is divided equally among the members that can
 * hold more; each holds an equal part of the bucket at most. So a member that wants less than its
 * share finds it there, what it leaves goes to the others in equal parts (max-min), and no member
 * gets less than its share because another wants more. Pure, but for atomics: any thread may take
 * at any time.
 *
 * How: the level counts what each member has been given since the beginning, a member's mark what
 * it has used up of that: the difference is what it holds. What nobody holds may be taken by
 * anybody. A member is one that has asked lately; one that has not is none, and its tokens are
 * nobody's. Members beyond SHARE_MEMBERS are one together. */
#pragma once

#include "balance/bucket.h"

#define SHARE_MEMBERS 64
/* So long after it has asked a member is one: as long as the bucket takes to fill, within these. */
#define SHARE_STAYS_NS_MIN UINT64_C(1000000000)
#define SHARE_STAYS_NS_MAX UINT64_C(10000000000)

struct share_member {
	_Atomic uint64_t id; /* 0: free */
	_Atomic uint64_t mark;
	_Atomic uint64_t asked_ns;
};

struct share {			     /* all zero: nobody has asked yet */
	_Atomic uint64_t level;	     /* ticks */
	_Atomic uint64_t turned_ns;  /* up to when the level is reckoned */
	_Atomic uint32_t rest_count; /* times that the members had no room for one more */
	struct share_member members[SHARE_MEMBERS + 1]; /* the last: all the others */
};

/* The member of this id (not 0), or NULL: it is none yet. */
struct share_member *share_find(struct share *s, uint64_t id);
/* Makes it one: in the place of one that is none any more, else as one of the others. One thread
 * at a time. */
struct share_member *share_join(
	struct share *s, const struct bucket_rate *r, uint64_t id, uint64_t now_ns);

/* How a token was taken, so that it can be put back. */
struct share_taking {
	struct share_member *member;
	uint64_t before, after; /* equal: of what nobody holds */
};
/* One token for a member, of a bucket that has `there` left; that is the caller's to take then.
 * Whether or not there is one for it, the member has asked. */
bool share_take(struct share *s, const struct bucket_rate *r, struct share_member *member,
	uint64_t there, uint64_t now_ns, struct share_taking *ret_taking);
void share_put_back(const struct share_taking *taking);
/* How many have asked lately. */
uint32_t share_count(const struct share *s, const struct bucket_rate *r, uint64_t now_ns);
