/* SPDX-License-Identifier: Apache-2.0 */
/* One rule of a route from its row. What could never match, or would do something else than it
 * seems to, is an error. */
#include "build_routes.h"

#include "mesh/header.h"
#include "mesh/policy.h"
#include <stdio.h>
#include <strings.h>

#define CONF_VALUE_BYTES_MAX 1024
#define CONF_HOST_BYTES_MAX  255

/* --- paths --- */

/* As it stands, a request could have it: in normal form, without a query. */
static bool conf_path_is_normal(struct str path)
{
	char normal[CONF_PATH_BYTES_MAX];
	size_t len;
	return path.len > 0 && path.len <= sizeof(normal) && path.at[0] == '/' &&
	       !memchr(path.at, '?', path.len) && path_normalise(path, normal, &len) &&
	       str_eq(path, (struct str){normal, len});
}

static void conf_check_path(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str path)
{
	if (path.len > 0 && !conf_path_is_normal(path))
		conf_error(p, setting, key,
			"\"%.*s\" is no path that a request can have: it begins with '/', in "
			"normal form, without '?', at most %d bytes",
			STR_ARG(path), CONF_PATH_BYTES_MAX);
}

/* "{*}" is other proxies' way to say something else. */
static bool conf_template_name_is_good(struct str name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.at[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    c == '_' || c == '-'))
			return false;
	}
	return name.len > 0;
}

/* With "x" for each name in braces, and without the star, it must be a path. */
bool conf_template_is_good(struct str template)
{
	char path[CONF_PATH_BYTES_MAX];
	size_t len = 0;
	if (template.len > sizeof(path))
		return false;
	for (size_t i = 0; i < template.len; i++) {
		char c = template.at[i];
		bool is_first = i > 0 && template.at[i - 1] == '/';
		if (c == '*' && is_first && i + 1 == template.len)
			break;
		const char *end = c == '{' ? memchr(template.at + i, '}', template.len - i) : NULL;
		if (!end && (c == '{' || c == '}' || c == '*'))
			return false;
		if (end) {
			size_t name_len = (size_t)(end - template.at) - i - 1;
			i += name_len + 1;
			if (!is_first ||
				!conf_template_name_is_good(
					(struct str){end - name_len, name_len}) ||
				(i + 1 < template.len && template.at[i + 1] != '/'))
				return false;
			c = 'x';
		}
		path[len++] = c;
	}
	return conf_path_is_normal((struct str){path, len});
}

static struct str conf_without_slash(struct str path)
{
	if (path.len > 0 && path.at[path.len - 1] == '/')
		path.len--;
	return path;
}

/* NULL: it was told. */
static struct regex *conf_regex_new(
	struct conf_parser *p, const config_setting_t *match, struct str pattern)
{
	char why[512];
	if (p->snapshot->regex_count++ == ROUTE_REGEXES_MAX)
		conf_error(p, match, "path_regex", "more than %d of them in the whole mesh",
			ROUTE_REGEXES_MAX);
	if (p->snapshot->regex_count > ROUTE_REGEXES_MAX || pattern.len == 0)
		return NULL;
	struct regex *regex = regex_new(pattern, why, sizeof(why));
	if (!regex) {
		conf_error(p, match, "path_regex",
			"\"%.*s\" is no regular expression in RE2's syntax: %s", STR_ARG(pattern),
			why);
	} else if (!regex_may_begin(regex, '*', '/')) {
		conf_error(p, match, "path_regex",
			"\"%.*s\" matches no path: it is of the whole path, which begins with '/'",
			STR_ARG(pattern));
	}
	return regex;
}

static void conf_rule_regexes(
	struct conf_parser *p, const struct conf_rule_row *row, struct route_when *when)
{
	const config_setting_t *match = conf_member(row->setting, "match");
	for (uint32_t i = 0; i < row->when.regex_count; i++) {
		struct str pattern = row->when.regexes[i];
		struct regex *regex = conf_regex_new(p, match, pattern);
		if (regex)
			when->paths[when->path_count++] = (struct route_path){
				ROUTE_PATH_REGEX, .text = pattern, .regex = regex};
	}
}

