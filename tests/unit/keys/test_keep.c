/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../../src/keys/keep_name.h"
#include "base/clock.h"
#include "keys/cert.h"
#include "keys/file.h"
#include "keys/keep.h"
#include "unit/ca/place.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TD     STR("prod.example")
#define ORDERS STR("service/orders")

struct scene {
	struct place p;
	struct keep *k;
	EVP_PKEY *root_key;
	X509 *root;
	int64_t now_s;
};

static void reopen(struct scene *s)
{
	struct err err;
	keep_close(s->k);
	if (keep_open(place_path(&s->p, "keep"), TD, &s->k, &err) < 0)
		fail_msg("%s", err.text);
}

static void set_up(struct scene *s)
{
	struct err err;
	*s = (struct scene){.now_s = (int64_t)(clock_wall_ns() / CLOCK_S)};
	place_init(&s->p);
	s->root_key = cert_key_new();
	assert_int_equal(cert_root_new(s->root_key, TD, (struct cert_life){s->now_s, 86400, 60},
				 &s->root, &err),
		0);
	reopen(s);
}

static void tear_down(struct scene *s)
{
	keep_close(s->k);
	X509_free(s->root);
	EVP_PKEY_free(s->root_key);
	place_done(&s->p);
}

static X509_REQ *request_of(struct scene *s, struct str identity)
{
	struct str der;
	struct err err;
	if (keep_request(s->k, identity, &der, &err) < 0)
		fail_msg("%s", err.text);
	const uint8_t *at = (const uint8_t *)der.at;
	X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)der.len);
	assert_non_null(request);
	free((char *)(uintptr_t)der.at);
	return request;
}

static EVP_PKEY *asked_key(struct scene *s, struct str identity)
{
	X509_REQ *request = request_of(s, identity);
	EVP_PKEY *key = X509_REQ_get_pubkey(request);
	X509_REQ_free(request);
	return key;
}

static struct str chain_for(struct scene *s, EVP_PKEY *key, const char *id, int64_t lifetime_s)
{
	struct err err;
	X509 *leaf;
	struct str text;
	assert_int_equal(cert_leaf_new(key, str_of(id), &(struct cert_issuer){s->root, s->root_key},
				 (struct cert_life){s->now_s, lifetime_s, 60}, &leaf, &err),
		0);
	assert_int_equal(cert_pem(leaf, &text), 0);
	X509_free(leaf);
	return text;
}

/* A request, and the chain that an authority would give for it. */
static struct str issue(struct scene *s, struct str identity)
{
	char id[300];
	snprintf(id, sizeof(id), "spiffe://prod.example/" STR_FMT, STR_ARG(identity));
	EVP_PKEY *key = asked_key(s, identity);
	struct str chain = chain_for(s, key, id, 3600);
	EVP_PKEY_free(key);
	return chain;
}

static void take(struct scene *s, struct str identity, struct str chain)
{
	struct err err;
	if (keep_certificate(s->k, identity, chain, s->now_s, &err) < 0)
		fail_msg("%s", err.text);
}

static bool exists(struct scene *s, const char *name)
{
	return access(place_path(&s->p, name), F_OK) == 0;
}

static unsigned mode_of(struct scene *s, const char *name)
{
	struct stat st;
	assert_int_equal(lstat(place_path(&s->p, name), &st), 0);
	return st.st_mode & 07777;
}

/* Key and certificate of a file belong together. */
static void pair_fits(struct scene *s, const char *name)
{
	char *text = place_read(&s->p, name);
	unsigned count;
	EVP_PKEY *key = cert_key_from_pem(str_of(text));
	X509 *leaf = cert_from_pem(str_of(text), &count);
	assert_non_null(key);
	assert_non_null(leaf);
	assert_true(X509_check_private_key(leaf, key));
	EVP_PKEY_free(key);
	X509_free(leaf);
	free(text);
}

static void file_is(struct scene *s, const char *name, const char *wanted)
{
	char *text = place_read(&s->p, name);
	assert_string_equal(text, wanted);
	free(text);
}

/* --- requests and certificates --- */

