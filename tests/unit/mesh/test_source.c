/* SPDX-License-Identifier: Apache-2.0 */
/* Whom an entry of `from` names: every kind, what is no entry at all, and which of two that name
 * the same caller is the more exact. */
#include "mesh/source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct mesh {
	struct snapshot s;
	struct str ids[3];
	struct service services[2];
};

static void mesh_init(struct mesh *m)
{
	*m = (struct mesh){.ids = {STR("spiffe://td/service/web"), STR("spiffe://td/service/old"),
				   STR("spiffe://td/shop/cart")},
		.s = {.trust_domain = STR("td"), .services = m->services, .service_count = 2}};
	m->services[0] = (struct service){.name = STR("web"), .ids = m->ids, .id_count = 2};
	m->services[1] = (struct service){.name = STR("cart"), .ids = m->ids + 2, .id_count = 1};
	arena_init(&m->s.arena, 1u << 16);
	for (int i = 0; i < 2; i++) {
		assert_true(snapshot_add_service(&m->s, &m->services[i]));
		assert_true(snapshot_add_service_id(&m->s, &m->services[i]));
	}
}

struct row {
	const char *entry, *id; /* id NULL: none */
	const char *client;	/* NULL: not known */
	bool names;
};

static const struct row rows[] = {
	{"web", "spiffe://td/service/web", NULL, true},
	{"web", "spiffe://td/service/old", NULL, true},
	{"web", "spiffe://td/service/webs", NULL, false},
	{"web", "spiffe://other/service/web", NULL, false},
	{"web", NULL, "10.0.0.1", false},
	{"cart", "spiffe://td/shop/cart", NULL, true},
	{"cart", "spiffe://td/service/cart", NULL, false},
	{"db", "spiffe://td/service/db", NULL, true}, /* of nobody that is declared */
	{"db", "spiffe://td/shop/db", NULL, false},
	{"shop/cart", "spiffe://td/shop/cart", NULL, true},
	{"shop/cart", "spiffe://td/shop/cart/x", NULL, false},
	{"shop/*", "spiffe://td/shop/cart", NULL, true},
	{"shop/*", "spiffe://td/shop/a/b", NULL, true},
	{"shop/*", "spiffe://td/shop", NULL, false},
	{"shop/*", "spiffe://td/shopping", NULL, false},
	{"shop/*", "spiffe://tdx/shop/cart", NULL, false},
	{"shop/*", NULL, "10.0.0.1", false},
	{"spiffe://p.x/*", "spiffe://p.x/shop/a", NULL, true},
	{"spiffe://p.x/*", "spiffe://p.xy/shop/a", NULL, false},
	{"spiffe://p.x/shop/*", "spiffe://p.x/shop/a", NULL, true},
	{"spiffe://p.x/shop/*", "spiffe://p.x/shopping/a", NULL, false},
	{"spiffe://p.x/shop/a", "spiffe://p.x/shop/a", NULL, true},
	{"spiffe://p.x/shop/a", "spiffe://p.x/shop/A", NULL, false},
	{"*", "spiffe://p.x/shop/a", NULL, true},
	{"*", NULL, "10.0.0.1", false},
	{"anonymous", NULL, NULL, true},
	{"anonymous", NULL, "10.0.0.1", true},
	{"anonymous", "spiffe://td/service/web", "10.0.0.1", false},
	{"10.0.0.0/8", NULL, "10.255.0.1", true},
	{"10.0.0.0/8", NULL, "11.0.0.1", false},
	{"10.0.0.0/8", NULL, "::ffff:10.0.0.1", true},
	{"10.0.0.0/8", NULL, NULL, false},
	{"10.0.0.0/8", "spiffe://td/service/web", "10.0.0.1", false},
	{"10.9.9.9/8", NULL, "10.0.0.1", true}, /* the length counts */
	{"10.0.0.4/30", NULL, "10.0.0.7", true},
	{"10.0.0.4/30", NULL, "10.0.0.8", false},
	{"10.0.0.1", NULL, "10.0.0.1", true},
	{"10.0.0.1", NULL, "10.0.0.2", false},
	{"0.0.0.0/0", NULL, "10.0.0.1", true},
	{"0.0.0.0/0", NULL, "fd00::1", false},
	{"::/0", NULL, "fd00::1", true},
	{"::/0", NULL, "10.0.0.1", false},
	{"::ffff:10.0.0.0/104", NULL, "10.0.0.1", true},
	{"::ffff:10.0.0.0/104", NULL, "11.0.0.1", false},
	{"fd00::/9", NULL, "fd7f::1", true},
	{"fd00::/9", NULL, "fd80::1", false},
};

