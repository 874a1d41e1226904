/* SPDX-License-Identifier: Apache-2.0 */
/* Names as they are compared, and which external a name, or an address, means. */
#include "mesh/external.h"

#include "mesh/snapshot.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct {
	const char *text, *name; /* NULL: none */
	bool with_port;
} names[] = {
	{"a.example", "a.example", false},
	{"A.Example", "a.example", false},
	{"a.example.", "a.example", false},
	{"a_b-1.example", "a_b-1.example", false},
	{"xn--bcher-kva.example", "xn--bcher-kva.example", false},
	{"1.2.3.example", "1.2.3.example", false},
	{"a.example:443", "a.example", true},
	{"A.example.:80", "a.example", true},
	{"a.example:443", NULL, false},
	{"a.example:", NULL, true},
	{"a.example:x", NULL, true},
	{"a.example:80:80", NULL, true},
	{"", NULL, true},
	{".", NULL, false},
	{"..", NULL, false},
	{"a..b", NULL, false},
	{".a", NULL, false},
	{"a.example..", NULL, false},
	{"*.example", NULL, false},
	{"a b", NULL, false},
	{"a/b", NULL, false},
	{"a@b", NULL, true},
	{"a%2eexample", NULL, false},
	{"\xc3\xa4.example", NULL, false},
	{"127.0.0.1", NULL, false},
	{"127.0.0.1.", NULL, false},
	{"127.1", NULL, false},
	{"2130706433", NULL, false},
	{"0x7f000001", NULL, false},
	{"0x7f.0.0.0X1", NULL, false},
	{"[::1]", NULL, true},
	{"::1", NULL, true},
};

static void test_names(void **state)
{
	char text[EXTERNAL_HOST_MAX + 1];
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct str host = external_host(str_of(names[i].text), names[i].with_port, text);
		if (!host.at != !names[i].name || (host.at && !str_eq(host, str_of(names[i].name))))
			fail_msg("%s: %.*s", names[i].text, STR_ARG(host));
	}
}

static void test_lengths_of_names(void **state)
{
	char text[EXTERNAL_HOST_MAX + 1], name[EXTERNAL_HOST_MAX + 3];
	memset(name, 'a', sizeof(name));
	for (size_t i = 63; i < sizeof(name); i += 64)
		name[i] = '.';
	assert_non_null(external_host((struct str){name, 63}, false, text).at);
	assert_non_null(external_host((struct str){name, EXTERNAL_HOST_MAX}, false, text).at);
	assert_null(external_host((struct str){name, EXTERNAL_HOST_MAX + 1}, false, text).at);
	name[63] = 'a';
	assert_null(external_host((struct str){name, 64}, false, text).at);
}

/* --- which --- */

#define RANGE(number) (&ranges[number])
static struct str any_hosts[] = {STR("a.example"), STR("*.a.example"), STR("*.b.a.example")};
static uint32_t https[] = {443}, both[] = {80, 443};
static struct address_range ranges[2];
static struct source from[1];
static struct external externals[5];
static struct snapshot s;

static int setup(void **state)
{
	s = (struct snapshot){.externals = externals, .external_count = ARRAY_LEN(externals)};
	arena_init(&s.arena, 1 << 20);
	assert_true(address_range_parse(STR("198.51.100.0/24"), &ranges[0]));
	assert_true(address_range_parse(STR("198.51.100.7"), &ranges[1]));
	from[0] = (struct source){.kind = SOURCE_ID, .text = STR("spiffe://d/web")};
	for (uint32_t i = 0; i < 3; i++) {
		externals[i] = (struct external){.index = i,
			.hosts = &any_hosts[i],
			.host_count = 1,
			.ports = both,
			.port_count = 2};
		assert_true(external_add_host(&s, &externals[i], any_hosts[i]));
	}
	externals[1].tls = EXTERNAL_NONE;
	for (uint32_t i = 3; i < 5; i++)
		externals[i] = (struct external){.index = i,
			.tls = EXTERNAL_NONE,
			.ports = https,
			.port_count = 1,
			.addresses = RANGE(i - 3),
			.address_count = 1};
	externals[4].from = from;
	externals[4].from_count = 1;
	return 0;
}

