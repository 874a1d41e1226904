/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_parse(void **state)
{
	static const struct {
		const char *in, *out; /* out NULL: refused */
	} rows[] = {
		{"10.0.0.1", "10.0.0.1"},
		{"0.0.0.0", "0.0.0.0"},
		{"fd77::1", "fd77::1"},
		{"FD77:0:0::1", "fd77::1"},
		{"::", "::"},
		{"::ffff:10.0.0.1", "10.0.0.1"}, /* one address has one form */
		{"", NULL},
		{"10.0.0", NULL},
		{"10.0.0.256", NULL},
		{"010.0.0.1", NULL},
		{"10.0.0.1:80", NULL},
		{"[fd77::1]", NULL},
		{"fe80::1%eth0", NULL},
		{"localhost", NULL},
		{" 10.0.0.1", NULL},
		{"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", NULL},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct address a = {0};
		char text[ADDRESS_TEXT_MAX];
		bool ok = address_parse(str_of(rows[i].in), &a);
		assert_int_equal(ok, rows[i].out != NULL);
		if (ok)
			assert_string_equal(address_ip_text(&a, text), rows[i].out);
		assert_int_equal(a.port, 0);
	}
	struct address a;
	assert_false(address_parse((struct str){"10.0.0.1\0x", 10}, &a));
}

