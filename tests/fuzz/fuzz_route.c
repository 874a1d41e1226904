/* SPDX-License-Identifier: Apache-2.0 */
/* What peers say, against rules that ask for all of it: a line each of method, path, host, then
 * headers. Whatever is matched by a rule is not by the same one inverted, and a path that is
 * rewritten stays in normal form. */
#include "base/assert.h"
#include "mesh/policy.h"
#include "mesh/route.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define FUZZ_HEADERS_MAX 16

static struct str fuzz_line(struct str *rest, char end)
{
	const char *at = rest->len ? memchr(rest->at, end, rest->len) : NULL;
	struct str line = {rest->at, at ? (size_t)(at - rest->at) : rest->len};
	size_t used = line.len + (at ? 1 : 0);
	*rest = (struct str){rest->at + used, rest->len - used};
	return line;
}

static const struct route_rule *fuzz_match(struct route_when when, const struct route_request *r)
{
	static const struct snapshot snapshot = {.trust_domain = {"prod.example", 12}};
	static struct route_rule rule;
	rule.when = when;
	struct route route = {.rules = &rule, .rule_count = 1};
	size_t prefix_len;
	return route_match(&snapshot, &route, r, &prefix_len);
}

static void fuzz_fields(const struct route_request *r)
{
	for (int kind = ROUTE_TEXT_PRESENT; kind <= ROUTE_TEXT_SUFFIX; kind++) {
		struct route_field field = {
			STR("a"), (enum route_text_kind)kind, STR("b%c"), false};
		struct route_field other = field;
		other.invert = true;
		struct route_fields one = {&field, 1}, two = {&other, 1};
		ASSERT(!fuzz_match((struct route_when){.headers = one}, r) !=
			!fuzz_match((struct route_when){.headers = two}, r));
		ASSERT(!fuzz_match((struct route_when){.query = one}, r) !=
			!fuzz_match((struct route_when){.query = two}, r));
		ASSERT(!fuzz_match((struct route_when){.cookies = one}, r) !=
			!fuzz_match((struct route_when){.cookies = two}, r));
	}
}

/* Of the same paths as the prefix "/a"; no line has an end of line in it. */
static struct regex *fuzz_regex(void)
{
	static struct regex *regex;
	char why[64];
	if (!regex)
		regex = regex_new(STR("/a(/.*)?"), why, sizeof(why));
	return regex;
}

static void fuzz_paths(const struct route_request *r)
{
	struct route_path paths[] = {
		{ROUTE_PATH_EXACT, STR("/a")},
		{ROUTE_PATH_PREFIX, STR("/a")},
		{ROUTE_PATH_TEMPLATE, STR("/{a}/b/*")},
	};
	struct route_path regex = {ROUTE_PATH_REGEX, .regex = fuzz_regex()};
	ASSERT(!fuzz_match((struct route_when){.paths = &regex, .path_count = 1}, r) ==
		!fuzz_match((struct route_when){.paths = &paths[1], .path_count = 1}, r));
	struct str host = STR("*.example.com");
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		fuzz_match((struct route_when){.paths = &paths[i], .path_count = 1}, r);
	fuzz_match((struct route_when){.hosts = &host, .host_count = 1}, r);
	for (int kind = ROUTE_STICKY_NONE; kind <= ROUTE_STICKY_COOKIE; kind++) {
		struct route_sticky sticky = {(enum route_sticky_kind)kind, STR("a")};
		struct str value = route_sticky_value(&sticky, r);
		if (sticky.kind == ROUTE_STICKY_COOKIE)
			ASSERT(!memchr(value.len ? value.at : "", ';', value.len));
	}
}

static void fuzz_rewrite(struct str whole, size_t prefix_len)
{
	struct route_target targets[] = {{.path = STR("/x")},
		{.has_prefix = true, .prefix = STR("/y/z")}, {.has_prefix = true}};
	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		size_t most = route_path_bytes(&targets[i], whole);
		char *text = malloc(most), *normal = malloc(most);
		if (text && normal) {
			size_t len = route_path_write(&targets[i], whole, prefix_len, text), again;
			ASSERT(len <= most &&
				path_normalise((struct str){text, len}, normal, &again));
			ASSERT(again == len && memcmp(text, normal, len) == 0);
		}
		free(text);
		free(normal);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str rest = {(const char *)bytes, len};
	struct route_header headers[FUZZ_HEADERS_MAX];
	struct route_request r = {.is_http = true,
		.method = fuzz_line(&rest, '\n'),
		.headers = headers,
		.header_bytes = sizeof(headers[0])};
	struct str whole = fuzz_line(&rest, '\n'), query = whole;
	r.authority = fuzz_line(&rest, '\n');
	while (rest.len > 0 && r.header_count < FUZZ_HEADERS_MAX) {
		struct str value = fuzz_line(&rest, '\n');
		struct str name = fuzz_line(&value, ':');
		headers[r.header_count++] = (struct route_header){name, value};
	}
	r.path = fuzz_line(&query, '?');
	r.query = query;
	fuzz_fields(&r);
	fuzz_paths(&r);
	char *normal = malloc(len + 1);
	size_t normal_len;
	if (normal && path_normalise(whole, normal, &normal_len)) {
		struct str path = {normal, normal_len};
		bool is_below = str_starts(path, STR("/a/"));
		fuzz_rewrite(path, is_below ? 2 : 0);
	}
	free(normal);
	return 0;
}
