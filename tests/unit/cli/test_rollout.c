/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain rollout`: what its command line may say, and what it makes of that. */
#include "objects.h"

#include "cli/rollout_change.h"
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

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

/* --- a new one --- */

#define VERSIONS 40

/* One node each for versions v1 to v40 of "orders". */
struct fixture {
	struct arena arena;
	struct rollouts standing;
	struct published_node nodes[VERSIONS];
	struct record_endpoint endpoints[VERSIONS];
	char versions[VERSIONS][16];
};

static void fixture_make(struct fixture *f)
{
	*f = (struct fixture){0};
	arena_init(&f->arena, 1 << 20);
	for (int i = 0; i < VERSIONS; i++) {
		snprintf(f->versions[i], sizeof(f->versions[i]), "v%d", i + 1);
		f->endpoints[i] = (struct record_endpoint){
			.service = STR("orders"), .version = str_of(f->versions[i])};
		f->nodes[i] = (struct published_node){.is_readable = true,
			.record = {.endpoints = &f->endpoints[i], .endpoint_count = 1}};
	}
	object_set_init(&f->standing.published.set);
	f->standing.published.nodes = f->nodes;
	f->standing.published.node_count = VERSIONS;
}

static void fixture_done(struct fixture *f)
{
	object_set_done(&f->standing.published.set);
	arena_done(&f->arena);
}

static int start(struct fixture *f, const char *from, const char *to, struct rollout_change *c,
	struct err *err)
{
	const struct rollout_line line = {
		.verb = ROLLOUT_VERB_START, .service = "orders", .from = from, .to = to};
	return rollout_change_make(&line, &f->standing, 1780000000, &f->arena, c, err);
}

static void test_any_version_that_a_node_tells_of(void **state)
{
	struct fixture f;
	struct rollout_change c;
	struct err err;
	fixture_make(&f);
	for (int i = 1; i < VERSIONS; i++) {
		assert_int_equal(start(&f, "v1", f.versions[i], &c, &err), 0);
		assert_non_null(strstr(c.text.at, f.versions[i]));
	}
	assert_int_equal(start(&f, "v1", "v41", &c, &err), -EINVAL);
	assert_non_null(strstr(err.text, "no endpoint of orders has the version v41"));
	assert_non_null(strstr(err.text, "v1, v2, "));
	assert_non_null(strstr(err.text, ", ..."));
	/* unreadable, or another service's: nobody tells of it */
	f.nodes[1].is_readable = false;
	f.endpoints[2].service = STR("stock");
	assert_int_equal(start(&f, "v1", "v2", &c, &err), -EINVAL);
	assert_int_equal(start(&f, "v1", "v3", &c, &err), -EINVAL);
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_names_of_services),
		cmocka_unit_test(test_any_version_that_a_node_tells_of),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
