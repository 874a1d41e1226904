/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that others leave nothing to decide. One rule covers another when it matches whatever the
 * other matches: then, if it denies, the other never allows, and if both say the same, the other
 * says nothing. Lists are compared item by item, so a cover made of several rules is not seen. */
#include "parser.h"

#include "mesh/policy.h"

static bool conf_cover_has(const struct str *list, uint32_t count, struct str word)
{
	for (uint32_t i = 0; i < count; i++) {
		if (str_eq(list[i], word))
			return true;
	}
	return false;
}

/* An allow rule without `from` is for any verified identity; a deny rule's `from`, whatever it
 * names, matches a caller without identity (mesh/policy.h). */
static bool conf_cover_from(const struct conf_policy_row *by, const struct conf_policy_row *row)
{
	bool is_deny = by->action == POLICY_DENY;
	bool is_any = by->from_count == 0 || conf_cover_has(by->from, by->from_count, STR("*"));
	if (is_deny && by->from_count == 0)
		return true;
	if (row->from_count == 0)
		return is_any && row->action == POLICY_ALLOW;
	for (uint32_t i = 0; i < row->from_count; i++) {
		bool is_anonymous = str_eq(row->from[i], STR("anonymous"));
		if (!(is_anonymous ? is_deny : is_any) &&
			!conf_cover_has(by->from, by->from_count, row->from[i]))
			return false;
	}
	return true;
}

static bool conf_cover_methods(const struct conf_policy_row *by, const struct conf_policy_row *row)
{
	if (by->to.method_count == 0)
		return true;
	for (uint32_t i = 0; i < row->to.method_count; i++) {
		if (!conf_cover_has(by->to.methods, by->to.method_count, row->to.methods[i]))
			return false;
	}
	return row->to.method_count > 0;
}

static bool conf_cover_ends(struct str text, struct str end)
{
	return text.len >= end.len && memcmp(text.at + text.len - end.len, end.at, end.len) == 0;
}

/* Patterns: "/exact", "/prefix/" + "*", "*" + suffix. */
static bool conf_cover_path(struct str by, struct str path)
{
	bool is_prefix = by.len > 1 && by.at[by.len - 1] == '*';
	if (str_eq(by, path) || str_eq(by, STR("*")))
		return true;
	if (by.len > 0 && by.at[0] == '*')
		return path.len > 0 && path.at[path.len - 1] != '*' &&
		       conf_cover_ends(path, (struct str){by.at + 1, by.len - 1});
	/* A longer text is asked for: whether a prefix matches itself is not for here to know. */
	return is_prefix && path.len > by.len - 1 && path.at[0] == '/' &&
	       memcmp(path.at, by.at, by.len - 1) == 0;
}

static bool conf_cover_paths(const struct conf_policy_row *by, const struct conf_policy_row *row)
{
	if (by->to.path_count == 0)
		return true;
	for (uint32_t i = 0; i < row->to.path_count; i++) {
		bool is_covered = false;
		for (uint32_t j = 0; j < by->to.path_count && !is_covered; j++)
			is_covered = conf_cover_path(by->to.paths[j], row->to.paths[i]);
		if (!is_covered)
			return false;
	}
	return row->to.path_count > 0;
}

/* A deny rule that leaves these callers no way in, of which the build warns already. */
static bool conf_cover_is_known(const struct conf_policy_row *by, const struct conf_policy_row *row)
{
	bool is_for_anonymous = row->from_count > 0;
	for (uint32_t i = 0; i < row->from_count; i++)
		is_for_anonymous = is_for_anonymous && str_eq(row->from[i], STR("anonymous"));
	return row->action == POLICY_ALLOW && by->to.method_count == 0 && by->to.path_count == 0 &&
	       (by->from_count == 0 || is_for_anonymous);
}

/* One that says more than from, methods and paths is not looked at. */
static bool conf_cover_is_plain(const struct conf_policy_row *row)
{
	return row->action != POLICY_AUDIT && row->mode == POLICY_ENFORCED &&
	       row->not_from_count == 0 && row->to.host_count == 0 && row->to.port_count == 0 &&
	       row->not_to.method_count == 0 && row->not_to.path_count == 0 &&
	       row->not_to.host_count == 0 && row->not_to.port_count == 0 &&
	       row->header_count == 0 && !conf_member(row->setting, "token");
}

static bool conf_covers(const struct conf_policy_row *by, const struct conf_policy_row *row)
{
	if (!conf_cover_is_plain(by) || !conf_cover_is_plain(row))
		return false;
	if (by->action == POLICY_ALLOW && row->action == POLICY_DENY)
		return false;
	if (by->action == POLICY_DENY && conf_cover_is_known(by, row))
		return false;
	return conf_cover_from(by, row) && conf_cover_methods(by, row) && conf_cover_paths(by, row);
}

