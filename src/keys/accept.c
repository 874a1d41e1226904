/* SPDX-License-Identifier: Apache-2.0 */
#include "accept.h"

#include "base/bundle.h"
#include "tls/spiffe.h"
#include "tls/tls.h"
#include <errno.h>

static int accept_result(int r, struct tls_store *store)
{
	if (r == 0)
		tls_store_unref(store);
	return r < 0 && r != -ENOMEM ? -EBADMSG : r;
}

int accept_trust(enum accept_kind kind, struct str trust_domain, struct str pem, struct err *err)
{
	struct bundle b;
	struct tls_store *store = NULL;
	bundle_init(&b);
	int r = bundle_add(
		&b, kind == ACCEPT_ROOTS ? STR("roots") : STR("crl"), trust_domain, pem, err);
	if (r == 0)
		r = tls_store_new(&b, trust_domain, 1, &store, err);
	bundle_done(&b);
	return accept_result(r, store);
}

/* The machine's own, as it is shown to an authority. */
static int accept_machine(struct str chain, struct str roots, struct err *err)
{
	struct bundle b;
	struct tls_store *store = NULL;
	bundle_init(&b);
	int r = bundle_add(&b, STR("pki"), STR("roots"), roots, err);
	if (r == 0)
		r = bundle_add(&b, STR("pki"), STR("chain"), chain, err);
	if (r == 0)
		r = bundle_add(&b, STR("pki-key"), STR("store"), STR("1"), err);
	if (r == 0)
		r = tls_store_new_pki(&b, &store, err);
	bundle_done(&b);
	return accept_result(r, store);
}

int accept_workload(struct str trust_domain, struct str identity, struct str chain,
	struct str roots, struct err *err)
{
	struct bundle b;
	struct tls_store *store = NULL;
	bundle_init(&b);
	int r = bundle_add(&b, STR("roots"), trust_domain, roots, err);
	if (r == 0)
		r = bundle_add(&b, STR("chain"), identity, chain, err);
	if (r == 0)
		r = bundle_add(&b, STR("key"), identity, STR("1"), err);
	if (r == 0)
		r = tls_store_new(&b, trust_domain, 1, &store, err);
	bundle_done(&b);
	return accept_result(r, store);
}

int accept_chain(struct str trust_domain, struct str identity, struct str chain, struct str roots,
	struct err *err)
{
	return spiffe_path_reserved(identity)
		       ? accept_machine(chain, roots, err)
		       : accept_workload(trust_domain, identity, chain, roots, err);
}
