/* SPDX-License-Identifier: Apache-2.0 */
/* Which headers a service's rules ask for. A mask of bits says quickly which are not: names that
 * have the same bit are told apart, and no name is missed, in whatever letters it comes. */
#include "mesh/policy_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NAMES	   1000
#define NAME_BYTES 24
#define MANY	   200 /* rules: enough for an index */

static char names[NAMES][NAME_BYTES];

struct fixture {
	struct snapshot s;
	struct service service;
	struct source from;
	struct route_field fields[MANY];
	struct policy policies[MANY];
	struct policy *list[MANY];
};

static struct str name_of(uint32_t number)
{
	return str_of(names[number]);
}

static int names_make(void **state)
{
	for (uint32_t i = 0; i < NAMES; i++)
		snprintf(names[i], sizeof(names[i]), "X-Header-%u", i);
	return 0;
}

/* One rule for each of these names. */
static void fixture_init(
	struct fixture *f, const uint32_t *numbers, uint32_t count, bool with_index)
{
	*f = (struct fixture){.s = {.trust_domain = STR("td")}, .from = {.kind = SOURCE_ANY}};
	arena_init(&f->s.arena, 1u << 20);
	for (uint32_t i = 0; i < count; i++) {
		f->fields[i] = (struct route_field){
			.name = name_of(numbers[i]), .kind = ROUTE_TEXT_EXACT, .text = STR("a")};
		f->policies[i] = (struct policy){.name = STR("p"),
			.where = STR("w"),
			.action = POLICY_ALLOW,
			.from = &f->from,
			.from_count = 1,
			.headers = {&f->fields[i], 1}};
		f->list[i] = &f->policies[i];
	}
	f->service =
		(struct service){.name = STR("orders"), .policies = f->list, .policy_count = count};
	if (with_index) {
		assert_true(policy_index_build(&f->s, &f->service));
		assert_non_null(f->service.policy_index);
	}
}

/* Of all names exactly these are asked for, in small, large and mixed letters. */
static void expect(const struct fixture *f, const uint32_t *numbers, uint32_t count)
{
	for (uint32_t i = 0; i < NAMES; i++) {
		char small[NAME_BYTES], large[NAME_BYTES];
		bool is_asked = false;
		for (uint32_t k = 0; k < count; k++)
			is_asked = is_asked || numbers[k] == i;
		for (size_t c = 0; c < sizeof(small); c++) {
			char at = names[i][c];
			small[c] = (char)(at >= 'A' && at <= 'Z' ? at + 32 : at);
			large[c] = (char)(at >= 'a' && at <= 'z' ? at - 32 : at);
		}
		assert_int_equal(policy_asks_header(&f->service, name_of(i)), is_asked);
		assert_int_equal(policy_asks_header(&f->service, str_of(small)), is_asked);
		assert_int_equal(policy_asks_header(&f->service, str_of(large)), is_asked);
	}
}

static void test_a_name_has_one_bit_in_any_letters(void **state)
{
	uint64_t all = 0;
	for (uint32_t i = 0; i < NAMES; i++) {
		uint64_t bit = policy_header_bit(name_of(i));
		assert_int_equal(__builtin_popcountll(bit), 1);
		all |= bit;
	}
	assert_in_range(__builtin_popcountll(all), 16, 64); /* they are spread over many */
	assert_true(policy_header_bit(STR("X-Role")) == policy_header_bit(STR("x-rOLE")));
	assert_int_equal(__builtin_popcountll(policy_header_bit(STR(""))), 1);
	/* what differs in the letter bit alone, and is no letter, is another name */
	struct fixture f;
	const uint32_t one = 0;
	fixture_init(&f, &one, 1, false);
	f.fields[0].name = STR("x[y");
	assert_true(policy_asks_header(&f.service, STR("X[Y")));
	assert_false(policy_asks_header(&f.service, STR("x{y")));
	arena_done(&f.s.arena);
}

/* Those of all names that share the bit of the first. */
static uint32_t sharing_gather(uint32_t first, uint32_t numbers[NAMES])
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < NAMES; i++) {
		if (policy_header_bit(name_of(i)) == policy_header_bit(name_of(first)))
			numbers[count++] = i;
	}
	return count;
}

static void test_names_with_the_same_bit_are_told_apart(void **state)
{
	static uint32_t sharing[NAMES];
	uint32_t count = sharing_gather(0, sharing);
	assert_in_range(count, 4, MANY);
	struct fixture f;
	for (uint32_t some = 1; some <= count; some++) { /* one of them, two, ..., all */
		fixture_init(&f, sharing, some, false);
		assert_true(policy_wants(&f.service).headers == policy_header_bit(name_of(0)));
		expect(&f, sharing, some);
		arena_done(&f.s.arena);
	}
}

/* Most of the other names share a bit with one of theirs. */
static void test_with_many_rules_and_their_index(void **state)
{
	static struct fixture f;
	static uint32_t numbers[MANY];
	for (int with_index = 0; with_index < 2; with_index++) {
		uint64_t all = 0;
		for (uint32_t i = 0; i < MANY; i++) {
			numbers[i] = 5 * i;
			all |= policy_header_bit(name_of(numbers[i]));
		}
		fixture_init(&f, numbers, MANY, with_index);
		assert_true(policy_wants(&f.service).headers == all);
		expect(&f, numbers, MANY);
		arena_done(&f.s.arena);
	}
}

/* Whatever a rule does with it, and the second and third of its headers, too. */
static void test_all_headers_of_all_kinds_of_rules(void **state)
{
	static const enum policy_action actions[] = {POLICY_ALLOW, POLICY_DENY, POLICY_AUDIT};
	static const enum policy_mode modes[] = {POLICY_ENFORCED, POLICY_AUDITED};
	const uint32_t numbers[] = {3, 30, 300};
	for (size_t a = 0; a < ARRAY_LEN(actions); a++) {
		for (size_t m = 0; m < ARRAY_LEN(modes); m++) {
			struct fixture f;
			fixture_init(&f, numbers, ARRAY_LEN(numbers), false);
			f.policies[0].action = actions[a];
			f.policies[0].mode = modes[m];
			f.policies[0].headers.count = ARRAY_LEN(numbers);
			f.fields[1].invert = true;
			f.service.policy_count = 1;
			expect(&f, numbers, ARRAY_LEN(numbers));
			arena_done(&f.s.arena);
		}
	}
}

static void test_no_rules_ask_for_none(void **state)
{
	struct fixture f;
	fixture_init(&f, NULL, 0, false);
	assert_true(policy_wants(&f.service).headers == 0);
	expect(&f, NULL, 0);
	arena_done(&f.s.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_name_has_one_bit_in_any_letters),
		cmocka_unit_test(test_names_with_the_same_bit_are_told_apart),
		cmocka_unit_test(test_with_many_rules_and_their_index),
		cmocka_unit_test(test_all_headers_of_all_kinds_of_rules),
		cmocka_unit_test(test_no_rules_ask_for_none),
	};
	return cmocka_run_group_tests(tests, names_make, NULL);
}
