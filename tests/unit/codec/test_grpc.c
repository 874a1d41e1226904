/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/grpc.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_types(void **state)
{
	static const char *const types[] = {"application/grpc", "application/grpc+proto",
		"Application/GRPC; charset=x", "application/grpc-web", "application/grpc-web+proto",
		"application/grpc-web-text", "application/grpc-web-text+proto"};
	static const char *const others[] = {"", "application/grp", "application/grpcs",
		"application/grpc-webs", "application/grpc-website", "text/plain",
		"application/json", " application/grpc"};
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		assert_true(grpc_is_type(str_of(types[i])));
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_false(grpc_is_type(str_of(others[i])));
	assert_false(grpc_is_type(STR_NONE));
}

static void test_statuses_of_http(void **state)
{
	assert_int_equal(grpc_status_of_http(400), GRPC_INTERNAL);
	assert_int_equal(grpc_status_of_http(401), GRPC_UNAUTHENTICATED);
	assert_int_equal(grpc_status_of_http(403), GRPC_PERMISSION_DENIED);
	assert_int_equal(grpc_status_of_http(404), GRPC_UNIMPLEMENTED);
	assert_int_equal(grpc_status_of_http(429), GRPC_UNAVAILABLE);
	assert_int_equal(grpc_status_of_http(503), GRPC_UNAVAILABLE);
	assert_int_equal(grpc_status_of_http(418), GRPC_UNKNOWN);
	assert_int_equal(grpc_status_of_http(500), GRPC_UNKNOWN);
}

static void test_numbers(void **state)
{
	enum grpc_status status;
	for (int i = GRPC_OK; i <= GRPC_UNAUTHENTICATED; i++) {
		assert_true(grpc_status_read(grpc_status_text((enum grpc_status)i), &status));
		assert_int_equal(status, i);
	}
	static const char *const others[] = {"", "17", "-1", "014", " 14", "UNAVAILABLE", "1 "};
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_false(grpc_status_read(str_of(others[i]), &status));
	assert_true(str_eq(grpc_status_text(GRPC_UNAVAILABLE), STR("14")));
}

/* What is no number from 0 on means: not again. */
static void test_pushback(void **state)
{
	uint64_t ms;
	static const char *const refused[] = {
		"-1", "", "soon", "1.5", "10ms", "99999999999999999999999"};
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		assert_false(grpc_pushback_read(str_of(refused[i]), &ms));
	assert_true(grpc_pushback_read(STR("0"), &ms));
	assert_int_equal(ms, 0);
	assert_true(grpc_pushback_read(STR("1500"), &ms));
	assert_int_equal(ms, 1500);
}

static void test_messages(void **state)
{
	char message[GRPC_MESSAGE_BYTES(8)];
	size_t len = grpc_message_write(STR("a %\n\xc3\xa4~"), message);
	assert_true(str_eq((struct str){message, len}, STR("a %25%0A%C3%A4~")));
	assert_int_equal(grpc_message_write(STR(""), message), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_statuses_of_http),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_pushback),
		cmocka_unit_test(test_messages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
