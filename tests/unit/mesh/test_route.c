/* SPDX-License-Identifier: Apache-2.0 */
/* Rules against requests: by tables, and at random against a second reading of what a rule means,
 * which cuts texts to pieces and compares copies. */
#include "mesh/route.h"

#include "mesh/policy.h"
#include <ctype.h>
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ID "spiffe://prod.example/service/"

static const struct snapshot snapshot = {.trust_domain = {"prod.example", 12}};

static struct route_request request_of(const char *method, const char *path, const char *host,
	const struct route_header *headers, uint32_t header_count)
{
	const char *mark = strchr(path, '?');
	return (struct route_request){
		.is_http = true,
		.source_id = STR(ID "web"),
		.method = str_of(method),
		.path = {path, mark ? (size_t)(mark - path) : strlen(path)},
		.query = str_of(mark ? mark + 1 : ""),
		.authority = str_of(host),
		.headers = headers,
		.header_bytes = sizeof(*headers),
		.header_count = header_count,
	};
}

static bool when_matches(struct route_when when, const struct route_request *request)
{
	struct route_rule rule = {.when = when};
	struct route route = {.rules = &rule, .rule_count = 1};
	size_t prefix_len;
	const struct route_rule *found = route_match(&snapshot, &route, request, &prefix_len);
	assert_true(!found || found == &rule);
	return found;
}

/* --- tables --- */

static void test_paths(void **state)
{
	static const struct {
		enum route_path_kind kind;
		const char *text, *path;
		bool matches;
	} rows[] = {
		{ROUTE_PATH_EXACT, "/a", "/a", true},
		{ROUTE_PATH_EXACT, "/a", "/a?x=1", true},
		{ROUTE_PATH_EXACT, "/a", "/a/", false},
		{ROUTE_PATH_EXACT, "/a", "/A", false},
		{ROUTE_PATH_EXACT, "/a", "/", false},
		{ROUTE_PATH_PREFIX, "", "/", true},
		{ROUTE_PATH_PREFIX, "", "/a/b", true},
		{ROUTE_PATH_PREFIX, "", "*", false},
		{ROUTE_PATH_PREFIX, "/v2", "/v2", true},
		{ROUTE_PATH_PREFIX, "/v2", "/v2/", true},
		{ROUTE_PATH_PREFIX, "/v2", "/v2/x?y", true},
		{ROUTE_PATH_PREFIX, "/v2", "/v2x", false},
		{ROUTE_PATH_PREFIX, "/v2", "/v", false},
		{ROUTE_PATH_TEMPLATE, "/orders/{id}", "/orders/7", true},
		{ROUTE_PATH_TEMPLATE, "/orders/{id}", "/orders/", false},
		{ROUTE_PATH_TEMPLATE, "/orders/{id}", "/orders/7/", false},
		{ROUTE_PATH_TEMPLATE, "/orders/{id}", "/orders/7/items", false},
		{ROUTE_PATH_TEMPLATE, "/orders/{id}/items", "/orders/7/items", true},
		{ROUTE_PATH_TEMPLATE, "/orders/{id}/items", "/orders/7/item", false},
		{ROUTE_PATH_TEMPLATE, "/orders/{id}/items", "/orders/7/itemss", false},
		{ROUTE_PATH_TEMPLATE, "/orders/{id}/*", "/orders/7/", true},
		{ROUTE_PATH_TEMPLATE, "/orders/{id}/*", "/orders/7/a/b", true},
		{ROUTE_PATH_TEMPLATE, "/orders/{id}/*", "/orders/7", false},
		{ROUTE_PATH_TEMPLATE, "/{a}/{b}", "/x/y", true},
		{ROUTE_PATH_TEMPLATE, "/{a}/{b}", "/x", false},
		{ROUTE_PATH_TEMPLATE, "/{a}", "*", false},
		{ROUTE_PATH_TEMPLATE, "/*", "/", true},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct route_path path = {rows[i].kind, str_of(rows[i].text)};
		struct route_request r = request_of("GET", rows[i].path, "h", NULL, 0);
		if (when_matches((struct route_when){.paths = &path, .path_count = 1}, &r) !=
			rows[i].matches)
			fail_msg("\"%s\" and %s", rows[i].text, rows[i].path);
	}
}

