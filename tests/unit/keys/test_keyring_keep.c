/* SPDX-License-Identifier: Apache-2.0 */
/* Keys loaded from the keeper's own directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ca/ca.h"
#include "keys/keyring.h"
#include "unit/ca/place.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TD STR("prod.example")

struct scene {
	struct place p;
	char dir[100];
	struct keyring_keep from;
	struct bundle b;
	struct keyring *k;
	struct keyring_numbers next;
};

/* `name`.pem of the keep with key and chain of an identity. */
static void pair(struct scene *s, const char *path, const char *name)
{
	struct err err;
	char ca[100], out[100], file[100], text[16384], issued[CA_NAME_MAX];
	snprintf(ca, sizeof(ca), "%s/ca", s->p.dir);
	snprintf(out, sizeof(out), "%s/out", s->p.dir);
	assert_int_equal(ca_issue(ca, str_of(path), 3600, out, &err), 0);
	struct str last = ca_issued_name(str_of(path), issued);
	snprintf(file, sizeof(file), "out/" STR_FMT ".key", STR_ARG(last));
	char *key = place_read(&s->p, file);
	snprintf(file, sizeof(file), "out/" STR_FMT ".crt", STR_ARG(last));
	char *chain = place_read(&s->p, file);
	snprintf(text, sizeof(text), "%s%s", key, chain);
	snprintf(file, sizeof(file), "keep/%s.pem", name);
	place_write(&s->p, file, str_of(text), 0600);
	free(key);
	free(chain);
}

static void set_up(struct scene *s)
{
	static const struct str identities[] = {
		{"service/web", 11}, {"service/orders", 14}, {"service/none", 12}, {"shop/web", 8}};
	static const struct str federates[] = {{"far.example", 11}};
	struct err err;
	char ca[100];
	*s = (struct scene){.next = {.next = 7}};
	place_init(&s->p);
	snprintf(ca, sizeof(ca), "%s/ca", s->p.dir);
	snprintf(s->dir, sizeof(s->dir), "%s/keep", s->p.dir);
	assert_int_equal(ca_init(ca, TD, 86400, &err), 0);
	assert_int_equal(mkdir(s->dir, 0700), 0);
	mkdir(place_path(&s->p, "keep/service"), 0700);
	mkdir(place_path(&s->p, "keep/identity"), 0700);
	mkdir(place_path(&s->p, "keep/roots"), 0700);
	s->from = (struct keyring_keep){.dir = s->dir,
		.trust_domain = TD,
		.identities = identities,
		.identity_count = 4,
		.federates = federates,
		.federate_count = 1};
	bundle_init(&s->b);
}

static void load(struct scene *s)
{
	struct err err;
	if (keyring_load_keep(&s->from, &s->next, &s->k, &s->b, &err) < 0)
		fail_msg("%s", err.text);
}

static void tear_down(struct scene *s)
{
	keyring_free(s->k);
	bundle_done(&s->b);
	place_done(&s->p);
}

static bool has(struct scene *s, const char *kind, const char *name)
{
	return bundle_find(&s->b, kind, str_of(name)) != NULL;
}

/* Files of paths are found by path; nobody's certificate is loaded as somebody else's. */
static void a_path_has_a_file_of_its_own(void **state)
{
	struct scene s;
	set_up(&s);
	pair(&s, "service/web", "service/web");
	pair(&s, "shop/web", "identity/shop+web");
	char *root = place_read(&s.p, "ca/root.crt");
	place_write(&s.p, "keep/roots.pem", str_of(root), 0644);
	load(&s);
	assert_int_equal(keyring_key_count(s.k), 2);
	assert_true(has(&s, "chain", "service/web") && has(&s, "key", "service/web"));
	assert_true(has(&s, "chain", "shop/web") && has(&s, "key", "shop/web"));
	free(root);
	tear_down(&s);

	set_up(&s);
	pair(&s, "service/web", "identity/shop+web");
	pair(&s, "shop/web", "service/web");
	pair(&s, "service/orders", "identity/service+orders");
	root = place_read(&s.p, "ca/root.crt");
	place_write(&s.p, "keep/roots.pem", str_of(root), 0644);
	load(&s);
	assert_int_equal(keyring_key_count(s.k), 0);
	free(root);
	tear_down(&s);
}

