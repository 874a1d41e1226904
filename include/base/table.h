/* SPDX-License-Identifier: Apache-2.0 */
/* A table for people: columns as wide as their widest cell, two spaces between, no lines. */
#pragma once

#include "base/assert.h"
#include "base/str.h"
#include <stdint.h>
#include <stdio.h>

#define TABLE_COLUMN_MAX 10
#define TABLE_CELL_MAX	 160 /* bytes; longer ones are cut, and end with this */
#define TABLE_CUT	 "…"

struct table {
	uint32_t column_count;
	uint32_t cell_count; /* over all rows */
	uint32_t size;
	char (*cells)[TABLE_CELL_MAX];
};

/* The first row is the heading. Control characters in cells become '?'. */
void table_init(struct table *t, uint32_t column_count);
/* Fills cells from left to right, row by row. */
void table_cell(struct table *t, const char *format, ...) PRINTF_LIKE(2, 3);
/* "-" when there is nothing to say. */
void table_cell_str(struct table *t, struct str value);
void table_cell_number(struct table *t, int64_t value);
/* With `indent` spaces before each row. The last row must be full. */
void table_print(const struct table *t, FILE *out, int indent);
void table_done(struct table *t);