static void test_hosts(void **state)
{
	static const struct {
		const char *pattern, *authority;
		bool matches;
	} rows[] = {
		{"orders", "orders", true},
		{"orders", "orders:8080", true},
		{"orders", "orders.prod", false},
		{"orders", "order", false},
		{"[fd00::1]", "[fd00::1]", true},
		{"[fd00::1]", "[fd00::1]:80", true},
		{"*.example.com", "a.example.com", true},
		{"*.example.com", "a.b.example.com:1", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", ".example.com", false},
		{"*.example.com", "xexample.com", false},
		{"10.0.0.1", "10.0.0.1:99", true},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str host = str_of(rows[i].pattern);
		struct route_request r = request_of("GET", "/", rows[i].authority, NULL, 0);
		if (when_matches((struct route_when){.hosts = &host, .host_count = 1}, &r) !=
			rows[i].matches)
			fail_msg("\"%s\" and %s", rows[i].pattern, rows[i].authority);
	}
}

enum place { HEADER, QUERY, COOKIE };

static bool field_matches(enum place place, struct route_field field, struct route_request *r)
{
	struct route_fields fields = {&field, 1};
	struct route_when when = {0};
	if (place == HEADER)
		when.headers = fields;
	if (place == QUERY)
		when.query = fields;
	if (place == COOKIE)
		when.cookies = fields;
	return when_matches(when, r);
}

/* Of a header that came twice, a cookie in either of two lines, a key that came twice. */
static void test_fields(void **state)
{
	static const struct route_header headers[] = {
		{{"X-Team", 6}, {"red", 3}},
		{{"x-team", 6}, {"blue, red", 9}},
		{{"X-Empty", 7}, {"", 0}},
		{{"Cookie", 6}, {"a=1; session=abc ;b=\"q\"", 23}},
		{{"cookie", 6}, {"a=2; flag", 9}},
	};
	static const struct {
		enum place place;
		const char *name;
		enum route_text_kind kind;
		const char *text;
		bool matches;
	} rows[] = {
		{HEADER, "x-team", ROUTE_TEXT_PRESENT, "", true},
		{HEADER, "x-tea", ROUTE_TEXT_PRESENT, "", false},
		{HEADER, "X-TEAM", ROUTE_TEXT_EXACT, "red", true},
		{HEADER, "x-team", ROUTE_TEXT_EXACT, "blue", false},
		{HEADER, "x-team", ROUTE_TEXT_EXACT, "blue, red", true},
		{HEADER, "x-team", ROUTE_TEXT_EXACT, "RED", false},
		{HEADER, "x-team", ROUTE_TEXT_PREFIX, "blue", true},
		{HEADER, "x-team", ROUTE_TEXT_SUFFIX, "ed", true},
		{HEADER, "x-team", ROUTE_TEXT_SUFFIX, "a blue, red", false},
		{HEADER, "x-empty", ROUTE_TEXT_EXACT, "", true},
		{HEADER, "x-empty", ROUTE_TEXT_PREFIX, "a", false},
		{COOKIE, "session", ROUTE_TEXT_EXACT, "abc", true},
		{COOKIE, "Session", ROUTE_TEXT_PRESENT, "", false},
		{COOKIE, "a", ROUTE_TEXT_EXACT, "1", true},
		{COOKIE, "a", ROUTE_TEXT_EXACT, "2", true},
		{COOKIE, "b", ROUTE_TEXT_EXACT, "\"q\"", true},
		{COOKIE, "flag", ROUTE_TEXT_PRESENT, "", true},
		{COOKIE, "ab", ROUTE_TEXT_PRESENT, "", false},
		{QUERY, "x", ROUTE_TEXT_EXACT, "1", true},
		{QUERY, "x", ROUTE_TEXT_EXACT, "2", true},
		{QUERY, "x", ROUTE_TEXT_EXACT, "12", false},
		{QUERY, "q", ROUTE_TEXT_EXACT, "a b c", true},
		{QUERY, "q", ROUTE_TEXT_PREFIX, "a b", true},
		{QUERY, "q", ROUTE_TEXT_SUFFIX, " c", true},
		{QUERY, "key", ROUTE_TEXT_PRESENT, "", true},
		{QUERY, "none", ROUTE_TEXT_EXACT, "", true},
		{QUERY, "broken", ROUTE_TEXT_EXACT, "%4", true},
		{QUERY, "y", ROUTE_TEXT_PRESENT, "", false},
	};
	struct route_request r = request_of("GET", "/?x=1&x=2&q=a+b%20c&k%65y=1&none&broken=%4",
		"h", headers, ARRAY_LEN(headers));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct route_field f = {
			str_of(rows[i].name), rows[i].kind, str_of(rows[i].text), false};
		if (field_matches(rows[i].place, f, &r) != rows[i].matches)
			fail_msg("row %zu: %s %s", i, rows[i].name, rows[i].text);
		f.invert = true;
		if (field_matches(rows[i].place, f, &r) == rows[i].matches)
			fail_msg("row %zu, inverted", i);
	}
}

