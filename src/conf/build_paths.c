/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of policies. One that no request can have, or that means something else to other proxies,
 * is an error: a rule that quietly matches less than was meant leaves a door open when it denies.
 */
#include "build_policies.h"

static void conf_policy_path_star(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str text)
{
	size_t star = (size_t)((const char *)memchr(text.at, '*', text.len) - text.at);
	if (star == 0)
		conf_error(p, setting, key,
			"\"%.*s\": a path is compared from its beginning, so no end of one can be "
			"asked for; name the paths, or what they are below, as in \"/static/*\"",
			STR_ARG(text));
	else if (star + 1 == text.len)
		conf_error(p, setting, key,
			"\"%.*s\" would match names that only begin alike; write \"%.*s/*\"",
			STR_ARG(text), (int)star, text.at);
	else
		conf_error(p, setting, key,
			"\"%.*s\": one '*', after the last '/'; any one segment is a name in "
			"braces: \"/orders/{id}/items\"",
			STR_ARG(text));
}

/* In the form in which requests come. */
static void conf_policy_path_plain(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str path)
{
	char normal[CONF_PATH_BYTES_MAX];
	size_t len;
	bool is_short = path.len <= sizeof(normal);
	if (path.len > 0 && path.at[0] != '/')
		conf_error(p, setting, key, "\"%.*s\" does not begin with '/'; write \"/%.*s\"",
			STR_ARG(path), STR_ARG(path));
	else if (memchr(path.at, '?', path.len))
		conf_error(p, setting, key,
			"\"%.*s\": a path is compared without the query, from the '?' on",
			STR_ARG(path));
	else if (!is_short || !path_normalise(path, normal, &len))
		conf_error(p, setting, key,
			"\"%.*s\" is no path that a request can have: at most %d bytes, what is "
			"not printable in percent-encoding, without \"%%2F\" and \"..;\"",
			STR_ARG(path), CONF_PATH_BYTES_MAX);
	else if (!str_eq(path, (struct str){normal, len}))
		conf_error(p, setting, key, "\"%.*s\" never matches: requests come as \"%.*s\"",
			STR_ARG(path), (int)len, normal);
}

static bool conf_policy_path_is_below(struct str text)
{
	const char *star = memchr(text.at, '*', text.len);
	return star && star + 1 == text.at + text.len && text.len >= 2 && star[-1] == '/';
}

struct route_path conf_policy_path(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str text)
{
	bool is_template = memchr(text.at, '{', text.len) || memchr(text.at, '}', text.len);
	bool is_below = conf_policy_path_is_below(text);
	struct str path = {text.at, text.len - (is_below ? 2 : 0)};
	if (str_eq(text, STR("*")))
		return (struct route_path){ROUTE_PATH_PREFIX, STR("")};
	if (is_template) {
		if (!conf_template_is_good(text))
			conf_error(p, setting, key,
				"\"%.*s\" is no template: a path in normal form, in which "
				"\"{name}\" takes the place of a whole segment, and \"*\" of the "
				"last one",
				STR_ARG(text));
		return (struct route_path){ROUTE_PATH_TEMPLATE, text};
	}
	if (memchr(text.at, '*', text.len) && !is_below)
		conf_policy_path_star(p, setting, key, text);
	else if (path.len > 0)
		conf_policy_path_plain(p, setting, key, path);
	return (struct route_path){is_below ? ROUTE_PATH_PREFIX : ROUTE_PATH_EXACT, path};
}
