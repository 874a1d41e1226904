/* SPDX-License-Identifier: Apache-2.0 */
/* What the authority tells everybody who asks: anchors, its own and others', and the certificate of
 * its server. */
#include "authority_inside.h"

#include "base/clock.h"
#include "crl.h"
#include "keys/file.h"
#include "rotate.h"
#include "tls/spiffe.h"
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#define AUTHORITY_COMPACT_S 3600

void authority_etag(struct str text, char ret_etag[72])
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA256((const uint8_t *)text.at, text.len, digest);
	ret_etag[0] = '"';
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(ret_etag + 1 + 2 * i, 3, "%02x", digest[i]);
	ret_etag[65] = '"';
	ret_etag[66] = '\0';
}

int authority_own_anchors(
	const struct folder *f, struct str *ret_pem, char ret_etag[72], struct err *err)
{
	int r = folder_read(f, "roots.pem", FILE_PUBLIC, ret_pem, err);
	if (r == 0)
		authority_etag(*ret_pem, ret_etag);
	return r;
}

static int authority_federated(const struct folder *f, struct str label, struct str *ret_pem,
	char ret_etag[72], struct err *err)
{
	char name[300];
	if (!spiffe_trust_domain_valid(label))
		return err_set(err, ENOENT, "there is nothing of that name");
	snprintf(name, sizeof(name), "federation/" STR_FMT ".pem", STR_ARG(label));
	int r = folder_read(f, name, FILE_PUBLIC, ret_pem, err);
	if (r == 0)
		authority_etag(*ret_pem, ret_etag);
	return r;
}

int authority_anchors(struct authority *a, struct str label, struct str *ret_pem, char ret_etag[72],
	struct err *err)
{
	int r = folder_lock(&a->folder, err);
	if (r < 0)
		return r;
	/* A rotation that was cut off may have left roots.pem behind what it says. */
	r = rotate_settle(&a->folder, err);
	if (r == 0 && (label.len == 0 || str_eq(label, a->settings->trust_domain)))
		r = authority_own_anchors(&a->folder, ret_pem, ret_etag, err);
	else if (r == 0)
		r = authority_federated(&a->folder, label, ret_pem, ret_etag, err);
	folder_unlock(&a->folder);
	return r;
}

int authority_crls(
	struct authority *a, int64_t now_s, struct str *ret_pem, char ret_etag[72], struct err *err)
{
	int r = folder_lock(&a->folder, err);
	if (r < 0)
		return r;
	r = authority_refresh(a, err);
	if (r < 0) {
		folder_unlock(&a->folder);
		return r;
	}
	const struct conf_ca *c = a->settings;
	struct crl_order order = {.now_s = now_s,
		.lifetime_s = (int64_t)(c->crl_ms / 1000),
		.backdate_s = (int64_t)(c->backdate_ms / 1000),
		.revoked = &a->revoked};
	r = rotate_settle(&a->folder, err);
	if (r == 0 && (now_s - a->compacted_s > AUTHORITY_COMPACT_S || now_s < a->compacted_s)) {
		r = ledger_compact(&a->folder, now_s, (int64_t)(c->comeback_ms / 1000), err);
		a->compacted_s = now_s;
	}
	if (r == 0)
		r = crl_collect(&a->folder, &order, ret_pem, err);
	if (r == 0)
		authority_etag(*ret_pem, ret_etag);
	folder_unlock(&a->folder);
	return r;
}

/* --- the server's certificate --- */

static int authority_server_keep(struct authority *a, EVP_PKEY *key, X509 *leaf, struct err *err)
{
	struct str pem = STR_NONE, key_pem = STR_NONE;
	char *chain = NULL;
	int len = -1;
	if (cert_pem(leaf, &pem) == 0 && cert_key_pem(key, &key_pem) == 0)
		len = asprintf(&chain, "%s%s", pem.at, a->issuer.chain.at);
	file_text_free(pem);
	if (len < 0) {
		file_text_free(key_pem);
		return err_set(err, ENOMEM, "out of memory");
	}
	file_text_free(a->server_chain);
	file_text_free(a->server_key);
	a->server_chain = (struct str){chain, (size_t)len};
	a->server_key = key_pem;
	memcpy(a->server_issuer, a->issuer.key_id, sizeof(a->server_issuer));
	return 0;
}

