/* SPDX-License-Identifier: Apache-2.0 */
/* From the directory that only the keeper writes. A file that cannot be used there is a disk's
 * mistake or somebody's, and no reason for a machine not to start: what is missing will be asked
 * for again. */
#include "accept.h"
#include "keep_name.h"
#include "keyring_private.h"

#include "base/log.h"
#include "keys/cert.h"
#include "keys/chain.h"
#include "keys/file.h"
#include "tls/spiffe.h"
#include "tls/tls.h"
#include <errno.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

/* --- pairs --- */

static int keyring_check_id(const struct keyring_load *l, const char *file, X509 *leaf,
	struct str identity, struct err *err)
{
	char id[TLS_ID_MAX + 1];
	struct str trust_domain, path;
	if (cert_uri(leaf, id, sizeof(id)) == 0 && spiffe_parse(str_of(id), &trust_domain, &path) &&
		!X509_check_ca(leaf) && str_eq(trust_domain, l->trust_domain) &&
		str_eq(path, identity))
		return 0;
	return err_set(err, EINVAL, "%s: not a certificate of spiffe://" STR_FMT "/" STR_FMT, file,
		STR_ARG(l->trust_domain), STR_ARG(identity));
}

/* What is in force has been judged already. */
static bool keyring_is_in_force(
	const struct keyring_load *l, const char *kind, struct str name, struct str text)
{
	const struct bundle_item *item = l->in_force ? bundle_find(l->in_force, kind, name) : NULL;
	return item && str_eq(item->text, text);
}

static int keyring_check_use(const struct keyring_load *l, const char *file, struct str identity,
	struct str chain, struct err *err)
{
	struct err why;
	if (keyring_is_in_force(l, "chain", identity, chain) || l->own_roots.len == 0 ||
		accept_chain(l->trust_domain, identity, chain, l->own_roots, &why) == 0)
		return 0;
	return err_set(err, EINVAL, "%s: %s", file, why.text);
}

/* Key and chain of one file; the key in its place, not counted yet. *ret_chain is for
 * file_text_free(). */
static int keyring_read_pair(struct keyring_load *l, const char *file, struct str identity,
	struct str *ret_chain, struct err *err)
{
	struct str text;
	struct err why;
	X509 *leaf = NULL;
	int r = file_read(file, FILE_SECRET, &text, err);
	if (r < 0)
		return r;
	r = chain_pem(text, CHAIN_CERTIFICATES_MAX, ret_chain, &leaf, &why);
	if (r < 0) {
		file_text_free(text);
		return err_set(err, -r, "%s: %s", file, why.text);
	}
	r = keyring_check_id(l, file, leaf, identity, err);
	if (r == 0)
		r = keyring_check_use(l, file, identity, *ret_chain, err);
	if (r == 0)
		r = keyring_keep_key(l->k, file, leaf, text, err);
	if (r < 0)
		file_text_free(*ret_chain);
	X509_free(leaf);
	file_text_free(text);
	return r;
}

static int keyring_stage_pair(struct keyring_load *l, const char *chain_kind, struct str chain_name,
	struct str chain, const char *key_kind, struct str key_name, struct err *err)
{
	char text[KEYRING_NUMBER_TEXT];
	struct str number = keyring_number(l->k, &l->numbers, text);
	int r = bundle_add(&l->staged, str_of(chain_kind), chain_name, chain, err);
	if (r == 0)
		r = bundle_add(&l->staged, str_of(key_kind), key_name, number, err);
	if (r == 0)
		l->k->count++;
	return r;
}

static int keyring_keep_service(struct keyring_load *l, struct str identity, struct err *err)
{
	char file[PATH_MAX], name[KEEP_NAME_MAX];
	struct str chain;
	struct err why;
	if (!keep_name(identity, name))
		return err_set(err, EINVAL, "\"" STR_FMT "\": no identity that keys are kept for",
			STR_ARG(identity));
	int r = keyring_path(file, l->dir, str_of(name), ".pem", err);
	if (r < 0)
		return r;
	r = keyring_read_pair(l, file, identity, &chain, &why);
	if (r < 0) {
		if (r != -ENOENT)
			log_error("keys", "not used, a new one will be asked for: %s", why.text);
		return 0;
	}
	r = keyring_stage_pair(l, "chain", identity, chain, "key", identity, err);
	file_text_free(chain);
	return r;
}