static void conf_rule_paths(
	struct conf_parser *p, const struct conf_rule_row *row, struct route_when *when)
{
	const config_setting_t *match = conf_member(row->setting, "match");
	uint32_t count = row->when.path_count + row->when.prefix_count + row->when.template_count +
			 row->when.regex_count;
	when->paths = conf_build_array(p, count, sizeof(*when->paths));
	if (!when->paths)
		return;
	for (uint32_t i = 0; i < row->when.path_count; i++) {
		conf_check_path(p, match, "path", row->when.paths[i]);
		when->paths[when->path_count++] =
			(struct route_path){ROUTE_PATH_EXACT, row->when.paths[i]};
	}
	for (uint32_t i = 0; i < row->when.prefix_count; i++) {
		conf_check_path(p, match, "path_prefix", row->when.prefixes[i]);
		when->paths[when->path_count++] = (struct route_path){
			ROUTE_PATH_PREFIX, conf_without_slash(row->when.prefixes[i])};
	}
	for (uint32_t i = 0; i < row->when.template_count; i++) {
		struct str template = row->when.templates[i];
		if (template.len > 0 && !conf_template_is_good(template))
			conf_error(p, match, "path_template",
				"\"%.*s\" is no template: a path in normal form, in which "
				"\"{name}\" "
				"takes the place of a whole segment, and \"*\" of the last one",
				STR_ARG(template));
		when->paths[when->path_count++] =
			(struct route_path){ROUTE_PATH_TEMPLATE, template};
	}
	conf_rule_regexes(p, row, when);
}

/* --- words --- */

/* What looks like one of the usual methods and is none is more likely a slip. */
static void conf_warn_method(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str method)
{
	static const char *const usual[] = {
		"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
	struct conf_guess guess = conf_guess(method);
	char mean[64];
	for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
		if (str_eq(method, str_of(usual[i])))
			return;
		conf_guess_offer(&guess, str_of(usual[i]));
	}
	if (guess.best.len > 0 && guess.distance == 1)
		conf_warning(p, setting, key, "\"%.*s\" is an unusual method%s", STR_ARG(method),
			conf_guess_text(&guess, mean, sizeof(mean)));
}

void conf_check_methods(struct conf_parser *p, const config_setting_t *setting, const char *key,
	const struct str *methods, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct str method = methods[i];
		size_t c = 0;
		while (c < method.len &&
			((method.at[c] >= 'A' && method.at[c] <= 'Z') || method.at[c] == '-'))
			c++;
		if (str_eq(method, STR("*")))
			conf_error(p, setting, key,
				"\"*\" is no HTTP method; leave the key out for all of them");
		else if (c < method.len)
			conf_error(p, setting, key,
				"\"%.*s\" is no HTTP method; they are written in upper case",
				STR_ARG(method));
		else if (method.len > 0)
			conf_warn_method(p, setting, key, method);
	}
}

static bool conf_host_is_good(struct str host, const char *marks)
{
	for (size_t i = 0; i < host.len; i++) {
		char c = host.at[i];
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr(marks, c)))
			return false;
	}
	return host.len > 0 && host.len <= CONF_HOST_BYTES_MAX;
}

/* An address, or what some take for one: "127.1". */
static bool conf_host_ends_in_number(struct str host)
{
	const char *dot = host.len ? memrchr(host.at, '.', host.len) : NULL;
	struct str label = host;
	if (dot)
		label = (struct str){dot + 1, (size_t)(host.at + host.len - dot) - 1};
	size_t digits = 0;
	while (digits < label.len && label.at[digits] >= '0' && label.at[digits] <= '9')
		digits++;
	return label.len > 0 && (digits == label.len || str_starts(label, STR("0x")));
}

/* Labels with dots between them, or an address, in brackets if it is one of IPv6. */
static bool conf_host_name_is_good(struct str host)
{
	bool is_v6 = host.len > 2 && host.at[0] == '[' && host.at[host.len - 1] == ']';
	struct address address;
	if (is_v6)
		return conf_host_is_good(host, "[:].") && memchr(host.at, ':', host.len) != NULL &&
		       address_parse((struct str){host.at + 1, host.len - 2}, &address);
	if (conf_host_ends_in_number(host))
		return address_parse(host, &address);
	for (size_t i = 0; i < host.len; i++) {
		bool is_end = i == 0 || i + 1 == host.len || host.at[i - 1] == '.';
		if (host.at[i] == '.' && is_end)
			return false;
	}
	return conf_host_is_good(host, "-._");
}

