/* SPDX-License-Identifier: Apache-2.0 */
/* The corpus of the fuzz target, by name: what each of its messages is. */
#include "codec/client_hello.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct {
	const char *file;
	enum client_hello result;
	const char *name;
} cases[] = {
	{"openssl", CLIENT_HELLO_DONE, "api.payments.example"},
	{"openssl-tls12", CLIENT_HELLO_DONE, "API.Payments.example"},
	{"openssl-no-name", CLIENT_HELLO_DONE, ""},
	{"part", CLIENT_HELLO_MORE, ""},
	{"byte", CLIENT_HELLO_MORE, ""},
	{"records-of-7", CLIENT_HELLO_DONE, "api.payments.example"},
	{"record-cut-in-name", CLIENT_HELLO_DONE, "api.payments.example"},
	{"behind", CLIENT_HELLO_DONE, "api.payments.example"},
	{"trailing", CLIENT_HELLO_BAD, ""},
	{"two-names", CLIENT_HELLO_BAD, ""},
	{"two-extensions", CLIENT_HELLO_BAD, ""},
	{"other-kind", CLIENT_HELLO_BAD, ""},
	{"empty-list", CLIENT_HELLO_BAD, ""},
	{"empty-name", CLIENT_HELLO_BAD, ""},
	{"nul-name", CLIENT_HELLO_DONE, NULL}, /* its length tells */
	{"address", CLIENT_HELLO_DONE, "203.0.113.9"},
	{"too-long-name", CLIENT_HELLO_BAD, ""},
	{"no-extensions", CLIENT_HELLO_DONE, ""},
	{"empty-extensions", CLIENT_HELLO_DONE, ""},
	{"extension-too-long", CLIENT_HELLO_BAD, ""},
	{"odd-suites", CLIENT_HELLO_BAD, ""},
	{"no-compression", CLIENT_HELLO_BAD, ""},
	{"ech", CLIENT_HELLO_DONE, "public.example"},
	{"large", CLIENT_HELLO_BAD, ""},
	{"not-a-hello", CLIENT_HELLO_BAD, ""},
	{"empty-record", CLIENT_HELLO_BAD, ""},
	{"alert", CLIENT_HELLO_BAD, ""},
	{"http", CLIENT_HELLO_BAD, ""},
	{"ssl2", CLIENT_HELLO_BAD, ""},
	{"padded", CLIENT_HELLO_DONE, "a.example"},
	{"padded-too-large", CLIENT_HELLO_BAD, ""},
};

static size_t corpus(const char *file, uint8_t *bytes, size_t size)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", CORPUS, file);
	FILE *in = fopen(path, "rb");
	if (!in)
		fail_msg("%s", path);
	size_t len = fread(bytes, 1, size, in);
	fclose(in);
	return len;
}

static void test_each_message(void **state)
{
	static uint8_t bytes[65536];
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char name[CLIENT_HELLO_NAME_MAX + 1];
		size_t name_len, len = corpus(cases[i].file, bytes, sizeof(bytes));
		enum client_hello got = client_hello_read(bytes, len, name, &name_len);
		if (got != cases[i].result || (cases[i].name && strcmp(name, cases[i].name) != 0))
			fail_msg("%s: %d, \"%s\"", cases[i].file, got, name);
	}
}

/* A server name with a NUL in it is told whole, so that nobody takes its first half for it. */
static void test_a_name_is_not_cut(void **state)
{
	uint8_t bytes[512];
	char name[CLIENT_HELLO_NAME_MAX + 1];
	size_t name_len, len = corpus("nul-name", bytes, sizeof(bytes));
	assert_int_equal(client_hello_read(bytes, len, name, &name_len), CLIENT_HELLO_DONE);
	assert_int_equal(name_len, strlen("a.example") + 1 + strlen(".b.example"));
}

/* Byte by byte: nothing is said before all of it is there. */
static void test_more_until_the_last_byte(void **state)
{
	uint8_t bytes[2048];
	char name[CLIENT_HELLO_NAME_MAX + 1];
	size_t name_len, len = corpus("openssl", bytes, sizeof(bytes));
	for (size_t n = 0; n < len; n++)
		assert_int_equal(client_hello_read(bytes, n, name, &name_len), CLIENT_HELLO_MORE);
	assert_int_equal(client_hello_read(bytes, len, name, &name_len), CLIENT_HELLO_DONE);
}

/* The largest message there may be, in two records, and bytes behind it in the second. */
static void test_nothing_stands_behind_the_largest(void **state)
{
	static const size_t first = CLIENT_HELLO_BYTES_MAX - 1;
	static const uint8_t begin[] = {1, 0, 0x3f, 0xfc, 3, 3};
	static const uint8_t rest[] = {0, 0, 2, 0x13, 1, 1, 0}; /* no session, a suite, and null */
	uint8_t message[CLIENT_HELLO_BYTES_MAX + 9] = {0}, bytes[5 + sizeof(message) + 5];
	uint8_t *extensions = message + 4 + 2 + 32 + sizeof(rest);
	size_t left = (size_t)(message + CLIENT_HELLO_BYTES_MAX - extensions);
	memcpy(message, begin, sizeof(begin));
	memcpy(extensions - sizeof(rest), rest, sizeof(rest));
	extensions[0] = (uint8_t)((left - 2) >> 8);
	extensions[1] = (uint8_t)(left - 2);
	extensions[3] = 21; /* padding */
	extensions[4] = (uint8_t)((left - 6) >> 8);
	extensions[5] = (uint8_t)(left - 6);
	for (uint8_t behind = 0; behind < 9; behind++) {
		char name[CLIENT_HELLO_NAME_MAX + 1];
		size_t name_len;
		uint8_t heads[2][5] = {
			{22, 3, 1, first >> 8, first & 0xff}, {22, 3, 1, 0, (uint8_t)(1 + behind)}};
		memcpy(bytes, heads[0], 5);
		memcpy(bytes + 5, message, first);
		memcpy(bytes + 5 + first, heads[1], 5);
		memcpy(bytes + 10 + first, message + first, 1u + behind);
		assert_int_equal(client_hello_read(bytes, 11 + first + behind, name, &name_len),
			behind ? CLIENT_HELLO_BAD : CLIENT_HELLO_DONE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_message),
		cmocka_unit_test(test_a_name_is_not_cut),
		cmocka_unit_test(test_more_until_the_last_byte),
		cmocka_unit_test(test_nothing_stands_behind_the_largest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
