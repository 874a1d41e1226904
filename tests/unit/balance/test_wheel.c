/* SPDX-License-Identifier: Apache-2.0 */
/* How evenly values spread over endpoints, and how many move when one leaves: with the same
 * endpoints in every run, against bounds that theory gives. */
#include "balance/wheel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MEMBERS_MAX 1000
#define VALUES	    200000

static const enum balance kinds[] = {BALANCE_RING_HASH, BALANCE_MAGLEV};
static const char *const kind_names[] = {"ring_hash", "maglev"};

/* Machines of a network: neighbours in every bit but few, as addresses are. */
static struct wheel_member member_of(uint32_t i, uint32_t weight)
{
	struct address a = {.family = 2, .port = 8080};
	a.ip[0] = 10;
	a.ip[2] = (uint8_t)(i >> 8);
	a.ip[3] = (uint8_t)i;
	return (struct wheel_member){endpoint_key_of(&a), weight, i};
}

static struct wheel *wheel_of(enum balance kind, uint32_t count, const uint32_t *weights)
{
	struct wheel_member members[MEMBERS_MAX];
	for (uint32_t i = 0; i < count; i++)
		members[i] = member_of(i, weights ? weights[i] : 100);
	struct wheel *w = wheel_new(kind, members, count);
	assert_non_null(w);
	return w;
}

static uint64_t value_of(uint32_t i)
{
	return hash_bytes(7, &i, sizeof(i));
}

/* --- balance --- */

static double peak_of(const struct wheel *w, uint32_t count)
{
	static uint32_t got[MEMBERS_MAX];
	uint32_t peak = 0;
	memset(got, 0, sizeof(got));
	for (uint32_t i = 0; i < VALUES; i++)
		got[wheel_at(w, value_of(i), 0)]++;
	for (uint32_t i = 0; i < count; i++)
		peak = got[i] > peak ? got[i] : peak;
	return peak * (double)count / VALUES;
}

/* An endpoint's share of a circle with k points each is a sum of k lengths, about 1 ± 1/√k of the
 * mean; of a table it is right but for one slot. Values add 1 ± √(n/values). The largest of n such
 * shares is seldom more than √(2 ln n) deviations off; twice that is never. */
static void test_balance(void **state)
{
	static const uint32_t counts[] = {2, 3, 10, 50, 100, 500, 1000};
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
			uint32_t n = counts[c];
			struct wheel *w = wheel_of(kinds[k], n, NULL);
			double points = kinds[k] == BALANCE_RING_HASH
						? (double)wheel_bytes(w) / 8 / n
						: (double)WHEEL_SLOTS / n * WHEEL_SLOTS / n;
			double off = sqrt(1 / points + (double)n / VALUES);
			double peak = peak_of(w, n);
			printf("%-9s %4u endpoints: peak/mean %.3f, %zu KiB\n", kind_names[k], n,
				peak, wheel_bytes(w) / 1024);
			assert_true(peak < 1 + 2 * sqrt(2 * log(n)) * off);
			wheel_unref(w);
		}
	}
}

static void test_weights(void **state)
{
	static const uint32_t weights[] = {1000, 500, 100, 10, 1};
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		struct wheel *w = wheel_of(kinds[k], ARRAY_LEN(weights), weights);
		uint32_t got[ARRAY_LEN(weights)] = {0};
		for (uint32_t i = 0; i < VALUES; i++)
			got[wheel_at(w, value_of(i), 0)]++;
		for (size_t i = 0; i < ARRAY_LEN(weights); i++) {
			double share = weights[i] / 1611.0, is = (double)got[i] / VALUES;
			/* it has so many points, or slots, at least */
			double points =
				kinds[k] == BALANCE_RING_HASH ? weights[i] : 1000.0 * weights[i];
			double off = share / sqrt(points) + sqrt(share / VALUES);
			assert_true(fabs(is - share) < 4 * off);
			assert_true(got[i] > 0);
		}
		wheel_unref(w);
	}
}

/* --- stability --- */

/* In another order they have the same values: each finds what it was. */
static void test_order_does_not_matter(void **state)
{
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		struct wheel_member there[50], here[50];
		for (uint32_t i = 0; i < 50; i++) {
			there[i] = member_of(i, 100 + i % 3);
			here[49 - i] = there[i];
			here[49 - i].index = 49 - i;
		}
		struct wheel *a = wheel_new(kinds[k], there, 50),
			     *b = wheel_new(kinds[k], here, 50);
		for (uint32_t i = 0; i < VALUES; i += 10) {
			for (uint32_t attempt = 0; attempt < 3; attempt++)
				assert_int_equal(wheel_at(a, value_of(i), attempt),
					49 - wheel_at(b, value_of(i), attempt));
		}
		wheel_unref(a);
		wheel_unref(b);
	}
}

