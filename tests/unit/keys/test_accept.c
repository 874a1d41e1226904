/* SPDX-License-Identifier: Apache-2.0 */
/* What the TLS of the other processes refuses never gets as far as a plan: it is not kept, and what
 * stands on the disk all the same is left out, alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "keys/cert.h"
#include "keys/file.h"
#include "keys/keep.h"
#include "keys/keyring.h"
#include "tls/tls.h"
#include "unit/ca/place.h"
#include "unit/tls/pair.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TD STR("prod.example")

static struct pair_mesh mesh;

struct scene {
	struct place p;
	char dir[100];
	char *roots, *lists; /* good ones */
	struct keep *k;
	struct keyring_numbers numbers;
	struct bundle b; /* as loaded last */
};

/* Key and chain as they are kept. */
static void put_pair(struct scene *s, const char *name, EVP_PKEY *key, X509 *const *chain)
{
	struct str key_text;
	char *pem = certs_pem(chain), *both;
	assert_int_equal(cert_key_pem(key, &key_text), 0);
	assert_true(asprintf(&both, "%s%s", key_text.at, pem) > 0);
	place_write(&s->p, name, str_of(both), 0600);
	file_text_free(key_text);
	free(pem);
	free(both);
}

static void load(struct scene *s, bool after)
{
	static const struct str identities[] = {{"service/web", 11}, {"service/orders", 14}};
	static const struct str federates[] = {{"far.example", 11}};
	struct err err;
	struct keyring *k;
	struct tls_store *store;
	struct bundle fresh;
	struct keyring_keep from = {.dir = s->dir,
		.trust_domain = TD,
		.identities = identities,
		.identity_count = 2,
		.federates = federates,
		.federate_count = 1,
		.in_force = after ? &s->b : NULL};
	bundle_init(&fresh);
	assert_int_equal(keyring_load_keep(&from, &s->numbers, &k, &fresh, &err), 0);
	/* Whatever it is, a plan can be made of it. */
	if (tls_store_new(&fresh, TD, 1, &store, &err) < 0)
		fail_msg("%s", err.text);
	tls_store_unref(store);
	keyring_free(k);
	bundle_done(&s->b);
	bundle_init(&s->b);
	LIST_EACH (&fresh.items, it) {
		const struct bundle_item *item = CONTAINER_OF(it, struct bundle_item, node);
		assert_int_equal(bundle_add(&s->b, item->kind, item->name, item->text, &err), 0);
	}
	bundle_done(&fresh);
}

static bool has(const struct scene *s, const char *kind, const char *name)
{
	return bundle_find(&s->b, kind, str_of(name)) != NULL;
}

static void set_up(struct scene *s)
{
	struct err err;
	struct certs_list list = {
		.issuer = &mesh.middle, .revoked = {mesh.leaf[PAIR_BILLING].certificate}};
	*s = (struct scene){.numbers = {.next = 1}};
	place_init(&s->p);
	snprintf(s->dir, sizeof(s->dir), "%s/keep", s->p.dir);
	assert_int_equal(keep_open(s->dir, TD, &s->k, &err), 0);
	s->roots = certs_pem((X509 *[]){mesh.root.certificate, NULL});
	s->lists = certs_list_pem(&list);
	assert_int_equal(keep_trust(s->k, TD, str_of(s->roots), str_of(s->lists), &err), 0);
	assert_int_equal(
		keep_trust(s->k, STR("far.example"), str_of(s->roots), str_of(s->lists), &err), 0);
	for (int i = PAIR_WEB; i <= PAIR_ORDERS; i++)
		put_pair(s, i == PAIR_WEB ? "keep/service/web.pem" : "keep/service/orders.pem",
			mesh.leaf[i].key,
			(X509 *[]){mesh.leaf[i].certificate, mesh.middle.certificate, NULL});
	bundle_init(&s->b);
}

static void tear_down(struct scene *s)
{
	keep_close(s->k);
	bundle_done(&s->b);
	free(s->roots);
	free(s->lists);
	place_done(&s->p);
}

static void all_of_it_is_there(const struct scene *s)
{
	assert_true(has(s, "roots", "prod.example") && has(s, "roots", "far.example"));
	assert_true(has(s, "chain", "service/web") && has(s, "chain", "service/orders"));
}

/* Not kept; and if it is there, the others are used without it, or what was in force with it. */
static void list_is_left_out(struct scene *s, const char *lists)
{
	struct err err = {.text = ""};
	assert_true(keep_trust(s->k, TD, str_of(s->roots), str_of(lists), &err) < 0);
	assert_true(err.text[0]);
	load(s, false);
	all_of_it_is_there(s);
	assert_string_equal(bundle_find(&s->b, "crl", TD)->text.at, s->lists);
	static const char *const files[] = {"keep/crls.pem", "keep/crls/far.example.pem"};
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		place_write(&s->p, files[i], str_of(lists), 0600);
	load(s, true);
	all_of_it_is_there(s);
	assert_string_equal(bundle_find(&s->b, "crl", TD)->text.at, s->lists);
	assert_string_equal(bundle_find(&s->b, "crl", STR("far.example"))->text.at, s->lists);
	load(s, false);
	all_of_it_is_there(s);
	assert_false(has(s, "crl", "prod.example") || has(s, "crl", "far.example"));
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		place_write(&s->p, files[i], str_of(s->lists), 0600);
}

