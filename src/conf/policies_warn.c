/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that cannot do what they seem to, each by itself and beside the services that it is for. A
 * rule for all services is for some that it does not suit: of those nothing is said, but where it
 * closes them. */
#include "build_policies.h"

struct conf_warn {
	struct conf_parser *p;
	const struct conf_policy_row *row;
	const struct policy *policy;
	bool is_for_all; /* services */
};

static bool conf_row_is_for_all(const struct conf_policy_row *row)
{
	for (uint32_t i = 0; i < row->service_count; i++) {
		if (str_eq(row->services[i], STR("*")))
			return true;
	}
	return false;
}

/* --- more than bytes have --- */

/* The first key that asks for a request; NULL: none does. */
static const char *conf_warn_http_key(const struct policy *policy)
{
	const struct policy_operations *to = &policy->to, *not_to = &policy->not_to;
	const struct {
		const char *key;
		bool is_given;
	} keys[] = {
		{"methods", to->method_count > 0},
		{"paths", to->path_count > 0},
		{"hosts", to->host_count > 0},
		{"headers", policy->headers.count > 0},
		{"token", policy->token.is_wanted},
		{"not_methods", not_to->method_count > 0},
		{"not_paths", not_to->path_count > 0},
		{"not_hosts", not_to->host_count > 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (keys[i].is_given)
			return keys[i].key;
	}
	return NULL;
}

static void conf_warn_tcp(const struct conf_warn *w, const struct service *service)
{
	const char *key = conf_warn_http_key(w->policy);
	bool is_allow = w->policy->action == POLICY_ALLOW;
	if (!key || service->protocol != PROTOCOL_TCP ||
		(w->is_for_all && w->policy->action != POLICY_DENY))
		return;
	conf_warning(w->p, w->row->setting, key,
		is_allow ? "\"%.*s\" is a tcp service, which has none: the rule never matches"
		: w->policy->action == POLICY_DENY
			? "\"%.*s\" is a tcp service, which has none: the rule denies every "
			  "connection of these callers"
			: "\"%.*s\" is a tcp service, which has none: the rule matches every "
			  "connection of these callers",
		STR_ARG(service->name));
}

/* --- callers without identity --- */

static bool conf_source_is_anonymous(const struct source *source)
{
	return source->kind == SOURCE_ANONYMOUS || source->kind == SOURCE_RANGE;
}

static uint32_t conf_warn_anonymous_count(const struct policy *policy)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < policy->from_count; i++)
		count += conf_source_is_anonymous(&policy->from[i]);
	return count;
}

/* At every port that the rule is for. */
static bool conf_warn_is_strict(const struct policy *policy, const struct service *service)
{
	for (uint32_t i = 0; i < policy->to.port_count; i++) {
		if (service_mtls(service, policy->to.ports[i]) != MTLS_STRICT)
			return false;
	}
	return policy->to.port_count > 0 || service_is_mtls(service, MTLS_STRICT);
}

static void conf_warn_strict(const struct conf_warn *w, const struct service *service)
{
	uint32_t count = conf_warn_anonymous_count(w->policy);
	if (w->policy->action != POLICY_ALLOW || count == 0 || w->is_for_all ||
		!conf_warn_is_strict(w->policy, service))
		return;
	if (count == w->policy->from_count)
		conf_warning(w->p, w->row->setting, "from",
			"\"%.*s\" is strict: callers without identity are refused before policy",
			STR_ARG(service->name));
	for (uint32_t i = 0; i < w->policy->from_count && count < w->policy->from_count; i++) {
		if (conf_source_is_anonymous(&w->policy->from[i]))
			conf_warning(w->p, w->row->setting, "from",
				"\"%.*s\" is strict: callers without identity are refused before "
				"policy, and \"%.*s\" names only such",
				STR_ARG(service->name), STR_ARG(w->policy->from[i].entry));
	}
}

/* --- denied all the same --- */

static bool conf_operations_are_any(const struct policy_operations *o)
{
	return o->path_count + o->method_count + o->host_count + o->port_count == 0;
}

