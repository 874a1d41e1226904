/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of objects for the tests of the commands, in place: short to write, and freed by the set. */
#pragma once

#include "cli/edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define OBJECTS_SERVICE(name) "services = ( { name = \"" name "\"; } );\n"

static inline void objects_put(struct object_set *set, const char *key, uint64_t revision,
	const char *who, const char *text)
{
	char envelope[2048];
	struct err err;
	snprintf(envelope, sizeof(envelope), "revision %llu\nwho %s\ntime 1764236129\n\n%s",
		(unsigned long long)revision, who, text);
	assert_int_equal(object_set_put(set, str_of(key), str_of(envelope), &err), 0);
}
