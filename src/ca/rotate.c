/* SPDX-License-Identifier: Apache-2.0 */
#include "rotate.h"

#include "anchors.h"
#include "found.h"
#include "issuer.h"
#include "keys/cert.h"
#include <dirent.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const rotate_phase_texts[] = {
#define X(name, text) [ROTATE_##name] = (text),
	ROTATE_PHASE_LIST(X)
#undef X
};
static const char *const rotate_kind_texts[] = {[ROTATE_ISSUER] = "issuer", [ROTATE_ROOT] = "root"};

const char *rotate_phase_text(enum rotate_phase phase)
{
	return rotate_phase_texts[phase];
}

static bool rotate_word(struct str word, const char *const *texts, size_t count, unsigned *ret)
{
	for (size_t i = 0; i < count; i++) {
		if (str_eq(word, str_of(texts[i]))) {
			*ret = (unsigned)i;
			return true;
		}
	}
	return false;
}

int rotate_read(const struct folder *f, struct rotation *ret_rotation, struct err *err)
{
	struct str text, rest, line, words[3];
	unsigned phase, kind;
	uint64_t since;
	int r = folder_read_long(f, "rotation", &text, err);
	if (r < 0)
		return r;
	*ret_rotation = (struct rotation){.phase = ROTATE_NONE};
	rest = text;
	if (text.len > 0 && (!folder_line(&rest, &line) || folder_words(line, words, 3) != 3 ||
				    !rotate_word(words[0], rotate_phase_texts,
					    ARRAY_LEN(rotate_phase_texts), &phase) ||
				    !rotate_word(words[1], rotate_kind_texts,
					    ARRAY_LEN(rotate_kind_texts), &kind) ||
				    !str_to_u64(words[2], &since)))
		r = err_set(err, EINVAL, "%s/rotation: unreadable", f->dir);
	else if (text.len > 0)
		*ret_rotation = (struct rotation){.phase = (enum rotate_phase)phase,
			.kind = (enum rotate_kind)kind,
			.since_s = (int64_t)since};
	free((char *)(uintptr_t)text.at);
	return r;
}

static int rotate_write(const struct folder *f, const struct rotation *x, struct err *err)
{
	char text[80];
	int len = snprintf(text, sizeof(text), "%s %s %lld\n", rotate_phase_texts[x->phase],
		rotate_kind_texts[x->kind], (long long)x->since_s);
	return folder_write(f, "rotation", FILE_PUBLIC, (struct str){text, (size_t)len}, err);
}

/* --- making the files agree --- */

static int rotate_copy(const struct folder *f, const char *from, const char *to,
	enum file_secrecy secrecy, struct err *err)
{
	struct str text;
	int r = folder_read(f, from, secrecy, &text, err);
	if (r < 0)
		return r;
	r = folder_write(f, to, secrecy, text, err);
	file_text_free(text);
	return r;
}

static int rotate_remove_next(const struct folder *f, struct err *err)
{
	/* The certificate first: where it is, its key is too. */
	static const char *const names[] = {
		"next-issuer.crt", "next-issuer.key", "next-issuer.csr", "next-root.crt"};
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(names); i++)
		r = folder_remove(f, names[i], err);
	return r;
}

/* The pair in force goes to old/. Its certificate comes last: where it is, the key is too. */
static int rotate_keep_issuer(const struct folder *f, X509 *cert, struct err *err)
{
	char id[LEDGER_ISSUER_TEXT], key_name[80], cert_name[80];
	ledger_issuer_text(cert, id);
	snprintf(key_name, sizeof(key_name), "old/%s.key", id);
	snprintf(cert_name, sizeof(cert_name), "old/%s.crt", id);
	if (folder_has(f, cert_name))
		return 0;
	int r = folder_subdirectory(f, "old", err);
	if (r == 0)
		r = rotate_copy(f, "issuer.key", key_name, FILE_SECRET, err);
	return r < 0 ? r : rotate_copy(f, "issuer.crt", cert_name, FILE_PUBLIC, err);
}