/* The host that was meant, into `text`; empty: who knows. */
static struct str conf_host_meant(struct str host, char text[CONF_HOST_BYTES_MAX])
{
	if (host.len > CONF_HOST_BYTES_MAX || memchr(host.at, '/', host.len))
		return STR_NONE;
	for (size_t i = 0; i < host.len; i++) {
		bool is_upper = host.at[i] >= 'A' && host.at[i] <= 'Z';
		text[i] = (char)(is_upper ? host.at[i] - 'A' + 'a' : host.at[i]);
	}
	struct str meant = route_host((struct str){text, host.len});
	if (meant.len > 1 && meant.at[meant.len - 1] == '.')
		meant.len--;
	struct str name =
		str_starts(meant, STR("*.")) ? (struct str){meant.at + 2, meant.len - 2} : meant;
	return conf_host_name_is_good(name) ? meant : STR_NONE;
}

void conf_check_hosts(struct conf_parser *p, const config_setting_t *setting, const char *key,
	const struct str *hosts, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct str host = hosts[i];
		struct str name = str_starts(host, STR("*."))
					  ? (struct str){host.at + 2, host.len - 2}
					  : host;
		char text[CONF_HOST_BYTES_MAX], cure[CONF_HOST_BYTES_MAX + 16] = "";
		if (host.len == 0 || conf_host_name_is_good(name))
			continue;
		struct str meant = conf_host_meant(host, text);
		if (str_eq(host, STR("*")))
			snprintf(cure, sizeof(cure), "; leave the key out for any host");
		else if (meant.len > 0)
			snprintf(cure, sizeof(cure), "; write \"%.*s\"", STR_ARG(meant));
		conf_error(p, setting, key,
			"\"%.*s\" is no host: a name in lower case or an address, without port "
			"and without a dot at its end; \"*.\" stands at the beginning only%s",
			STR_ARG(host), cure);
	}
}

/* --- headers --- */

static bool conf_is_token(struct str name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.at[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    (c && strchr("!#$%&'*+-.^_`|~", c))))
			return false;
	}
	return name.len > 0;
}

static bool conf_is_printable(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		if ((unsigned char)text.at[i] < ' ' || text.at[i] == 0x7f)
			return false;
	}
	return true;
}

/* What to ask instead. */
static const char *conf_header_cure(struct str name, enum conf_fields fields)
{
	bool is_policy = fields == CONF_FIELDS_POLICY;
	if (str_eq_nocase(name, STR("host")))
		return is_policy ? "; see hosts" : "; see match.host and rewrite.host";
	if (str_eq_nocase(name, STR("x-forwarded-client-cert")))
		return is_policy ? "; see from" : "; see match.from";
	if (is_policy && name.len > 0 && name.at[0] == ':')
		return "; see methods, paths and hosts";
	return "";
}

static void conf_check_field_name(struct conf_parser *p, const config_setting_t *setting,
	const char *key, struct str name, enum conf_fields fields)
{
	if (name.len > CONF_HEADER_NAME_MAX || !conf_is_token(name))
		conf_error(p, setting, key, "\"%.*s\" is no name of a header%s", STR_ARG(name),
			conf_header_cure(name, fields));
	else if (header_is_hop(name) || header_is_ours(name))
		conf_error(p, setting, key, "\"%.*s\" is the proxies' own%s", STR_ARG(name),
			conf_header_cure(name, fields));
}

void conf_check_header_name(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str name)
{
	conf_check_field_name(p, setting, key, name, CONF_FIELDS_ROUTE);
}

/* Not beyond the end, where an empty text has its last character. */
static bool conf_is_blank_at(struct str text, size_t at)
{
	return at < text.len && (text.at[at] == ' ' || text.at[at] == '\t');
}