static void test_sources(void **state)
{
	static const struct {
		const char *from, *id;
		bool matches;
	} rows[] = {
		{"web", ID "web", true},
		{"web", ID "webb", false},
		{ID "web", ID "web", true},
		{"*", ID "web", true},
		{"*", "", false},
		{"anonymous", "", true},
		{"anonymous", ID "web", false},
		{"web", "", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str from = str_of(rows[i].from);
		struct route_when when = {.from = &from, .from_count = 1};
		struct route_request http = request_of("GET", "/", "h", NULL, 0);
		struct route_request opaque = {.source_id = str_of(rows[i].id)};
		http.source_id = str_of(rows[i].id);
		assert_int_equal(when_matches(when, &http), rows[i].matches);
		assert_int_equal(when_matches(when, &opaque), rows[i].matches);
	}
}

static void test_sticky_values(void **state)
{
	static const struct route_header headers[] = {
		{{"X-User", 6}, {"ann", 3}},
		{{"x-user", 6}, {"bob", 3}},
		{{"cookie", 6}, {"a=; session = s1 ; session=s2", 29}},
	};
	static const struct {
		struct route_sticky sticky;
		const char *value;
	} rows[] = {
		{{ROUTE_STICKY_NONE, {"", 0}}, ""},
		{{ROUTE_STICKY_SOURCE, {"", 0}}, ID "web"},
		{{ROUTE_STICKY_HEADER, {"x-user", 6}}, "ann"},
		{{ROUTE_STICKY_HEADER, {"x-use", 5}}, ""},
		{{ROUTE_STICKY_COOKIE, {"session", 7}}, "s1"},
		{{ROUTE_STICKY_COOKIE, {"a", 1}}, ""},
		{{ROUTE_STICKY_COOKIE, {"b", 1}}, ""},
	};
	struct route_request r = request_of("GET", "/", "h", headers, ARRAY_LEN(headers));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str value = route_sticky_value(&rows[i].sticky, &r);
		if (!str_eq(value, str_of(rows[i].value)))
			fail_msg("row %zu: %.*s", i, STR_ARG(value));
	}
}

/* Bytes have no path, and nothing can be answered to them. */
static void test_opaque_bytes(void **state)
{
	struct route_path root = {ROUTE_PATH_PREFIX, STR("")};
	struct str method = STR("GET");
	struct route_rule rules[] = {
		{.when = {.paths = &root, .path_count = 1}},
		{.when = {.methods = &method, .method_count = 1}},
		{.action = ROUTE_RESPOND},
		{.action = ROUTE_REDIRECT},
		{.action = ROUTE_FORWARD},
	};
	struct route route = {.rules = rules, .rule_count = ARRAY_LEN(rules)};
	struct route_request opaque = {.source_id = STR(ID "web")};
	size_t prefix_len;
	assert_ptr_equal(route_match(&snapshot, &route, &opaque, &prefix_len), &rules[4]);
	route.rule_count = 4;
	assert_null(route_match(&snapshot, &route, &opaque, &prefix_len));
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(route_ask(&snapshot, &rules[i], &opaque).miss, ROUTE_MISS_OPAQUE);
	struct str from = STR("guest");
	rules[0].when.from = &from;
	rules[0].when.from_count = 1;
	assert_int_equal(route_ask(&snapshot, &rules[0], &opaque).miss, ROUTE_MISS_FROM);
}

static void test_first_match_wins(void **state)
{
	struct route_path paths[] = {{ROUTE_PATH_EXACT, STR("/a")}, {ROUTE_PATH_PREFIX, STR("/a")}};
	struct route_rule rules[] = {
		{.when = {.paths = &paths[0], .path_count = 1}},
		{.when = {.paths = &paths[1], .path_count = 1}},
	};
	struct route route = {.rules = rules, .rule_count = 2};
	struct route_request r = request_of("GET", "/a", "h", NULL, 0);
	size_t prefix_len;
	assert_ptr_equal(route_match(&snapshot, &route, &r, &prefix_len), &rules[0]);
	r.path = STR("/a/b");
	assert_ptr_equal(route_match(&snapshot, &route, &r, &prefix_len), &rules[1]);
	assert_int_equal(prefix_len, 2);
	r.path = STR("/b");
	assert_null(route_match(&snapshot, &route, &r, &prefix_len));
}