/* --- trust --- */

static const struct {
	const char *kind, *instead; /* what happens when there is none in force either */
} keyring_kept_trusts[] = {
	[ACCEPT_ROOTS] = {"roots", "nobody of that trust domain is let in"},
	[ACCEPT_CRLS] = {"crl", "nobody of that trust domain is taken for revoked"},
};

/* -ENOENT: no file. */
static int keyring_read_trust(const struct keyring_load *l, enum accept_kind kind, const char *file,
	struct str trust_domain, struct str *ret_pem, struct err *err)
{
	struct str text = STR_NONE;
	struct err why = {.text = ""};
	*ret_pem = STR_NONE;
	int r = file_read(file, FILE_PUBLIC, &text, err);
	if (r < 0)
		return r;
	r = kind == ACCEPT_ROOTS ? chain_roots(text, ret_pem, &why)
				 : chain_crls(text, ret_pem, &why);
	if (r == 0 && ret_pem->len > 0 &&
		!keyring_is_in_force(l, keyring_kept_trusts[kind].kind, trust_domain, *ret_pem))
		r = accept_trust(kind, trust_domain, *ret_pem, &why);
	file_text_free(text);
	if (r == 0)
		return 0;
	file_text_free(*ret_pem);
	*ret_pem = STR_NONE;
	return err_set(err, -r, "%s: %s", file, why.text);
}

/* What was good before is better than nothing. */
static int keyring_keep_old_trust(struct keyring_load *l, enum accept_kind kind,
	struct str trust_domain, const struct err *why, struct err *err)
{
	const char *word = keyring_kept_trusts[kind].kind;
	const struct bundle_item *old =
		l->in_force ? bundle_find(l->in_force, word, trust_domain) : NULL;
	log_error("keys", "not used, it will be asked for again; until then %s: %s",
		old ? "what is in force stays" : keyring_kept_trusts[kind].instead, why->text);
	return old ? bundle_add(&l->staged, old->kind, trust_domain, old->text, err) : 0;
}

static int keyring_keep_trust(struct keyring_load *l, enum accept_kind kind, const char *name,
	struct str trust_domain, struct err *err)
{
	char file[PATH_MAX];
	struct str pem;
	struct err why;
	int r = keyring_path(file, l->dir, str_of(name), ".pem", err);
	if (r < 0)
		return r;
	r = keyring_read_trust(l, kind, file, trust_domain, &pem, &why);
	if (r < 0)
		return r == -ENOENT ? 0 : keyring_keep_old_trust(l, kind, trust_domain, &why, err);
	if (pem.len > 0)
		r = bundle_add(
			&l->staged, str_of(keyring_kept_trusts[kind].kind), trust_domain, pem, err);
	file_text_free(pem);
	return r;
}

/* Only those that the configuration names: what has been taken out there is trusted no longer. */
static int keyring_keep_all_trust(
	struct keyring_load *l, const struct keyring_keep *from, struct err *err)
{
	char name[300];
	int r = keyring_keep_trust(l, ACCEPT_ROOTS, "roots", from->trust_domain, err);
	if (r == 0)
		r = keyring_keep_trust(l, ACCEPT_CRLS, "crls", from->trust_domain, err);
	for (uint32_t i = 0; i < from->federate_count && r == 0; i++) {
		struct str trust_domain = from->federates[i];
		if (!spiffe_trust_domain_valid(trust_domain) || trust_domain.len > 255)
			continue;
		snprintf(name, sizeof(name), "roots/" STR_FMT, STR_ARG(trust_domain));
		r = keyring_keep_trust(l, ACCEPT_ROOTS, name, trust_domain, err);
		snprintf(name, sizeof(name), "crls/" STR_FMT, STR_ARG(trust_domain));
		if (r == 0)
			r = keyring_keep_trust(l, ACCEPT_CRLS, name, trust_domain, err);
	}
	return r;
}

