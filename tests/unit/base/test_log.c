/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What log_line() wrote for this text, without its line end. */
static void logged(enum log_level level, const char *text, char *ret_line, size_t size)
{
	int ends[2], kept = dup(STDERR_FILENO);
	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	log_line(level, "test", "%s", text);
	dup2(kept, STDERR_FILENO);
	close(kept);
	close(ends[1]);
	ssize_t len = read(ends[0], ret_line, size - 1);
	close(ends[0]);
	assert_true(len > 0);
	assert_int_equal(ret_line[len - 1], '\n');
	ret_line[len - 1] = '\0';
}

static void test_levels(void **state)
{
	char line[4096];
	unsetenv("JOURNAL_STREAM");
	logged(LOG_LEVEL_ERROR, "broken", line, sizeof(line));
	assert_string_equal(line, "error: test: broken");
	logged(LOG_LEVEL_WARNING, "odd", line, sizeof(line));
	assert_string_equal(line, "warning: test: odd");
	logged(LOG_LEVEL_INFO, "up", line, sizeof(line));
	assert_string_equal(line, "info: test: up");
	setenv("JOURNAL_STREAM", "8:1", 1);
	logged(LOG_LEVEL_ERROR, "broken", line, sizeof(line));
	assert_string_equal(line, "<3>test: broken");
	unsetenv("JOURNAL_STREAM");
}

static void test_one_event_is_one_line(void **state)
{
	char line[4096];
	logged(LOG_LEVEL_INFO, "a\nerror: b\x1b[2J\x7f", line, sizeof(line));
	assert_string_equal(line, "info: test: a\\x0aerror: b\\x1b[2J\\x7f");
}

static void test_long_text_is_cut(void **state)
{
	char line[8192], text[5000];
	memset(text, '\n', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	logged(LOG_LEVEL_INFO, text, line, sizeof(line));
	assert_true(strlen(line) < 2048);
	assert_null(strchr(line, '\n'));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_one_event_is_one_line),
		cmocka_unit_test(test_long_text_is_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
