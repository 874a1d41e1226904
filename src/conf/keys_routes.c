/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the table that routes are read by. */
#include "key_words.h"
#include "mesh/route.h"

#define RULE(field) FIELD(struct conf_rule_row, field)

static const struct conf_key conf_field_keys[] = {
	KEY("name", FIELD(struct conf_field_row, name), .required = true,
		.help = "Of a header, in either letter case; of a query key, cookie or claim, "
			"exactly."),
	KEY("exact", FIELD(struct conf_field_row, exact), .help = "A value is this."),
	KEY("prefix", FIELD(struct conf_field_row, prefix), .help = "A value begins so."),
	KEY("suffix", FIELD(struct conf_field_row, suffix), .help = "A value ends so."),
	KEY("present", .type = CONF_BOOL, FIELD(struct conf_field_row, present),
		.fallback = "false",
		.help = "true: it is there, whatever its value; false: it is not."),
	KEY("invert", .type = CONF_BOOL, FIELD(struct conf_field_row, invert), .fallback = "false",
		.help = "Matches when the rest does not: when none of its values is so, or it is "
			"not there at all."),
};
const struct conf_group conf_field_group = {GROUP_OF(conf_field_keys),
	.row_size = sizeof(struct conf_field_row), .keeps_setting = true};

static const struct conf_key conf_match_keys[] = {
	KEY("path", .plural = "paths", LIST(struct conf_rule_row, when.paths, when.path_count),
		.help = "The whole path, without the query. Of all kinds of paths that a match "
			"gives, one is enough."),
	KEY("path_prefix", .plural = "path_prefixes",
		LIST(struct conf_rule_row, when.prefixes, when.prefix_count),
		.help = "The first segments: \"/v2\" is \"/v2\" and \"/v2/x\", not \"/v2x\"."),
	KEY("path_template", .plural = "path_templates",
		LIST(struct conf_rule_row, when.templates, when.template_count),
		.help = "\"/orders/{id}/items\": a name in braces is any one segment; \"*\" at the "
			"end is any rest."),
	KEY("path_regex", .plural = "path_regexes",
		LIST(struct conf_rule_row, when.regexes, when.regex_count),
		.help = "A regular expression in RE2's syntax, of the whole path: "
			"\"/orders/[0-9]+(/.*)?\". At most 256 bytes."),
	KEY("method", .plural = "methods",
		LIST(struct conf_rule_row, when.methods, when.method_count),
		.help = "HTTP methods."),
	KEY("host", .plural = "hosts", LIST(struct conf_rule_row, when.hosts, when.host_count),
		.help = "The host that was asked for, without port; \"*.example.com\" is any name "
			"below it."),
	KEY("headers", .never_empty = true,
		ROWS(struct conf_rule_row, when.headers, when.header_count, &conf_field_group),
		.help = "All of them must match. Of a header that comes several times one value "
			"is enough."),
	KEY("query", .never_empty = true,
		ROWS(struct conf_rule_row, when.query, when.query_count, &conf_field_group),
		.help = "The same for keys of the query, with escapes decoded."),
	KEY("cookies", .never_empty = true,
		ROWS(struct conf_rule_row, when.cookies, when.cookie_count, &conf_field_group),
		.help = "The same for cookies."),
	KEY("from", LIST(struct conf_rule_row, when.from, when.from_count),
		.help = "Callers: service names, SPIFFE ids, \"*\" (any verified identity), "
			"\"anonymous\" (no identity)."),
};
const struct conf_group conf_match_group = {GROUP_OF(conf_match_keys)};

static const struct conf_key conf_leg_keys[] = {
	KEY("service", FIELD(struct conf_leg_row, service),
		.help = "Another service; the route's own unless given. A route of its own that it "
			"may have is not asked."),
	KEY("version", FIELD(struct conf_leg_row, version),
		.help = "Only the endpoints of this version; all of them unless given."),
	KEY("weight", .type = CONF_NUMBER, FIELD(struct conf_leg_row, weight), .fallback = "1",
		.max = ROUTE_WEIGHT_MAX, .help = "Its share of the sum of all weights."),
};
static const struct conf_group conf_leg_group = {
	GROUP_OF(conf_leg_keys), .row_size = sizeof(struct conf_leg_row), .keeps_setting = true};

static const struct conf_key conf_mirror_keys[] = {
	KEY("service", FIELD(struct conf_leg_row, service),
		.help = "Another service; the route's own unless given."),
	KEY("version", FIELD(struct conf_leg_row, version),
		.help = "Only the endpoints of this version; all of them unless given."),
	KEY("percent", .type = CONF_NUMBER, FIELD(struct conf_leg_row, weight), .fallback = "100",
		.max = 100, .help = "So many of a hundred requests that the rule forwards."),
};
static const struct conf_group conf_mirror_group = {
	GROUP_OF(conf_mirror_keys), .row_size = sizeof(struct conf_leg_row), .keeps_setting = true};

