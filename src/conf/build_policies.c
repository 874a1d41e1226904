/* SPDX-License-Identifier: Apache-2.0 */
/* Policies from rows. What would be matched differently from what was meant is an error here, since
 * a rule that quietly matches less (deny) or more (allow) leaves a door open. */
#include "build_routes.h"
#include "mesh/identity.h"
#include "mesh/policy.h"

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

/* --- callers --- */

static void conf_check_source(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str from)
{
	if (from.len == 0)
		return;
	bool is_name = !memchr(from.at, '/', from.len) && !memchr(from.at, ':', from.len) &&
		       !memchr(from.at, '.', from.len);
	if (is_name && !str_eq(from, STR("*")) && !str_eq(from, STR("anonymous"))) {
		if (!snapshot_service(p->snapshot, from))
			conf_policy_check_name(p, setting, key, from);
	} else if (source_count(p->snapshot, from) == 0) {
		conf_error(p, setting, key,
			"\"%.*s\" names no caller: a service, \"shop/web\", \"shop/*\", a SPIFFE "
			"id or \"spiffe://domain/*\", \"*\", \"anonymous\", or a range of "
			"addresses",
			STR_ARG(from));
	}
}

void conf_build_check_from(struct conf_parser *p, const config_setting_t *setting,
	const struct str *names, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		conf_check_source(p, setting, "from", names[i]);
}

static struct source *conf_policy_sources(struct conf_parser *p, const struct conf_policy_row *row,
	const char *key, const struct str *entries, uint32_t entry_count, uint32_t *ret_count)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < entry_count; i++) {
		conf_check_source(p, row->setting, key, entries[i]);
		count += source_count(p->snapshot, entries[i]);
	}
	struct source *sources = conf_build_array(p, count, sizeof(*sources));
	for (uint32_t i = 0; sources && i < entry_count; i++) {
		uint32_t more = source_count(p->snapshot, entries[i]);
		if (more > 0 && !source_read(p->snapshot, entries[i], &p->snapshot->arena,
					&sources[*ret_count]))
			p->is_exhausted = true;
		*ret_count += more;
	}
	return sources;
}

/* --- operations --- */

static struct route_path *conf_policy_paths(struct conf_parser *p,
	const struct conf_policy_row *row, const char *key, const struct str *texts, uint32_t count,
	uint32_t *ret_count)
{
	struct route_path *paths = conf_build_array(p, count, sizeof(*paths));
	for (uint32_t i = 0; paths && i < count; i++) {
		if (texts[i].len > 0)
			paths[(*ret_count)++] = conf_policy_path(p, row->setting, key, texts[i]);
	}
	return paths;
}

static void conf_policy_operations(struct conf_parser *p, const struct conf_policy_row *row,
	bool is_not, struct policy_operations *to)
{
	const struct conf_operation_rows *from = is_not ? &row->not_to : &row->to;
	*to = (struct policy_operations){
		.methods = from->methods,
		.method_count = from->method_count,
		.hosts = from->hosts,
		.host_count = from->host_count,
		.ports = from->ports,
		.port_count = from->port_count,
	};
	to->paths = conf_policy_paths(p, row, is_not ? "not_paths" : "paths", from->paths,
		from->path_count, &to->path_count);
	conf_check_methods(p, row->setting, is_not ? "not_methods" : "methods", from->methods,
		from->method_count);
	conf_check_hosts(
		p, row->setting, is_not ? "not_hosts" : "hosts", from->hosts, from->host_count);
}

static void conf_policy_token(
	struct conf_parser *p, const struct conf_policy_row *row, struct policy_token_rule *rule)
{
	*rule = (struct policy_token_rule){
		.is_wanted = conf_member(row->setting, "token") != NULL,
		.issuers = row->token.issuers,
		.issuer_count = row->token.issuer_count,
		.audiences = row->token.audiences,
		.audience_count = row->token.audience_count,
	};
	rule->claims = conf_rule_fields(p, row->token.claims, row->token.claim_count, false);
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
	bool is_http = row->to.method_count > 0 || row->to.path_count > 0;
	const char *key = row->to.method_count > 0 ? "methods" : "paths";
	if (is_http && service->protocol == PROTOCOL_TCP)
		conf_warning(p, row->setting, key,
			is_allow ? "\"%.*s\" is a tcp service, which has none: the rule never "
				   "matches"
				 : "\"%.*s\" is a tcp service, which has none: the rule denies "
				   "every "
				   "connection of these callers",
			STR_ARG(service->name));
	if (is_anonymous_allow && service_is_mtls(service, MTLS_STRICT))
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

static struct str conf_policy_where(struct conf_parser *p, const struct conf_policy_row *row)
{
	char place[512];
	return arena_str(&p->snapshot->arena,
		str_of(conf_place_text(p, row->setting, place, sizeof(place))));
}

static void conf_policy_build(struct conf_parser *p, struct policy *policy,
	const struct conf_policy_row *row, unsigned index)
{
	*policy = (struct policy){.name = row->name,
		.where = conf_policy_where(p, row),
		.action = row->action,
		.mode = row->mode};
	if (row->name.len == 0)
		policy->name = arena_printf(&p->snapshot->arena, "policies[%u]", index);
	policy->from = conf_policy_sources(
		p, row, "from", row->from, row->from_count, &policy->from_count);
	policy->not_from = conf_policy_sources(
		p, row, "not_from", row->not_from, row->not_from_count, &policy->not_from_count);
	conf_policy_operations(p, row, false, &policy->to);
	conf_policy_operations(p, row, true, &policy->not_to);
	policy->headers = conf_rule_fields(p, row->headers, row->header_count, true);
	conf_policy_token(p, row, &policy->token);
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
		if (policy->action == POLICY_ALLOW || policy->to.method_count > 0 ||
			policy->to.path_count > 0)
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
	for (uint32_t i = 0; !p->is_exhausted && i < s->service_count; i++)
		p->is_exhausted = !policy_index_build(s, &s->services[i]);
}
