/* SPDX-License-Identifier: Apache-2.0 */
/* The words that tables of keys are written in. */
#pragma once

#include "keys.h"

#define KEY(key, ...)                      \
	{                                  \
		.name = (key), __VA_ARGS__ \
	}
#define FIELD(owner, field) .offset = offsetof(owner, field), .size = sizeof(((owner *)0)->field)
#define LIST(owner, field, number)                                                            \
	.many = true, .offset = offsetof(owner, field), .size = sizeof(*((owner *)0)->field), \
	.count_offset = offsetof(owner, number)
#define ROWS(owner, field, number, rows)                     \
	.type = CONF_ROWS, .offset = offsetof(owner, field), \
	.count_offset = offsetof(owner, number), .group = (rows)

#define GROUP_OF(array) .keys = (array), .key_count = ARRAY_LEN(array)

#define KIB    UINT64_C(1024)
#define MIB    (1024 * KIB)
#define GIB    (1024 * MIB)
#define SECOND UINT64_C(1000)
#define HOUR   (3600 * SECOND)