static void a_request_names_one_id_and_nothing_else(void **state)
{
	struct scene s;
	set_up(&s);
	X509_REQ *request = request_of(&s, ORDERS);
	EVP_PKEY *key = X509_REQ_get_pubkey(request);
	assert_int_equal(X509_REQ_verify(request, key), 1);
	assert_true(cert_key_is_p256(key));
	assert_int_equal(X509_NAME_entry_count(X509_REQ_get_subject_name(request)), 0);
	STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(request);
	assert_int_equal(sk_X509_EXTENSION_num(extensions), 1);
	GENERAL_NAMES *names = X509V3_EXT_d2i(sk_X509_EXTENSION_value(extensions, 0));
	assert_int_equal(sk_GENERAL_NAME_num(names), 1);
	const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, 0);
	assert_int_equal(name->type, GEN_URI);
	assert_string_equal((const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
		"spiffe://prod.example/service/orders");
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	EVP_PKEY_free(key);
	X509_REQ_free(request);
	tear_down(&s);
}

static void a_chain_becomes_one_file_with_its_key(void **state)
{
	struct scene s;
	set_up(&s);
	struct str chain = issue(&s, ORDERS), node = issue(&s, STR("node/vm-a"));
	assert_int_equal(mode_of(&s, "keep/service/orders.pem.next"), 0600);
	take(&s, ORDERS, chain);
	take(&s, STR("node/vm-a"), node);
	pair_fits(&s, "keep/service/orders.pem");
	pair_fits(&s, "keep/node.pem");
	assert_int_equal(mode_of(&s, "keep/service/orders.pem"), 0600);
	assert_int_equal(mode_of(&s, "keep/node.pem"), 0600);
	assert_int_equal(mode_of(&s, "keep"), 0700);
	assert_int_equal(mode_of(&s, "keep/service"), 0700);
	assert_false(exists(&s, "keep/service/orders.pem.next"));
	assert_false(exists(&s, "keep/node.pem.next"));
	file_text_free(chain);
	file_text_free(node);
	tear_down(&s);
}

/* Whatever else stood in the answer's text is not kept. */
static void only_certificates_of_a_chain_are_kept(void **state)
{
	struct scene s;
	struct str foreign;
	char text[8192];
	set_up(&s);
	EVP_PKEY *key = cert_key_new();
	assert_int_equal(cert_key_pem(key, &foreign), 0);
	struct str chain = issue(&s, ORDERS);
	snprintf(text, sizeof(text), "%s%sand words\n", foreign.at, chain.at);
	take(&s, ORDERS, str_of(text));
	char *kept = place_read(&s.p, "keep/service/orders.pem");
	assert_null(strstr(kept, foreign.at));
	assert_null(strstr(kept, "and words"));
	pair_fits(&s, "keep/service/orders.pem");
	free(kept);
	EVP_PKEY_free(key);
	file_text_free(foreign);
	file_text_free(chain);
	tear_down(&s);
}

static void every_renewal_has_a_new_key(void **state)
{
	struct scene s;
	set_up(&s);
	EVP_PKEY *first = asked_key(&s, ORDERS);
	struct str chain = issue(&s, ORDERS);
	take(&s, ORDERS, chain);
	EVP_PKEY *second = asked_key(&s, ORDERS);
	assert_int_not_equal(EVP_PKEY_cmp(first, second), 1);
	/* What is in force stays until the next one is there. */
	pair_fits(&s, "keep/service/orders.pem");
	EVP_PKEY_free(first);
	EVP_PKEY_free(second);
	file_text_free(chain);
	tear_down(&s);
}

/* --- what is not taken --- */

struct unfit {
	const char *id;
	int64_t lifetime_s;
	int64_t later_s; /* when it is offered */
	bool foreign_key;
};