static int rotate_activate_issuer(const struct folder *f, struct err *err)
{
	X509 *now = anchors_first(f, "issuer.crt"), *next = anchors_first(f, "next-issuer.crt");
	int r = 0;
	if (!now || !next)
		r = err_set(err, EINVAL, "%s: issuer.crt or next-issuer.crt is unreadable", f->dir);
	else if (X509_cmp(now, next) != 0) {
		r = rotate_keep_issuer(f, now, err);
		if (r == 0)
			r = rotate_copy(f, "next-issuer.key", "issuer.key", FILE_SECRET, err);
		if (r == 0)
			r = rotate_copy(f, "next-issuer.crt", "issuer.crt", FILE_PUBLIC, err);
	}
	X509_free(now);
	X509_free(next);
	return r;
}

static int rotate_activate_root(const struct folder *f, struct err *err)
{
	X509 *now = anchors_first(f, "root.crt"), *next = anchors_first(f, "next-root.crt");
	int r = 0;
	if (!now || !next)
		r = err_set(err, EINVAL, "%s: root.crt or next-root.crt is unreadable", f->dir);
	else if (X509_cmp(now, next) != 0) {
		r = rotate_copy(f, "root.crt", "old-root.crt", FILE_PUBLIC, err);
		if (r == 0)
			r = rotate_copy(f, "next-root.crt", "root.crt", FILE_PUBLIC, err);
	}
	X509_free(now);
	X509_free(next);
	return r;
}

static int rotate_settle_activating(const struct folder *f, struct rotation *x, struct err *err)
{
	int r = rotate_activate_issuer(f, err);
	if (r == 0 && x->kind == ROTATE_ROOT)
		r = rotate_activate_root(f, err);
	x->phase = ROTATE_ACTIVATED;
	if (r == 0)
		r = rotate_write(f, x, err);
	return r < 0 ? r : rotate_remove_next(f, err);
}

/* With or without a root in roots.pem; one whose file is gone was dealt with already. */
static int rotate_publish_root(
	const struct folder *f, const char *name, bool is_published, struct err *err)
{
	X509 *root = anchors_first(f, name);
	if (!root)
		return 0;
	int r = is_published ? anchors_add(f, "roots.pem", root, err)
			     : anchors_remove(f, "roots.pem", root, err);
	X509_free(root);
	return r;
}

static int rotate_remove_old(const struct folder *f, struct err *err)
{
	char path[PATH_MAX], name[300];
	folder_path(f, path, "old");
	DIR *directory = opendir(path);
	if (!directory)
		return errno == ENOENT ? 0 : err_set(err, errno, "%s: %m", path);
	struct dirent *entry;
	int r = 0;
	while (r == 0 && (entry = readdir(directory))) {
		snprintf(name, sizeof(name), "old/%s", entry->d_name);
		if (entry->d_name[0] != '.')
			r = folder_remove(f, name, err);
	}
	closedir(directory);
	return r;
}

static int rotate_settle_retiring(const struct folder *f, struct err *err)
{
	int r = rotate_publish_root(f, "old-root.crt", false, err);
	if (r == 0)
		r = rotate_remove_old(f, err);
	if (r == 0)
		r = folder_remove(f, "old-root.crt", err);
	return r < 0 ? r : folder_remove(f, "rotation", err);
}

static int rotate_settle_aborting(const struct folder *f, struct err *err)
{
	int r = rotate_publish_root(f, "next-root.crt", false, err);
	if (r == 0)
		r = rotate_remove_next(f, err);
	return r < 0 ? r : folder_remove(f, "rotation", err);
}

