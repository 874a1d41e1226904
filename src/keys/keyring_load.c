/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate directory into a keyring and a bundle. Everything is read and checked into a bundle
 * of its own, and only then handed on.
 *
 * Other programs write there, at their own pace: key before chain, a chain in pieces, a file for a
 * moment not there. On a running machine (keyring_renew) what cannot be used is therefore no reason
 * to let go of what is in force: that goes on, for this identity or these anchors alone, and all
 * others are renewed. At a start there is nothing to go on with, so any fault is an error then. */
#include "accept.h"
#include "certs.h"
#include "keyring_private.h"

#include "keys/cert.h"
#include "keys/chain.h"
#include "keys/file.h"
#include "tls/spiffe.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define KEYRING_PAIRS_MAX 4096

/* Not an error yet: an entry that is no pair, or not yet one. */
#define KEYRING_NO_PAIR (-ENODATA)

/* --- what cannot be used --- */

/* Puts a line down, and 0; or the error itself, when that is what it has to be. */
static int keyring_fault(struct keyring_load *l, int r, const char *instead, const struct err *err)
{
	struct keyring_faults *f = l->faults;
	bool is_asked = l->kind == KEYRING_RELOAD && r != KEYRING_NOT_NOW;
	if (!f || is_asked || r == -ENOMEM || r == -EFBIG)
		return r;
	size_t room = sizeof(f->text) - f->len;
	int n = snprintf(f->text + f->len, room, "%s; %s\n", err->text, instead);
	if (n > 0)
		f->len += (size_t)n < room ? (size_t)n : room - 1;
	f->count++;
	return 0;
}

/* --- anchors and revocation lists --- */

/* *ret_pem is for file_text_free(). */
static int keyring_read_roots(const char *file, struct str *ret_pem, struct err *err)
{
	struct str text;
	struct err why;
	int r = file_read(file, FILE_PUBLIC, &text, err);
	if (r < 0)
		return r;
	r = chain_roots(text, ret_pem, &why);
	file_text_free(text);
	return r < 0 ? err_set(err, -r, "%s: %s", file, why.text) : 0;
}

/* Empty: no list in it, or no file. */
static int keyring_read_crls(const char *file, struct str *ret_pem, struct err *err)
{
	struct str text;
	struct err why;
	*ret_pem = STR_NONE;
	int r = file_read(file, FILE_PUBLIC, &text, &why);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_set(err, -r, "%s", why.text);
	r = chain_crls(text, ret_pem, &why);
	file_text_free(text);
	return r < 0 ? err_set(err, -r, "%s: %s", file, why.text) : 0;
}

/* `roots` of a file beside what others said before: the same, or an error. Takes it over. */
static int keyring_agree(const struct keyring_load *l, const char *file, struct str roots,
	const char **first_file, struct str *first, struct err *err)
{
	if (first->len == 0) {
		*first = roots;
		*first_file = file;
		return 0;
	}
	bool same = certs_same_set(*first, roots);
	file_text_free(roots);
	return same ? 0
		    : err_set(err, EINVAL,
			      "%s: other trust anchors than in %s; which ones count, only "
			      "%s/roots.pem can say",
			      file, *first_file, l->dir);
}

/* The anchors that came with the identities, when all say the same; empty when none came. */
static int keyring_read_common_roots(
	const struct keyring_load *l, struct str *ret_pem, struct err *err)
{
	const char *first_file = NULL;
	struct str first = STR_NONE, next;
	int r = 0;
	for (uint32_t i = 0; i < l->entries.count && r == 0; i++) {
		const char *file = l->entries.list[i].roots;
		if (!file)
			continue;
		r = keyring_read_roots(file, &next, err);
		if (r == 0)
			r = keyring_agree(l, file, next, &first_file, &first, err);
	}
	*ret_pem = first;
	if (r < 0)
		file_text_free(first);
	return r;
}

/* roots.pem; without, what came with the identities. */
static int keyring_read_own_roots(
	const struct keyring_load *l, struct str *ret_pem, struct err *err)
{
	char file[PATH_MAX];
	struct err other;
	int r = keyring_path(file, l->dir, STR("roots"), ".pem", err);
	if (r == 0)
		r = keyring_read_roots(file, ret_pem, err);
	if (r != -ENOENT)
		return r;
	r = keyring_read_common_roots(l, ret_pem, &other);
	if (r < 0)
		*err = other;
	/* else the error stays that there is no roots.pem */
	return r == 0 && ret_pem->len == 0 ? -ENOENT : r;
}

