/* SPDX-License-Identifier: Apache-2.0 */
/* Policies from rows. What would be matched differently from what was meant is an error here, since
 * a rule that quietly matches less (deny) or more (allow) leaves a door open. */
#include "build_policies.h"

#include "base/map.h"

/* --- how many --- */

/* What a request is compared with one by one, once a rule was found. By `from` and `paths` rules
 * are found, so that of these there may be any number. */
static void conf_check_many(
	struct conf_parser *p, const config_setting_t *setting, const char *key, uint32_t count)
{
	if (count > POLICY_LIST_MAX)
		conf_error(p, setting, key,
			"more than %d; write several rules, each with some of them",
			POLICY_LIST_MAX);
}

/* All of them are asked for. */
static void conf_check_many_all(
	struct conf_parser *p, const config_setting_t *setting, const char *key, uint32_t count)
{
	if (count > POLICY_LIST_MAX)
		conf_error(p, setting, key, "more than %d; leave some out", POLICY_LIST_MAX);
}

/* Several rules that each leave out some would leave out none. */
static void conf_check_many_nots(struct conf_parser *p, const struct conf_policy_row *row,
	const char *key, const char *other, uint32_t count)
{
	if (count <= POLICY_LIST_MAX)
		return;
	switch (row->action) {
	case POLICY_ALLOW:
		conf_error(p, row->setting, key,
			"more than %d; allow them here, and deny them by rules of their own, each "
			"with some of them as `%s`",
			POLICY_LIST_MAX, other);
		break;
	case POLICY_DENY:
		conf_error(p, row->setting, key,
			"more than %d; instead of this rule, allow them and nobody else, by rules "
			"that each have some of them as `%s`",
			POLICY_LIST_MAX, other);
		break;
	case POLICY_AUDIT:
		conf_error(p, row->setting, key, "more than %d; leave some out", POLICY_LIST_MAX);
		break;
	}
}

static void conf_policy_how_many(
	struct conf_parser *p, const struct conf_policy_row *row, const struct policy *policy)
{
	const config_setting_t *token = conf_member(row->setting, "token");
	const struct conf_operation_rows *to = &row->to, *not_to = &row->not_to;
	conf_check_many(p, row->setting, "ports", to->port_count);
	conf_check_many(p, row->setting, "methods", to->method_count);
	conf_check_many(p, row->setting, "hosts", to->host_count);
	conf_check_many_all(p, row->setting, "headers", row->header_count);
	conf_check_many(p, token, "issuers", row->token.issuer_count);
	conf_check_many(p, token, "audiences", row->token.audience_count);
	conf_check_many_all(p, token, "claims", row->token.claim_count);
	conf_check_many_nots(p, row, "not_from", "from", policy->not_from_count);
	conf_check_many_nots(p, row, "not_ports", "ports", not_to->port_count);
	conf_check_many_nots(p, row, "not_methods", "methods", not_to->method_count);
	conf_check_many_nots(p, row, "not_paths", "paths", not_to->path_count);
	conf_check_many_nots(p, row, "not_hosts", "hosts", not_to->host_count);
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
	rule->claims =
		conf_rule_fields(p, row->token.claims, row->token.claim_count, CONF_FIELDS_PLAIN);
	conf_check_issuer_names(
		p, conf_member(row->setting, "token"), row->token.issuers, row->token.issuer_count);
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
	policy->from = conf_build_sources(
		p, row->setting, "from", row->from, row->from_count, &policy->from_count);
	policy->not_from = conf_build_sources(p, row->setting, "not_from", row->not_from,
		row->not_from_count, &policy->not_from_count);
	conf_policy_operations(p, row, false, &policy->to);
	conf_policy_operations(p, row, true, &policy->not_to);
	policy->headers = conf_rule_fields(p, row->headers, row->header_count, CONF_FIELDS_POLICY);
	conf_policy_token(p, row, &policy->token);
	conf_policy_how_many(p, row, policy);
	for (uint32_t i = 0; i < row->service_count; i++) {
		struct str name = row->services[i];
		if (name.len > 0 && !str_eq(name, STR("*")) && !snapshot_service(p->snapshot, name))
			conf_check_service_name(p, row->setting, "service", name);
	}
	if (row->action == POLICY_AUDIT && row->mode == POLICY_AUDITED)
		conf_error(p, row->setting, "mode",
			"an audit rule decides nothing in either mode; take this out");
}

/* Calls `visit` for each service that a row names, once. `marks`: of each service, the mark of the
 * last row that has named it; no two calls have the same mark. */