/* Of a request's header that is asked for. */
static void conf_check_header_field(struct conf_parser *p, const struct conf_field_row *row,
	const struct route_field *f, enum conf_fields fields)
{
	bool has_first = f->kind == ROUTE_TEXT_EXACT || f->kind == ROUTE_TEXT_PREFIX;
	bool has_last = f->kind == ROUTE_TEXT_EXACT || f->kind == ROUTE_TEXT_SUFFIX;
	if (row->name.len == 0)
		return;
	conf_check_field_name(p, row->setting, "name", row->name, fields);
	if (memchr(row->name.at, '_', row->name.len))
		conf_error(p, row->setting, "name",
			"\"%.*s\": requests with a '_' in a header's name are refused; write '-', "
			"as the caller must",
			STR_ARG(row->name));
	if (!conf_is_printable(f->text) || f->text.len > CONF_VALUE_BYTES_MAX ||
		(has_first && conf_is_blank_at(f->text, 0)) ||
		(has_last && conf_is_blank_at(f->text, f->text.len - 1)))
		conf_error(p, row->setting, NULL,
			"no value of a header is so: printable, at most %d bytes, without blanks "
			"at "
			"its ends",
			CONF_VALUE_BYTES_MAX);
}

static enum route_text_kind conf_field_kind(
	struct conf_parser *p, const struct conf_field_row *row, struct str *ret_text)
{
	static const struct {
		const char *key;
		enum route_text_kind kind;
		size_t offset;
	} kinds[] = {
		{"exact", ROUTE_TEXT_EXACT, offsetof(struct conf_field_row, exact)},
		{"prefix", ROUTE_TEXT_PREFIX, offsetof(struct conf_field_row, prefix)},
		{"suffix", ROUTE_TEXT_SUFFIX, offsetof(struct conf_field_row, suffix)},
		{"present", ROUTE_TEXT_PRESENT, 0},
	};
	enum route_text_kind kind = ROUTE_TEXT_PRESENT;
	unsigned given = 0;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!conf_member(row->setting, kinds[i].key))
			continue;
		given++;
		kind = kinds[i].kind;
		if (kind != ROUTE_TEXT_PRESENT)
			*ret_text = *(const struct str *)((const char *)row + kinds[i].offset);
	}
	if (given != 1)
		conf_error(p, row->setting, NULL,
			"one of exact, prefix, suffix and present is wanted, %s given",
			given ? "several are" : "none is");
	return kind;
}

struct route_fields conf_rule_fields(struct conf_parser *p, const struct conf_field_row *rows,
	uint32_t count, enum conf_fields kind)
{
	struct route_fields fields = {.at = conf_build_array(p, count, sizeof(*fields.at))};
	for (uint32_t i = 0; fields.at && i < count; i++) {
		const struct conf_field_row *row = &rows[i];
		struct route_field *f = &fields.at[fields.count++];
		f->name = row->name;
		f->kind = conf_field_kind(p, row, &f->text);
		bool is_absent = f->kind == ROUTE_TEXT_PRESENT && !row->present;
		f->invert = row->invert != is_absent;
		if (kind != CONF_FIELDS_PLAIN)
			conf_check_header_field(p, row, f, kind);
	}
	return fields;
}

void conf_rule_when(struct conf_parser *p, const struct conf_rule_row *row, struct route_when *when)
{
	*when = (struct route_when){
		.methods = row->when.methods,
		.method_count = row->when.method_count,
		.hosts = row->when.hosts,
		.host_count = row->when.host_count,
		.from = row->when.from,
		.from_count = row->when.from_count,
	};
	conf_rule_paths(p, row, when);
	const config_setting_t *match = conf_member(row->setting, "match");
	conf_check_methods(p, match, "method", row->when.methods, row->when.method_count);
	conf_check_hosts(p, match, "host", row->when.hosts, row->when.host_count);
	when->headers =
		conf_rule_fields(p, row->when.headers, row->when.header_count, CONF_FIELDS_ROUTE);
	when->query =
		conf_rule_fields(p, row->when.query, row->when.query_count, CONF_FIELDS_PLAIN);
	when->cookies =
		conf_rule_fields(p, row->when.cookies, row->when.cookie_count, CONF_FIELDS_PLAIN);
	conf_build_check_from(
		p, conf_member(row->setting, "match"), row->when.from, row->when.from_count);
}

/* --- edits --- */

static bool conf_is_header_value(struct str value)
{
	return conf_is_printable(value) && value.len <= CONF_VALUE_BYTES_MAX &&
	       str_eq(value, str_trim(value));
}

