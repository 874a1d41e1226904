/* SPDX-License-Identifier: Apache-2.0 */
/* A path as the most lenient of servers would read it, one character after the other: "/" before
 * each segment that is left, and nothing at the end. Escapes are decoded, those of escapes too; a
 * backslash is a slash; what comes after ";" in a segment is gone, and after an escaped "?" or "#"
 * everything; so are dots and spaces at the end of a segment, and empty segments; letter case is
 * put aside. Whatever servers do of that, two paths that one of them takes for the same are read
 * alike here, so that a rule that denies asks for no more. What matches so, and not as it stands,
 * may or may not be the same resource there.
 *
 * Each character is looked at twice at most, whatever the path. */
#include "policy_private.h"

/* What a reader does at a character, once it is decoded. */
enum path_mark {
	PATH_PLAIN,
	PATH_SOFT,	/* goes at the end of a segment: dots, spaces */
	PATH_SEPARATOR, /* "/" */
	PATH_PARAMETER, /* ";": up to the next separator */
	PATH_END,
};

struct path_unit {
	size_t next; /* where the next one begins */
	enum path_mark mark;
	unsigned char c;
	bool is_escaped;
	uint32_t depth; /* so many times it was escaped */
};

/* No server decodes a path more often than that. What is hidden deeper may be anything, and each
 * rule would have to dig for it: so it is refused. */
#define PATH_DEPTH_MAX 8

static enum path_mark path_mark_of(int c)
{
	switch (c) {
	case '.':
	case ' ':
		return PATH_SOFT;
	case '/':
	case '\\':
		return PATH_SEPARATOR;
	case ';':
		return PATH_PARAMETER;
	case '?':
	case '#':
	case '\0':
		return PATH_END;
	}
	return PATH_PLAIN;
}

static int path_escape(struct str path, size_t at)
{
	int high = at + 1 < path.len ? str_hex(path.at[at]) : -1;
	int low = high >= 0 ? str_hex(path.at[at + 1]) : -1;
	return low < 0 ? -1 : high * 16 + low;
}

static struct path_unit path_unit_at(struct str path, size_t at)
{
	struct path_unit u = {.next = at, .mark = PATH_END};
	if (at >= path.len)
		return u;
	u.c = (unsigned char)path.at[at];
	u.next = at + 1;
	for (int c; u.c == '%' && (c = path_escape(path, u.next)) >= 0;) {
		u.c = (unsigned char)c;
		u.next += 2;
		u.is_escaped = true;
		u.depth++;
	}
	u.mark = path_mark_of(u.c);
	if (u.c >= 'A' && u.c <= 'Z')
		u.c = (unsigned char)(u.c - 'A' + 'a');
	return u;
}

struct path_lenient path_lenient_of(struct str path)
{
	return (struct path_lenient){.path = path, .held = -1};
}

/* Past what ends no segment, for sure. */
static size_t path_past_plain(struct str path, size_t at)
{
	static const bool marks[256] = {
		['%'] = true,
		['/'] = true,
		['\\'] = true,
		['?'] = true,
		['#'] = true,
		['\0'] = true,
	};
	while (at < path.len && !marks[(unsigned char)path.at[at]])
		at++;
	return at;
}

/* Past dots and spaces, to where they stay if anything of the segment follows. */
static bool path_lenient_stays(struct path_lenient *p, struct path_unit u)
{
	while (u.mark == PATH_SOFT)
		u = path_unit_at(p->path, p->at = u.next);
	p->soft_end = p->at;
	return u.mark == PATH_PLAIN;
}

/* The next character of a segment; -1 at its end, where parameters were left behind. */
static int path_lenient_within(struct path_lenient *p)
{
	struct path_unit u = path_unit_at(p->path, p->at);
	size_t at = p->at;
	if (u.mark == PATH_SOFT && at >= p->soft_end) {
		if (path_lenient_stays(p, u))
			p->at = at;
		else
			u = path_unit_at(p->path, p->at);
	}
	if (u.mark == PATH_PLAIN || u.mark == PATH_SOFT) {
		p->at = u.next;
		return u.c;
	}
	while (u.mark != PATH_SEPARATOR && u.mark != PATH_END)
		u = path_unit_at(p->path, p->at = path_past_plain(p->path, u.next));
	return -1;
}

