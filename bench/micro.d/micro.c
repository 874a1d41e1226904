/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the cases, one after the other; `micro TEXT` those with this text in their name. bench/micro
 * runs this under callgrind, with collecting on in micro_measure() alone and one dump of the
 * counters at every micro_case_ended(). */
#include "micro.h"

#include "unit/proxy/lab.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MICRO_WARM_UP 4

__attribute__((noinline)) void micro_measure(void (*work)(void *argument), void *argument)
{
	work(argument);
}

__attribute__((noinline)) void micro_case_ended(const struct micro_case *c, uint64_t steps);

void micro_case_ended(const struct micro_case *c, uint64_t steps)
{
	printf("{\"name\": \"%s\", \"operations\": %u, \"steps\": %llu}\n", c->name, c->count,
		(unsigned long long)steps);
	fflush(stdout);
}

static void micro_run(const struct micro_case *c)
{
	void *state = c->start ? c->start() : NULL;
	c->run(state, MICRO_WARM_UP);
	micro_case_ended(c, 0); /* thrown away */
	uint64_t steps = c->steps ? c->steps(state) : 0;
	c->run(state, c->count);
	micro_case_ended(c, c->steps ? c->steps(state) - steps : 0);
	if (c->stop)
		c->stop(state);
}

static void micro_all(void **state)
{
	const struct micro_case *const lists[] = {micro_codec_cases, micro_mesh_cases,
		micro_record_cases, micro_request_cases, micro_token_cases};
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		for (const struct micro_case *c = lists[i]; c->name; c++) {
			if (strstr(c->name, *state))
				micro_run(c);
		}
	}
}

int main(int argc, char **argv)
{
	static char everything[] = "";
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(micro_all, argc > 1 ? argv[1] : everything)};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