static void test_what_a_path_becomes(void **state)
{
	static const struct {
		const char *path, *prefix, *from, *becomes; /* NULL: no such part */
		size_t prefix_len;
	} rows[] = {
		{NULL, NULL, "/a?b", "/a?b", 0},
		{"/x", NULL, "/a/b", "/x", 0},
		{"/x", NULL, "/a/b?c=/d?e", "/x?c=/d?e", 0},
		{NULL, "/v2", "/v1/a?q", "/v2/a?q", 3},
		{NULL, "/v2", "/v1", "/v2", 3},
		{NULL, "", "/v1/a", "/a", 3},
		{NULL, "", "/v1/", "/", 3},
		{NULL, "", "/v1", "/", 3},
		{NULL, "", "/v1?q", "/?q", 3},
		{NULL, "/api", "/a", "/api/a", 0},
		{NULL, "/api", "/", "/api/", 0},
		{"/x", NULL, "*", "/x", 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct route_target target = {.path = str_of(rows[i].path),
			.has_prefix = rows[i].prefix != NULL,
			.prefix = str_of(rows[i].prefix)};
		struct str path = str_of(rows[i].from);
		char *text = malloc(route_path_bytes(&target, path));
		size_t len = route_path_write(&target, path, rows[i].prefix_len, text);
		struct str got = {text, len};
		if (!str_eq(got, str_of(rows[i].becomes)))
			fail_msg("row %zu: %.*s", i, STR_ARG(got));
		assert_true(len <= route_path_bytes(&target, path) && path_is_normal(got));
		free(text);
	}
}

/* --- at random --- */

static uint64_t seed = 3;

static uint32_t number_below(uint32_t bound)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % bound;
}

#define ONE_OF(...)                                       \
	((const char *const[]){__VA_ARGS__}[number_below( \
		sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))])

/* The reference's texts: copies, each with its own end. */
struct naive {
	char text[512];
};
static struct naive naive_of(struct str s)
{
	struct naive n = {{0}};
	assert_true(s.len < sizeof(n.text));
	if (s.len > 0)
		memcpy(n.text, s.at, s.len);
	return n;
}

static bool naive_path(const struct route_path *p, struct str path_str)
{
	struct naive pattern = naive_of(p->text), path = naive_of(path_str), glob = {{0}};
	if (p->kind == ROUTE_PATH_EXACT)
		return strcmp(pattern.text, path.text) == 0;
	if (p->kind == ROUTE_PATH_PREFIX) {
		snprintf(glob.text, sizeof(glob.text), "%.200s/*", pattern.text);
		return strcmp(pattern.text, path.text) == 0 ||
		       fnmatch(glob.text, path.text, 0) == 0;
	}
	/* "{x}" is "?" and "*" within a segment, "*" at the end is taken by itself */
	size_t len = strlen(pattern.text), out = 0;
	bool is_open = len > 0 && pattern.text[len - 1] == '*';
	for (size_t i = 0; i < len - is_open; i++) {
		if (pattern.text[i] != '{') {
			glob.text[out++] = pattern.text[i];
			continue;
		}
		glob.text[out++] = '?';
		glob.text[out++] = '*';
		i = (size_t)(strchr(pattern.text + i, '}') - pattern.text);
	}
	if (!is_open)
		return fnmatch(glob.text, path.text, FNM_PATHNAME) == 0;
	for (size_t cut = 0; cut <= strlen(path.text); cut++) {
		struct naive head = naive_of((struct str){path.text, cut});
		if (fnmatch(glob.text, head.text, FNM_PATHNAME) == 0)
			return true;
	}
	return false;
}

static bool naive_text(const struct route_field *f, const char *value)
{
	struct naive want = naive_of(f->text);
	size_t len = strlen(want.text), value_len = strlen(value);
	return f->kind == ROUTE_TEXT_PRESENT ||
	       (f->kind == ROUTE_TEXT_EXACT && strcmp(want.text, value) == 0) ||
	       (f->kind == ROUTE_TEXT_PREFIX && strncmp(want.text, value, len) == 0) ||
	       (f->kind == ROUTE_TEXT_SUFFIX && value_len >= len &&
		       strcmp(want.text, value + value_len - len) == 0);
}