static void an_unfit_chain_changes_nothing(void **state)
{
	static const struct unfit unfit[] = {
		{"spiffe://prod.example/service/orders", 3600, 0, true},
		{"spiffe://prod.example/service/web", 3600, 0, false},
		{"spiffe://far.example/service/orders", 3600, 0, false},
		{"spiffe://prod.example/service/orders", 3600, 3601, false},
		{"spiffe://prod.example/service/orders", 3600, -3600, false},
	};
	struct scene s;
	struct err err;
	set_up(&s);
	struct str good = issue(&s, ORDERS);
	take(&s, ORDERS, good);
	char *before = place_read(&s.p, "keep/service/orders.pem");
	EVP_PKEY *pending = asked_key(&s, ORDERS), *foreign = cert_key_new();
	for (size_t i = 0; i < ARRAY_LEN(unfit); i++) {
		struct str chain = chain_for(&s, unfit[i].foreign_key ? foreign : pending,
			unfit[i].id, unfit[i].lifetime_s);
		assert_int_equal(
			keep_certificate(s.k, ORDERS, chain, s.now_s + unfit[i].later_s, &err),
			-EKEYREJECTED);
		file_is(&s, "keep/service/orders.pem", before);
		file_text_free(chain);
	}
	assert_int_equal(keep_certificate(s.k, ORDERS, STR("hello"), s.now_s, &err), -EKEYREJECTED);
	assert_int_equal(keep_certificate(s.k, ORDERS, STR_NONE, s.now_s, &err), -EKEYREJECTED);
	EVP_PKEY *again = asked_key(&s, ORDERS);
	assert_int_equal(EVP_PKEY_cmp(pending, again), 1);
	EVP_PKEY_free(again);
	EVP_PKEY_free(pending);
	EVP_PKEY_free(foreign);
	free(before);
	file_text_free(good);
	tear_down(&s);
}

static void an_authority_is_no_leaf(void **state)
{
	struct scene s;
	struct err err;
	X509 *root;
	struct str text;
	set_up(&s);
	EVP_PKEY *pending = asked_key(&s, ORDERS);
	/* Their key stands for ours: what is told apart is the kind. */
	char *key = place_read(&s.p, "keep/service/orders.pem.next");
	EVP_PKEY *ours = cert_key_from_pem(str_of(key));
	assert_int_equal(
		cert_root_new(ours, TD, (struct cert_life){s.now_s, 3600, 60}, &root, &err), 0);
	assert_int_equal(cert_pem(root, &text), 0);
	assert_int_equal(keep_certificate(s.k, ORDERS, text, s.now_s, &err), -EKEYREJECTED);
	assert_false(exists(&s, "keep/service/orders.pem"));
	free(key);
	EVP_PKEY_free(ours);
	EVP_PKEY_free(pending);
	X509_free(root);
	file_text_free(text);
	tear_down(&s);
}

static void names_stay_in_the_directory(void **state)
{
	static const char *const bad[] = {"", "service", "service/", "service/../../x", "web",
		".hidden/a", "node/a/b", "node/..", "node", "ca", "ca/x", "shop/../x", "shop//x",
		"shop/", "shop+web", "shop/a+b", "/etc/passwd", "service/a b"};
	char name[KEEP_NAME_MAX], long_path[KEEP_NAME_MAX] = "shop/";
	struct scene s;
	struct str der;
	struct err err;
	set_up(&s);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(keep_request(s.k, str_of(bad[i]), &der, &err), -EINVAL);
		assert_int_equal(
			keep_certificate(s.k, str_of(bad[i]), STR("x"), s.now_s, &err), -EINVAL);
		assert_int_equal(keep_forget(s.k, str_of(bad[i]), &err), -EINVAL);
	}
	assert_int_equal(keep_trust(s.k, STR("../x"), STR("x"), STR_NONE, &err), -EINVAL);
	memset(long_path + 5, 'a', sizeof(long_path) - 6);
	assert_false(keep_name(str_of(long_path), name));
	long_path[sizeof(long_path) - 1 - strlen("identity/")] = '\0';
	assert_true(keep_name(str_of(long_path), name));
	assert_int_equal(keep_request(s.k, str_of(long_path), &der, &err), 0);
	file_text_free(der);
	tear_down(&s);
}

