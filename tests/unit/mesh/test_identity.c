/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct identity_row {
	const char *text;
	bool is_valid;
};

#define CHECK_ROWS(rows, valid)                                          \
	for (size_t i = 0; i < sizeof(rows) / sizeof((rows)[0]); i++) {  \
		if (valid(str_of((rows)[i].text)) != (rows)[i].is_valid) \
			fail_msg("\"%s\"", (rows)[i].text);              \
	}

static void test_identity_service(void **state)
{
	static const struct identity_row rows[] = {{"orders", true}, {"a", true},
		{"orders-2", true}, {"0", true},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
		{"", false}, {"Orders", false}, {"a.b", false}, {"a_b", false}, {"-a", false},
		{"a-", false}, {"a/b", false}, {"*", false}, {"a b", false}};
	CHECK_ROWS(rows, identity_service_valid)
	assert_false(identity_service_valid((struct str){"a\0b", 3}));
}

static void test_identity_domain(void **state)
{
	static const struct identity_row rows[] = {{"prod.example", true}, {"a", true},
		{"a_b-c.9", true}, {"", false}, {"Prod", false}, {"a:1", false}, {"a/b", false},
		{"u@a", false}, {"a%2e", false}};
	CHECK_ROWS(rows, identity_trust_domain_valid)
	char text[257];
	memset(text, 'a', sizeof(text));
	assert_true(identity_trust_domain_valid((struct str){text, 255}));
	assert_false(identity_trust_domain_valid((struct str){text, 256}));
}

static void test_identity_workload(void **state)
{
	static const struct identity_row rows[] = {{"service/web", true}, {"shop/web", true},
		{"shop/eu/web", true}, {"Shop/Web_1.x", true}, {"nodes/web", true},
		{"shop/node", true}, {"shop/.web", true}, {"cash/x", true}, {"", false},
		{"web", false}, {"/web", false}, {"shop/", false}, {"shop//web", false},
		{"shop/../web", false}, {"shop/*", false}, {"*", false}, {"node/vm-a", false},
		{"node/vm-a/x", false}, {"ca/x", false}, {"ca", false}, {".shop/web", false},
		{"spiffe://prod.example/shop/web", false}, {"shop/we b", false},
		{"shop/w%2e", false}};
	CHECK_ROWS(rows, identity_workload_valid)
	char text[201] = "shop/";
	memset(text + 5, 'b', sizeof(text) - 5);
	assert_true(identity_workload_valid((struct str){text, 200}));
	assert_false(identity_workload_valid((struct str){text, 201}));
}

static void test_identity_id(void **state)
{
	static const struct identity_row rows[] = {{"spiffe://prod.example/service/orders", true},
		{"spiffe://a/b", true}, {"spiffe://a/B.c_d-e", true}, {"spiffe://a", false},
		{"spiffe://a/", false}, {"spiffe:///b", false}, {"spiffe://a/b/", false},
		{"spiffe://a//b", false}, {"spiffe://a/../b", false}, {"spiffe://a/./b", false},
		{"spiffe://a/b?c", false}, {"spiffe://a/b#c", false}, {"spiffe://a:8/b", false},
		{"spiffe://A/b", false}, {"SPIFFE://a/b", false}, {"https://a/b", false},
		{"spiffe://a/%62", false}, {"", false}};
	CHECK_ROWS(rows, identity_id_valid)
	char text[2060] = "spiffe://a/";
	memset(text + 11, 'b', sizeof(text) - 11);
	assert_true(identity_id_valid((struct str){text, 2048}));
	assert_false(identity_id_valid((struct str){text, 2049}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity_service),
		cmocka_unit_test(test_identity_domain),
		cmocka_unit_test(test_identity_workload),
		cmocka_unit_test(test_identity_id),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