/* Without the last endpoint its values move, a share of 1/n ± what balance allows; on a circle no
 * others do, and of a table few. */
static void test_one_leaves(void **state)
{
	static const uint32_t counts[] = {2, 3, 10, 50, 100, 500, 1000};
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
			uint32_t n = counts[c], own = 0, others = 0;
			struct wheel *all = wheel_of(kinds[k], n, NULL),
				     *rest = wheel_of(kinds[k], n - 1, NULL);
			for (uint32_t i = 0; i < VALUES; i++) {
				uint32_t before = wheel_at(all, value_of(i), 0);
				uint32_t after = wheel_at(rest, value_of(i), 0);
				own += before == n - 1;
				others += before != n - 1 && after != before;
			}
			printf("%-9s %4u endpoints, one leaves: %.2f %% of all values are its own, "
			       "%.2f "
			       "%% of all move besides\n",
				kind_names[k], n, own * 100.0 / VALUES, others * 100.0 / VALUES);
			assert_true(own < VALUES / n * 1.35);
			if (kinds[k] == BALANCE_RING_HASH)
				assert_int_equal(others, 0);
			else
				assert_true(others < VALUES * 0.035);
			wheel_unref(all);
			wheel_unref(rest);
		}
	}
}

/* Of one that is not well the values go on, to all others by their weights. */
static void test_next_attempts_spread(void **state)
{
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		struct wheel *w = wheel_of(kinds[k], 20, NULL);
		uint32_t got[20] = {0}, own = 0;
		for (uint32_t i = 0; i < VALUES; i++) {
			uint32_t attempt = 0, at;
			if (wheel_at(w, value_of(i), 0) != 7)
				continue;
			own++;
			while ((at = wheel_at(w, value_of(i), attempt)) == 7)
				attempt++;
			assert_true(attempt < 64);
			got[at]++;
		}
		for (uint32_t i = 0; i < 20; i++) {
			if (i != 7)
				assert_in_range(got[i], own / 19 / 2, own / 19 * 2);
		}
		wheel_unref(w);
	}
}

/* --- edges --- */

static void test_one_endpoint_has_all(void **state)
{
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		struct wheel *w = wheel_of(kinds[k], 1, NULL);
		for (uint32_t i = 0; i < 1000; i++)
			assert_int_equal(wheel_at(w, value_of(i), i), 0);
		assert_int_equal(wheel_at(w, UINT64_MAX, UINT32_MAX), 0);
		wheel_unref(w);
	}
}

/* More than a table has room for: memory stays bounded, and each has its values. */
static void test_very_many(void **state)
{
	uint32_t count = 70000;
	struct wheel_member *members = calloc(count, sizeof(*members));
	bool *found = calloc(count, sizeof(*found));
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		for (uint32_t i = 0; i < count; i++)
			members[i] = (struct wheel_member){
				hash_bytes(3, &i, sizeof(i)), 1 + i % 1000, i};
		struct wheel *w = wheel_new(kinds[k], members, count);
		assert_true(wheel_bytes(w) <= (WHEEL_POINTS_MAX + count) * 8 + 100);
		for (uint32_t i = 0; i < VALUES; i++)
			found[wheel_at(w, value_of(i), 0)] = true;
		uint32_t found_count = 0;
		for (uint32_t i = 0; i < count; i++)
			found_count += found[i];
		assert_true(found_count > count / 2);
		wheel_unref(w);
	}
	free(members);
	free(found);
}

static void test_print_tells_what_it_is_made_of(void **state)
{
	struct wheel_member members[3] = {member_of(0, 100), member_of(1, 100), member_of(2, 100)};
	uint64_t print = wheel_print(BALANCE_MAGLEV, members, 3);
	assert_true(print != wheel_print(BALANCE_RING_HASH, members, 3));
	assert_true(print != wheel_print(BALANCE_MAGLEV, members, 2));
	struct wheel *w = wheel_new(BALANCE_MAGLEV, members, 3);
	assert_true(wheel_print_of(w) == print);
	wheel_unref(w);
	members[1].weight++;
	assert_true(print != wheel_print(BALANCE_MAGLEV, members, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_balance),
		cmocka_unit_test(test_weights),
		cmocka_unit_test(test_order_does_not_matter),
		cmocka_unit_test(test_one_leaves),
		cmocka_unit_test(test_next_attempts_spread),
		cmocka_unit_test(test_one_endpoint_has_all),
		cmocka_unit_test(test_very_many),
		cmocka_unit_test(test_print_tells_what_it_is_made_of),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