static void test_text(void **state)
{
	struct address a;
	char text[ADDRESS_TEXT_MAX];
	assert_true(address_parse(STR("10.0.0.1"), &a));
	a.port = 80;
	assert_string_equal(address_text(&a, text), "10.0.0.1:80");
	assert_true(address_parse(STR("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), &a));
	a.port = 65535;
	assert_string_equal(
		address_text(&a, text), "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
	a = (struct address){0};
	assert_string_equal(address_text(&a, text), "-");
	assert_string_equal(address_ip_text(&a, text), "-");
}

static void test_parse_with_port(void **state)
{
	static const struct {
		const char *in, *out; /* NULL: refused */
	} rows[] = {
		{"10.0.0.1:80", "10.0.0.1:80"},
		{"10.0.0.1", "10.0.0.1:0"},
		{"[fd00::1]:65535", "[fd00::1]:65535"},
		{"[fd00::1]", "[fd00::1]:0"},
		{"fd00::1", "[fd00::1]:0"},
		{"[::ffff:10.0.0.1]:80", "10.0.0.1:80"},
		{"", NULL},
		{":80", NULL},
		{"10.0.0.1:", NULL},
		{"10.0.0.1:0", NULL},
		{"10.0.0.1:65536", NULL},
		{"10.0.0.1:8o", NULL},
		{"[fd00::1]80", NULL},
		{"[fd00::1]:", NULL},
		{"[fd00::1:80", NULL},
		{"host:80", NULL},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct address a;
		char text[ADDRESS_TEXT_MAX];
		bool ok = address_port_parse(str_of(rows[i].in), &a);
		if (ok != (rows[i].out != NULL) ||
			(ok && strcmp(address_text(&a, text), rows[i].out) != 0))
			fail_msg("\"%s\"", rows[i].in);
	}
	assert_false(address_port_parse(STR_NONE, &(struct address){0}));
}

static void test_sockaddr_there_and_back(void **state)
{
	static const char *const rows[] = {"192.0.2.7", "2001:db8::7"};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct address a, b;
		struct sockaddr_storage s;
		assert_true(address_parse(str_of(rows[i]), &a));
		a.port = 4321;
		address_to_sockaddr(&a, &s);
		b = address_of(&s);
		assert_true(address_equal(&a, &b));
	}
}

static void test_mapped_sockaddr_becomes_v4(void **state)
{
	struct sockaddr_storage s = {0};
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&s;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(80);
	in6->sin6_addr.s6_addr[10] = in6->sin6_addr.s6_addr[11] = 0xff;
	in6->sin6_addr.s6_addr[12] = 10;
	in6->sin6_addr.s6_addr[15] = 1;
	struct address a = address_of(&s);
	char text[ADDRESS_TEXT_MAX];
	assert_string_equal(address_text(&a, text), "10.0.0.1:80");
}

static void test_unknown_family_is_none(void **state)
{
	struct sockaddr_storage s = {.ss_family = AF_UNIX};
	assert_int_equal(address_of(&s).family, 0);
}

static void test_host(void **state)
{
	static const struct {
		const char *ip;
		bool host;
	} rows[] = {
		{"10.0.0.1", true},
		{"127.0.0.1", true},
		{"223.255.255.255", true},
		{"fd00::1", true},
		{"::1", true},
		{"0.0.0.0", false},
		{"0.1.2.3", false},
		{"224.0.0.1", false},
		{"255.255.255.255", false},
		{"::", false},
		{"ff02::1", false},
		{"::ffff:224.0.0.1", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct address a;
		assert_true(address_parse(str_of(rows[i].ip), &a));
		if (address_is_host(&a) != rows[i].host)
			fail_msg("%s", rows[i].ip);
	}
	assert_false(address_is_host(&(struct address){0}));
}

static void test_loopback(void **state)
{
	static const struct {
		const char *ip;
		bool loopback;
	} rows[] = {
		{"127.0.0.1", true},
		{"127.200.1.1", true},
		{"::1", true},
		{"::ffff:127.0.0.1", true},
		{"128.0.0.1", false},
		{"::2", false},
		{"::", false},
		{"0.0.0.0", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct address a;
		assert_true(address_parse(str_of(rows[i].ip), &a));
		assert_int_equal(address_is_loopback(&a), rows[i].loopback);
	}
}

static void test_compare(void **state)
{
	struct address a, b;
	assert_true(address_parse(STR("10.0.0.1"), &a));
	b = a;
	b.port = 1;
	assert_true(address_same_ip(&a, &b));
	assert_false(address_equal(&a, &b));
	/* the same bytes in another family are another address */
	b = a;
	b.family = AF_INET6;
	assert_false(address_same_ip(&a, &b));
}

static void test_range(void **state)
{
	static const struct {
		const char *range, *ip;
		bool in;
	} rows[] = {
		{"10.0.0.0/8", "10.255.0.1", true},
		{"10.0.0.0/8", "11.0.0.1", false},
		{"10.0.0.0/0", "255.1.2.3", true},
		{"10.0.0.0/0", "::1", false},
		{"10.77.0.0/23", "10.77.1.255", true},
		{"10.77.0.0/23", "10.77.2.0", false},
		{"10.77.0.9", "10.77.0.9", true},
		{"10.77.0.9", "10.77.0.8", false},
		{"fd00::/8", "fdff::1", true},
		{"fd00::/8", "fc00::1", false},
		{"fd77::/127", "fd77::1", true},
		{"fd77::/127", "fd77::2", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct address_range range;
		struct address a;
		assert_true(address_range_parse(str_of(rows[i].range), &range));
		assert_true(address_parse(str_of(rows[i].ip), &a));
		assert_int_equal(address_in(&a, &range), rows[i].in);
	}
}

static void test_range_refused(void **state)
{
	static const char *const rows[] = {"10.0.0.0/33", "fd00::/129", "10.0.0.0/", "/8",
		"10.0.0.0/-1", "10.0.0.0/8/8", "x/8", ""};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct address_range range;
		assert_false(address_range_parse(str_of(rows[i]), &range));
	}
}

static void test_own_link(void **state)
{
	static const char *const own[] = {"169.254.0.1", "169.254.169.254", "fe80::1", "febf::1",
		"192.0.0.192", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fd00:ec2::23",
		"fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "224.0.0.1", "239.255.255.255",
		"ff02::1", "fec0::1", "::ffff:169.254.169.254", "64:ff9b::169.254.169.254",
		"64:ff9b:1::169.254.169.254", "2002:a9fe:a9fe::1", "64:ff9b:1:a9fe:a9:fe00::",
		"64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:0:a9:fea9:fe00::", "::169.254.1.1",
		"::ffff:0:169.254.1.1"};
	static const char *const others[] = {"127.0.0.1", "::1", "0.0.0.0", "::", "10.0.0.1",
		"169.253.1.1", "192.0.1.1", "168.63.129.17", "100.100.100.201", "fd00::1",
		"fd00:ec3::254", "fd20:ce::253", "fd00:42::43", "2001:db8::1",
		"64:ff9b::198.51.100.7", "64:ff9b:1::198.51.100.7", "2002:c633:6407::1"};
	struct address a = {0};
	assert_false(address_is_own_link(&a));
	for (size_t i = 0; i < ARRAY_LEN(own); i++) {
		assert_true(address_parse(str_of(own[i]), &a));
		if (!address_is_own_link(&a))
			fail_msg("%s", own[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		assert_true(address_parse(str_of(others[i]), &a));
		if (address_is_own_link(&a))
			fail_msg("%s", others[i]);
	}
}

static void test_inside(void **state)
{
	static const struct {
		const char *ip, *inside; /* the first; NULL: none */
		uint32_t count;
	} rows[] = {
		{"64:ff9b::1.2.3.4", "1.2.3.4", 1},
		{"64:ff9b::0.0.0.0", "0.0.0.0", 1},
		{"64:ff9b:1::1.2.3.4", "1.2.3.4", 1},
		{"64:ff9b:1:102:3:400::", "1.2.3.4", 3}, /* "2.3.4.0", "3.4.0.0" as well */
		{"64:ff9b:2::1.2.3.4", NULL, 0},
		{"2002:102:304::7", "1.2.3.4", 1},
		{"::1.2.3.4", "1.2.3.4", 1},
		{"2001:db8::1", NULL, 0},
		{"1.2.3.4", NULL, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct address a, want, inside[ADDRESS_INSIDE_MAX];
		assert_true(address_parse(str_of(rows[i].ip), &a));
		a.port = 80;
		if (address_inside(&a, inside) != rows[i].count)
			fail_msg("%s", rows[i].ip);
		if (!rows[i].inside)
			continue;
		assert_true(address_parse(str_of(rows[i].inside), &want));
		want.port = 80;
		assert_true(address_equal(&inside[0], &want));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_parse_with_port),
		cmocka_unit_test(test_sockaddr_there_and_back),
		cmocka_unit_test(test_mapped_sockaddr_becomes_v4),
		cmocka_unit_test(test_unknown_family_is_none),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_range),
		cmocka_unit_test(test_range_refused),
		cmocka_unit_test(test_own_link),
		cmocka_unit_test(test_inside),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