/* The bundle's kind, the files' names, and what to say when there is nothing to go on with. */
static const struct {
	const char *kind, *own, *foreign_dir, *nothing;
} keyring_trusts[] = {
	[ACCEPT_ROOTS] = {"roots", "roots.pem", "roots", "no anchors of that trust domain"},
	[ACCEPT_CRLS] = {"crl", "crl.pem", "crls", "nobody of that trust domain is revoked"},
};

/* What was read, or what is in force if that went wrong. Takes `pem` over. */
static int keyring_stage_trust(struct keyring_load *l, enum accept_kind trust,
	struct str trust_domain, int r, struct str pem, struct err *err)
{
	struct str kind = str_of(keyring_trusts[trust].kind);
	struct err why;
	if (r == 0 && pem.len > 0 && accept_trust(trust, trust_domain, pem, &why) < 0) {
		file_text_free(pem);
		r = err_set(err, EBADMSG, "%s: %s", l->dir, why.text);
	}
	if (r == 0) {
		if (pem.len > 0)
			r = bundle_add(&l->staged, kind, trust_domain, pem, err);
		file_text_free(pem);
		return r;
	}
	const struct bundle_item *old =
		l->in_force ? bundle_find(l->in_force, kind.at, trust_domain) : NULL;
	r = keyring_fault(
		l, r, old ? "what is in force stays" : keyring_trusts[trust].nothing, err);
	return r < 0 || !old ? r : bundle_add(&l->staged, kind, trust_domain, old->text, err);
}

static int keyring_load_own(struct keyring_load *l, enum accept_kind trust, struct err *err)
{
	char file[PATH_MAX];
	struct str pem = STR_NONE;
	int r = keyring_path(file, l->dir, str_of(keyring_trusts[trust].own), "", err);
	if (r < 0)
		return r;
	r = trust == ACCEPT_ROOTS ? keyring_read_own_roots(l, &pem, err)
				  : keyring_read_crls(file, &pem, err);
	return keyring_stage_trust(l, trust, l->trust_domain, r, pem, err);
}

static int keyring_load_foreign(struct keyring_load *l, enum accept_kind trust, const char *dir,
	struct str trust_domain, struct err *err)
{
	char file[PATH_MAX];
	struct str pem = STR_NONE;
	int r = keyring_path(file, dir, trust_domain, ".pem", err);
	if (r < 0)
		return r;
	if (!spiffe_trust_domain_valid(trust_domain) || str_eq(trust_domain, l->trust_domain)) {
		r = err_set(err, EINVAL,
			"%s: not named after a foreign trust domain (our own is in %s)", file,
			keyring_trusts[trust].own);
		return keyring_fault(l, r, "not used", err);
	}
	r = trust == ACCEPT_ROOTS ? keyring_read_roots(file, &pem, err)
				  : keyring_read_crls(file, &pem, err);
	return keyring_stage_trust(l, trust, trust_domain, r, pem, err);
}

/* <trust domain>.pem in a directory; no such directory, none. */
static int keyring_load_foreigns(struct keyring_load *l, enum accept_kind trust, struct err *err)
{
	char dir[PATH_MAX];
	struct dirent **entries;
	int r = keyring_path(dir, l->dir, str_of(keyring_trusts[trust].foreign_dir), "", err);
	if (r < 0)
		return r;
	int count = scandir(dir, &entries, keyring_is_pem, alphasort);
	if (count < 0)
		return errno == ENOENT ? 0 : err_set(err, errno, "%s: %m", dir);
	for (int i = 0; i < count && r == 0; i++)
		r = keyring_load_foreign(l, trust, dir, keyring_stem(entries[i]), err);
	keyring_entries_free(entries, count);
	return r;
}

/* --- a pair --- */

/* What an entry's files hold. */
struct keyring_pair {
	struct str chain; /* PEM, nothing else in it */
	X509 *leaf;
	struct str key_text;
	char id[KEYRING_ID_MAX];
	struct str path; /* of the identity; in `id` */
};

/* The leaf's identity path, checked against our trust domain. */
static int keyring_pair_path(const struct keyring_load *l, const struct directory_entry *e,
	struct keyring_pair *p, struct err *err)
{
	struct str trust_domain;
	if (X509_check_ca(p->leaf))
		return err_set(err, EINVAL,
			"%s: is an authority's certificate, not a service's; keep it elsewhere",
			e->chain);
	int r = cert_uri(p->leaf, p->id, sizeof(p->id));
	if (r == -ENOENT || r == -ENOTUNIQ)
		return err_set(err, EINVAL,
			"%s: has %s URI in its SAN; a SPIFFE leaf has exactly one", e->chain,
			r == -ENOENT ? "no" : "more than one");
	if (r < 0 || !spiffe_parse(str_of(p->id), &trust_domain, &p->path))
		return err_set(
			err, EINVAL, "%s: its URI is no valid SPIFFE id of a workload", e->chain);
	if (!str_eq(trust_domain, l->trust_domain))
		return err_set(err, EINVAL,
			"%s: is for trust domain " STR_FMT ", this machine's is " STR_FMT, e->chain,
			STR_ARG(trust_domain), STR_ARG(l->trust_domain));
	return 0;
}

