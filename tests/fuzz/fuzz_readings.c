/* SPDX-License-Identifier: Apache-2.0 */
/* A request's path as servers read it: whichever of them takes it for /admin or what is below, the
 * guards before those deny it; and what a rule allows below /public is there in every reading. The
 * servers here are naive ones, each written down in a few lines: Python's unquote and normpath,
 * Go's path.Clean, nginx's merging, the URL of browsers and Node, path parameters as Java has them,
 * and one that decodes twice. */
#include "fuzz.h"
#include "mesh/policy.h"

#include <stdlib.h>

#define WEB "spiffe://td/service/web"

struct reading {
	char *at;
	size_t len;
};

/* Escapes decoded once; what is none stays. In place: it becomes no longer. */
static void reading_decode(struct reading *r)
{
	size_t to = 0;
	for (size_t i = 0; i < r->len; i++) {
		int high = r->at[i] == '%' && r->len - i > 2 ? str_hex(r->at[i + 1]) : -1;
		int low = high >= 0 ? str_hex(r->at[i + 2]) : -1;
		r->at[to++] = low >= 0 ? (char)(high * 16 + low) : r->at[i];
		i += low >= 0 ? 2 : 0;
	}
	r->len = to;
}

/* Backslashes are slashes, as in URLs of browsers. */
static void reading_turn_slashes(struct reading *r)
{
	for (size_t i = 0; i < r->len; i++)
		r->at[i] = r->at[i] == '\\' ? '/' : r->at[i];
}

/* Without what comes after ";", in all segments or in the last one only. */
static void reading_drop_parameters(struct reading *r, bool only_last)
{
	size_t to = 0, last = 0;
	for (size_t i = 0; i < r->len; i++)
		last = r->at[i] == '/' ? i : last;
	bool is_parameter = false;
	for (size_t i = 0; i < r->len; i++) {
		if (r->at[i] == '/')
			is_parameter = false;
		else if (r->at[i] == ';' && (!only_last || i > last))
			is_parameter = true;
		if (!is_parameter)
			r->at[to++] = r->at[i];
	}
	r->len = to;
}

/* A C string in whatever comes next. */
static void reading_end_at_zero(struct reading *r)
{
	char *zero = r->len ? memchr(r->at, '\0', r->len) : NULL;
	r->len = zero ? (size_t)(zero - r->at) : r->len;
}

static void reading_go_up(struct reading *r, size_t *to)
{
	while (*to > 0 && r->at[*to - 1] != '/')
		(*to)--;
	*to -= *to > 0 ? 1 : 0;
}

/* Dot segments resolved, never above the root; empty segments gone; no slash at the end. */
static void reading_clean(struct reading *r)
{
	size_t to = 0, i = 0;
	while (i < r->len) {
		while (i < r->len && r->at[i] == '/')
			i++;
		size_t start = i;
		while (i < r->len && r->at[i] != '/')
			i++;
		struct str segment = {r->at + start, i - start};
		if (str_eq(segment, STR("..")))
			reading_go_up(r, &to);
		if (segment.len == 0 || str_eq(segment, STR(".")) || str_eq(segment, STR("..")))
			continue;
		bool has_slash = start > to; /* it had one before it */
		if (has_slash)
			r->at[to++] = '/';
		memmove(r->at + to, segment.at, segment.len);
		to += segment.len;
	}
	r->len = to;
}

enum server {
	SERVER_PYTHON,	 /* unquote, posixpath.normpath; path.Clean in Go is the same */
	SERVER_URLPARSE, /* parameters of the last segment go before that */
	SERVER_NGINX,	 /* decodes, merges, resolves; a NUL ends it for the file system */
	SERVER_NODE,	 /* slashes turned, dots resolved, then decoded, then resolved by path */
	SERVER_JAVA,	 /* parameters of all segments go, then it decodes */
	SERVER_LATE_PARAMETERS, /* the other way round */
	SERVER_TWICE,		/* decodes twice */
	SERVER_COUNT,
};