static int authority_server_make(struct authority *a, int64_t now_s, struct err *err)
{
	const struct conf_ca *c = a->settings;
	const struct cert_names names = {.addresses = c->listen,
		.address_count = c->listen_count,
		.names = c->names,
		.name_count = c->name_count};
	struct cert_life life = {
		now_s, (int64_t)(c->node_ms / 1000), (int64_t)(c->backdate_ms / 1000)};
	if (names.address_count + names.name_count == 0)
		return err_set(err, EINVAL,
			"%s/ca.conf: authority.listen is missing: where nodes ask, such as "
			"\"10.77.0.5:8443\"",
			a->folder.dir);
	EVP_PKEY *key = cert_key_new();
	if (!key)
		return err_set(err, ENOMEM, "out of memory");
	X509 *leaf = NULL;
	int r = cert_server_new(key, &names, &a->issuer.signer, life, &leaf, err);
	if (r == 0)
		r = authority_server_keep(a, key, leaf, err);
	if (r == 0) {
		a->server_from_s = cert_not_before(leaf);
		a->server_renew_s = now_s + (cert_not_after(leaf) - now_s) / 2;
	}
	X509_free(leaf);
	EVP_PKEY_free(key);
	return r;
}

int authority_server(struct authority *a, int64_t now_s, struct str *ret_chain, struct str *ret_key,
	struct err *err)
{
	int r = authority_refresh(a, err);
	if (r < 0)
		return r;
	/* Made by a clock that was ahead, it would not hold yet. */
	bool is_due = a->server_chain.len == 0 || now_s >= a->server_renew_s ||
		      now_s < a->server_from_s || strcmp(a->server_issuer, a->issuer.key_id) != 0;
	if (is_due)
		r = authority_server_make(a, now_s, err);
	if (r < 0)
		return r;
	char *chain = strndup(a->server_chain.at, a->server_chain.len);
	char *key = strndup(a->server_key.at, a->server_key.len);
	if (!chain || !key) {
		free(chain);
		free(key);
		return err_set(err, ENOMEM, "out of memory");
	}
	*ret_chain = (struct str){chain, a->server_chain.len};
	*ret_key = (struct str){key, a->server_key.len};
	return 0;
}

/* --- how it is --- */

/* A third of its life is left, at most: time enough for a rotation. */
static bool authority_issuer_nears_end(const struct issuer *i, int64_t now_s)
{
	return (i->not_after_s - now_s) * 3 < i->not_after_s - i->not_before_s;
}

int authority_health(struct authority *a, int64_t now_s, struct err *err)
{
	char end[25];
	int r = authority_refresh(a, err);
	if (r < 0)
		return r;
	if (!a->registration)
		return err_set(err, EINVAL, "%s; nothing is issued until it is mended",
			a->registration_why.text);
	clock_format((uint64_t)a->issuer.not_after_s * CLOCK_S, end);
	if (a->issuer.not_after_s <= now_s)
		return err_set(err, EKEYEXPIRED,
			"%s/issuer.crt has expired at %s; make a new issuer: ringmain ca rotate "
			"publish",
			a->folder.dir, end);
	if (a->settings_why.text[0]) {
		err_set(err, EINVAL, "%s; the settings before it hold on", a->settings_why.text);
		return 1;
	}
	if (!authority_issuer_nears_end(&a->issuer, now_s))
		return 0;
	err_set(err, EKEYEXPIRED,
		"%s/issuer.crt ends at %s, and no certificate outlives it; make a new issuer: "
		"ringmain ca rotate publish",
		a->folder.dir, end);
	return 1;
}
