/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/spiffe.h"
#include "tls/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static void test_accepts(void **state)
{
	static const struct {
		const char *id, *trust_domain, *path;
	} rows[] = {
		{"spiffe://prod.example/service/orders", "prod.example", "service/orders"},
		{"spiffe://a/b", "a", "b"},
		{"spiffe://a-b_c.9/A-z_0.9/..x/x..", "a-b_c.9", "A-z_0.9/..x/x.."},
		{"spiffe://10.0.0.1/node", "10.0.0.1", "node"},
		{"spiffe://td/...", "td", "..."},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str trust_domain, path;
		assert_true(spiffe_parse(str_of(rows[i].id), &trust_domain, &path));
		assert_true(str_eq(trust_domain, str_of(rows[i].trust_domain)));
		assert_true(str_eq(path, str_of(rows[i].path)));
	}
}

static void test_refuses(void **state)
{
	static const struct str rows[] = {
		STR(""),
		STR("spiffe:"),
		STR("spiffe://"),
		STR("spiffe:///x"),
		STR("spiffe://td"),
		STR("spiffe://td/"),
		STR("spiffe://td//x"),
		STR("spiffe://td/x/"),
		STR("spiffe://td/x//y"),
		STR("spiffe://td/./x"),
		STR("spiffe://td/.."),
		STR("spiffe://td/x/.."),
		STR("spiffe://td/x%2ey"),
		STR("spiffe://t%64/x"),
		STR("SPIFFE://td/x"),
		STR("Spiffe://td/x"),
		STR("http://td/x"),
		STR("spiffe://TD/x"),
		STR("spiffe://td:80/x"),
		STR("spiffe://u@td/x"),
		STR("spiffe://td/x?q"),
		STR("spiffe://td/x#f"),
		STR("spiffe://td?q/x"),
		STR("spiffe://td/x y"),
		STR("spiffe://td/x\0y"),
		STR("spiffe://td/x\0"),
		STR("spiffe://t\0d/x"),
		STR("spiffe://td/\xc3\xa9"),
		STR("spiffe://t\xc3\xa9/x"),
		STR("spiffe://td/x\n"),
		STR(" spiffe://td/x"),
		STR("spiffe://[::1]/x"),
		STR("spiffe://td/x:y"),
		STR("spiffe://td/a*"),
		STR("spiffe:/td/x"),
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str trust_domain, path;
		if (spiffe_parse(rows[i], &trust_domain, &path))
			fail_msg("accepted: " STR_FMT, STR_ARG(rows[i]));
	}
	struct str trust_domain, path;
	assert_false(spiffe_parse(STR_NONE, &trust_domain, &path));
}

static bool test_length(size_t domain_len, size_t path_len)
{
	struct str trust_domain, path;
	size_t len = 9 + domain_len + 1 + path_len;
	char *id = malloc(len);
	memcpy(id, "spiffe://", 9);
	memset(id + 9, 'd', domain_len);
	id[9 + domain_len] = '/';
	memset(id + 10 + domain_len, 'p', path_len);
	bool ok = spiffe_parse((struct str){id, len}, &trust_domain, &path);
	free(id);
	return ok;
}

static void test_lengths(void **state)
{
	assert_true(test_length(255, 10));
	assert_false(test_length(256, 10));
	assert_true(test_length(10, TLS_ID_MAX - 20));
	assert_false(test_length(10, TLS_ID_MAX - 19));
}

/* Of machines and authorities, whole segments only. */
static void test_reserved(void **state)
{
	static const struct {
		const char *path;
		bool reserved;
	} rows[] = {{"ca", true}, {"ca/x", true}, {"node", true}, {"node/vm-a", true},
		{"node/vm-a/x", true}, {"service/web", false}, {"service/ca", false},
		{"service/node", false}, {"nodes/vm-a", false}, {"ca.x", false}, {"c", false},
		{"CA", false}, {"Node/vm-a", false}, {"", false}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(spiffe_path_reserved(str_of(rows[i].path)), rows[i].reserved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepts),
		cmocka_unit_test(test_refuses),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_reserved),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