/* One file for each path, whatever is in it; those of services are where they always were. */
static void no_two_paths_have_one_name(void **state)
{
	static const struct {
		const char *path, *name;
	} rows[] = {
		{"service/web", "service/web"},
		{"service/web.pem", "service/web.pem"},
		{"service/.web", "identity/service+.web"},
		{"service/a/b", "identity/service+a+b"},
		{"shop/web", "identity/shop+web"},
		{"shop/web/blue", "identity/shop+web+blue"},
		{"shop-web/blue", "identity/shop-web+blue"},
		{"shop.web/blue", "identity/shop.web+blue"},
		{"shop/web.blue", "identity/shop+web.blue"},
		{"roots/far.example", "identity/roots+far.example"},
		{"identity/x", "identity/identity+x"},
		{"Shop/Web", "identity/Shop+Web"},
		{"node/vm-a", "node"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char name[KEEP_NAME_MAX];
		assert_true(keep_name(str_of(rows[i].path), name));
		assert_string_equal(name, rows[i].name);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(name, rows[j].name);
	}
}

static void a_path_is_kept(void **state)
{
	struct scene s;
	struct str der;
	struct err err;
	set_up(&s);
	assert_int_equal(keep_request(s.k, STR("shop/web"), &der, &err), 0);
	file_text_free(der);
	assert_int_equal(mode_of(&s, "keep/identity"), 0700);
	assert_int_equal(mode_of(&s, "keep/identity/shop+web.pem.next"), 0600);
	place_write(&s.p, "keep/identity/shop+web.pem.new-a1B2c3", STR("-----BEGIN PRIV"), 0600);
	reopen(&s);
	assert_false(exists(&s, "keep/identity/shop+web.pem.new-a1B2c3"));
	assert_int_equal(keep_forget(s.k, STR("shop/web"), &err), 0);
	assert_false(exists(&s, "keep/identity/shop+web.pem.next"));
	tear_down(&s);
}

/* --- a kill at every step --- */

/* Before the request was answered, or sent at all. */
static void a_pending_key_is_asked_for_again(void **state)
{
	struct scene s;
	set_up(&s);
	EVP_PKEY *before = asked_key(&s, ORDERS);
	reopen(&s);
	EVP_PKEY *after = asked_key(&s, ORDERS);
	assert_int_equal(EVP_PKEY_cmp(before, after), 1);
	EVP_PKEY_free(before);
	EVP_PKEY_free(after);
	tear_down(&s);
}

/* Between the new pair and the removal of the pending key. */
static void a_pending_key_that_has_its_certificate_is_replaced(void **state)
{
	struct scene s;
	set_up(&s);
	struct str chain = issue(&s, ORDERS);
	char *pending = place_read(&s.p, "keep/service/orders.pem.next");
	take(&s, ORDERS, chain);
	place_write(&s.p, "keep/service/orders.pem.next", str_of(pending), 0600);
	reopen(&s);
	EVP_PKEY *in_force = cert_key_from_pem(str_of(pending)), *next = asked_key(&s, ORDERS);
	assert_int_not_equal(EVP_PKEY_cmp(in_force, next), 1);
	pair_fits(&s, "keep/service/orders.pem");
	struct str second = issue(&s, ORDERS);
	take(&s, ORDERS, second);
	pair_fits(&s, "keep/service/orders.pem");
	EVP_PKEY_free(in_force);
	EVP_PKEY_free(next);
	free(pending);
	file_text_free(chain);
	file_text_free(second);
	tear_down(&s);
}

/* It was taken, but who gave it did not hear of it and gives it again. */
static void a_certificate_may_be_given_twice(void **state)
{
	struct scene s;
	set_up(&s);
	struct str chain = issue(&s, ORDERS);
	take(&s, ORDERS, chain);
	reopen(&s);
	take(&s, ORDERS, chain);
	pair_fits(&s, "keep/service/orders.pem");
	file_text_free(chain);
	tear_down(&s);
}

/* In the middle of writing a file, the first and a later one. */
static void torn_files_are_no_files(void **state)
{
	struct scene s;
	set_up(&s);
	struct str chain = issue(&s, ORDERS);
	place_write(&s.p, "keep/service/orders.pem.new-a1B2c3", STR("-----BEGIN PRIV"), 0600);
	place_write(&s.p, "keep/service/orders.pem.next.new-a1B2c3", STR(""), 0600);
	place_write(&s.p, "keep/node.pem.new-000000", STR("-----BEGIN PRIV"), 0600);
	place_write(&s.p, "keep/roots.pem.new-zzzzzz", STR("-----BEGIN"), 0600);
	/* a service of that name */
	place_write(&s.p, "keep/service/x.new-ab.pem", STR("kept"), 0600);
	reopen(&s);
	assert_false(exists(&s, "keep/service/orders.pem.new-a1B2c3"));
	assert_false(exists(&s, "keep/service/orders.pem.next.new-a1B2c3"));
	assert_false(exists(&s, "keep/node.pem.new-000000"));
	assert_false(exists(&s, "keep/roots.pem.new-zzzzzz"));
	assert_true(exists(&s, "keep/service/x.new-ab.pem"));
	take(&s, ORDERS, chain);
	pair_fits(&s, "keep/service/orders.pem");
	file_text_free(chain);
	tear_down(&s);
}

/* A disk that lost what it said was on it. */
static void a_broken_pending_key_is_replaced(void **state)
{
	struct scene s;
	set_up(&s);
	place_write(&s.p, "keep/service/orders.pem.next", STR("-----BEGIN PRIVATE"), 0600);
	struct str chain = issue(&s, ORDERS);
	take(&s, ORDERS, chain);
	pair_fits(&s, "keep/service/orders.pem");
	file_text_free(chain);
	tear_down(&s);
}

/* What others have read may be theirs, too. */
static void a_pending_key_that_others_could_read_is_replaced(void **state)
{
	struct scene s;
	set_up(&s);
	EVP_PKEY *before = asked_key(&s, ORDERS);
	chmod(place_path(&s.p, "keep/service/orders.pem.next"), 0644);
	EVP_PKEY *after = asked_key(&s, ORDERS);
	assert_int_not_equal(EVP_PKEY_cmp(before, after), 1);
	assert_int_equal(mode_of(&s, "keep/service/orders.pem.next"), 0600);
	EVP_PKEY_free(before);
	EVP_PKEY_free(after);
	tear_down(&s);
}

/* --- forgetting --- */

/* The bytes behind a descriptor that was open before. */
static void is_overwritten(int fd)
{
	char text[8192];
	ssize_t n = pread(fd, text, sizeof(text), 0);
	assert_true(n > 0);
	for (ssize_t i = 0; i < n; i++)
		assert_int_equal(text[i], 0);
	close(fd);
}

static void forgotten_and_replaced_keys_are_overwritten(void **state)
{
	struct scene s;
	struct err err;
	set_up(&s);
	struct str first = issue(&s, ORDERS);
	int pending = open(place_path(&s.p, "keep/service/orders.pem.next"), O_RDONLY);
	take(&s, ORDERS, first);
	is_overwritten(pending);
	int replaced = open(place_path(&s.p, "keep/service/orders.pem"), O_RDONLY);
	struct str second = issue(&s, ORDERS);
	take(&s, ORDERS, second);
	is_overwritten(replaced);
	int forgotten = open(place_path(&s.p, "keep/service/orders.pem"), O_RDONLY);
	EVP_PKEY_free(asked_key(&s, ORDERS));
	int next = open(place_path(&s.p, "keep/service/orders.pem.next"), O_RDONLY);
	assert_int_equal(keep_forget(s.k, ORDERS, &err), 0);
	is_overwritten(forgotten);
	is_overwritten(next);
	assert_false(exists(&s, "keep/service/orders.pem"));
	assert_false(exists(&s, "keep/service/orders.pem.next"));
	assert_int_equal(keep_forget(s.k, ORDERS, &err), 0);
	file_text_free(first);
	file_text_free(second);
	tear_down(&s);
}

/* --- trust --- */

static struct str empty_crl(struct scene *s)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *t = ASN1_TIME_adj(NULL, (time_t)s->now_s, 0, 0);
	BIO *bio = BIO_new(BIO_s_mem());
	const uint8_t *bytes;
	size_t len;
	assert_true(X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
		    X509_CRL_set_issuer_name(crl, X509_get_subject_name(s->root)) &&
		    X509_CRL_set1_lastUpdate(crl, t) && X509_CRL_set1_nextUpdate(crl, t) &&
		    X509_CRL_sign(crl, s->root_key, EVP_sha256()) &&
		    PEM_write_bio_X509_CRL(bio, crl) && BIO_mem_contents(bio, &bytes, &len));
	struct str text = {strndup((const char *)bytes, len), len};
	BIO_free(bio);
	ASN1_TIME_free(t);
	X509_CRL_free(crl);
	return text;
}

