/* SPDX-License-Identifier: Apache-2.0 */
#include "base/table.h"

#include <stdarg.h>
#include <stdlib.h>

void table_init(struct table *t, uint32_t column_count)
{
	ASSERT(column_count > 0 && column_count <= TABLE_COLUMN_MAX);
	*t = (struct table){.column_count = column_count};
}

void table_done(struct table *t)
{
	free(t->cells);
	t->cells = NULL;
}

/* Cut text says so: what looks whole is taken for it. */
static void table_mark_cut(char cell[TABLE_CELL_MAX])
{
	size_t at = TABLE_CELL_MAX - sizeof(TABLE_CUT);
	while (at > 0 && ((unsigned char)cell[at] & 0xc0) == 0x80)
		at--;
	memcpy(cell + at, TABLE_CUT, sizeof(TABLE_CUT));
}

void table_cell(struct table *t, const char *format, ...)
{
	if (t->cell_count == t->size) {
		t->size = t->size ? 2 * t->size : 64;
		t->cells = realloc(t->cells, t->size * sizeof(t->cells[0]));
		ASSERT(t->cells); /* a command of the operator's: no use going on */
	}
	char *cell = t->cells[t->cell_count++];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(cell, TABLE_CELL_MAX, format, args);
	va_end(args);
	if (len >= TABLE_CELL_MAX)
		table_mark_cut(cell);
	for (char *c = cell; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

void table_cell_str(struct table *t, struct str value)
{
	table_cell(t, STR_FMT, STR_ARG(value.len ? value : STR("-")));
}

void table_cell_number(struct table *t, int64_t value)
{
	if (value)
		table_cell(t, "%lld", (long long)value);
	else
		table_cell(t, "-");
}

/* Places on the screen: bytes that continue a UTF-8 character take none. */
static int table_width(const char *text)
{
	int width = 0;
	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

/* Nothing stands behind this cell in its row. */
static bool table_is_rest_empty(const struct table *t, uint32_t cell)
{
	for (uint32_t i = cell + 1; i % t->column_count != 0; i++) {
		if (t->cells[i][0])
			return false;
	}
	return true;
}

void table_print(const struct table *t, FILE *out, int indent)
{
	int widths[TABLE_COLUMN_MAX] = {0};
	ASSERT(t->cell_count % t->column_count == 0);
	for (uint32_t i = 0; i < t->cell_count; i++) {
		int width = table_width(t->cells[i]);
		int *column = &widths[i % t->column_count];
		*column = width > *column ? width : *column;
	}
	for (uint32_t i = 0; i < t->cell_count; i++) {
		uint32_t column = i % t->column_count;
		bool last = column == t->column_count - 1;
		int fill = table_is_rest_empty(t, i)
				   ? 0
				   : widths[column] - table_width(t->cells[i]) + 2;
		fprintf(out, "%*s%s%*s%s", column == 0 ? indent : 0, "", t->cells[i], fill, "",
			last ? "\n" : "");
	}
}