static struct route_header *conf_edit_headers(
	struct conf_parser *p, const struct conf_header_row *rows, uint32_t count, size_t *bytes)
{
	struct route_header *headers = conf_build_array(p, count, sizeof(*headers));
	for (uint32_t i = 0; headers && i < count; i++) {
		headers[i] = (struct route_header){rows[i].name, rows[i].value};
		*bytes += rows[i].name.len + rows[i].value.len;
		if (rows[i].name.len > 0)
			conf_check_header_name(p, rows[i].setting, "name", rows[i].name);
		if (!conf_is_header_value(rows[i].value))
			conf_error(p, rows[i].setting, "value",
				"no value of a header: printable, at most %d bytes, without blanks "
				"at its ends",
				CONF_VALUE_BYTES_MAX);
	}
	return headers;
}

/* Which of the two would hold? */
static void conf_check_set_once(
	struct conf_parser *p, const struct conf_header_row *rows, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t k = 0; k < i; k++) {
			if (!str_eq_nocase(rows[i].name, rows[k].name))
				continue;
			conf_error(p, rows[i].setting, "name",
				"\"%.*s\" is set already; see add for a header that comes "
				"several times",
				STR_ARG(rows[i].name));
			break;
		}
	}
}

void conf_rule_edit(struct conf_parser *p, const struct conf_rule_row *row, const char *key,
	const struct conf_edit_rows *from, struct route_edit *edit)
{
	const config_setting_t *setting = conf_member(row->setting, key);
	size_t bytes = 0;
	*edit = (struct route_edit){.removed = from->removed, .removed_count = from->removed_count};
	edit->set = conf_edit_headers(p, from->set, from->set_count, &bytes);
	edit->set_count = from->set_count;
	edit->added = conf_edit_headers(p, from->added, from->added_count, &bytes);
	edit->added_count = from->added_count;
	for (uint32_t i = 0; i < from->removed_count; i++) {
		bytes += from->removed[i].len;
		if (from->removed[i].len > 0)
			conf_check_header_name(p, setting, "remove", from->removed[i]);
	}
	if (from->set_count + from->added_count > ROUTE_EDIT_HEADERS_MAX)
		conf_error(p, setting, NULL, "more than %d headers are set and added",
			ROUTE_EDIT_HEADERS_MAX);
	else
		conf_check_set_once(p, from->set, from->set_count);
	if (bytes > ROUTE_EDIT_BYTES_MAX)
		conf_error(p, setting, NULL, "names and values have more than %d bytes together",
			ROUTE_EDIT_BYTES_MAX);
}

/* --- what is asked for instead --- */

static bool conf_has_prefixes_only(const struct conf_rule_row *row)
{
	return row->when.prefix_count > 0 && row->when.path_count == 0 &&
	       row->when.template_count == 0 && row->when.regex_count == 0;
}

static void conf_check_target(struct conf_parser *p, const struct conf_rule_row *row,
	const config_setting_t *setting, const struct route_target *target)
{
	if (target->host.len > 0 && !conf_host_is_good(target->host, "-._[:]"))
		conf_error(p, setting, "host",
			"\"%.*s\" is no host in lower case, with or without "
			"port",
			STR_ARG(target->host));
	conf_check_path(p, setting, "path", target->path);
	if (target->path.len > 0 && target->has_prefix)
		conf_error(p, setting, "prefix", "together with path, which leaves none");
	else if (target->has_prefix && !conf_has_prefixes_only(row))
		conf_error(p, setting, "prefix",
			"in place of which one? The match gives no path_prefix, or other paths "
			"too");
}

static void conf_rule_rewrite(
	struct conf_parser *p, const struct conf_rule_row *row, struct route_rule *rule)
{
	const config_setting_t *setting = conf_member(row->setting, "rewrite");
	struct str prefix = row->rewrite.prefix;
	rule->target = (struct route_target){.host = row->rewrite.host,
		.path = row->rewrite.path,
		.has_prefix = prefix.len > 0,
		.prefix = conf_without_slash(prefix)};
	conf_check_target(p, row, setting, &rule->target);
	conf_check_path(p, setting, "prefix", prefix);
}