static void test_whom_an_entry_names(void **state)
{
	struct mesh m;
	mesh_init(&m);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		struct str entry = str_of(row->entry), id = str_of(row->id);
		struct source sources[4];
		struct address client = {0};
		bool is_range = address_range_parse(entry, &sources[0].range), names = false;
		if (row->client)
			assert_true(address_parse(str_of(row->client), &client));
		uint32_t count = source_count(&m.s, entry);
		assert_in_range(count, 1, 2);
		assert_true(source_read(&m.s, entry, &m.s.arena, sources));
		for (uint32_t k = 0; k < count; k++) {
			names = names || source_names(&sources[k], id, &client);
			assert_true(str_eq(sources[k].entry, entry));
			assert_in_range(
				source_rank(&sources[k]), SOURCE_RANK_LEAST, SOURCE_RANK_ID);
		}
		if (names != row->names)
			fail_msg("%s, %s", row->entry, row->id ? row->id : "nobody");
		/* nothing is known of addresses where entries are asked as they are written */
		if (source_entry_names(&m.s, entry, id) != (row->names && !is_range))
			fail_msg("%s as written, %s", row->entry, row->id ? row->id : "nobody");
	}
	snapshot_done(&m.s);
}

/* Who is of a service that nobody has declared. */
static void test_whom_an_entry_may_name(void **state)
{
	static const struct {
		const char *entry, *id;
		bool may_name;
	} may[] = {
		{"db", "spiffe://td/shop/db", true},
		{"db", "spiffe://td/service/old", true}, /* no declared one is that first of all */
		{"db", "spiffe://p.x/db", true},
		{"db", "spiffe://td/service/web", false},
		{"db", "spiffe://td/shop/cart", false},
		{"web", "spiffe://td/shop/db", false},
		{"shop/db", "spiffe://td/shop/x", false},
		{"shop/*", "spiffe://td/service/db", false},
		{"spiffe://p.x/db", "spiffe://p.x/y", false},
		{"anonymous", "spiffe://td/shop/db", false},
		{"10.0.0.0/8", "spiffe://td/shop/db", false},
	};
	struct mesh m;
	mesh_init(&m);
	for (size_t i = 0; i < ARRAY_LEN(may); i++) {
		struct source sources[4];
		assert_true(source_read(&m.s, str_of(may[i].entry), &m.s.arena, sources));
		if (source_may_name(&sources[0], str_of(may[i].id)) != may[i].may_name)
			fail_msg("%s, %s", may[i].entry, may[i].id);
	}
	snapshot_done(&m.s);
}

static void test_a_range_is_no_identity_path(void **state)
{
	struct mesh m;
	mesh_init(&m);
	assert_false(source_entry_names(&m.s, STR("10.0.0.0/8"), STR("spiffe://td/10.0.0.0/8")));
	snapshot_done(&m.s);
}

static void test_what_is_no_entry(void **state)
{
	static const char *const wrong[] = {"", "/", "/*", "shop/", "/shop", "shop//a", "shop/**",
		"shop/*/a", "*/shop", "sh*p/a", "shop/..", "shop/../*", "spiffe://", "spiffe:///*",
		"spiffe://*", "spiffe://p.x", "spiffe://p.x/", "spiffe://P.x/*", "spiffe://p.x//*",
		"spiffe://*/shop/a", "http://p.x/*", "10.0.0.0/33", "10.0.0/8", "10/8",
		"10.0.0.0/8/8", "10.0.0.0/", "10.0.0.256", "::ffff:10.0.0.0/8", "fd00::/129",
		"fd00::/x", "fd00::1%eth0", "Web", "-web", "we b", "shop/a b"};
	struct mesh m;
	mesh_init(&m);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		if (source_count(&m.s, str_of(wrong[i])) != 0)
			fail_msg("\"%s\" is an entry", wrong[i]);
	}
	snapshot_done(&m.s);
}

/* Each is more exact than the one before it, where both name the same caller. */
static void test_the_longer_one_is_more_exact(void **state)
{
	static const char *const ids[] = {"*", "spiffe://td/*", "shop/*", "shop/a/*", "shop/a/b"};
	static const char *const addresses[] = {
		"anonymous", "0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/9", "10.0.0.1"};
	struct mesh m;
	mesh_init(&m);
	for (int list = 0; list < 2; list++) {
		uint32_t last = 0;
		for (size_t i = 0; i < 5; i++) {
			struct source source;
			struct str entry = str_of(list ? addresses[i] : ids[i]);
			assert_int_equal(source_count(&m.s, entry), 1);
			assert_true(source_read(&m.s, entry, &m.s.arena, &source));
			assert_true(source_rank(&source) > last);
			last = source_rank(&source);
		}
	}
	snapshot_done(&m.s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whom_an_entry_names),
		cmocka_unit_test(test_whom_an_entry_may_name),
		cmocka_unit_test(test_a_range_is_no_identity_path),
		cmocka_unit_test(test_what_is_no_entry),
		cmocka_unit_test(test_the_longer_one_is_more_exact),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
