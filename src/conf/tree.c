/* SPDX-License-Identifier: Apache-2.0 */
/* Text to a libconfig tree. libconfig takes some things silently and wrongly, and one of them opens
 * files; conf_scan() refuses those first:
 *
 *   @include        would read any file, in a process that must not; refused wherever a line starts
 *                   with it, even inside a comment or a text, so that there is nothing to outwit
 *   NUL, "\x00"     would end the file or the text early
 *   4294967296      would become 0: whole numbers are cut to 32 bits unless they end in L */
#include "parser.h"

#include <errno.h>

#define CONF_SCAN_INCLUDE "@include is not taken; further mesh files are named in mesh.files"

struct conf_scanner {
	const char *at, *end;
	int line;
	bool at_line_start; /* only blanks since the line began */
	struct err *why;
};

static bool conf_scan_is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-' || c == '*';
}

static bool conf_scan_starts(const struct conf_scanner *s, struct str prefix)
{
	return str_starts((struct str){s->at, (size_t)(s->end - s->at)}, prefix);
}

/* One character on, keeping count of lines. False: something that is refused wherever it stands. */
static bool conf_scan_step(struct conf_scanner *s)
{
	char c = *s->at++;
	if (c == '\0') {
		err_set(s->why, EINVAL, "NUL byte");
		return false;
	}
	if (c == '\n') {
		s->line++;
		s->at_line_start = true;
	} else if (c != ' ' && c != '\t' && c != '\r' && c != '\v' && c != '\f') {
		s->at_line_start = false;
	}
	if (s->at_line_start && conf_scan_starts(s, STR("@include"))) {
		err_set(s->why, EINVAL, CONF_SCAN_INCLUDE);
		return false;
	}
	return true;
}

/* Up to the end of a comment, or of the file. */
static bool conf_scan_comment(struct conf_scanner *s, struct str end)
{
	while (s->at < s->end && !conf_scan_starts(s, end)) {
		if (!conf_scan_step(s))
			return false;
	}
	return true;
}

static bool conf_scan_text(struct conf_scanner *s)
{
	s->at++;
	while (s->at < s->end && *s->at != '"') {
		if (conf_scan_starts(s, STR("\\x00"))) {
			err_set(s->why, EINVAL, "NUL byte in a text");
			return false;
		}
		bool is_escape = *s->at == '\\';
		if (!conf_scan_step(s))
			return false;
		if (is_escape && s->at < s->end && !conf_scan_step(s))
			return false;
	}
	if (s->at < s->end)
		s->at++;
	return true;
}

/* Digits of `base`; false: more than `max`. */
static bool conf_scan_digits(struct conf_scanner *s, uint64_t base, uint64_t *ret_number)
{
	uint64_t n = 0;
	bool fits = true;
	for (; s->at < s->end; s->at++) {
		char c = *s->at;
		uint64_t digit = c >= '0' && c <= '9'	? (uint64_t)(c - '0')
				 : c >= 'a' && c <= 'f' ? (uint64_t)(c - 'a') + 10
				 : c >= 'A' && c <= 'F' ? (uint64_t)(c - 'A') + 10
							: 16;
		if (digit >= base)
			break;
		if (__builtin_mul_overflow(n, base, &n) || __builtin_add_overflow(n, digit, &n))
			fits = false;
	}
	*ret_number = n;
	return fits;
}

static bool conf_scan_number(struct conf_scanner *s)
{
	bool is_hex = conf_scan_starts(s, STR("0x")) || conf_scan_starts(s, STR("0X"));
	if (is_hex)
		s->at += 2;
	const char *start = s->at;
	uint64_t number;
	bool fits = conf_scan_digits(s, is_hex ? 16 : 10, &number);
	struct str digits = {start, (size_t)(s->at - start)};
	bool is_long = s->at < s->end && *s->at == 'L';
	bool is_fraction = s->at < s->end && (*s->at == '.' || *s->at == 'e' || *s->at == 'E');
	while (s->at < s->end && (conf_scan_is_word(*s->at) || *s->at == '.' || *s->at == '+'))
		s->at++;
	if (is_fraction) /* refused later, by its type, with the key's name */
		return true;
	uint64_t max = is_long ? INT64_MAX : is_hex ? UINT32_MAX : INT32_MAX;
	if (fits && number <= max)
		return true;
	if (fits && number <= INT64_MAX)
		err_set(s->why, EINVAL, "%s%.*s does not fit into 32 bits; write %s%.*sL",
			is_hex ? "0x" : "", STR_ARG(digits), is_hex ? "0x" : "", STR_ARG(digits));
	else
		err_set(s->why, EINVAL, "a number that does not fit into 64 bits");
	return false;
}

/* One comment, text, number, word or single character. */
static bool conf_scan_token(struct conf_scanner *s)
{
	if (conf_scan_starts(s, STR("/*")))
		return conf_scan_comment(s, STR("*/"));
	if (*s->at == '#' || conf_scan_starts(s, STR("//")))
		return conf_scan_comment(s, STR("\n"));
	if (*s->at == '"')
		return conf_scan_text(s);
	if (*s->at >= '0' && *s->at <= '9') {
		s->at_line_start = false;
		return conf_scan_number(s);
	}
	if (!conf_scan_is_word(*s->at) || *s->at == '-')
		return conf_scan_step(s);
	s->at_line_start = false;
	while (s->at < s->end && conf_scan_is_word(*s->at))
		s->at++;
	return true;
}

bool conf_scan(struct str text, int *ret_line, struct err *why)
{
	struct conf_scanner s = {.at = text.at,
		.end = text.at + text.len,
		.line = 1,
		.at_line_start = true,
		.why = why};
	bool is_clean = !conf_scan_starts(&s, STR("@include"));
	if (!is_clean)
		err_set(why, EINVAL, CONF_SCAN_INCLUDE);
	while (is_clean && s.at < s.end)
		is_clean = conf_scan_token(&s);
	*ret_line = s.line;
	return is_clean;
}

bool conf_file_open(struct conf_file *file, const struct bundle_item *item, struct conf_report *r)
{
	*file = (struct conf_file){.path = item->name};
	struct err why;
	int line;
	if (!conf_scan(item->text, &line, &why)) {
		conf_report_line(r, CONF_ERROR, item->name, line, "%s", why.text);
		return false;
	}
	config_init(&file->tree);
	/* The scan found no NUL, so libconfig sees the whole text. */
	file->is_open = config_read_string(&file->tree, item->text.at);
	if (!file->is_open) {
		const char *text = config_error_text(&file->tree);
		conf_report_line(r, CONF_ERROR, item->name, config_error_line(&file->tree), "%s",
			text ? text : "nested too deeply");
		config_destroy(&file->tree);
	}
	return file->is_open;
}

void conf_file_close(struct conf_file *file)
{
	if (file->is_open)
		config_destroy(&file->tree);
	file->is_open = false;
}