static void conf_rule_redirect(struct conf_parser *p, const struct conf_rule_row *row,
	const config_setting_t *setting, struct route_rule *rule)
{
	struct str scheme = row->redirect.scheme, prefix = row->redirect.prefix;
	rule->action = ROUTE_REDIRECT;
	rule->status = row->redirect.status;
	rule->target = (struct route_target){.host = row->redirect.host,
		.path = row->redirect.path,
		.has_prefix = prefix.len > 0,
		.prefix = conf_without_slash(prefix),
		.scheme = scheme};
	conf_check_target(p, row, setting, &rule->target);
	conf_check_path(p, setting, "prefix", prefix);
	if (scheme.len > 0 && !str_eq(scheme, STR("http")) && !str_eq(scheme, STR("https")))
		conf_error(p, setting, "scheme", "\"%.*s\" is neither \"http\" nor \"https\"",
			STR_ARG(scheme));
	if (rule->status > 303 && rule->status != 307 && rule->status != 308)
		conf_error(p, setting, "status", "%u is none of 301, 302, 303, 307 and 308",
			rule->status);
	if (rule->status == 300)
		conf_error(p, setting, "status", "300 is none of 301, 302, 303, 307 and 308");
	if (scheme.len + row->redirect.host.len + row->redirect.path.len + prefix.len == 0)
		conf_error(p, setting, NULL, "where to? Give scheme, host, path or prefix");
}

static void conf_rule_respond(struct conf_parser *p, const struct conf_rule_row *row,
	const config_setting_t *setting, struct route_rule *rule)
{
	rule->action = ROUTE_RESPOND;
	rule->status = row->respond.status;
	rule->body = row->respond.body;
	bool has_no_body = rule->status == 204 || rule->status == 304;
	if (!conf_member(setting, "status"))
		conf_error(p, setting, "status", "missing");
	if (rule->body.len > ROUTE_BODY_BYTES_MAX)
		conf_error(p, setting, "body", "longer than %d bytes", ROUTE_BODY_BYTES_MAX);
	if (has_no_body && rule->body.len > 0)
		conf_error(p, setting, "body", "an answer with status %u has none", rule->status);
}

/* A rule that answers by itself forwards nothing. */
static void conf_check_action(
	struct conf_parser *p, const struct conf_rule_row *row, const char *action)
{
	static const char *const others[] = {"split", "sticky", "mirror", "timeout", "retries",
		"fault", "request_headers", "rewrite", "redirect", "respond"};
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		if (strcmp(others[i], action) != 0 && conf_member(row->setting, others[i]))
			conf_error(p, row->setting, others[i],
				"not together with %s, which answers by itself", action);
	}
}

static const struct {
	const char *name;
	enum route_retry_on on;
} conf_retry_words[] = {
	{"connect-failure", ROUTE_RETRY_CONNECT},
	{"refused-stream", ROUTE_RETRY_REFUSED},
	{"reset", ROUTE_RETRY_RESET},
	{"gateway-error", ROUTE_RETRY_GATEWAY},
	{"5xx", ROUTE_RETRY_5XX},
	{"retriable-4xx", ROUTE_RETRY_409},
	{"rate-limited", ROUTE_RETRY_429},
	{"cancelled", ROUTE_RETRY_CANCELLED},
	{"deadline-exceeded", ROUTE_RETRY_DEADLINE_EXCEEDED},
	{"internal", ROUTE_RETRY_INTERNAL},
	{"resource-exhausted", ROUTE_RETRY_RESOURCE_EXHAUSTED},
	{"unavailable", ROUTE_RETRY_UNAVAILABLE},
};

static uint32_t conf_retry_on(
	struct conf_parser *p, const config_setting_t *setting, struct str word)
{
	struct conf_guess guess = conf_guess(word);
	struct conf_words words = {0};
	char mean[128];
	for (size_t i = 0; i < ARRAY_LEN(conf_retry_words); i++) {
		if (str_eq(word, str_of(conf_retry_words[i].name)))
			return conf_retry_words[i].on;
		conf_guess_offer(&guess, str_of(conf_retry_words[i].name));
		conf_words_add(&words, str_of(conf_retry_words[i].name));
	}
	if (guess.best.len > 0)
		conf_error(p, setting, "on", "\"%.*s\" is no reason%s", STR_ARG(word),
			conf_guess_text(&guess, mean, sizeof(mean)));
	else
		conf_error(p, setting, "on", "\"%.*s\" is no reason; there are %s", STR_ARG(word),
			words.text);
	return 0;
}