int rotate_settle(const struct folder *f, struct err *err)
{
	struct rotation x;
	int r = rotate_read(f, &x, err);
	if (r < 0)
		return r;
	switch (x.phase) {
	case ROTATE_NONE:
		return 0;
	case ROTATE_PUBLISHED:
		return rotate_publish_root(f, "next-root.crt", true, err);
	case ROTATE_ACTIVATING:
		return rotate_settle_activating(f, &x, err);
	case ROTATE_ACTIVATED:
		return rotate_remove_next(f, err);
	case ROTATE_RETIRING:
		return rotate_settle_retiring(f, err);
	case ROTATE_ABORTING:
		return rotate_settle_aborting(f, err);
	}
	ASSERT(!"a rotation has a phase");
}

/* --- steps --- */

static const char *rotate_next(enum rotate_phase phase)
{
	switch (phase) {
	case ROTATE_NONE:
		return "nothing";
	case ROTATE_PUBLISHED:
		return "next comes activate, or abort";
	case ROTATE_ACTIVATED:
		return "next comes retire";
	case ROTATE_ACTIVATING:
	case ROTATE_RETIRING:
	case ROTATE_ABORTING:
		break;
	}
	return "a step of it was cut off; run: ringmain ca rotate status";
}

int rotate_step(const struct folder *f, enum rotate_phase from, enum rotate_phase to, int64_t now_s,
	struct err *err)
{
	struct rotation x;
	int r = rotate_settle(f, err);
	if (r == 0)
		r = rotate_read(f, &x, err);
	if (r < 0)
		return r;
	if (x.phase == ROTATE_NONE)
		return err_set(err, EBUSY,
			"no rotation is under way; begin with: ringmain ca "
			"rotate publish");
	if (x.phase != from)
		return err_set(err, EBUSY, "the rotation is %s: %s", rotate_phase_text(x.phase),
			rotate_next(x.phase));
	x.phase = to;
	x.since_s = now_s;
	r = rotate_write(f, &x, err);
	return r < 0 ? r : rotate_settle(f, err);
}

struct rotate_made {
	const struct rotate_order *order;
	struct cert_issuer root, issuer;
	char trust_domain[256];
};

static void rotate_made_done(struct rotate_made *m)
{
	X509_free(m->root.cert);
	EVP_PKEY_free(m->root.key);
	X509_free(m->issuer.cert);
	EVP_PKEY_free(m->issuer.key);
}

/* A new root's key is on its disk before anything is signed with it, under a name of its own: no
 * rename is ever needed, wherever the directory is kept. */
static int rotate_make_root(struct rotate_made *m, struct err *err)
{
	const struct rotate_order *o = m->order;
	struct cert_life life = {o->now_s, o->root_lifetime_s, CERT_CLOCK_SKEW_S};
	struct str domain = str_of(m->trust_domain), text = STR_NONE;
	char name[32], path[PATH_MAX];
	X509_free(m->root.cert);
	EVP_PKEY_free(m->root.key);
	m->root = (struct cert_issuer){.key = cert_key_new()};
	if (!m->root.key)
		return err_set(err, ENOMEM, "out of memory");
	int r = cert_root_new(m->root.key, domain, life, &m->root.cert, err);
	if (r < 0)
		return r;
	issuer_root_name(m->root.cert, name);
	snprintf(path, sizeof(path), "%s/%s.key", o->root_dir, name);
	if (cert_key_pem(m->root.key, &text) < 0)
		return err_set(err, ENOMEM, "out of memory");
	r = file_write(path, FILE_SECRET, FILE_NEW, text, err);
	file_text_free(text);
	return r;
}