static bool naive_header(const struct route_field *f, const struct route_request *r)
{
	const struct route_header *headers = r->headers;
	for (uint32_t i = 0; i < r->header_count; i++) {
		struct naive name = naive_of(headers[i].name), value = naive_of(headers[i].value);
		struct naive want = naive_of(f->name);
		for (char *c = name.text; *c; c++)
			*c = (char)tolower(*c);
		if (strcmp(name.text, want.text) == 0 && naive_text(f, value.text))
			return true;
	}
	return false;
}

/* "a=1<end>b=2": every piece a pair, blanks aside if there may be any. */
static bool naive_pair(const struct route_field *f, struct str list, const char *end)
{
	struct naive copy = naive_of(list), want = naive_of(f->name);
	char *rest = copy.text, *piece;
	while ((piece = strsep(&rest, end))) {
		if (*piece == '\0')
			continue;
		piece += strspn(piece, " ");
		char *value = strchr(piece, '=');
		if (value)
			*value++ = '\0';
		if (strcmp(piece, want.text) == 0 && naive_text(f, value ? value : ""))
			return true;
	}
	return false;
}

static bool naive_cookie(const struct route_field *f, const struct route_request *r)
{
	const struct route_header *headers = r->headers;
	for (uint32_t i = 0; i < r->header_count; i++) {
		struct naive name = naive_of(headers[i].name);
		if (strcasecmp(name.text, "cookie") == 0 && naive_pair(f, headers[i].value, ";"))
			return true;
	}
	return false;
}

static bool naive_list(const struct str *list, uint32_t count, const char *word)
{
	for (uint32_t i = 0; i < count; i++) {
		struct naive n = naive_of(list[i]);
		if (strcmp(n.text, word) == 0)
			return true;
	}
	return count == 0;
}

static bool naive_when(const struct route_when *when, const struct route_request *r)
{
	bool path = when->path_count == 0, fields = true;
	struct naive method = naive_of(r->method), host = naive_of(r->authority);
	host.text[strcspn(host.text, ":")] = '\0';
	for (uint32_t i = 0; i < when->path_count; i++)
		path = path || naive_path(&when->paths[i], r->path);
	for (uint32_t i = 0; i < when->headers.count; i++)
		fields = fields &&
			 naive_header(&when->headers.at[i], r) != when->headers.at[i].invert;
	for (uint32_t i = 0; i < when->query.count; i++)
		fields = fields &&
			 naive_pair(&when->query.at[i], r->query, "&") != when->query.at[i].invert;
	for (uint32_t i = 0; i < when->cookies.count; i++)
		fields = fields &&
			 naive_cookie(&when->cookies.at[i], r) != when->cookies.at[i].invert;
	return path && fields && naive_list(when->methods, when->method_count, method.text) &&
	       naive_list(when->hosts, when->host_count, host.text);
}

struct made {
	struct route_path paths[2];
	struct str methods[2], hosts[2];
	struct route_field fields[3][2];
};

static struct route_path made_path(void)
{
	enum route_path_kind kind = (enum route_path_kind)number_below(3);
	const char *text = kind == ROUTE_PATH_EXACT ? ONE_OF("/", "/a", "/a/b", "/a/b/", "/b")
			   : kind == ROUTE_PATH_PREFIX
				   ? ONE_OF("", "/a", "/a/b", "/b")
				   : ONE_OF("/{x}", "/a/{x}", "/{x}/b", "/a/{x}/*", "/*", "/{x}/*",
					     "/{x}/{y}", "/a/*");
	return (struct route_path){kind, str_of(text)};
}

static struct route_fields made_fields(struct route_field fields[2])
{
	uint32_t count = number_below(8) / 5;
	for (uint32_t i = 0; i < count; i++) {
		fields[i] = (struct route_field){
			.name = str_of(ONE_OF("x-a", "x-b", "k")),
			.kind = (enum route_text_kind)number_below(4),
			.text = str_of(ONE_OF("", "1", "12", "2", "x")),
			.invert = number_below(3) == 0,
		};
	}
	return (struct route_fields){fields, count};
}