static bool keyring_is_single(const struct directory_entry *e)
{
	return strcmp(e->chain, e->key) == 0;
}

/* A file with certificates only is not ours to judge: anchors often lie about as .pem. */
static int keyring_single_check(const struct directory_entry *e, struct str text, struct err *err)
{
	if (strstr(text.at, "PRIVATE KEY-----") && strstr(text.at, "BEGIN CERTIFICATE-----"))
		return 0;
	err_set(err, ENODATA, "%s: not both a private key and a certificate in it", e->chain);
	return KEYRING_NO_PAIR;
}

static int keyring_pair_read(
	const struct directory_entry *e, struct keyring_pair *p, struct err *err)
{
	struct str text;
	struct err why;
	int r = file_read(e->chain, FILE_PUBLIC, &text, err);
	if (r == -ENOENT)
		return KEYRING_NO_PAIR;
	if (r < 0)
		return r;
	if (keyring_is_single(e))
		r = keyring_single_check(e, text, err);
	if (r == 0) {
		r = chain_pem(text, CHAIN_CERTIFICATES_MAX, &p->chain, &p->leaf, &why);
		if (r < 0)
			err_set(err, -r, "%s: %s", e->chain, why.text);
	}
	file_text_free(text);
	return r;
}

static int keyring_check_twice(const struct keyring_load *l, const struct directory_entry *e,
	struct str path, struct err *err)
{
	const struct bundle_item *item = NULL;
	for (uint32_t i = 0; (item = bundle_next(&l->staged, "chain", item)); i++) {
		if (str_eq(item->name, path))
			return err_set(err, EEXIST,
				"%s: spiffe://" STR_FMT "/" STR_FMT " is in %s too", e->chain,
				STR_ARG(l->trust_domain), STR_ARG(path), l->k->sources[i]);
	}
	return 0;
}

/* A chain that was cut off behind its leaf looks whole. What gives it away is that it leads
 * nowhere, while the one in force does. */
static int keyring_check_whole(const struct keyring_load *l, const struct directory_entry *e,
	const struct keyring_pair *p, struct err *err)
{
	const struct bundle_item *old =
		l->kind == KEYRING_RENEWAL ? bundle_find(l->in_force, "chain", p->path) : NULL;
	const struct bundle_item *roots = bundle_find(&l->staged, "roots", l->trust_domain);
	if (!old || !roots || certs_lead_to(p->chain, roots->text) ||
		!certs_lead_to(old->text, roots->text))
		return 0;
	return err_set(err, EINVAL,
		"%s: leads to none of the trust anchors; intermediate certificates belong behind "
		"the leaf",
		e->chain);
}

static int keyring_check_use(const struct keyring_load *l, const struct directory_entry *e,
	const struct keyring_pair *p, struct err *err)
{
	struct err why;
	const struct bundle_item *roots = bundle_find(&l->staged, "roots", l->trust_domain);
	/* Without anchors there is nothing to be used, and that has been said. */
	if (!roots || accept_workload(l->trust_domain, p->path, p->chain, roots->text, &why) == 0)
		return 0;
	return err_set(err, EINVAL, "%s: %s", e->chain, why.text);
}

static int keyring_stage(struct keyring_load *l, const struct directory_entry *e, struct str path,
	struct str chain, struct err *err)
{
	struct keyring *k = l->k;
	char text[KEYRING_NUMBER_TEXT];
	struct str number = keyring_number(k, &l->numbers, text);
	k->sources[k->count] = strdup(e->name);
	if (!k->sources[k->count])
		return err_set(err, ENOMEM, "out of memory");
	k->count++;
	int r = bundle_add(&l->staged, STR("chain"), path, chain, err);
	return r < 0 ? r : bundle_add(&l->staged, STR("key"), path, number, err);
}

static int keyring_load_pair(
	struct keyring_load *l, const struct directory_entry *e, struct err *err)
{
	struct keyring_pair p = {0};
	int r = keyring_pair_read(e, &p, err);
	if (r == 0)
		r = keyring_pair_path(l, e, &p, err);
	if (r == 0)
		r = keyring_check_twice(l, e, p.path, err);
	if (r == 0)
		r = file_read(e->key, FILE_SECRET, &p.key_text, err);
	if (r == 0)
		r = keyring_keep_key(l->k, e->key, p.leaf, p.key_text, err);
	if (r == 0)
		r = keyring_check_whole(l, e, &p, err);
	if (r == 0)
		r = keyring_check_use(l, e, &p, err);
	if (r == 0)
		r = keyring_check_now(l, e, &(struct keyring_new_leaf){p.leaf, p.id, p.path}, err);
	if (r == 0)
		r = keyring_stage(l, e, p.path, p.chain, err);
	file_text_free(p.key_text);
	file_text_free(p.chain);
	X509_free(p.leaf);
	return r;
}