static void conf_policy_each(struct conf_parser *p, uint32_t index,
	const struct conf_policy_row *row, uint32_t *marks, uint32_t mark,
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
		if (!service || marks[service->index] == mark)
			continue;
		marks[service->index] = mark;
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
	uint32_t *marks = conf_build_array(p, s->service_count, sizeof(*marks));
	for (uint32_t i = 0; !p->is_exhausted && i < s->policy_count; i++)
		conf_policy_each(p, i, rows[i], marks, 2 * i + 1, conf_policy_count);
	for (uint32_t i = 0; i < s->service_count; i++) {
		struct service *service = &s->services[i];
		service->policies =
			conf_build_array(p, service->policy_count, sizeof(struct policy *));
		service->policy_count = 0;
	}
	for (uint32_t i = 0; !p->is_exhausted && i < s->policy_count; i++)
		conf_policy_each(p, i, rows[i], marks, 2 * i + 2, conf_policy_put);
}

/* --- names --- */

struct conf_policy_name {
	struct map_node node;
	const struct policy *policy;
};

static const struct policy *conf_policy_named(
	const struct map *names, struct str name, uint64_t hash)
{
	for (struct map_node *it = map_first(names, hash); it; it = map_next(it)) {
		const struct policy *policy =
			CONTAINER_OF(it, struct conf_policy_name, node)->policy;
		if (str_eq(policy->name, name))
			return policy;
	}
	return NULL;
}

/* A decision is told by the name of its rule: no other may have it. Those that are published have
 * names of their own as their keys are. */
static void conf_policy_add_name(struct conf_parser *p, struct map *names,
	const struct policy *policy, const struct conf_policy_row *row)
{
	uint64_t hash = hash_bytes((uintptr_t)p, policy->name.at, policy->name.len);
	const struct policy *first = conf_policy_named(names, policy->name, hash);
	struct conf_policy_name *name = conf_build_array(p, 1, sizeof(*name));
	if (str_eq(row->name, STR("default")))
		conf_error(p, row->setting, "name",
			"\"default\" is what is told where no policy decides");
	if (first && row->name.len > 0)
		conf_error(p, row->setting, "name", "\"%.*s\" is declared already, at %.*s",
			STR_ARG(row->name), STR_ARG(first->where));
	if (!name)
		return;
	name->policy = policy;
	if (!map_add(names, &name->node, hash))
		p->is_exhausted = true;
}

static void conf_policy_names(struct conf_parser *p, const struct conf_policy_row **rows)
{
	struct map names;
	if (p->with_store && !p->published)
		return;
	map_init(&names);
	for (uint32_t i = 0; !p->is_exhausted && i < p->snapshot->policy_count; i++)
		conf_policy_add_name(p, &names, &p->snapshot->policies[i], rows[i]);
	map_done(&names);
}

/* --- all of them --- */

/* Of a file the row of this index: what it says, or a guard. Returns the row. */
static const struct conf_policy_row *conf_policy_take(
	struct conf_parser *p, struct conf_file *file, uint32_t index, struct policy *policy)
{
	struct conf_trial trial = conf_trial_begin(p);
	if (file->fault.len == 0) {
		conf_policy_build(p, policy, &file->mesh.policies[index], index);
		if (conf_is_policy(p, file) && !conf_trial_end(p, &trial, file))
			conf_close(p, file);
	}
	if (file->fault.len > 0 && !p->is_exhausted)
		conf_closed_guard(p, file, policy);
	return &file->mesh.policies[index];
}

/* Of the services that this machine decides for: of others nothing is asked here but what they
 * would say, on a page. */
static void conf_policy_indexes(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	for (uint32_t i = 0; !p->is_exhausted && i < s->workload_count; i++) {
		struct service *service = s->workloads[i].service;
		if (service && !service->policy_index)
			p->is_exhausted = !policy_index_build(s, service);
	}
}

void conf_build_policies(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	uint32_t count = 0;
	for (uint32_t f = 0; f < p->mesh_count; f++)
		count += p->mesh[f].mesh.policy_count;
	s->policies = conf_build_array(p, count, sizeof(*s->policies));
	const struct conf_policy_row **rows = conf_build_array(p, count, sizeof(*rows));
	for (uint32_t f = 0; f < p->mesh_count; f++) {
		uint32_t row_count = p->mesh[f].mesh.policy_count;
		for (uint32_t i = 0; !p->is_exhausted && i < row_count; i++) {
			rows[s->policy_count] =
				conf_policy_take(p, &p->mesh[f], i, &s->policies[s->policy_count]);
			s->policy_count++;
		}
	}
	if (!p->is_exhausted)
		conf_policy_attach(p, rows);
	if (!p->is_exhausted)
		conf_policy_names(p, rows);
	if (!p->is_exhausted)
		conf_policies_warn(p, rows);
	conf_policy_indexes(p);
}