void conf_rule_retries(
	struct conf_parser *p, const struct conf_rule_row *row, struct route_retry *retry)
{
	const config_setting_t *setting = conf_member(row->setting, "retries");
	if (!setting)
		return;
	*retry = (struct route_retry){.attempts = row->retries.attempts,
		.per_try_ms = row->retries.per_try_ms,
		.backoff_ms = row->retries.backoff_ms,
		.wait_max_ms = row->retries.wait_max_ms,
		.any_method = row->retries.any_method};
	for (uint32_t i = 0; i < row->retries.on_count; i++) {
		if (row->retries.on[i].len > 0)
			retry->on |= conf_retry_on(p, setting, row->retries.on[i]);
	}
	if (!conf_member(setting, "on"))
		conf_error(p, setting, "on", "missing");
}

void conf_rule_fault(
	struct conf_parser *p, const struct conf_rule_row *row, struct route_fault *fault)
{
	const config_setting_t *setting = conf_member(row->setting, "fault");
	bool has_delay = row->fault.delay_ms > 0, has_abort = row->fault.abort_status > 0;
	if (!setting)
		return;
	*fault = (struct route_fault){.delay_ms = row->fault.delay_ms,
		.delay_percent = has_delay ? row->fault.delay_percent : 0,
		.abort_status = (uint16_t)row->fault.abort_status,
		.abort_percent = has_abort ? row->fault.abort_percent : 0};
	if (!has_delay && !has_abort)
		conf_error(p, setting, NULL, "which one? Give delay or abort_status");
	if (!has_delay && conf_member(setting, "delay_percent"))
		conf_error(p, setting, "delay_percent", "without delay");
	if (!has_abort && conf_member(setting, "abort_percent"))
		conf_error(p, setting, "abort_percent", "without abort_status");
	if (has_abort && (fault->abort_status < 200 || fault->abort_status == 204 ||
				 fault->abort_status == 205 || fault->abort_status == 304))
		conf_error(p, setting, "abort_status",
			"%u is no status of an answer with a text: 200 to 599 but 204, 205, 304",
			fault->abort_status);
}

/* Of whatever service: a rollout divides the legs of other services' routes as well. */
static bool conf_has_rollouts(const struct conf_parser *p)
{
	for (uint32_t f = 0; f < p->mesh_count; f++) {
		if (p->mesh[f].mesh.rollout_count > 0)
			return true;
	}
	return false;
}

void conf_rule_sticky(
	struct conf_parser *p, const struct conf_rule_row *row, struct route_sticky *sticky)
{
	const config_setting_t *setting = conf_member(row->setting, "sticky");
	struct str header = row->sticky.header, cookie = row->sticky.cookie;
	if (!setting)
		return;
	if (row->sticky.source + (header.len > 0) + (cookie.len > 0) != 1)
		conf_error(p, setting, NULL, "one of source, header and cookie is wanted");
	if (row->leg_count < 2 && !conf_has_rollouts(p))
		conf_warning(p, setting, NULL,
			"does something during a rollout only: there is no split to stay with a "
			"leg of");
	if (header.len > 0)
		conf_check_header_name(p, setting, "header", header);
	*sticky = header.len > 0   ? (struct route_sticky){ROUTE_STICKY_HEADER, header}
		  : cookie.len > 0 ? (struct route_sticky){ROUTE_STICKY_COOKIE, cookie}
				   : (struct route_sticky){.kind = ROUTE_STICKY_SOURCE};
}

void conf_rule_action(
	struct conf_parser *p, const struct conf_rule_row *row, struct route_rule *rule)
{
	const config_setting_t *redirect = conf_member(row->setting, "redirect");
	const config_setting_t *respond = conf_member(row->setting, "respond");
	if (redirect || respond)
		conf_check_action(p, row, redirect ? "redirect" : "respond");
	if (redirect)
		conf_rule_redirect(p, row, redirect, rule);
	else if (respond)
		conf_rule_respond(p, row, respond, rule);
	else if (conf_member(row->setting, "rewrite"))
		conf_rule_rewrite(p, row, rule);
}
