/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/frame.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_what_is_written_is_read(void **state)
{
	static const struct frame frames[] = {
		{1, FRAME_DATA, 1},
		{0x01020304, FRAME_DATA, FRAME_DATA_MAX},
		{UINT32_MAX, FRAME_CREDIT, FRAME_WINDOW},
		{7, FRAME_END, 0},
		{8, FRAME_RESET, 0},
		{0, FRAME_GOAWAY, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(frames); i++) {
		uint8_t bytes[FRAME_BYTES];
		struct frame f;
		frame_write(&frames[i], bytes);
		assert_int_equal(frame_read(bytes, sizeof(bytes), &f), FRAME_DONE);
		assert_int_equal(f.channel, frames[i].channel);
		assert_int_equal(f.kind, frames[i].kind);
		assert_int_equal(f.count, frames[i].count);
		for (size_t n = 0; n < sizeof(bytes); n++)
			assert_int_equal(frame_read(bytes, n, &f), FRAME_MORE);
	}
}

static void test_the_form_on_the_wire(void **state)
{
	uint8_t bytes[FRAME_BYTES];
	frame_write(&(struct frame){0x01020304, FRAME_CREDIT, 0x010203}, bytes);
	assert_memory_equal(bytes, "\x01\x02\x03\x04\x01\x01\x02\x03", FRAME_BYTES);
}

static void test_bad_forms(void **state)
{
	static const char bad[][FRAME_BYTES + 1] = {
		"\0\0\0\0\0\0\0\1",   /* bytes for no channel */
		"\0\0\0\1\0\0\0\0",   /* no bytes */
		"\0\0\0\1\0\0\x40\1", /* too many */
		"\0\0\0\0\1\0\0\1",   /* credit for no channel */
		"\0\0\0\1\1\0\0\0",   /* none */
		"\0\0\0\1\1\2\0\1",   /* more than a window */
		"\0\0\0\0\2\0\0\0",   /* the end of no channel */
		"\0\0\0\1\2\0\0\1",   /* a count where there is none */
		"\0\0\0\0\3\0\0\0",
		"\0\0\0\1\3\0\0\1",
		"\0\0\0\1\4\0\0\0", /* going away with a channel */
		"\0\0\0\0\4\0\0\1",
		"\0\0\0\1\5\0\0\0", /* no such kind */
		"\0\0\0\1\xff\0\0\1",
	};
	struct frame f;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(frame_read((const uint8_t *)bad[i], FRAME_BYTES, &f), FRAME_BAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read),
		cmocka_unit_test(test_the_form_on_the_wire),
		cmocka_unit_test(test_bad_forms),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