static const struct conf_key conf_header_keys[] = {
	KEY("name", FIELD(struct conf_header_row, name), .required = true,
		.help = "No header that is of one connection only, such as Connection, Host or "
			"Content-Length."),
	KEY("value", FIELD(struct conf_header_row, value), .required = true,
		.help = "Printable, without blanks at its ends."),
};
static const struct conf_group conf_header_group = {GROUP_OF(conf_header_keys),
	.row_size = sizeof(struct conf_header_row), .keeps_setting = true};

#define EDIT_KEYS(field)                                                                       \
	KEY("remove", LIST(struct conf_rule_row, field.removed, field.removed_count),          \
		.help = "Names. Done first."),                                                 \
		KEY("set",                                                                     \
			ROWS(struct conf_rule_row, field.set, field.set_count,                 \
				&conf_header_group),                                           \
			.help = "In place of all of that name, if there are any. Done next."), \
		KEY("add",                                                                     \
			ROWS(struct conf_rule_row, field.added, field.added_count,             \
				&conf_header_group),                                           \
			.help = "Besides those that there are.")
static const struct conf_key conf_request_edit_keys[] = {EDIT_KEYS(request)};
static const struct conf_key conf_response_edit_keys[] = {EDIT_KEYS(response)};
static const struct conf_group conf_request_edit_group = {GROUP_OF(conf_request_edit_keys)};
static const struct conf_group conf_response_edit_group = {GROUP_OF(conf_response_edit_keys)};

static const struct conf_key conf_rewrite_keys[] = {
	KEY("path", RULE(rewrite.path), .help = "In place of the whole path; the query stays."),
	KEY("prefix", RULE(rewrite.prefix),
		.help = "In place of the path_prefix that matched: with \"/\", \"/v2/x\" becomes "
			"\"/x\"."),
	KEY("host", RULE(rewrite.host), .help = "In place of the host that was asked for."),
};
static const struct conf_group conf_rewrite_group = {GROUP_OF(conf_rewrite_keys)};

static const struct conf_key conf_redirect_keys[] = {
	KEY("status", .type = CONF_NUMBER, RULE(redirect.status), .fallback = "302", .min = 300,
		.max = 399, .help = "301, 302, 303, 307 or 308."),
	KEY("scheme", RULE(redirect.scheme),
		.help = "\"http\" or \"https\"; as it came unless given."),
	KEY("host", RULE(redirect.host), .help = "With port, if it has one."),
	KEY("path", RULE(redirect.path), .help = "In place of the whole path; the query stays."),
	KEY("prefix", RULE(redirect.prefix), .help = "In place of the path_prefix that matched."),
};
static const struct conf_group conf_redirect_group = {GROUP_OF(conf_redirect_keys)};

static const struct conf_key conf_respond_keys[] = {
	KEY("status", .type = CONF_NUMBER, RULE(respond.status), .fallback = "200", .min = 200,
		.max = 599, .help = "Of the answer."),
	KEY("body", RULE(respond.body), .help = "Plain text, at most 4096 bytes."),
};
static const struct conf_group conf_respond_group = {GROUP_OF(conf_respond_keys)};

static const struct conf_key conf_sticky_keys[] = {
	KEY("source", .type = CONF_BOOL, RULE(sticky.source), .fallback = "false",
		.help = "By the caller's identity: the only one for TCP."),
	KEY("header", RULE(sticky.header), .help = "By the first value of this header."),
	KEY("cookie", RULE(sticky.cookie), .help = "By the value of this cookie."),
};
static const struct conf_group conf_sticky_group = {GROUP_OF(conf_sticky_keys)};

static const struct conf_key conf_retries_keys[] = {
	KEY("attempts", .type = CONF_NUMBER, RULE(retries.attempts), .fallback = "2", .min = 1,
		.max = 10, .help = "How often at most, besides the first time."),
	KEY("on", LIST(struct conf_rule_row, retries.on, retries.on_count),
		.help = "\"connect-failure\": nothing was sent; \"refused-stream\": the other "
			"machine says "
			"that its workload got nothing; \"reset\": the connection ended before a "
			"response; "
			"\"gateway-error\": 502, 503, 504, or per_try_timeout; \"5xx\"; "
			"\"retriable-4xx\": 409; \"rate-limited\": 429; and of gRPC, where the "
			"response has no "
			"body, \"cancelled\", \"deadline-exceeded\", \"internal\", "
			"\"resource-exhausted\", \"unavailable\"."),
	KEY("per_try_timeout", .type = CONF_DURATION, RULE(retries.per_try_ms), .fallback = "0s",
		.max = HOUR, .help = "For each try, until its response begins. 0s: none."),
	KEY("backoff", .type = CONF_DURATION, RULE(retries.backoff_ms), .fallback = "25ms",
		.min = 1, .max = 60 * SECOND,
		.help = "Before the first retry; twice as long before each further one, up to ten "
			"times; of that, by chance, half at least."),
	KEY("wait_max", .type = CONF_DURATION, RULE(retries.wait_max_ms), .fallback = "10s",
		.max = HOUR,
		.help = "A server that says when it wants to be asked again (Retry-After with 503 "
			"and 429, grpc-retry-pushback-ms) is not asked before. Where that is "
			"longer "
			"than this, or than the request may take, its response is passed on."),
	KEY("any_method", .type = CONF_BOOL, RULE(retries.any_method), .fallback = "false",
		.help = "Also methods that may do harm when they come twice, such as POST. Without "
			"it "
			"these are tried again only where nothing reached the workload."),
};
static const struct conf_group conf_retries_group = {GROUP_OF(conf_retries_keys)};