static void pairs_and_trust_become_items(void **state)
{
	struct scene s;
	set_up(&s);
	pair(&s, "service/web", "service/web");
	pair(&s, "service/orders", "service/orders");
	pair(&s, "service/other", "service/other"); /* of no workload here */
	pair(&s, "node/vm-a", "node");
	char *root = place_read(&s.p, "ca/root.crt");
	place_write(&s.p, "keep/roots.pem", str_of(root), 0644);
	place_write(&s.p, "keep/roots/far.example.pem", str_of(root), 0644);
	place_write(&s.p, "keep/roots/left.example.pem", str_of(root), 0644);
	load(&s);
	assert_int_equal(keyring_key_count(s.k), 2);
	assert_int_equal(s.next.next, 9);
	assert_true(has(&s, "chain", "service/web") && has(&s, "key", "service/web"));
	assert_true(has(&s, "chain", "service/orders") && has(&s, "key", "service/orders"));
	assert_true(has(&s, "roots", "prod.example") && has(&s, "roots", "far.example"));
	/* Nobody trusts it any more. */
	assert_false(has(&s, "roots", "left.example"));
	assert_false(has(&s, "chain", "service/other"));
	/* The machine's own is not for the proxy process. */
	assert_false(has(&s, "est", "chain") || has(&s, "est-key", "node"));
	LIST_EACH (&s.b.items, it)
		assert_null(strstr(CONTAINER_OF(it, struct bundle_item, node)->text.at, "PRIVATE"));
	free(root);
	tear_down(&s);
}

static void a_machine_that_has_nothing_yet_has_nothing(void **state)
{
	struct scene s;
	set_up(&s);
	load(&s);
	assert_int_equal(keyring_key_count(s.k), 0);
	assert_true(list_empty(&s.b.items));
	tear_down(&s);
}

/* A file for all to read, one cut short, one of another identity, anchors that are none. */
static void what_cannot_be_used_is_left_out(void **state)
{
	struct scene s;
	set_up(&s);
	pair(&s, "service/web", "service/web");
	pair(&s, "service/web", "service/orders");
	place_write(&s.p, "keep/service/none.pem", STR("-----BEGIN PRIV"), 0600);
	char *root = place_read(&s.p, "ca/root.crt");
	place_write(&s.p, "keep/roots.pem", str_of(root), 0644);
	free(root);
	load(&s);
	assert_int_equal(keyring_key_count(s.k), 1);
	assert_true(has(&s, "chain", "service/web"));
	assert_false(has(&s, "chain", "service/orders") || has(&s, "chain", "service/none"));
	keyring_free(s.k);
	bundle_done(&s.b);
	chmod(place_path(&s.p, "keep/service/web.pem"), 0644);
	load(&s);
	assert_int_equal(keyring_key_count(s.k), 0);
	keyring_free(s.k);
	bundle_done(&s.b);

	/* Without anchors no identity is of use, and the proxy process would not take them. */
	chmod(place_path(&s.p, "keep/service/web.pem"), 0600);
	place_write(&s.p, "keep/roots.pem", STR("words"), 0644);
	load(&s);
	assert_int_equal(keyring_key_count(s.k), 0);
	assert_true(list_empty(&s.b.items));
	tear_down(&s);
}

static void the_machines_own_pair_is_loaded_apart(void **state)
{
	struct scene s;
	struct err err;
	set_up(&s);
	assert_int_equal(
		keyring_load_node(&s.from, STR("node/vm-a"), &s.next, &s.k, &s.b, &err), -ENOENT);
	assert_non_null(strstr(err.text, "ringmain join"));
	pair(&s, "node/vm-a", "node");
	/* Its name was another when it joined. */
	assert_int_equal(
		keyring_load_node(&s.from, STR("node/vm-b"), &s.next, &s.k, &s.b, &err), -ENOENT);
	assert_non_null(strstr(err.text, "ringmain join"));
	assert_int_equal(
		keyring_load_node(&s.from, STR("node/vm-a"), &s.next, &s.k, &s.b, &err), 0);
	assert_int_equal(s.next.next, 8);
	assert_string_equal(bundle_find(&s.b, "est-key", STR("node"))->text.at, "7");
	const char *chain = bundle_find(&s.b, "est", STR("chain"))->text.at;
	assert_non_null(strstr(chain, "BEGIN CERTIFICATE"));
	assert_null(strstr(chain, "PRIVATE"));
	tear_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_and_trust_become_items),
		cmocka_unit_test(a_path_has_a_file_of_its_own),
		cmocka_unit_test(a_machine_that_has_nothing_yet_has_nothing),
		cmocka_unit_test(what_cannot_be_used_is_left_out),
		cmocka_unit_test(the_machines_own_pair_is_loaded_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
