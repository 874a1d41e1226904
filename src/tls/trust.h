/* SPDX-License-Identifier: Apache-2.0 */
/* A set of trust anchors, and the search for a path to one of them. */
#pragma once

#include "tls/tls.h"
#include <openssl/x509.h>

/* How long before its first second a certificate passes. Its authority's clock may be ahead of
 * ours, and a certificate is used as soon as it is issued: without this a new one would be refused
 * until our clock is there. There is no such thing at the end: certificates are renewed long before
 * it, so that one second more would help nobody. */
#define TRUST_SKEW_S 10

/* Of one name there is one anchor in a group. The library takes the first of a name and does not
 * come back for a second one, which has another key: a root and the one that follows it. */
struct trust {
	X509_STORE **groups;
	size_t group_count; /* 0: trust nobody */
};

/* Adds an anchor; one that is there already is no second one. False: out of memory. */
bool trust_add(struct trust *t, X509 *anchor) MUST_CHECK;
void trust_done(struct trust *t);

/* A path from the chain's first certificate to an anchor of the group, by way of the others:
 * signatures, dates, authorities' constraints, unknown critical extensions; and of every extended
 * key usage, when a purpose (X509_PURPOSE_*) is given and not 0. The caller frees the path. */
enum tls_failure trust_find(X509_STORE *group, STACK_OF(X509) * chain, int64_t wall_s, int purpose,
	STACK_OF(X509) * *ret_path);
/* Whether another group may have something better. What to say in the end is the first failure that
 * is more than "no path", which it is from each group that has not the right anchor. */
bool trust_goes_on(enum tls_failure failure);