static void anchors_and_lists_are_kept_by_trust_domain(void **state)
{
	struct scene s;
	struct str root, crl;
	struct err err;
	set_up(&s);
	assert_int_equal(cert_pem(s.root, &root), 0);
	crl = empty_crl(&s);
	assert_int_equal(keep_trust(s.k, TD, root, crl, &err), 0);
	assert_int_equal(keep_trust(s.k, TD, root, crl, &err), -EALREADY);
	assert_int_equal(keep_trust(s.k, STR("far.example"), root, STR_NONE, &err), 0);
	file_is(&s, "keep/roots.pem", root.at);
	file_is(&s, "keep/crls.pem", crl.at);
	file_is(&s, "keep/roots/far.example.pem", root.at);
	assert_false(exists(&s, "keep/crls/far.example.pem"));
	/* Anchors alone leave the list. */
	assert_int_equal(keep_anchors(s.k, TD, root, &err), -EALREADY);
	assert_int_equal(unlink(place_path(&s.p, "keep/roots.pem")), 0);
	assert_int_equal(keep_anchors(s.k, TD, root, &err), 0);
	assert_int_equal(keep_anchors(s.k, TD, STR_NONE, &err), -EINVAL);
	file_is(&s, "keep/roots.pem", root.at);
	file_is(&s, "keep/crls.pem", crl.at);
	/* No list any more. */
	assert_int_equal(keep_trust(s.k, TD, root, STR_NONE, &err), 0);
	assert_false(exists(&s, "keep/crls.pem"));
	file_text_free(root);
	file_text_free(crl);
	tear_down(&s);
}