/* What stays as it is wherever it stands in a segment, as nearly all of a path does. */
static bool path_is_same(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool path_lenient_is_same(const struct path_lenient *p, size_t at)
{
	return at < p->path.len && path_is_same((unsigned char)p->path.at[at]);
}

/* As most segments begin, with a slash or at the beginning of a text. */
static int path_lenient_begin(struct path_lenient *p, size_t first)
{
	p->held = (unsigned char)p->path.at[first];
	p->at = first + 1;
	p->is_within = true;
	return '/';
}

int path_lenient_next(struct path_lenient *p)
{
	int c = p->held;
	p->held = -1;
	if (c >= 0)
		return c;
	if (p->is_within && path_lenient_is_same(p, p->at))
		return (unsigned char)p->path.at[p->at++];
	if (p->at == p->path.len)
		return -1;
	bool is_slash = p->path.at[p->at] == '/';
	if ((is_slash || !p->is_within) && path_lenient_is_same(p, p->at + is_slash))
		return path_lenient_begin(p, p->at + is_slash);
	if (p->is_within && (c = path_lenient_within(p)) >= 0)
		return c;
	p->is_within = false;
	while (p->at < p->path.len) {
		struct path_unit u = path_unit_at(p->path, p->at);
		bool is_border = u.mark == PATH_SEPARATOR || u.mark == PATH_END;
		p->is_odd = p->is_odd || (is_border && (u.is_escaped || u.c != '/'));
		if (u.mark == PATH_END)
			break;
		if (u.mark == PATH_SEPARATOR) {
			p->at = u.next;
			continue;
		}
		p->held = path_lenient_within(p);
		p->is_within = p->held >= 0;
		p->is_odd = p->is_odd || !p->is_within;
		if (p->is_within)
			return '/';
	}
	return -1;
}

/* What ends a segment or the path for a server that decodes it, and for one that takes the
 * parameters away before that is a part of them. */
static bool path_unit_is_disputed(struct path_unit u)
{
	return u.is_escaped && (u.mark == PATH_SEPARATOR || u.mark == PATH_END);
}

bool path_is_ambiguous(struct str path)
{
	size_t dots = 0;
	bool is_other = false, in_parameters = false;
	for (struct path_unit u = {0}; dots > 0 || u.next < path.len;) {
		u = path_unit_at(path, u.next);
		if (u.depth > PATH_DEPTH_MAX || (in_parameters && path_unit_is_disputed(u)))
			return true;
		if (u.mark == PATH_SOFT) {
			dots += u.c == '.';
		} else if (u.mark == PATH_PLAIN) {
			is_other = true;
		} else {
			if (!is_other && (dots == 1 || dots == 2))
				return true;
			dots = 0;
			is_other = in_parameters = u.mark == PATH_PARAMETER;
		}
	}
	return false;
}

/* Whether what comes next is a segment, or nothing. */
static bool path_lenient_ends(const struct path_lenient *p)
{
	if (!p->is_within || p->at == p->path.len)
		return p->held < 0;
	if (p->held >= 0 || path_lenient_is_same(p, p->at))
		return false;
	struct path_lenient ahead = *p;
	int c = path_lenient_next(&ahead);
	return c < 0 || c == '/';
}

/* Goes on behind `text`, which must be there as whole segments. */
static bool path_lenient_starts(struct path_lenient *p, struct str text)
{
	struct path_lenient want = path_lenient_of(text);
	for (int c; (c = path_lenient_next(&want)) >= 0;) {
		if (path_lenient_next(p) != c)
			return false;
	}
	return path_lenient_ends(p);
}

static bool path_lenient_skip(struct path_lenient *p)
{
	if (path_lenient_next(p) != '/')
		return false;
	while (!path_lenient_ends(p))
		path_lenient_next(p);
	return true;
}

struct str path_template_start(struct str template)
{
	size_t len = 0;
	while (len < template.len && template.at[len] != '{' &&
		!(template.at[len] == '*' && len + 1 == template.len))
		len++;
	return (struct str){template.at, len};
}

/* What follows the first brace. */
static bool path_lenient_rest(struct path_lenient *p, struct str rest)
{
	while (rest.len > 0) {
		const char *slash = memchr(rest.at, '/', rest.len);
		struct str part = {rest.at, slash ? (size_t)(slash - rest.at) : rest.len};
		size_t used = part.len + (slash ? 1 : 0);
		rest = (struct str){rest.at + used, rest.len - used};
		if (part.len == 0)
			continue;
		if (rest.len == 0 && part.at[part.len - 1] == '*')
			return true;
		if (part.at[0] == '{' ? !path_lenient_skip(p) : !path_lenient_starts(p, part))
			return false;
	}
	return path_lenient_next(p) < 0;
}

/* Where another server may count the segments otherwise, none can be told from the next. */
static bool path_lenient_template(struct str template, struct path_lenient *p, bool is_odd)
{
	struct str start = path_template_start(template);
	if (!path_lenient_starts(p, start))
		return false;
	return is_odd || path_lenient_rest(p,
				 (struct str){template.at + start.len, template.len - start.len});
}

bool path_is_odd(struct str path)
{
	struct path_lenient p = path_lenient_of(path);
	while (!p.is_odd && path_lenient_next(&p) >= 0)
		continue;
	return p.is_odd;
}

bool path_lenient_matches(const struct route_path *pattern, struct str path, bool is_odd)
{
	struct path_lenient p = path_lenient_of(path);
	switch (pattern->kind) {
	case ROUTE_PATH_EXACT:
		return path_lenient_starts(&p, pattern->text) && path_lenient_next(&p) < 0;
	case ROUTE_PATH_PREFIX:
		return path_lenient_starts(&p, pattern->text);
	case ROUTE_PATH_TEMPLATE:
		return path_lenient_template(pattern->text, &p, is_odd);
	case ROUTE_PATH_REGEX:
		return false;
	}
	return false;
}
