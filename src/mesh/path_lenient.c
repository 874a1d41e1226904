/* SPDX-License-Identifier: Apache-2.0 */
/* A path as the most lenient server would read it: escapes decoded, parameters (";" up to the next
 * "/") dropped with the empty segments that they leave, letter case aside, a slash at the end or
 * none alike. What matches so, and not as it stands, may or may not be the same resource there. */
#include "policy_private.h"

static void path_skip_parameters(struct str path, size_t *at)
{
	if (*at < path.len && path.at[*at] == ';') {
		while (*at < path.len && path.at[*at] != '/')
			(*at)++;
	}
}

static int path_fold(int c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

/* The next character, or -1 at the end. */
static int path_lenient_next(struct str path, size_t *at)
{
	path_skip_parameters(path, at);
	if (*at >= path.len)
		return -1;
	if (path.at[*at] == '%' && path.len - *at >= 3) {
		int high = str_hex(path.at[*at + 1]), low = str_hex(path.at[*at + 2]);
		if (high >= 0 && low >= 0) {
			*at += 3;
			return path_fold(high * 16 + low);
		}
	}
	int c = (unsigned char)path.at[(*at)++];
	while (c == '/') {
		path_skip_parameters(path, at);
		if (*at >= path.len || path.at[*at] != '/')
			break;
		(*at)++;
	}
	return path_fold(c);
}

/* Nothing, or a slash and nothing. */
static bool path_is_over(struct str path, size_t at)
{
	int c = path_lenient_next(path, &at);
	return c < 0 || (c == '/' && path_lenient_next(path, &at) < 0);
}

static bool path_lenient_whole(struct str text, struct str path)
{
	size_t at = 0, path_at = 0;
	while (!path_is_over(text, at)) {
		if (path_lenient_next(text, &at) != path_lenient_next(path, &path_at))
			return false;
	}
	return path_is_over(path, path_at);
}

static bool path_lenient_prefix(struct str text, struct str path)
{
	size_t at = 0, path_at = 0;
	while (!path_is_over(text, at)) {
		if (path_lenient_next(text, &at) != path_lenient_next(path, &path_at))
			return false;
	}
	return path_is_over(path, path_at) || path_lenient_next(path, &path_at) == '/';
}

/* A whole segment; false: it has none there. */
static bool path_lenient_segment(struct str path, size_t *at)
{
	size_t start = *at;
	for (size_t next = *at;; *at = next) {
		int c = path_lenient_next(path, &next);
		if (c < 0 || c == '/')
			return *at > start;
	}
}

static bool path_lenient_template(struct str template, struct str path)
{
	size_t at = 0, path_at = 0;
	while (!path_is_over(template, at)) {
		if (template.at[at] == '*' && at + 1 == template.len)
			return true;
		if (template.at[at] == '{') {
			const char *end = memchr(template.at + at, '}', template.len - at);
			if (!end || !path_lenient_segment(path, &path_at))
				return false;
			at = (size_t)(end - template.at) + 1;
		} else if (path_lenient_next(template, &at) != path_lenient_next(path, &path_at)) {
			return false;
		}
	}
	return path_is_over(path, path_at);
}

bool path_lenient_matches(const struct route_path *pattern, struct str path)
{
	switch (pattern->kind) {
	case ROUTE_PATH_EXACT:
		return path_lenient_whole(pattern->text, path);
	case ROUTE_PATH_PREFIX:
		return path_lenient_prefix(pattern->text, path);
	case ROUTE_PATH_TEMPLATE:
		return path_lenient_template(pattern->text, path);
	case ROUTE_PATH_REGEX:
		return false;
	}
	return false;
}