static void no_anchor_is_no_news(void **state)
{
	struct scene s;
	struct str root;
	struct err err;
	set_up(&s);
	assert_int_equal(cert_pem(s.root, &root), 0);
	struct str chain = issue(&s, ORDERS);
	assert_int_equal(keep_trust(s.k, TD, root, STR_NONE, &err), 0);
	assert_int_equal(keep_trust(s.k, TD, STR_NONE, STR_NONE, &err), -EINVAL);
	assert_int_equal(keep_trust(s.k, TD, STR("words"), STR_NONE, &err), -EINVAL);
	assert_int_equal(keep_trust(s.k, TD, chain, STR_NONE, &err), -EINVAL); /* a leaf */
	assert_int_equal(
		keep_trust(s.k, TD, root,
			STR("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"), &err),
		-EINVAL);
	file_is(&s, "keep/roots.pem", root.at);
	file_text_free(chain);
	file_text_free(root);
	tear_down(&s);
}

/* --- the directory --- */

static void a_directory_that_others_may_use_is_refused(void **state)
{
	struct scene s;
	struct keep *k;
	struct err err;
	set_up(&s);
	chmod(place_path(&s.p, "keep"), 0750);
	assert_int_equal(keep_open(place_path(&s.p, "keep"), TD, &k, &err), -EACCES);
	assert_non_null(strstr(err.text, "chmod 700"));
	chmod(place_path(&s.p, "keep"), 0700);
	chmod(place_path(&s.p, "keep/service"), 0755);
	assert_int_equal(keep_open(place_path(&s.p, "keep"), TD, &k, &err), -EACCES);
	chmod(place_path(&s.p, "keep/service"), 0700);
	assert_int_equal(symlink("keep", place_path(&s.p, "link")), 0);
	assert_int_equal(keep_open(place_path(&s.p, "link"), TD, &k, &err), -ENOTDIR);
	mkdir(place_path(&s.p, "open"), 0777);
	chmod(place_path(&s.p, "open"), 0777);
	assert_int_equal(keep_open(place_path(&s.p, "open/keep"), TD, &k, &err), -EPERM);
	assert_int_equal(keep_open(place_path(&s.p, "none/keep"), TD, &k, &err), -ENOENT);
	tear_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_names_one_id_and_nothing_else),
		cmocka_unit_test(a_chain_becomes_one_file_with_its_key),
		cmocka_unit_test(only_certificates_of_a_chain_are_kept),
		cmocka_unit_test(every_renewal_has_a_new_key),
		cmocka_unit_test(an_unfit_chain_changes_nothing),
		cmocka_unit_test(an_authority_is_no_leaf),
		cmocka_unit_test(names_stay_in_the_directory),
		cmocka_unit_test(no_two_paths_have_one_name),
		cmocka_unit_test(a_path_is_kept),
		cmocka_unit_test(a_pending_key_is_asked_for_again),
		cmocka_unit_test(a_pending_key_that_has_its_certificate_is_replaced),
		cmocka_unit_test(a_certificate_may_be_given_twice),
		cmocka_unit_test(torn_files_are_no_files),
		cmocka_unit_test(a_broken_pending_key_is_replaced),
		cmocka_unit_test(a_pending_key_that_others_could_read_is_replaced),
		cmocka_unit_test(forgotten_and_replaced_keys_are_overwritten),
		cmocka_unit_test(anchors_and_lists_are_kept_by_trust_domain),
		cmocka_unit_test(no_anchor_is_no_news),
		cmocka_unit_test(a_directory_that_others_may_use_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