static int rotate_make(const struct folder *f, struct rotate_made *m, struct err *err)
{
	const struct rotate_order *o = m->order;
	struct cert_life life = {o->now_s, o->issuer_lifetime_s, CERT_CLOCK_SKEW_S};
	m->root.cert = anchors_first(f, "root.crt");
	if (!m->root.cert || !issuer_trust_domain(m->root.cert, m->trust_domain))
		return err_set(err, EINVAL,
			"%s/root.crt: no readable root of ours; for an issuer below somebody "
			"else's root: ringmain ca rotate publish --request",
			f->dir);
	int r = o->kind == ROTATE_ROOT
			? rotate_make_root(m, err)
			: issuer_find_root_key(o->root_dir, m->root.cert, &m->root.key, err);
	if (r < 0)
		return r;
	if (!(m->issuer.key = cert_key_new()))
		return err_set(err, ENOMEM, "out of memory");
	return cert_issuer_new(
		m->issuer.key, str_of(m->trust_domain), &m->root, life, &m->issuer.cert, err);
}

static int rotate_write_next(const struct folder *f, const struct rotate_made *m, struct err *err)
{
	struct str issuer = STR_NONE, root = STR_NONE;
	int r = 0;
	if (cert_pem(m->issuer.cert, &issuer) < 0 || cert_pem(m->root.cert, &root) < 0)
		r = err_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = issuer_write(f, "next-issuer", m->issuer.key, issuer, err);
	if (r == 0 && m->order->kind == ROTATE_ROOT)
		r = folder_write(f, "next-root.crt", FILE_PUBLIC, root, err);
	file_text_free(issuer);
	file_text_free(root);
	return r;
}

static int rotate_begin(const struct folder *f, struct err *err)
{
	struct rotation x;
	int r = rotate_settle(f, err);
	if (r == 0)
		r = rotate_read(f, &x, err);
	if (r == 0 && x.phase != ROTATE_NONE)
		r = err_set(err, EBUSY, "a rotation is under way, %s: %s",
			rotate_phase_text(x.phase), rotate_next(x.phase));
	return r;
}

int rotate_request(const struct folder *f, struct err *err)
{
	struct str key_text = STR_NONE, text = STR_NONE;
	char trust_domain[256];
	int r = rotate_begin(f, err);
	if (r == 0)
		r = rotate_remove_next(f, err);
	if (r < 0)
		return r;
	X509 *issuer = anchors_first(f, "issuer.crt");
	EVP_PKEY *key = cert_key_new();
	if (!issuer || !issuer_trust_domain(issuer, trust_domain))
		r = err_set(err, EINVAL, "%s/issuer.crt: unreadable", f->dir);
	else if (!key || cert_key_pem(key, &key_text) < 0)
		r = err_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = cert_issuer_request(key, str_of(trust_domain), &text, err);
	if (r == 0)
		r = folder_write(f, "next-issuer.key", FILE_SECRET, key_text, err);
	if (r == 0)
		r = folder_write(f, "next-issuer.csr", FILE_PUBLIC, text, err);
	file_text_free(key_text);
	file_text_free(text);
	EVP_PKEY_free(key);
	X509_free(issuer);
	return r;
}

int rotate_install(const struct folder *f, const char *chain, int64_t now_s, struct err *err)
{
	char root[PATH_MAX];
	struct rotation x = {ROTATE_PUBLISHED, ROTATE_ISSUER, now_s};
	int r = rotate_begin(f, err);
	folder_path(f, root, "root.crt");
	if (r == 0)
		r = install_next(f->dir, chain, root, err);
	return r < 0 ? r : rotate_write(f, &x, err);
}

int rotate_publish(const struct folder *f, const struct rotate_order *o, struct err *err)
{
	struct rotate_made m = {.order = o};
	struct rotation x;
	int r = rotate_begin(f, err);
	/* What a publish that was cut off has left. */
	if (r == 0)
		r = rotate_remove_next(f, err);
	if (r == 0)
		r = rotate_make(f, &m, err);
	if (r == 0)
		r = rotate_write_next(f, &m, err);
	x = (struct rotation){ROTATE_PUBLISHED, o->kind, o->now_s};
	if (r == 0)
		r = rotate_write(f, &x, err);
	if (r == 0)
		r = rotate_settle(f, err);
	rotate_made_done(&m);
	return r;
}
