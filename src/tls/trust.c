/* SPDX-License-Identifier: Apache-2.0 */
#include "trust.h"

#include "store.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

/* --- the anchors --- */

/* What a group has of a name; NULL: nothing. */
static X509 *trust_named(X509_STORE *group, X509_NAME *name)
{
	STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(group);
	for (size_t i = 0; i < sk_X509_OBJECT_num(all); i++) {
		X509 *it = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
		if (it && X509_NAME_cmp(X509_get_subject_name(it), name) == 0)
			return it;
	}
	return NULL;
}

static X509_STORE *trust_new_group(struct trust *t)
{
	X509_STORE **longer = realloc(t->groups, (t->group_count + 1) * sizeof(*longer));
	if (!longer)
		return NULL;
	t->groups = longer;
	t->groups[t->group_count] = X509_STORE_new();
	return t->groups[t->group_count] ? t->groups[t->group_count++] : NULL;
}

bool trust_add(struct trust *t, X509 *anchor)
{
	X509_STORE *group = NULL;
	for (size_t i = 0; i < t->group_count && !group; i++) {
		X509 *there = trust_named(t->groups[i], X509_get_subject_name(anchor));
		if (there && X509_cmp(there, anchor) == 0)
			return true;
		if (!there)
			group = t->groups[i];
	}
	if (!group)
		group = trust_new_group(t);
	return group && X509_STORE_add_cert(group, anchor);
}

void trust_done(struct trust *t)
{
	for (size_t i = 0; i < t->group_count; i++)
		X509_STORE_free(t->groups[i]);
	free(t->groups);
	*t = (struct trust){0};
}

/* --- the search --- */

static enum tls_failure trust_error(int x509_error)
{
	switch (x509_error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return TLS_FAILURE_EXPIRED;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return TLS_FAILURE_NOT_YET_VALID;
	case X509_V_ERR_CERT_CHAIN_TOO_LONG:
		return TLS_FAILURE_CHAIN_LENGTH;
	case X509_V_ERR_INVALID_PURPOSE:
		return TLS_FAILURE_EXTENDED_KEY_USAGE;
	case X509_V_ERR_OUT_OF_MEM:
		return TLS_FAILURE_MEMORY;
	default:
		return TLS_FAILURE_CHAIN;
	}
}

static enum tls_failure trust_find_at(X509_STORE *group, STACK_OF(X509) * chain, int64_t wall_s,
	int purpose, STACK_OF(X509) * *ret_path)
{
	X509_STORE_CTX *search = X509_STORE_CTX_new();
	if (!search || !X509_STORE_CTX_init(search, group, sk_X509_value(chain, 0), chain)) {
		X509_STORE_CTX_free(search);
		return TLS_FAILURE_MEMORY;
	}
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(search);
	X509_VERIFY_PARAM_set_time(param, (time_t)wall_s);
	X509_VERIFY_PARAM_set_depth(param, STORE_CHAIN_COUNT_MAX);
	if (purpose)
		X509_VERIFY_PARAM_set_purpose(param, purpose);
	/* Each certificate of the set is an anchor in its own right, self-signed or not. */
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);
	enum tls_failure failure = TLS_FAILURE_NONE;
	if (X509_verify_cert(search) == 1)
		*ret_path = X509_STORE_CTX_get1_chain(search);
	else
		failure = trust_error(X509_STORE_CTX_get_error(search));
	X509_STORE_CTX_free(search);
	return !failure && !*ret_path ? TLS_FAILURE_MEMORY : failure;
}

/* The library has one time for both edges. */
enum tls_failure trust_find(X509_STORE *group, STACK_OF(X509) * chain, int64_t wall_s, int purpose,
	STACK_OF(X509) * *ret_path)
{
	*ret_path = NULL;
	enum tls_failure failure = trust_find_at(group, chain, wall_s, purpose, ret_path);
	if (failure == TLS_FAILURE_NOT_YET_VALID)
		failure = trust_find_at(group, chain, wall_s + TRUST_SKEW_S, purpose, ret_path);
	return failure;
}

bool trust_goes_on(enum tls_failure failure)
{
	return failure != TLS_FAILURE_NONE && failure != TLS_FAILURE_REVOKED &&
	       failure != TLS_FAILURE_MEMORY;
}
