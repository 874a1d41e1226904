/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain rollout`: what its command line may say, and what it makes of that. */
#include "objects.h"

#include "cli/rollout_change.h"
#include <getopt.h>
#include <stdlib.h>

static int read_line(struct rollout_line *line, int argc, const char **argv)
{
	char *words[8];
	for (int i = 0; i < argc; i++)
		words[i] = (char *)(uintptr_t)argv[i];
	words[argc] = NULL;
	optind = 1;
	return rollout_line_read(argc, words, line);
}

/* --- the command line --- */

static void expect_service(const char *service, int stop)
{
	static const char *const verbs[] = {"status", "pause", "resume", "promote", "abort"};
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		const char *argv[] = {"ringmain rollout", verbs[i], service};
		struct rollout_line line;
		assert_int_equal(read_line(&line, ARRAY_LEN(argv), argv), stop);
	}
}

/* Keys of the store are made of it, in a place of bounded length. */
static void test_only_names_of_services(void **state)
{
	static char longest[64], longer[65], endless[601];
	memset(longest, 'a', 63);
	memset(longer, 'a', 64);
	memset(endless, 'a', 600);
	expect_service("orders", 0);
	expect_service(longest, 0);
	expect_service(longer, 3);
	expect_service(endless, 3);
	expect_service("", 3);
	expect_service("Orders", 3);
	expect_service("orders:7", 3);
	expect_service("../orders", 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_names_of_services),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
