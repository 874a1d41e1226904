/* SPDX-License-Identifier: Apache-2.0 */
/* Where a host was lately found, when its resolver says something else each time. */
#include "fetch/places.h"

#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define KEPT (FETCH_HOST_KEPT_MS * CLOCK_MS)

static struct address at(const char *ip)
{
	struct address a;
	assert_true(address_parse(str_of(ip), &a));
	return a;
}

static void found(struct fetch_places *p, uint64_t now_ns, const char *one, const char *two)
{
	const struct address both[] = {at(one), at(two ? two : one)};
	fetch_places_found(p, both, two ? 2 : 1, now_ns);
}

static void expect(const struct fetch_places *p, const char *text)
{
	char have[FETCH_PLACES_TEXT_MAX];
	size_t len = fetch_places_text(p, have);
	assert_int_equal(len, strlen(text));
	assert_memory_equal(have, text, len);
}

static void adds_up_what_is_said_in_turns(void **state)
{
	struct fetch_places p = {0};
	found(&p, 1, "10.0.0.3", "10.0.0.1");
	expect(&p, "10.0.0.1\n10.0.0.3\n");
	found(&p, 2, "10.0.0.2", "fd00::1");
	expect(&p, "10.0.0.1\n10.0.0.2\n10.0.0.3\nfd00::1\n");
	found(&p, 3, "10.0.0.1", "10.0.0.3"); /* in another order */
	expect(&p, "10.0.0.1\n10.0.0.2\n10.0.0.3\nfd00::1\n");
}

static void forgets_what_was_not_found_for_long(void **state)
{
	struct fetch_places p = {0};
	found(&p, 0, "10.0.0.1", "10.0.0.2");
	found(&p, KEPT - 1, "10.0.0.2", NULL);
	expect(&p, "10.0.0.1\n10.0.0.2\n");
	found(&p, KEPT, "10.0.0.3", NULL); /* the second was found since */
	expect(&p, "10.0.0.2\n10.0.0.3\n");
	found(&p, 3 * KEPT, "10.0.0.4", NULL);
	expect(&p, "10.0.0.4\n");
}

static void has_room_for_the_newest(void **state)
{
	struct fetch_places p = {0};
	char ip[16];
	for (unsigned i = 0; i <= FETCH_HOST_ADDRESSES_MAX; i++) {
		snprintf(ip, sizeof(ip), "10.0.0.%u", 100 - i);
		found(&p, i, ip, i > 0 ? "10.0.0.100" : NULL); /* the first is found each time */
	}
	assert_int_equal(p.count, FETCH_HOST_ADDRESSES_MAX);
	char text[FETCH_PLACES_TEXT_MAX];
	struct str all = {text, fetch_places_text(&p, text)};
	assert_non_null(memmem(all.at, all.len, "10.0.0.100\n", 11));
	assert_non_null(memmem(all.at, all.len, "10.0.0.68\n", 10));
	assert_null(memmem(all.at, all.len, "10.0.0.99\n", 10)); /* the oldest of the others */
}

/* Each of the longest text there is. */
static void writes_as_many_as_there_may_be(void **state)
{
	struct fetch_places p = {0};
	char ip[ADDRESS_TEXT_MAX], text[FETCH_PLACES_TEXT_MAX];
	for (unsigned i = 0; i < FETCH_HOST_ADDRESSES_MAX; i++) {
		snprintf(ip, sizeof(ip), "2001:1db8:1111:2222:3333:4444:5555:%x", 0x1000 + i);
		found(&p, 0, ip, NULL);
	}
	assert_int_equal(fetch_places_text(&p, text), FETCH_HOST_ADDRESSES_MAX * 40);
}

static void goes_on_with_what_another_process_knew(void **state)
{
	struct fetch_places p = {0};
	fetch_places_recall(&p, STR("10.0.0.2\nnonsense\n\n10.0.0.1"), 5);
	expect(&p, "10.0.0.1\n10.0.0.2\n");
	found(&p, KEPT, "10.0.0.3", NULL);
	expect(&p, "10.0.0.1\n10.0.0.2\n10.0.0.3\n");
	found(&p, KEPT + 5, "10.0.0.3", NULL);
	expect(&p, "10.0.0.3\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adds_up_what_is_said_in_turns),
		cmocka_unit_test(forgets_what_was_not_found_for_long),
		cmocka_unit_test(has_room_for_the_newest),
		cmocka_unit_test(writes_as_many_as_there_may_be),
		cmocka_unit_test(goes_on_with_what_another_process_knew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