static void lists_that_tls_refuses_are_left_out(void **state)
{
	const struct certs_list rows[] = {{.delta = true}, {.part = true},
		{.unknown_critical = true}, {.number_twice = true}, {.long_serial = true},
		{.entry_critical = true, .revoked = {mesh.leaf[0].certificate}}, {.sha1 = true},
		{.outer_sha384 = true}};
	struct scene s;
	set_up(&s);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct certs_list list = rows[i];
		list.issuer = &mesh.middle;
		char *pem = certs_list_pem(&list), *both;
		list_is_left_out(&s, pem);
		assert_true(asprintf(&both, "%s%s", s.lists, pem) > 0);
		list_is_left_out(&s, both);
		free(pem);
		free(both);
	}
	list_is_left_out(&s, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
	tear_down(&s);
}

static void anchors_are_left_out(struct scene *s, const char *roots)
{
	struct err err = {.text = ""};
	assert_true(keep_trust(s->k, TD, str_of(roots), STR_NONE, &err) < 0);
	assert_true(err.text[0]);
	place_write(&s->p, "keep/roots/far.example.pem", str_of(roots), 0600);
	load(s, false);
	assert_true(has(s, "chain", "service/web") && has(s, "roots", "prod.example"));
	assert_false(has(s, "roots", "far.example"));
	place_write(&s->p, "keep/roots/far.example.pem", str_of(s->roots), 0600);
	load(s, false);
	place_write(&s->p, "keep/roots.pem", str_of(roots), 0600);
	load(s, true);
	all_of_it_is_there(s);
	load(s, false); /* closed: nobody is trusted, so nobody is let in */
	assert_false(has(s, "chain", "service/web") || has(s, "roots", "prod.example"));
	place_write(&s->p, "keep/roots.pem", str_of(s->roots), 0600);
}

static void anchors_that_tls_refuses_are_left_out(void **state)
{
	const struct certs_spec rows[] = {
		{.subject = "no authority", .names = {{0x86, STR_NONE}}, .extended = "sc"},
		{.subject = "twice", .ca = true, .unknown_twice = true},
		{.subject = "no constraints", .ca = true, .no_constraints = true},
		{.subject = "usage", .ca = true, .usage = 0x80}};
	struct scene s;
	set_up(&s);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct certs_spec spec = rows[i];
		if (!spec.ca)
			spec.names[0].text = str_of(pair_ids[PAIR_WEB]);
		struct certs_pair anchor = certs_make(&spec);
		char *alone = certs_pem((X509 *[]){anchor.certificate, NULL});
		char *beside =
			certs_pem((X509 *[]){mesh.root.certificate, anchor.certificate, NULL});
		anchors_are_left_out(&s, alone);
		anchors_are_left_out(&s, beside);
		free(alone);
		free(beside);
		certs_done(&anchor);
	}
	X509 *many[1001] = {NULL};
	for (size_t i = 0; i < 1000; i++)
		many[i] = mesh.root.certificate;
	char *pem = certs_pem(many);
	anchors_are_left_out(&s, pem);
	free(pem);
	tear_down(&s);
}

/* An anchor of a name twice, or one whose time is over, is no reason to refuse the others. */
static void odd_anchors_are_no_fault(void **state)
{
	struct scene s;
	struct err err;
	struct certs_pair same = certs_make(&(struct certs_spec){.subject = "root", .ca = true}),
			  over = certs_make(&(struct certs_spec){.subject = "old",
				  .ca = true,
				  .from_s = CERTS_NOW - 1000,
				  .until_s = CERTS_NOW - 1});
	char *pem = certs_pem((X509 *[]){mesh.root.certificate, same.certificate,
		mesh.root.certificate, over.certificate, NULL});
	set_up(&s);
	assert_int_equal(keep_trust(s.k, TD, str_of(pem), str_of(s.lists), &err), 0);
	load(&s, false);
	all_of_it_is_there(&s);
	assert_true(has(&s, "crl", "prod.example"));
	free(pem);
	certs_done(&same);
	certs_done(&over);
	tear_down(&s);
}

static void chains_that_tls_refuses_are_left_out(void **state)
{
	struct certs_spec rows[] = {{.no_usage = true}, {.usage = 0x86}, {.extended = "s"},
		{.unknown_twice = true}, {.san_plain = true}, {.padding = 40000}};
	struct scene s;
	set_up(&s);
	for (size_t i = 0; i <= ARRAY_LEN(rows); i++) {
		struct certs_spec spec = i < ARRAY_LEN(rows) ? rows[i] : (struct certs_spec){0};
		X509 *chain[12] = {NULL};
		spec.issuer = &mesh.middle;
		spec.names[0] = (struct certs_name){0x86, str_of(pair_ids[PAIR_WEB])};
		struct certs_pair leaf = certs_make(&spec);
		chain[0] = leaf.certificate;
		for (size_t j = 1; j < (i < ARRAY_LEN(rows) ? 2 : 10); j++)
			chain[j] = mesh.middle.certificate;
		put_pair(&s, "keep/service/web.pem", leaf.key, chain);
		load(&s, false);
		assert_true(has(&s, "chain", "service/orders"));
		if (has(&s, "chain", "service/web"))
			fail_msg("row %zu", i);
		/* Neither would it be taken from an authority. */
		struct err err;
		put_pair(&s, "keep/service/web.pem.next", leaf.key, (X509 *[]){NULL});
		char *pem = certs_pem(chain);
		assert_int_equal(
			keep_certificate(s.k, STR("service/web"), str_of(pem), CERTS_NOW, &err),
			-EKEYREJECTED);
		free(pem);
		certs_done(&leaf);
	}
	tear_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_that_tls_refuses_are_left_out),
		cmocka_unit_test(anchors_that_tls_refuses_are_left_out),
		cmocka_unit_test(odd_anchors_are_no_fault),
		cmocka_unit_test(chains_that_tls_refuses_are_left_out),
	};
	pair_mesh_init(&mesh);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	pair_mesh_done(&mesh);
	return failed;
}
