/* SPDX-License-Identifier: Apache-2.0 */
/* Policies from rows. What would be matched differently from what was meant is an error here, since
 * a rule that quietly matches less (deny) or more (allow) leaves a door open. */
#include "parser.h"

#include "mesh/identity.h"
#include "mesh/policy.h"

#define CONF_POLICY_PATH_MAX 2048

/* Of a service that is not there: with a store it may be another node's, or come later, when it can
 * be one's name at all. */
static void conf_policy_check_name(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str name)
{
	if (p->with_store && !identity_service_valid(name))
		conf_error(p, setting, key, "\"%.*s\" is no service name", STR_ARG(name));
	else
		conf_build_unknown_service(p, setting, key, name);
}

void conf_build_check_from(struct conf_parser *p, const config_setting_t *setting,
	const struct str *names, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct str from = names[i];
		if (from.len == 0 || str_eq(from, STR("*")) || str_eq(from, STR("anonymous")) ||
			snapshot_service(p->snapshot, from))
			continue;
		if (!str_starts(from, STR("spiffe://")))
			conf_policy_check_name(p, setting, "from", from);
		else if (!identity_id_valid(from))
			conf_error(p, setting, "from", "\"%.*s\" is no SPIFFE id of a workload",
				STR_ARG(from));
	}
}

static void conf_policy_check_methods(struct conf_parser *p, const struct conf_policy_row *row)
{
	for (uint32_t i = 0; i < row->method_count; i++) {
		struct str method = row->methods[i];
		bool is_upper = true;
		for (size_t c = 0; c < method.len; c++)
			is_upper = is_upper && ((method.at[c] >= 'A' && method.at[c] <= 'Z') ||
						       method.at[c] == '-');
		if (!is_upper)
			conf_error(p, row->setting, "methods",
				"\"%.*s\" is no HTTP method; they are written in upper case",
				STR_ARG(method));
	}
}

/* The part of a rule that is compared, without its star. */
static struct str conf_policy_path_text(struct str path)
{
	if (path.at[0] == '*')
		return (struct str){path.at + 1, path.len - 1};
	if (path.at[path.len - 1] == '*')
		return (struct str){path.at, path.len - 1};
	return path;
}

/* Requests are compared in their normal form, so a rule in another form would never match. A suffix
 * is tried behind "/~", which keeps dots at its start from being a segment of their own. */
static void conf_policy_check_form(
	struct conf_parser *p, const struct conf_policy_row *row, struct str path, struct str text)
{
	bool is_suffix = path.at[0] == '*', is_prefix = !is_suffix && text.len < path.len;
	char given[CONF_POLICY_PATH_MAX + 2] = "/~", normal[CONF_POLICY_PATH_MAX + 2];
	size_t lead = is_suffix ? 2 : 0, len = 0;
	memcpy(given + lead, text.at, text.len);
	struct str whole = {given, lead + text.len};
	bool is_good = !memchr(given, '?', whole.len) && path_normalise(whole, normal, &len);
	if (!is_good || len < lead || memcmp(given, normal, lead) != 0)
		conf_error(p, row->setting, "paths", "\"%.*s\" is no path that a request can have",
			STR_ARG(path));
	else if (!str_eq(whole, (struct str){normal, len}))
		conf_error(p, row->setting, "paths",
			"\"%.*s\" never matches: requests come as \"%s%.*s%s\"", STR_ARG(path),
			is_suffix ? "*" : "", (int)(len - lead), normal + lead,
			is_prefix ? "*" : "");
}

static void conf_policy_check_path(
	struct conf_parser *p, const struct conf_policy_row *row, struct str path)
{
	struct str text = conf_policy_path_text(path);
	bool is_suffix = path.at[0] == '*', is_prefix = !is_suffix && text.len < path.len;
	if (!is_suffix && path.at[0] != '/') {
		conf_error(p, row->setting, "paths",
			"\"%.*s\" begins neither with '/' nor with '*'", STR_ARG(path));
	} else if (text.len > 0 && memchr(text.at, '*', text.len)) {
		conf_error(p, row->setting, "paths",
			"\"%.*s\": one '*', at the beginning or after the last '/'", STR_ARG(path));
	} else if (is_prefix && text.at[text.len - 1] != '/') {
		conf_error(p, row->setting, "paths",
			"\"%.*s\" would match names that only begin alike; write \"%.*s/*\"",
			STR_ARG(path), STR_ARG(text));
	} else if (text.len > CONF_POLICY_PATH_MAX - 1) {
		conf_error(
			p, row->setting, "paths", "longer than %d bytes", CONF_POLICY_PATH_MAX - 1);
	} else {
		conf_policy_check_form(p, row, path, text);
	}
}

static bool conf_policy_is_for_anonymous(const struct conf_policy_row *row)
{
	for (uint32_t i = 0; i < row->from_count; i++) {
		if (!str_eq(row->from[i], STR("anonymous")))
			return false;
	}
	return row->from_count > 0;
}

/* A rule for one service that cannot do what it seems to. `anonymous_denial` and `total_denial` are
 * the service's deny rules that leave callers without identity, or all callers, no way in. */