struct conf_cover {
	struct conf_parser *p;
	const struct conf_policy_row **rows; /* beside snapshot.policies */
};

static const struct conf_policy_row *conf_cover_row(
	const struct conf_cover *c, const struct policy *policy)
{
	return c->rows[policy - c->p->snapshot->policies];
}

/* Of two that cover each other the later one is superfluous. */
static bool conf_cover_is_by(
	const struct conf_cover *c, const struct policy *by, const struct policy *policy)
{
	const struct conf_policy_row *by_row = conf_cover_row(c, by);
	const struct conf_policy_row *row = conf_cover_row(c, policy);
	return by != policy && conf_covers(by_row, row) &&
	       (by < policy || by_row->action != row->action || !conf_covers(row, by_row));
}

static const struct policy *conf_cover_for_service(
	const struct conf_cover *c, const struct policy *policy, struct str name)
{
	const struct service *service = snapshot_service(c->p->snapshot, name);
	for (uint32_t i = 0; service && i < service->policy_count; i++) {
		if (conf_cover_is_by(c, service->policies[i], policy))
			return service->policies[i];
	}
	return NULL;
}

/* A rule for all services, those to come too, is covered by another such rule only. */
static const struct policy *conf_cover_for_all(
	const struct conf_cover *c, const struct policy *policy)
{
	const struct snapshot *s = c->p->snapshot;
	for (uint32_t i = 0; i < s->policy_count; i++) {
		const struct conf_policy_row *row = c->rows[i];
		if (conf_cover_has(row->services, row->service_count, STR("*")) &&
			conf_cover_is_by(c, &s->policies[i], policy))
			return &s->policies[i];
	}
	return NULL;
}

/* What covers a rule for one service after the other: often it is one rule for all. */
struct conf_covered {
	const struct policy *first;
	bool by_several; /* rules */
	bool by_denial;	 /* all of them deny */
};

static void conf_cover_warn(
	const struct conf_cover *c, const struct policy *policy, const struct conf_covered *covered)
{
	const struct conf_policy_row *row = conf_cover_row(c, policy);
	const struct policy *by = covered->first;
	bool is_allow = policy->action == POLICY_ALLOW;
	char place[512];
	conf_place_text(c->p, conf_cover_row(c, by)->setting, place, sizeof(place));
	if (is_allow && covered->by_denial)
		conf_warning(c->p, row->setting, NULL,
			"never allows anything: \"%.*s\"%s all of it, at %s", STR_ARG(by->name),
			covered->by_several ? " and others deny" : " denies", place);
	else if (covered->by_several)
		conf_warning(c->p, row->setting, NULL,
			"decides nothing: \"%.*s\" and others decide all of it already, at %s",
			STR_ARG(by->name), place);
	else
		conf_warning(c->p, row->setting, NULL,
			"decides nothing: \"%.*s\" %s all of it already, at %s", STR_ARG(by->name),
			is_allow ? "allows" : "denies", place);
}

static void conf_cover_policy(const struct conf_cover *c, const struct policy *policy)
{
	const struct conf_policy_row *row = conf_cover_row(c, policy);
	struct conf_covered covered = {.by_denial = true};
	for (uint32_t i = 0; i < row->service_count; i++) {
		const struct policy *by =
			str_eq(row->services[i], STR("*"))
				? conf_cover_for_all(c, policy)
				: conf_cover_for_service(c, policy, row->services[i]);
		if (!by)
			return;
		covered.first = covered.first ? covered.first : by;
		covered.by_several = covered.by_several || by != covered.first;
		covered.by_denial = covered.by_denial && by->action == POLICY_DENY;
	}
	if (covered.first)
		conf_cover_warn(c, policy, &covered);
}

void conf_cover_check(struct conf_parser *p)
{
	struct conf_cover c = {.p = p};
	uint32_t count = 0;
	c.rows = conf_build_array(p, p->snapshot->policy_count, sizeof(*c.rows));
	for (uint32_t f = 0; c.rows && f < p->mesh_count; f++) {
		for (uint32_t i = 0; i < p->mesh[f].mesh.policy_count; i++)
			c.rows[count++] = &p->mesh[f].mesh.policies[i];
	}
	for (uint32_t i = 0; c.rows && i < p->snapshot->policy_count; i++)
		conf_cover_policy(&c, &p->snapshot->policies[i]);
}
