/* SPDX-License-Identifier: Apache-2.0 */
/* The server's own certificate and key, signed with on the spot, and what its clients prove.
 *
 * A generation is never changed: connections keep that of their handshake, so the key in use is the
 * one of the certificate that was shown. A client is judged by the generation in force at each of
 * his requests: a connection does not outlive a revocation. */
#include "serve.h"

#include "base/bundle.h"
#include "base/clock.h"
#include "keys/file.h"
#include "tls/tls.h"
#include <errno.h>
#include <stdlib.h>

struct serve_material {
	uint32_t ref_count;
	struct tls_store *store;
	struct tls_key *key;
};

struct serve_material *serve_material_ref(struct serve_material *m)
{
	m->ref_count++;
	return m;
}

void serve_material_unref(struct serve_material *m)
{
	if (!m || --m->ref_count > 0)
		return;
	tls_key_free(m->key);
	tls_store_unref(m->store);
	free(m);
}

/* --- loading --- */

static int serve_material_published(struct authority *a, struct str trust_domain, int64_t now_s,
	struct bundle *b, struct err *err)
{
	struct str pem = STR_NONE;
	char etag[72];
	int r = authority_anchors(a, STR_NONE, &pem, etag, err);
	if (r == 0)
		r = bundle_add(b, STR("roots"), trust_domain, pem, err);
	file_text_free(pem);
	pem = STR_NONE;
	if (r == 0)
		r = authority_crls(a, now_s, &pem, etag, err);
	if (r == 0)
		r = bundle_add(b, STR("crl"), trust_domain, pem, err);
	file_text_free(pem);
	return r;
}

static int serve_material_make(const struct bundle *b, struct str trust_domain, struct str key,
	struct serve_material **ret_material, struct err *err)
{
	struct serve_material *m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(err, ENOMEM, "out of memory");
	m->ref_count = 1;
	int r = tls_store_new_est(b, trust_domain, &m->store, err);
	if (r == 0)
		r = tls_key_new(key, m->store, &m->key, err);
	if (r < 0)
		serve_material_unref(m);
	else
		*ret_material = m;
	return r;
}

static int serve_material_replace(const struct bundle *b, struct str trust_domain, struct str key,
	struct serve_material **m, struct err *err)
{
	struct serve_material *fresh = NULL;
	if (*m && tls_store_made_of((*m)->store, b, trust_domain))
		return 0;
	int r = serve_material_make(b, trust_domain, key, &fresh, err);
	if (r < 0)
		return r;
	serve_material_unref(*m);
	*m = fresh;
	return 0;
}

int serve_material_load(struct authority *a, struct str trust_domain, int64_t now_s,
	struct serve_material **m, struct err *err)
{
	struct bundle b;
	struct str chain = STR_NONE, key = STR_NONE;
	bundle_init(&b);
	int r = authority_server(a, now_s, &chain, &key, err);
	if (r == 0)
		r = bundle_add(&b, STR("pki"), STR("chain"), chain, err);
	if (r == 0)
		r = bundle_add(&b, STR("pki-key"), STR("store"), STR("1"), err);
	if (r == 0)
		r = serve_material_published(a, trust_domain, now_s, &b, err);
	if (r == 0)
		r = serve_material_replace(&b, trust_domain, key, m, err);
	file_text_free(chain);
	file_text_free(key);
	bundle_done(&b);
	return r;
}

/* --- handshakes --- */

bool serve_secure(struct serve_material *m, struct conn *c)
{
	struct tls *t = tls_server_new_est(m->store, &c->wire);
	if (t)
		conn_secure(c, t);
	return t;
}

void serve_need(struct serve_material *m, struct conn *c)
{
	uint8_t signature[TLS_SIGNATURE_MAX];
	switch (c->need) {
	case CONN_NEED_SIGNATURE:
		tls_sign_done(c->tls, signature,
			tls_key_sign(m->key, tls_sign_request(c->tls), signature));
		conn_resume(c);
		break;
	case CONN_NEED_NAME: /* there is one certificate, whatever the name */
		tls_server_choose(c->tls, STR(""), 1u << TLS_ALPN_NONE | 1u << TLS_ALPN_HTTP1);
		conn_resume(c);
		break;
	case CONN_NEED_NOTHING:
		break;
	}
}

const char *serve_shake_failure(const struct conn *c)
{
	if (c->failure == CONN_FAILURE_NONE)
		return "not within the time limit";
	if (c->failure != CONN_FAILURE_HANDSHAKE)
		return NULL;
	/* a port scan, or somebody who only wants to know whether the server is up */
	if (tls_failure(c->tls) == TLS_FAILURE_CLOSED && c->bytes_in == 0)
		return NULL;
	return tls_failure_text(tls_failure(c->tls));
}

const char *serve_client(const struct serve_material *now, const struct conn *c, int64_t now_s,
	struct authority_client *ret_client)
{
	*ret_client = (struct authority_client){0};
	enum tls_shown shown = tls_peer_shown(c->tls);
	if (shown == TLS_SHOWN_NOTHING)
		return NULL;
	ret_client->id = tls_peer_id(c->tls);
	ret_client->serial = tls_peer_serial(c->tls);
	ret_client->expired = shown == TLS_SHOWN_EXPIRED || tls_peer_not_after_s(c->tls) < now_s;
	enum tls_failure again = tls_peer_again(c->tls, now->store, now_s);
	return again == TLS_FAILURE_NONE ? NULL : tls_failure_text(again);
}