static struct route_when made_when(struct made *m)
{
	struct route_when w = {.paths = m->paths, .methods = m->methods, .hosts = m->hosts};
	for (w.path_count = 0; w.path_count < number_below(3); w.path_count++)
		m->paths[w.path_count] = made_path();
	for (w.method_count = 0; w.method_count < number_below(5) / 3; w.method_count++)
		m->methods[w.method_count] = str_of(ONE_OF("GET", "POST", "PUT"));
	for (w.host_count = 0; w.host_count < number_below(5) / 3; w.host_count++)
		m->hosts[w.host_count] = str_of(ONE_OF("a", "b"));
	w.headers = made_fields(m->fields[0]);
	w.query = made_fields(m->fields[1]);
	w.cookies = made_fields(m->fields[2]);
	return w;
}

/* What comes before `miss` in the order in which conditions are looked at. */
static struct route_when when_before(struct route_when w, enum route_miss miss)
{
	if (miss <= ROUTE_MISS_PATH)
		w.path_count = 0;
	if (miss <= ROUTE_MISS_METHOD)
		w.method_count = 0;
	if (miss <= ROUTE_MISS_HOST)
		w.host_count = 0;
	if (miss <= ROUTE_MISS_HEADER)
		w.headers.count = 0;
	if (miss <= ROUTE_MISS_QUERY)
		w.query.count = 0;
	if (miss <= ROUTE_MISS_COOKIE)
		w.cookies.count = 0;
	return w;
}

/* The condition that a verdict names is the first that is not so. */
static bool verdict_is_true(const struct route_rule *rule, const struct route_request *r)
{
	struct route_verdict verdict = route_ask(&snapshot, rule, r);
	struct route_when before = when_before(rule->when, verdict.miss);
	struct route_when up_to = when_before(rule->when, verdict.miss + 1);
	if (verdict.miss == ROUTE_MISS_NONE)
		return naive_when(&rule->when, r);
	struct route_fields *fields = verdict.miss == ROUTE_MISS_HEADER	  ? &up_to.headers
				      : verdict.miss == ROUTE_MISS_QUERY  ? &up_to.query
				      : verdict.miss == ROUTE_MISS_COOKIE ? &up_to.cookies
									  : NULL;
	if (fields) {
		fields->count = verdict.index;
		if (!naive_when(&up_to, r))
			return false;
		fields->count++;
	}
	return naive_when(&before, r) && !naive_when(&up_to, r);
}

static void test_at_random(void **state)
{
	uint32_t matched = 0, missed = 0;
	for (int round = 0; round < 60000; round++) {
		struct made made[4];
		struct route_rule rules[4] = {0};
		struct route route = {.rules = rules, .rule_count = 1 + number_below(4)};
		for (uint32_t i = 0; i < route.rule_count; i++)
			rules[i].when = made_when(&made[i]);
		struct route_header headers[4];
		uint32_t header_count = number_below(5);
		for (uint32_t i = 0; i < header_count; i++)
			headers[i] = (struct route_header){
				str_of(ONE_OF("x-a", "X-A", "x-b", "K", "Cookie", "cookie")),
				str_of(ONE_OF("", "1", "12", "21", "k=1", "k=12; x-a", "x-a=x; k",
					"x-b=2;k=1"))};
		struct route_request r = request_of(ONE_OF("GET", "POST", "PUT"),
			ONE_OF("/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b", "/b/b", "/a?k=1",
				"/a?k=12&x-a", "/a/b?k=2&k=x&x-b=1", "/?&k&&x-a=x"),
			ONE_OF("a", "b", "a:80", "c"), headers, header_count);
		const struct route_rule *expected = NULL;
		for (uint32_t i = 0; i < route.rule_count && !expected; i++)
			expected = naive_when(&rules[i].when, &r) ? &rules[i] : NULL;
		for (uint32_t i = 0; i < route.rule_count; i++) {
			if (!verdict_is_true(&rules[i], &r))
				fail_msg("round %d: why rule %u does not match", round, i);
		}
		size_t prefix_len;
		if (route_match(&snapshot, &route, &r, &prefix_len) != expected)
			fail_msg("round %d", round);
		matched += expected != NULL;
		missed += expected == NULL;
	}
	assert_true(matched > 5000 && missed > 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_sticky_values),
		cmocka_unit_test(test_opaque_bytes),
		cmocka_unit_test(test_first_match_wins),
		cmocka_unit_test(test_what_a_path_becomes),
		cmocka_unit_test(test_at_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