static int teardown(void **state)
{
	snapshot_done(&s);
	return 0;
}

static const struct external *named(const char *host, uint16_t port, enum external_speech speech)
{
	return external_by_host(&s, str_of(host), port, speech);
}

static void test_the_longest_host_wins(void **state)
{
	assert_ptr_equal(named("a.example", 443, EXTERNAL_TLS), &externals[0]);
	assert_ptr_equal(named("x.a.example", 443, EXTERNAL_HTTP), &externals[1]);
	assert_ptr_equal(named("b.a.example", 80, EXTERNAL_BYTES), &externals[1]);
	assert_ptr_equal(named("x.b.a.example", 443, EXTERNAL_TLS), &externals[2]);
	assert_ptr_equal(named("x.y.b.a.example", 443, EXTERNAL_TLS), &externals[2]);
	assert_null(named("example", 443, EXTERNAL_TLS));
	assert_null(named("xa.example", 443, EXTERNAL_TLS));
	assert_null(named("a.example.x", 443, EXTERNAL_TLS));
	assert_null(named("*.a.example", 443, EXTERNAL_TLS));
	assert_null(named("", 443, EXTERNAL_TLS));
}

static void test_port_and_speech_belong_to_it(void **state)
{
	assert_null(named("a.example", 8443, EXTERNAL_TLS));
	assert_null(named("a.example", 443, EXTERNAL_HTTP));
	assert_null(named("x.a.example", 443, EXTERNAL_TLS)); /* not the wildcard above it either */
	assert_true(external_wants_name(&s, 80));
	assert_false(external_wants_name(&s, 8443));
}

static void test_the_longest_prefix_wins(void **state)
{
	struct address a;
	assert_true(address_port_parse(STR("198.51.100.7:443"), &a));
	assert_ptr_equal(external_by_address(&s, &a), &externals[4]);
	a.ip[3] = 8;
	assert_ptr_equal(external_by_address(&s, &a), &externals[3]);
	a.port = 80;
	assert_null(external_by_address(&s, &a));
}

static void test_who_may(void **state)
{
	assert_true(external_allows(&externals[0], STR("spiffe://d/any")));
	assert_false(external_allows(&externals[0], STR("")));
	assert_true(external_allows(&externals[4], STR("spiffe://d/web")));
	assert_false(external_allows(&externals[4], STR("spiffe://d/webx")));
}

static void test_what_may_be_outside(void **state)
{
	static const char *const no[] = {"127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "0.1.2.3",
		"::", "224.0.0.1", "255.255.255.255", "ff02::1", "169.254.169.254", "169.254.1.1",
		"fe80::1", "fd00:ec2::254", "168.63.129.16", "100.100.100.200", "::ffff:127.0.0.1",
		"::ffff:169.254.169.254", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe",
		"2002:7f00:1::1", "2002:a9fe:a9fe::1", "::127.0.0.1", "192.0.0.192", "fd20:ce::254",
		"64:ff9b:1::127.0.0.1", "64:ff9b:1::a9fe:a9fe"};
	static const char *const yes[] = {"198.51.100.7", "10.0.0.1", "2001:db8::1", "fd00::1",
		"64:ff9b::198.51.100.7", "64:ff9b:1::198.51.100.7"};
	struct address a;
	for (size_t i = 0; i < ARRAY_LEN(no); i++) {
		assert_true(address_parse(str_of(no[i]), &a));
		if (snapshot_may_be_outside(&s, &a))
			fail_msg("%s", no[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		assert_true(address_parse(str_of(yes[i]), &a));
		assert_true(snapshot_may_be_outside(&s, &a));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_lengths_of_names),
		cmocka_unit_test(test_the_longest_host_wins),
		cmocka_unit_test(test_port_and_speech_belong_to_it),
		cmocka_unit_test(test_the_longest_prefix_wins),
		cmocka_unit_test(test_who_may),
		cmocka_unit_test(test_what_may_be_outside),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