static const struct conf_key conf_fault_keys[] = {
	KEY("delay", .type = CONF_DURATION, RULE(fault.delay_ms), .fallback = "0s",
		.max = ROUTE_DELAY_MS_MAX,
		.help = "Held back for so long before anything is sent. 0s: not."),
	KEY("delay_percent", .type = CONF_NUMBER, RULE(fault.delay_percent), .fallback = "100",
		.max = 100, .help = "So many of a hundred requests."),
	KEY("abort_status", .type = CONF_NUMBER, RULE(fault.abort_status), .fallback = "0",
		.max = 599, .help = "Answered with this, and not sent. 0: not."),
	KEY("abort_percent", .type = CONF_NUMBER, RULE(fault.abort_percent), .fallback = "100",
		.max = 100, .help = "So many of a hundred requests."),
};
static const struct conf_group conf_fault_group = {GROUP_OF(conf_fault_keys)};

static const struct conf_key conf_rule_keys[] = {
	KEY("name", RULE(name),
		.help = "For the access log, as \"service/name\"; \"service/rules[3]\" unless "
			"given."),
	KEY("match", .type = CONF_GROUP, .group = &conf_match_group,
		.help = "Everything that it gives must be so, of each list one item. Without it "
			"the rule matches all."),
	KEY("split", ROWS(struct conf_rule_row, legs, leg_count, &conf_leg_group),
		.help = "Where the requests go, by weight. Unless given, to the service itself, "
			"in any version."),
	KEY("sticky", .type = CONF_GROUP, .group = &conf_sticky_group,
		.help = "Whoever brings the same value gets the same leg of the split, whatever "
			"machine he calls from; shares are then those of values. Requests without "
			"one take turns."),
	KEY("mirror", ROWS(struct conf_rule_row, mirrors, mirror_count, &conf_mirror_group),
		.help = "Who gets a copy of the request besides, at most 4. Its answer is thrown "
			"away, and whatever becomes of the copy, the request and its answer are as "
			"without it. HTTP only."),
	KEY("timeout", .type = CONF_DURATION, RULE(timeout_ms), .fallback = "0s", .max = 24 * HOUR,
		.help = "A whole request until its response begins; answered 504 then. 0s: that of "
			"the caller's node."),
	KEY("retries", .type = CONF_GROUP, .group = &conf_retries_group,
		.help = "When a request is sent again, elsewhere if there is an elsewhere. Never "
			"one "
			"that has a body and has begun to be sent."),
	KEY("fault", .type = CONF_GROUP, .group = &conf_fault_group,
		.help = "Trouble made on purpose, by the caller's proxy, to see how callers bear "
			"it."),
	KEY("request_headers", .type = CONF_GROUP, .group = &conf_request_edit_group,
		.help = "What is changed in the headers of requests."),
	KEY("response_headers", .type = CONF_GROUP, .group = &conf_response_edit_group,
		.help = "What is changed in the headers of responses, and in those of `redirect` "
			"and `respond`."),
	KEY("rewrite", .type = CONF_GROUP, .group = &conf_rewrite_group,
		.help = "What the service and its policies see instead of what was asked for."),
	KEY("redirect", .type = CONF_GROUP, .group = &conf_redirect_group,
		.help = "The caller is sent elsewhere, by its own proxy."),
	KEY("respond", .type = CONF_GROUP, .group = &conf_respond_group,
		.help = "The caller is answered at once, by its own proxy."),
};
static const struct conf_group conf_rule_group = {
	GROUP_OF(conf_rule_keys), .row_size = sizeof(struct conf_rule_row), .keeps_setting = true};

static const struct conf_key conf_route_keys[] = {
	KEY("service", FIELD(struct conf_route_row, service), .required = true,
		.help = "Whose calls it is about."),
	KEY("rules", ROWS(struct conf_route_row, rules, rule_count, &conf_rule_group),
		.required = true,
		.help = "In order; the first that matches decides. What none matches goes on as "
			"if there were no route."),
};
const struct conf_group conf_route_group = {GROUP_OF(conf_route_keys),
	.row_size = sizeof(struct conf_route_row), .keeps_setting = true};