/* In force, of whatever is asked. */
static bool conf_warn_is_total(const struct policy *policy)
{
	return policy->action == POLICY_DENY && policy->mode == POLICY_ENFORCED &&
	       policy->not_from_count == 0 && policy->headers.count == 0 &&
	       !policy->token.is_wanted && policy->fault.len == 0 &&
	       conf_operations_are_any(&policy->to) && conf_operations_are_any(&policy->not_to);
}

static bool conf_warn_has_identity(const struct policy *policy)
{
	return policy->from_count > conf_warn_anonymous_count(policy);
}

static bool conf_warn_is_for_anonymous(const struct policy *policy)
{
	return policy->from_count > 0 && !conf_warn_has_identity(policy);
}

/* A caller without identity may be any that a rule denies, and is then named exactly. */
bool conf_warns_denied(const struct policy *by, const struct policy *policy)
{
	return conf_warn_is_total(by) &&
	       (by->from_count == 0 ||
		       (conf_warn_is_for_anonymous(policy) && conf_warn_has_identity(by)));
}

/* Of a service, the first that denies everybody everything, and the first that denies everything to
 * somebody with an identity; NULL: none does. */
struct conf_denials {
	const struct policy *total, *anonymous;
};

static struct conf_denials conf_denials_of(const struct service *service)
{
	struct conf_denials d = {0};
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct policy *policy = service->policies[i];
		if (!conf_warn_is_total(policy))
			continue;
		if (policy->from_count == 0 && !d.total)
			d.total = policy;
		if (conf_warn_has_identity(policy) && !d.anonymous)
			d.anonymous = policy;
	}
	return d;
}

static void conf_warn_denied(
	const struct conf_warn *w, const struct service *service, const struct conf_denials *d)
{
	const struct policy *policy = w->policy;
	if (policy->action != POLICY_ALLOW || w->is_for_all)
		return;
	if (d->total)
		conf_warning(w->p, w->row->setting, NULL,
			"never allows anything for \"%.*s\": \"%.*s\" denies everybody",
			STR_ARG(service->name), STR_ARG(d->total->name));
	else if (d->anonymous && conf_warns_denied(d->anonymous, policy))
		conf_warning(w->p, w->row->setting, NULL,
			"never allows anything for \"%.*s\": a caller without identity may be one "
			"that \"%.*s\" denies",
			STR_ARG(service->name), STR_ARG(d->anonymous->name));
}

/* --- ports --- */

static bool conf_warn_serves(
	const struct conf_parser *p, const struct service *service, uint16_t port)
{
	for (uint32_t i = 0; i < service->endpoint_count; i++) {
		if (service->endpoints[i].address.port == port)
			return true;
	}
	for (uint32_t i = 0; i < p->snapshot->workload_count; i++) {
		const struct workload *w = &p->snapshot->workloads[i];
		if (w->service == service && (w->port == port || w->deliver.port == port))
			return true;
	}
	return false;
}

/* Files say all that there is of a service that is in them; with a store, nodes may say more. */
static void conf_warn_ports(const struct conf_warn *w, const struct service *service)
{
	const struct policy_operations *to = &w->policy->to;
	if (w->p->with_store || service->endpoint_count == 0 || w->is_for_all)
		return;
	for (uint32_t i = 0; i < to->port_count; i++) {
		if (!conf_warn_serves(w->p, service, to->ports[i]))
			conf_warning(w->p, w->row->setting, "ports",
				"no endpoint of \"%.*s\" listens at %u; an own address's port is "
				"not looked at",
				STR_ARG(service->name), to->ports[i]);
	}
}

/* --- its own contrary --- */

static bool conf_sources_cancel(const struct policy *policy)
{
	for (uint32_t i = 0; i < policy->from_count; i++) {
		bool is_taken = false;
		for (uint32_t k = 0; k < policy->not_from_count && !is_taken; k++)
			is_taken = conf_source_covers(&policy->not_from[k], &policy->from[i]);
		if (!is_taken)
			return false;
	}
	return policy->from_count > 0;
}