static void server_read(enum server server, struct reading *r)
{
	switch (server) {
	case SERVER_URLPARSE:
		reading_drop_parameters(r, true);
		break;
	case SERVER_JAVA:
		reading_drop_parameters(r, false);
		break;
	case SERVER_NODE:
		reading_turn_slashes(r);
		reading_clean(r);
		break;
	case SERVER_TWICE:
		reading_decode(r);
		break;
	case SERVER_PYTHON:
	case SERVER_NGINX:
	case SERVER_LATE_PARAMETERS:
	case SERVER_COUNT:
		break;
	}
	reading_decode(r);
	if (server == SERVER_LATE_PARAMETERS)
		reading_drop_parameters(r, false);
	if (server == SERVER_NGINX)
		reading_end_at_zero(r);
	reading_clean(r);
}

static bool reading_is_below(const struct reading *r, struct str place)
{
	return r->len >= place.len && memcmp(r->at, place.at, place.len) == 0 &&
	       (r->len == place.len || r->at[place.len] == '/');
}

/* --- policy --- */

static struct route_path admin_paths[] = {
	{ROUTE_PATH_EXACT, {"/admin", 6}, NULL}, {ROUTE_PATH_PREFIX, {"/admin", 6}, NULL}};
static struct route_path public_paths[] = {{ROUTE_PATH_PREFIX, {"/public", 7}, NULL}};
static struct policy guard = {.action = POLICY_DENY, .to = {.paths = admin_paths, .path_count = 2}};
/* Denies what is there and nothing below. */
static struct policy exact_guard = {
	.action = POLICY_DENY, .to = {.paths = admin_paths, .path_count = 1}};
static struct policy everything = {.action = POLICY_ALLOW};
static struct policy but_admin = {
	.action = POLICY_ALLOW, .not_to = {.paths = admin_paths, .path_count = 2}};
static struct policy narrow = {
	.action = POLICY_ALLOW, .to = {.paths = public_paths, .path_count = 1}};

static bool policy_lets(struct policy **policies, uint32_t count, struct str path)
{
	static const struct snapshot snapshot = {.trust_domain = {"td", 2}};
	struct service service = {.policies = policies, .policy_count = count};
	struct route_request http = {
		.is_http = true, .method = STR("GET"), .path = path, .authority = STR("a")};
	struct policy_request request = {.source_id = STR(WEB), .port = 80, .http = &http};
	return policy_check(&snapshot, &service, &request).allowed;
}

static void fuzz_servers(struct str path, char *room)
{
	struct policy *guarded[] = {&guard, &everything}, *excepted[] = {&but_admin},
		      *one_guarded[] = {&exact_guard, &everything}, *named[] = {&narrow};
	bool is_let[] = {policy_lets(guarded, 2, path), policy_lets(excepted, 1, path)};
	bool is_named = policy_lets(named, 1, path), is_one_let = policy_lets(one_guarded, 2, path);
	for (int server = 0; server < SERVER_COUNT; server++) {
		struct reading r = {room, path.len};
		memcpy(room, path.at, path.len);
		server_read((enum server)server, &r);
		if (reading_is_below(&r, STR("/admin")))
			ASSERT(!is_let[0] && !is_let[1]);
		if (str_eq((struct str){r.at, r.len}, STR("/admin")))
			ASSERT(!is_one_let);
		if (is_named && (server == SERVER_PYTHON || server == SERVER_NGINX ||
					server == SERVER_NODE || server == SERVER_JAVA))
			ASSERT(reading_is_below(&r, STR("/public")));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *normal = malloc(len + 1), *again = malloc(len + 1);
	size_t normal_len, again_len;
	if (normal && again &&
		path_normalise((struct str){(const char *)bytes, len}, normal, &normal_len)) {
		struct str whole = {normal, normal_len}, path = whole;
		ASSERT(path_normalise(whole, again, &again_len));
		ASSERT(str_eq(whole, (struct str){again, again_len}));
		const char *query = memchr(path.at, '?', path.len);
		if (query)
			path.len = (size_t)(query - path.at);
		fuzz_servers(path, again);
	}
	free(normal);
	free(again);
	return 0;
}
