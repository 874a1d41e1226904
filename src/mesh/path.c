/* SPDX-License-Identifier: Apache-2.0 */
/* One normal form for a request's path, made once: routed, authorised and forwarded are the same
 * bytes. Whatever a server behind us could read in two ways is refused rather than guessed. */
#include "policy_private.h"

struct path_writer {
	char *bytes;
	size_t len;
	size_t segment; /* where the segment being written starts: after its '/' */
};

static bool path_is_unreserved(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

static bool path_is_printable(char c)
{
	return c > ' ' && c < 0x7f;
}

/* "%C0%AF" and the like: UTF-8 that some decode, though no character has that form. */
static bool path_is_overlong(int c, struct str next)
{
	int high = next.len >= 3 && next.at[0] == '%' ? str_hex(next.at[1]) : -1;
	if (high < 0 || str_hex(next.at[2]) < 0)
		return false;
	return ((c == 0xc0 || c == 0xc1) && high >= 8 && high <= 0xb) ||
	       (c == 0xe0 && (high == 8 || high == 9)) || (c == 0xf0 && high == 8);
}

/* Writes the escape that starts at `escape` in its normal form; false: refused. */
static bool path_write_escape(struct path_writer *w, struct str escape)
{
	static const char digits[] = "0123456789ABCDEF";
	int high = escape.len >= 3 ? str_hex(escape.at[1]) : -1;
	int low = escape.len >= 3 ? str_hex(escape.at[2]) : -1;
	if (high < 0 || low < 0)
		return false;
	int c = high * 16 + low;
	if (c == '/' || c == '\\' || c < ' ' || c == 0x7f ||
		path_is_overlong(c, (struct str){escape.at + 3, escape.len - 3}))
		return false;
	if (path_is_unreserved(c)) {
		w->bytes[w->len++] = (char)c;
		return true;
	}
	w->bytes[w->len++] = '%';
	w->bytes[w->len++] = digits[high];
	w->bytes[w->len++] = digits[low];
	return true;
}

/* A segment is complete; `more` says that a '/' follows. False: refused. */
static bool path_end_segment(struct path_writer *w, bool more)
{
	struct str segment = {w->bytes + w->segment, w->len - w->segment};
	if (str_starts(segment, STR(".;")) || str_starts(segment, STR("..;")))
		return false;
	bool is_up = str_eq(segment, STR(".."));
	if (is_up && w->segment == 1)
		return false;
	if (is_up || str_eq(segment, STR("."))) {
		w->len = w->segment;
		if (is_up) {
			w->len--;
			while (w->bytes[w->len - 1] != '/')
				w->len--;
		}
	} else if (more && segment.len > 0) {
		w->bytes[w->len++] = '/';
	}
	w->segment = w->len;
	return true;
}

static bool path_write_segments(struct path_writer *w, struct str path)
{
	w->bytes[0] = '/';
	w->len = w->segment = 1;
	for (size_t i = 1; i < path.len;) {
		char c = path.at[i];
		if (!path_is_printable(c) || c == '\\' || c == '#')
			return false;
		if (c == '/') {
			if (!path_end_segment(w, true))
				return false;
			i++;
		} else if (c == '%') {
			if (!path_write_escape(w, (struct str){path.at + i, path.len - i}))
				return false;
			i += 3;
		} else {
			w->bytes[w->len++] = c;
			i++;
		}
	}
	if (!path_end_segment(w, false))
		return false;
	struct str whole = {w->bytes, w->len};
	return !memchr(whole.at, '%', whole.len) || !path_is_ambiguous(whole);
}

static bool path_write_query(struct path_writer *w, struct str query)
{
	for (size_t i = 0; i < query.len; i++) {
		if (!path_is_printable(query.at[i]) || query.at[i] == '#')
			return false;
		w->bytes[w->len++] = query.at[i];
	}
	return true;
}

/* What stays as it is wherever it stands, but for '.' and '/' after a '/'. */
static const bool path_plain[256] = {
	['!'] = true,
	['"'] = true,
	['$'] = true,
	['&' ... '>'] = true,
	['@' ... '['] = true,
	[']' ... '~'] = true,
};

bool path_is_normal(struct str path)
{
	const char *query = path.len ? memchr(path.at, '?', path.len) : NULL;
	size_t path_len = query ? (size_t)(query - path.at) : path.len, i = 1;
	if (path_len == 0 || path.at[0] != '/')
		return false;
	for (; i < path_len && path_plain[(unsigned char)path.at[i]]; i++) {
		if (path.at[i - 1] == '/' && (path.at[i] == '/' || path.at[i] == '.'))
			return false;
	}
	if (i < path_len)
		return false;
	while (i < path.len && path_is_printable(path.at[i]) && path.at[i] != '#')
		i++;
	return i == path.len;
}

bool path_normalise(struct str path, char *ret, size_t *ret_len)
{
	if (str_eq(path, STR("*"))) {
		*ret = '*';
		*ret_len = 1;
		return true;
	}
	if (path.len == 0 || path.at[0] != '/')
		return false;
	const char *mark = memchr(path.at, '?', path.len);
	size_t path_len = mark ? (size_t)(mark - path.at) : path.len;
	struct path_writer w = {.bytes = ret};
	if (!path_write_segments(&w, (struct str){path.at, path_len}) ||
		!path_write_query(&w, (struct str){path.at + path_len, path.len - path_len}))
		return false;
	*ret_len = w.len;
	return true;
}
