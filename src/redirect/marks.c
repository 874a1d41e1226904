/* SPDX-License-Identifier: Apache-2.0 */
#include "marks.h"

#include "base/str.h"
#include "text.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void marks_init(struct marks *m, uint32_t number_max)
{
	*m = (struct marks){.number_max = number_max};
}

void marks_done(struct marks *m)
{
	free(m->all);
	marks_init(m, m->number_max);
}

static bool marks_add(struct marks *m, uint32_t uid, uint32_t number)
{
	if (m->count == m->size) {
		uint32_t size = m->size ? m->size * 2 : 16;
		struct mark *all = realloc(m->all, size * sizeof(*all));
		if (!all)
			return false;
		m->all = all;
		m->size = size;
	}
	m->all[m->count++] = (struct mark){.uid = uid, .number = number};
	return true;
}

uint32_t marks_find(const struct marks *m, uint32_t uid)
{
	for (uint32_t i = 0; i < m->count; i++)
		if (m->all[i].uid == uid)
			return m->all[i].number;
	return 0;
}

static bool marks_number_used(const struct marks *m, uint32_t number)
{
	for (uint32_t i = 0; i < m->count; i++)
		if (m->all[i].number == number)
			return true;
	return false;
}

/* One line "uid number" without its line end. */
static bool marks_parse_line(struct str line, struct mark *ret_mark)
{
	const char *space = memchr(line.at, ' ', line.len);
	if (!space)
		return false;
	size_t uid_len = (size_t)(space - line.at);
	struct str uid = {line.at, uid_len}, number = {space + 1, line.len - uid_len - 1};
	uint64_t u, n;
	if (!str_to_u64(uid, &u) || !str_to_u64(number, &n))
		return false;
	if (u >= UINT32_MAX || n == 0 || n > UINT32_MAX)
		return false;
	*ret_mark = (struct mark){.uid = (uint32_t)u, .number = (uint32_t)n};
	return true;
}

static int marks_parse(struct marks *m, struct str text, const char *path, struct err *err)
{
	for (int line_number = 1; text.len > 0; line_number++) {
		const char *end = memchr(text.at, '\n', text.len);
		struct str line = {text.at, end ? (size_t)(end - text.at) : text.len};
		size_t taken = line.len + (end != NULL);
		text = (struct str){text.at + taken, text.len - taken};

		struct mark mark;
		/* Guessing could give one uid's connections to another: stop instead. */
		if (!marks_parse_line(line, &mark) || marks_find(m, mark.uid) ||
			marks_number_used(m, mark.number))
			return err_set(err, EINVAL,
				"%s:%d: not a table of \"uid mark\" lines with each uid and mark "
				"once; "
				"run `ringmain redirect down`, remove the file, then run `up` "
				"again",
				path, line_number);
		if (mark.number <= m->number_max && !marks_add(m, mark.uid, mark.number))
			return err_set(err, ENOMEM, "no memory for the marks of %s", path);
	}
	return 0;
}

int marks_read(struct marks *m, const char *path, struct err *err)
{
	struct text text;
	text_init(&text);
	int r = text_read_file(&text, path, err);
	if (r == -ENOENT)
		r = 0;
	else if (r == 0)
		r = marks_parse(m, (struct str){text_at(&text), text.len}, path, err);
	text_done(&text);
	return r;
}

static bool marks_listed(const uint32_t *uids, uint32_t uid_count, uint32_t uid)
{
	for (uint32_t i = 0; i < uid_count; i++)
		if (uids[i] == uid)
			return true;
	return false;
}

/* Takes the number of the oldest entry whose uid is not listed; 0 when all are. */
static uint32_t marks_take_back(struct marks *m, const uint32_t *uids, uint32_t uid_count)
{
	for (uint32_t i = 0; i < m->count; i++) {
		if (marks_listed(uids, uid_count, m->all[i].uid))
			continue;
		uint32_t number = m->all[i].number;
		memmove(&m->all[i], &m->all[i + 1], (m->count - i - 1) * sizeof(*m->all));
		m->count--;
		return number;
	}
	return 0;
}

int marks_give(struct marks *m, const uint32_t *uids, uint32_t uid_count, struct err *err)
{
	uint32_t next = 1;
	for (uint32_t i = 0; i < uid_count; i++) {
		if (marks_find(m, uids[i]))
			continue;
		while (next <= m->number_max && marks_number_used(m, next))
			next++;
		uint32_t number =
			next <= m->number_max ? next : marks_take_back(m, uids, uid_count);
		if (number == 0)
			return err_set(err, ENOSPC,
				"more workload users than the mark mask can tell apart (%u); widen "
				"redirect.mark_mask",
				m->number_max);
		if (!marks_add(m, uids[i], number))
			return err_set(err, ENOMEM, "no memory for the marks");
	}
	return 0;
}

int marks_write(const struct marks *m, const char *path, struct err *err)
{
	struct text text;
	text_init(&text);
	for (uint32_t i = 0; i < m->count; i++)
		text_add(&text, "%u %u\n", m->all[i].uid, m->all[i].number);
	int r = text_write_file(&text, path, err);
	text_done(&text);
	return r;
}