/* --- loading --- */

/* Whether the file `stem` of that folder is one of an identity that is to be loaded. */
static bool keyring_is_ours(const struct keyring_keep *from, const char *folder, struct str stem)
{
	char name[KEEP_NAME_MAX];
	size_t len = strlen(folder);
	for (uint32_t i = 0; i < from->identity_count; i++) {
		if (keep_name(from->identities[i], name) && strlen(name) == len + 1 + stem.len &&
			memcmp(name, folder, len) == 0 &&
			memcmp(name + len + 1, stem.at, stem.len) == 0)
			return true;
	}
	return false;
}

/* Of identities that this machine has no longer, or not yet. */
static void keyring_tell_others_of(const struct keyring_keep *from, const char *folder)
{
	char dir[PATH_MAX];
	struct dirent **entries;
	struct err err;
	unsigned others = 0;
	if (keyring_path(dir, from->dir, str_of(folder), "", &err) < 0)
		return;
	int count = scandir(dir, &entries, keyring_is_pem, alphasort);
	for (int i = 0; i < count; i++)
		others += !keyring_is_ours(from, folder, keyring_stem(entries[i]));
	if (count >= 0)
		keyring_entries_free(entries, count);
	if (others > 0)
		log_info("keys", "%s: %u of no workload of this machine, left alone", dir, others);
}

static void keyring_tell_others(const struct keyring_keep *from)
{
	keyring_tell_others_of(from, "service");
	keyring_tell_others_of(from, "identity");
}

static int keyring_keep_services(
	struct keyring_load *l, const struct keyring_keep *from, struct err *err)
{
	int r = keyring_keep_all_trust(l, from, err);
	/* Who trusts nobody has nobody to show a certificate to. */
	const struct bundle_item *roots = bundle_find(&l->staged, "roots", from->trust_domain);
	l->own_roots = roots ? roots->text : STR_NONE;
	for (uint32_t i = 0; roots && i < from->identity_count && r == 0; i++)
		r = keyring_keep_service(l, from->identities[i], err);
	if (r == 0)
		keyring_tell_others(from);
	return r;
}

int keyring_load_keep(const struct keyring_keep *from, struct keyring_numbers *numbers,
	struct keyring **ret_keyring, struct bundle *b, struct err *err)
{
	struct keyring_load l = {.dir = from->dir,
		.trust_domain = from->trust_domain,
		.in_force = from->in_force,
		.numbers = *numbers};
	int r = keyring_new(from->identity_count, &l.k, err);
	if (r < 0)
		return r;
	bundle_init(&l.staged);
	r = keyring_keep_services(&l, from, err);
	return keyring_end(&l, r, numbers, ret_keyring, b, err);
}

static int keyring_keep_node(struct keyring_load *l, struct str identity, struct err *err)
{
	char file[PATH_MAX];
	struct str chain;
	struct err why;
	int r = keyring_path(file, l->dir, STR("node"), ".pem", err);
	if (r < 0)
		return r;
	r = keyring_read_pair(l, file, identity, &chain, &why);
	if (r == -ENOENT)
		return err_set(err, ENOENT,
			"this machine has not joined: there is no %s; run `ringmain join` as root",
			file);
	if (r < 0)
		return err_set(err, ENOENT,
			"this machine's own certificate cannot be used, run `ringmain join` as "
			"root: %s",
			why.text);
	r = keyring_stage_pair(l, "est", STR("chain"), chain, "est-key", STR("node"), err);
	file_text_free(chain);
	return r;
}

int keyring_load_node(const struct keyring_keep *from, struct str identity,
	struct keyring_numbers *numbers, struct keyring **ret_keyring, struct bundle *b,
	struct err *err)
{
	struct keyring_load l = {.dir = from->dir,
		.trust_domain = from->trust_domain,
		.own_roots = from->roots,
		.numbers = *numbers};
	int r = keyring_new(1, &l.k, err);
	if (r < 0)
		return r;
	bundle_init(&l.staged);
	r = keyring_keep_node(&l, identity, err);
	return keyring_end(&l, r, numbers, ret_keyring, b, err);
}