static bool conf_paths_cancel(const struct policy *policy)
{
	for (uint32_t i = 0; i < policy->to.path_count; i++) {
		bool is_taken = false;
		for (uint32_t k = 0; k < policy->not_to.path_count && !is_taken; k++)
			is_taken = conf_path_covers(&policy->not_to.paths[k], &policy->to.paths[i]);
		if (!is_taken)
			return false;
	}
	return policy->to.path_count > 0;
}

static bool conf_hosts_cancel(const struct policy *policy)
{
	for (uint32_t i = 0; i < policy->to.host_count; i++) {
		bool is_taken = false;
		for (uint32_t k = 0; k < policy->not_to.host_count && !is_taken; k++)
			is_taken = conf_host_covers(policy->not_to.hosts[k], policy->to.hosts[i]);
		if (!is_taken)
			return false;
	}
	return policy->to.host_count > 0;
}

static bool conf_methods_cancel(const struct policy *policy)
{
	for (uint32_t i = 0; i < policy->to.method_count; i++) {
		bool is_taken = false;
		for (uint32_t k = 0; k < policy->not_to.method_count && !is_taken; k++)
			is_taken = str_eq(policy->not_to.methods[k], policy->to.methods[i]);
		if (!is_taken)
			return false;
	}
	return policy->to.method_count > 0;
}

static bool conf_ports_cancel(const struct policy *policy)
{
	for (uint32_t i = 0; i < policy->to.port_count; i++) {
		bool is_taken = false;
		for (uint32_t k = 0; k < policy->not_to.port_count && !is_taken; k++)
			is_taken = policy->not_to.ports[k] == policy->to.ports[i];
		if (!is_taken)
			return false;
	}
	return policy->to.port_count > 0;
}

static void conf_warn_cancelled(const struct conf_warn *w)
{
	static const struct {
		const char *key, *not_key;
		bool (*cancel)(const struct policy *policy);
		const char *left; /* what a rule that denies still matches; NULL: nothing */
	} lists[] = {
		{"from", "not_from", conf_sources_cancel, "callers without identity"},
		{"ports", "not_ports", conf_ports_cancel, NULL},
		{"methods", "not_methods", conf_methods_cancel, "what cannot be read"},
		{"paths", "not_paths", conf_paths_cancel, "what cannot be read"},
		{"hosts", "not_hosts", conf_hosts_cancel, "what cannot be read"},
	};
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		bool is_never = w->policy->action == POLICY_ALLOW || !lists[i].left;
		if (!lists[i].cancel(w->policy))
			continue;
		conf_warning(w->p, w->row->setting, lists[i].not_key,
			"takes away all that `%s` names: the rule %s%s", lists[i].key,
			is_never ? "never matches" : "matches only ",
			is_never ? "" : lists[i].left);
	}
}

/* --- all of them --- */

void conf_policies_warn(struct conf_parser *p, const struct conf_policy_row **rows)
{
	const struct snapshot *s = p->snapshot;
	bool *is_for_all = conf_build_array(p, s->policy_count, sizeof(*is_for_all));
	for (uint32_t i = 0; is_for_all && i < s->policy_count; i++) {
		is_for_all[i] = conf_row_is_for_all(rows[i]);
		const struct conf_warn w = {p, rows[i], &s->policies[i], is_for_all[i]};
		if (w.policy->fault.len == 0)
			conf_warn_cancelled(&w);
	}
	for (uint32_t i = 0; is_for_all && i < s->service_count; i++) {
		const struct service *service = &s->services[i];
		struct conf_denials denials = conf_denials_of(service);
		for (uint32_t k = 0; k < service->policy_count; k++) {
			const struct policy *policy = service->policies[k];
			const size_t index = (size_t)(policy - s->policies);
			const struct conf_warn w = {p, rows[index], policy, is_for_all[index]};
			if (policy->fault.len > 0)
				continue;
			conf_warn_tcp(&w, service);
			conf_warn_strict(&w, service);
			conf_warn_denied(&w, service, &denials);
			conf_warn_ports(&w, service);
		}
	}
}