/* --- what is in force --- */

static int keyring_keep_pair(struct keyring_load *l, const struct directory_entry *e,
	const struct bundle_item *key, uint32_t i, struct err *err)
{
	struct err twice;
	const struct bundle_item *chain = bundle_find(l->in_force, "chain", key->name);
	if (!chain || keyring_check_twice(l, e, key->name, &twice) < 0)
		return 0;
	ASSERT(l->k->count < l->k->size);
	memcpy(l->k->scalars[l->k->count], l->before->scalars[i], KEYRING_SCALAR_BYTES);
	return keyring_stage(l, e, key->name, chain->text, err);
}

static int keyring_load_entry(
	struct keyring_load *l, const struct directory_entry *e, struct err *err)
{
	uint32_t i = 0;
	int r = keyring_load_pair(l, e, err);
	if (r == 0)
		return 0;
	const struct bundle_item *key = keyring_key_before(l, e, &i);
	if (r == KEYRING_NO_PAIR && (!key || l->kind == KEYRING_RELOAD))
		return 0;
	r = keyring_fault(
		l, r, key ? "the certificate in force stays" : "this identity is left out", err);
	return r < 0 || !key ? r : keyring_keep_pair(l, e, key, i, err);
}

/* --- the directory --- */

static int keyring_load_all(struct keyring_load *l, struct err *err)
{
	int r = 0;
	for (enum accept_kind trust = ACCEPT_ROOTS; trust <= ACCEPT_CRLS && r == 0; trust++) {
		r = keyring_load_own(l, trust, err);
		if (r == 0)
			r = keyring_load_foreigns(l, trust, err);
	}
	for (uint32_t i = 0; i < l->entries.count && r == 0; i++)
		r = keyring_load_entry(l, &l->entries.list[i], err);
	return r;
}

static int keyring_load_directory(struct keyring_load *l, struct keyring_numbers *numbers,
	struct keyring **ret_keyring, struct bundle *b, struct err *err)
{
	int r = directory_list(l->dir, KEYRING_PAIRS_MAX, &l->entries, err);
	if (r < 0)
		return r;
	r = keyring_new(l->entries.count, &l->k, err);
	bundle_init(&l->staged);
	if (r == 0)
		r = keyring_load_all(l, err);
	directory_free(&l->entries);
	return keyring_end(l, r, numbers, ret_keyring, b, err);
}

int keyring_load(const char *dir, struct str trust_domain, struct keyring_numbers *numbers,
	struct keyring **ret_keyring, struct bundle *b, struct err *err)
{
	struct keyring_load l = {.dir = dir, .trust_domain = trust_domain, .numbers = *numbers};
	return keyring_load_directory(&l, numbers, ret_keyring, b, err);
}

static int keyring_load_again(enum keyring_load_kind kind, const char *dir, struct str trust_domain,
	const struct keyring_in_force *in_force, struct keyring_numbers *numbers,
	struct keyring **ret_keyring, struct bundle *b, struct keyring_faults *faults,
	struct err *err)
{
	struct keyring_load l = {.kind = kind,
		.dir = dir,
		.trust_domain = trust_domain,
		.before = in_force->keyring,
		.in_force = in_force->bundle,
		.faults = faults,
		.numbers = {numbers->next, in_force->keyring}};
	*faults = (struct keyring_faults){0};
	return keyring_load_directory(&l, numbers, ret_keyring, b, err);
}

int keyring_reload(const char *dir, struct str trust_domain,
	const struct keyring_in_force *in_force, struct keyring_numbers *numbers,
	struct keyring **ret_keyring, struct bundle *b, struct keyring_faults *faults,
	struct err *err)
{
	return keyring_load_again(
		KEYRING_RELOAD, dir, trust_domain, in_force, numbers, ret_keyring, b, faults, err);
}

int keyring_renew(const char *dir, struct str trust_domain, const struct keyring_in_force *in_force,
	struct keyring_numbers *numbers, struct keyring **ret_keyring, struct bundle *b,
	struct keyring_faults *faults, struct err *err)
{
	return keyring_load_again(
		KEYRING_RENEWAL, dir, trust_domain, in_force, numbers, ret_keyring, b, faults, err);
}