static void conf_policy_warn(struct conf_parser *p, const struct conf_policy_row *row,
	const struct service *service, const struct policy *anonymous_denial,
	const struct policy *total_denial)
{
	bool is_allow = row->action == POLICY_ALLOW;
	bool is_anonymous_allow = is_allow && conf_policy_is_for_anonymous(row);
	bool is_http = row->method_count > 0 || row->path_count > 0;
	const char *key = row->method_count > 0 ? "methods" : "paths";
	if (is_http && service->protocol == PROTOCOL_TCP)
		conf_warning(p, row->setting, key,
			is_allow ? "\"%.*s\" is a tcp service, which has none: the rule never "
				   "matches"
				 : "\"%.*s\" is a tcp service, which has none: the rule denies "
				   "every "
				   "connection of these callers",
			STR_ARG(service->name));
	if (is_anonymous_allow && service->mtls == MTLS_STRICT)
		conf_warning(p, row->setting, "from",
			"\"%.*s\" is strict: callers without identity are refused before policy",
			STR_ARG(service->name));
	if (is_allow && total_denial)
		conf_warning(p, row->setting, NULL,
			"never matches for \"%.*s\": \"%.*s\" denies everybody",
			STR_ARG(service->name), STR_ARG(total_denial->name));
	else if (is_anonymous_allow && anonymous_denial)
		conf_warning(p, row->setting, NULL,
			"never matches for \"%.*s\": a caller without identity may be one that "
			"\"%.*s\" denies",
			STR_ARG(service->name), STR_ARG(anonymous_denial->name));
}

static void conf_policy_build(struct conf_parser *p, struct policy *policy,
	const struct conf_policy_row *row, unsigned index)
{
	*policy = (struct policy){.name = row->name,
		.action = row->action,
		.from = row->from,
		.from_count = row->from_count,
		.methods = row->methods,
		.method_count = row->method_count,
		.paths = row->paths,
		.path_count = row->path_count};
	if (row->name.len == 0)
		policy->name = arena_printf(&p->snapshot->arena, "policies[%u]", index);
	conf_build_check_from(p, row->setting, row->from, row->from_count);
	conf_policy_check_methods(p, row);
	for (uint32_t i = 0; i < row->path_count; i++) {
		if (row->paths[i].len > 0)
			conf_policy_check_path(p, row, row->paths[i]);
	}
	for (uint32_t i = 0; i < row->service_count; i++) {
		struct str name = row->services[i];
		if (name.len > 0 && !str_eq(name, STR("*")) && !snapshot_service(p->snapshot, name))
			conf_policy_check_name(p, row->setting, "service", name);
	}
}

/* Calls `visit` for each service that a row names, once. */
static void conf_policy_each(struct conf_parser *p, uint32_t index,
	const struct conf_policy_row *row,
	void (*visit)(struct conf_parser *p, uint32_t index, struct service *service))
{
	struct snapshot *s = p->snapshot;
	bool is_all = false;
	for (uint32_t i = 0; i < row->service_count; i++)
		is_all = is_all || str_eq(row->services[i], STR("*"));
	for (uint32_t i = 0; is_all && i < s->service_count; i++)
		visit(p, index, &s->services[i]);
	for (uint32_t i = 0; !is_all && i < row->service_count; i++) {
		struct service *service = (struct service *)snapshot_service(s, row->services[i]);
		bool is_again = false;
		for (uint32_t j = 0; j < i; j++)
			is_again = is_again || str_eq(row->services[i], row->services[j]);
		if (service && !is_again)
			visit(p, index, service);
	}
}

static void conf_policy_count(struct conf_parser *p, uint32_t index, struct service *service)
{
	service->policy_count++;
}

static void conf_policy_put(struct conf_parser *p, uint32_t index, struct service *service)
{
	service->policies[service->policy_count++] = &p->snapshot->policies[index];
}

/* In the order of the files, for each service. */
static void conf_policy_attach(struct conf_parser *p, const struct conf_policy_row **rows)
{
	struct snapshot *s = p->snapshot;
	for (uint32_t i = 0; i < s->policy_count; i++)
		conf_policy_each(p, i, rows[i], conf_policy_count);
	for (uint32_t i = 0; i < s->service_count; i++) {
		struct service *service = &s->services[i];
		service->policies =
			conf_build_array(p, service->policy_count, sizeof(struct policy *));
		service->policy_count = 0;
	}
	for (uint32_t i = 0; !p->is_exhausted && i < s->policy_count; i++)
		conf_policy_each(p, i, rows[i], conf_policy_put);
}

static void conf_policy_warn_service(
	struct conf_parser *p, const struct service *service, const struct conf_policy_row **rows)
{
	const struct policy *anonymous_denial = NULL, *total_denial = NULL;
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct policy *policy = service->policies[i];
		if (policy->action == POLICY_ALLOW || policy->method_count > 0 ||
			policy->path_count > 0)
			continue;
		anonymous_denial = policy;
		if (policy->from_count == 0)
			total_denial = policy;
	}
	for (uint32_t i = 0; i < service->policy_count; i++)
		conf_policy_warn(p, rows[service->policies[i] - p->snapshot->policies], service,
			anonymous_denial, total_denial);
}

void conf_build_policies(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	uint32_t count = 0;
	for (uint32_t f = 0; f < p->mesh_count; f++)
		count += p->mesh[f].mesh.policy_count;
	s->policies = conf_build_array(p, count, sizeof(*s->policies));
	const struct conf_policy_row **rows = conf_build_array(p, count, sizeof(*rows));
	for (uint32_t f = 0; !p->is_exhausted && f < p->mesh_count; f++) {
		for (uint32_t i = 0; i < p->mesh[f].mesh.policy_count; i++) {
			rows[s->policy_count] = &p->mesh[f].mesh.policies[i];
			conf_policy_build(
				p, &s->policies[s->policy_count], rows[s->policy_count], i);
			s->policy_count++;
		}
	}
	if (!p->is_exhausted)
		conf_policy_attach(p, rows);
	for (uint32_t i = 0; !p->is_exhausted && i < s->service_count; i++)
		conf_policy_warn_service(p, &s->services[i], rows);
}
