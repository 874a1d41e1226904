/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that others leave nothing to decide. One rule covers another when it matches whatever the
 * other matches, and for no caller less exactly; or when nothing stands between the two that would
 * make the difference. Then, if it denies, the other never allows, and if both say the same, the
 * other says nothing. Lists are compared item by item, so a cover made of several rules is not
 * seen, and where it is not plain that one covers the other nothing is said.
 *
 * Only rules that share a caller and a path need be compared, which an index finds: a rule is in it
 * under each of its callers with each of its paths, and a rule that may be covered looks under all
 * that may cover its first caller and its first path. */
#include "build_policies.h"

#include "base/map.h"
#include <stdio.h>

/* Of comparing callers and paths, in all; what is beyond is not looked at. */
#define CONF_COVER_STEPS_MAX  UINT64_C(20000000)
#define CONF_COVER_PAIR_STEPS 10 /* of two rules, whatever they are */
#define CONF_COVER_PLACES_MAX 64 /* of one rule in the index; beyond, it is there for any path */
#define CONF_COVER_KEY_MAX    (IDENTITY_ID_MAX + 16) /* of a caller */
#define CONF_COVER_KEY_SIZE   (CONF_COVER_KEY_MAX + CONF_PATH_BYTES_MAX + 16)

struct conf_cover_item {
	struct conf_cover_item *next;
	uint32_t index; /* of the policy */
};
struct conf_cover_bucket {
	struct map_node node;
	struct str key;
	struct conf_cover_item *first, *last;
};

/* The most exact entries of the rules that are for a service; 0: it has none. */
struct conf_cover_ranks {
	uint32_t allow, deny; /* guards aside */
};

struct conf_cover {
	struct conf_parser *p;
	const struct conf_policy_row **rows; /* beside snapshot.policies */
	struct conf_cover_ranks *ranks;	     /* beside snapshot.services */
	struct conf_cover_ranks all;
	struct map index;
	uint64_t step_count;
};

/* --- callers --- */

static const struct source conf_any_identity = {.kind = SOURCE_ANY};

static bool conf_is_guard(const struct policy *policy)
{
	return policy->action == POLICY_DENY && policy->from_count == 0;
}

/* Of a rule that is no guard. */
static const struct source *conf_cover_sources(const struct policy *policy, uint32_t *ret_count)
{
	*ret_count = policy->from_count ? policy->from_count : 1;
	return policy->from_count ? policy->from : &conf_any_identity;
}

static bool conf_source_is_identity(const struct source *source)
{
	return source->kind != SOURCE_ANONYMOUS && source->kind != SOURCE_RANGE;
}

/* Whether `b` of `by` names whom `e` of `policy` names, and no less exactly. `between`: the most
 * exact rule that says the contrary. A caller without identity may be any that a deny rule names,
 * exactly. */
static bool conf_cover_entry(const struct policy *by, const struct source *b,
	const struct policy *policy, const struct source *e, uint32_t between)
{
	bool is_same = by->action == policy->action;
	if (by->action == POLICY_DENY && conf_source_is_identity(b) && !conf_source_is_identity(e))
		return true;
	if (!conf_source_covers(b, e))
		return false;
	uint32_t rank = source_rank(b);
	bool is_free = by->action == POLICY_ALLOW ? between < rank : between <= rank;
	return rank >= source_rank(e) || (is_same && is_free);
}

static bool conf_cover_from(const struct policy *by, const struct policy *policy, uint32_t between,
	uint64_t *step_count)
{
	uint32_t by_count, count;
	if (conf_is_guard(by) || conf_is_guard(policy))
		return conf_is_guard(by);
	const struct source *by_sources = conf_cover_sources(by, &by_count);
	const struct source *sources = conf_cover_sources(policy, &count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t k = 0;
		while (k < by_count &&
			!conf_cover_entry(by, &by_sources[k], policy, &sources[i], between))
			k++;
		*step_count += k;
		if (k == by_count)
			return false;
	}
	return true;
}

/* Whom one leaves out, the other leaves out, too. */
static bool conf_cover_not_from(const struct policy *by, const struct policy *policy)
{
	for (uint32_t i = 0; i < by->not_from_count; i++) {
		bool is_out = false;
		for (uint32_t k = 0; k < policy->not_from_count && !is_out; k++)
			is_out = conf_source_covers(&policy->not_from[k], &by->not_from[i]);
		if (!is_out)
			return false;
	}
	return true;
}

/* --- operations --- */

static bool conf_cover_has(const struct str *list, uint32_t count, struct str word)
{
	for (uint32_t i = 0; i < count; i++) {
		if (str_eq(list[i], word))
			return true;
	}
	return false;
}

static bool conf_cover_words(
	const struct str *by, uint32_t by_count, const struct str *list, uint32_t count)
{
	for (uint32_t i = 0; i < count && by_count > 0; i++) {
		if (!conf_cover_has(by, by_count, list[i]))
			return false;
	}
	return by_count == 0 || count > 0;
}

static bool conf_cover_ports(
	const uint16_t *by, uint32_t by_count, const uint16_t *list, uint32_t count)
{
	for (uint32_t i = 0; i < count && by_count > 0; i++) {
		uint32_t k = 0;
		while (k < by_count && by[k] != list[i])
			k++;
		if (k == by_count)
			return false;
	}
	return by_count == 0 || count > 0;
}

static bool conf_path_is_same(const struct route_path *a, const struct route_path *b)
{
	return a->kind == b->kind && str_eq(a->text, b->text);
}

/* What a deny rule matches besides, since some server may read it so, is below the same paths. */
static bool conf_cover_path(
	const struct route_path *by, const struct route_path *path, bool is_denial)
{
	if (conf_path_is_same(by, path))
		return true;
	return (!is_denial || by->kind == ROUTE_PATH_PREFIX) && conf_path_covers(by, path);
}

static bool conf_cover_paths(
	const struct policy *by, const struct policy *policy, uint64_t *step_count)
{
	bool is_denial = policy->action == POLICY_DENY;
	for (uint32_t i = 0; i < policy->to.path_count && by->to.path_count > 0; i++) {
		uint32_t k = 0;
		while (k < by->to.path_count &&
			!conf_cover_path(&by->to.paths[k], &policy->to.paths[i], is_denial))
			k++;
		*step_count += k;
		if (k == by->to.path_count)
			return false;
	}
	return by->to.path_count == 0 || policy->to.path_count > 0;
}

static bool conf_cover_to(
	const struct policy *by, const struct policy *policy, uint64_t *step_count)
{
	const struct policy_operations *a = &by->to, *b = &policy->to;
	return conf_cover_paths(by, policy, step_count) &&
	       conf_cover_words(a->methods, a->method_count, b->methods, b->method_count) &&
	       conf_cover_words(a->hosts, a->host_count, b->hosts, b->host_count) &&
	       conf_cover_ports(a->ports, a->port_count, b->ports, b->port_count);
}

/* All of the second list are in the first. */
static bool conf_cover_out(
	const struct str *list, uint32_t count, const struct str *few, uint32_t few_count)
{
	return few_count == 0 || (count > 0 && conf_cover_words(list, count, few, few_count));
}

/* Whatever one must not be, the other must not be either. */
static bool conf_cover_not_to(const struct policy *by, const struct policy *policy)
{
	const struct policy_operations *a = &by->not_to, *b = &policy->not_to;
	for (uint32_t i = 0; i < a->path_count; i++) {
		uint32_t k = 0;
		while (k < b->path_count && !conf_path_is_same(&a->paths[i], &b->paths[k]))
			k++;
		if (k == b->path_count)
			return false;
	}
	bool is_words = conf_cover_out(b->methods, b->method_count, a->methods, a->method_count) &&
			conf_cover_out(b->hosts, b->host_count, a->hosts, a->host_count);
	bool is_port = a->port_count == 0 ||
		       (b->port_count > 0 &&
			       conf_cover_ports(b->ports, b->port_count, a->ports, a->port_count));
	return is_words && is_port;
}

static bool conf_cover_token(
	const struct policy_token_rule *by, const struct policy_token_rule *rule)
{
	if (!by->is_wanted)
		return true;
	return rule->is_wanted &&
	       conf_cover_words(by->issuers, by->issuer_count, rule->issuers, rule->issuer_count) &&
	       conf_cover_words(
		       by->audiences, by->audience_count, rule->audiences, rule->audience_count) &&
	       conf_fields_cover(&by->claims, &rule->claims);
}

/* --- one and another --- */

static bool conf_cover_is_for_all(const struct conf_policy_row *row)
{
	return conf_cover_has(row->services, row->service_count, STR("*"));
}

/* Of two that cover each other the later one is superfluous. */
static bool conf_covers(const struct policy *by, const struct policy *policy,
	const struct conf_cover_ranks *ranks, uint64_t *step_count)
{
	bool is_same = by->action == policy->action;
	uint32_t between = by->action == POLICY_ALLOW ? ranks->deny : ranks->allow;
	if (by == policy || by->action == POLICY_AUDIT || policy->action == POLICY_AUDIT)
		return false;
	if (by->action == POLICY_ALLOW && !is_same)
		return false;
	if (by->mode == POLICY_AUDITED && policy->mode == POLICY_ENFORCED)
		return false;
	return conf_cover_from(by, policy, between, step_count) &&
	       conf_cover_not_from(by, policy) && conf_cover_to(by, policy, step_count) &&
	       conf_cover_not_to(by, policy) && conf_fields_cover(&by->headers, &policy->headers) &&
	       conf_cover_token(&by->token, &policy->token);
}

static bool conf_cover_is_by(struct conf_cover *c, const struct policy *by,
	const struct policy *policy, const struct conf_cover_ranks *ranks)
{
	const struct conf_policy_row *row = c->rows[policy - c->p->snapshot->policies];
	if (!conf_covers(by, policy, ranks, &c->step_count))
		return false;
	if (by->action != policy->action) /* of some the build has warned already */
		return conf_cover_is_for_all(row) || !conf_warns_denied(by, policy);
	return by < policy || !conf_covers(policy, by, ranks, &c->step_count);
}

/* --- the index --- */

/* "i" id, "n" name, "u" beginning, "r" range, "a" anonymous, "*" any, "g" guard. Returns the
 * length. */
static size_t conf_cover_source_key(const struct source *source, char key[CONF_COVER_KEY_MAX])
{
	static const char letters[] = {[SOURCE_ANONYMOUS] = 'a',
		[SOURCE_RANGE] = 'r',
		[SOURCE_ANY] = '*',
		[SOURCE_UNDER] = 'u',
		[SOURCE_ID] = 'i',
		[SOURCE_UNDECLARED] = 'n'};
	char ip[ADDRESS_TEXT_MAX];
	int len = 0;
	if (source->kind == SOURCE_RANGE)
		len = snprintf(key, CONF_COVER_KEY_MAX, "r%s/%u",
			address_ip_text(&source->range.base, ip), source->range.prefix_len);
	else
		len = snprintf(key, CONF_COVER_KEY_MAX, "%c%.*s", letters[source->kind],
			STR_ARG(source->text));
	return (size_t)len < CONF_COVER_KEY_MAX ? (size_t)len : CONF_COVER_KEY_MAX - 1;
}

static struct conf_cover_bucket *conf_cover_bucket(
	const struct conf_cover *c, struct str key, uint64_t hash)
{
	for (struct map_node *it = map_first(&c->index, hash); it; it = map_next(it)) {
		struct conf_cover_bucket *b = CONTAINER_OF(it, struct conf_cover_bucket, node);
		if (str_eq(b->key, key))
			return b;
	}
	return NULL;
}

static void conf_cover_put(struct conf_cover *c, struct str key, uint32_t index)
{
	struct conf_parser *p = c->p;
	uint64_t hash = hash_bytes((uintptr_t)c, key.at, key.len);
	struct conf_cover_bucket *b = conf_cover_bucket(c, key, hash);
	struct conf_cover_item *item = conf_build_array(p, 1, sizeof(*item));
	if (!b) {
		b = conf_build_array(p, 1, sizeof(*b));
		if (!b || !item)
			return;
		b->key = arena_str(&p->snapshot->arena, key);
		if (!b->key.at || !map_add(&c->index, &b->node, hash)) {
			p->is_exhausted = true;
			return;
		}
	}
	if (!item || (b->last && b->last->index == index))
		return;
	item->index = index;
	if (b->last)
		b->last->next = item;
	else
		b->first = item;
	b->last = item;
}

/* The caller's part of a key and the path's: "e" exact, "p" prefix, "t" any template, "" no path
 * asked for, "?" any of them. A path that no request can have is an error elsewhere, and may have
 * any length. */
static void conf_cover_put_at(
	struct conf_cover *c, char key[CONF_COVER_KEY_SIZE], size_t len, uint32_t index)
{
	const struct policy *policy = &c->p->snapshot->policies[index];
	uint32_t source_count = policy->from_count ? policy->from_count : 1;
	uint32_t path_count = policy->to.path_count;
	bool is_long = (uint64_t)source_count * path_count > CONF_COVER_PLACES_MAX;
	key[len] = '\n';
	if (path_count == 0 || is_long) {
		key[len + 1] = '?';
		conf_cover_put(c, (struct str){key, len + (path_count ? 2 : 1)}, index);
		return;
	}
	for (uint32_t i = 0; i < path_count; i++) {
		const struct route_path *path = &policy->to.paths[i];
		bool is_template = path->kind == ROUTE_PATH_TEMPLATE;
		size_t more = is_template ? 0 : path->text.len;
		if (more > CONF_PATH_BYTES_MAX)
			continue;
		key[len + 1] = is_template ? 't' : path->kind == ROUTE_PATH_PREFIX ? 'p' : 'e';
		memcpy(key + len + 2, path->text.at, more);
		conf_cover_put(c, (struct str){key, len + 2 + more}, index);
	}
}

static void conf_cover_put_policy(struct conf_cover *c, uint32_t index)
{
	const struct policy *policy = &c->p->snapshot->policies[index];
	char key[CONF_COVER_KEY_SIZE] = "g";
	uint32_t count;
	bool is_denial = policy->action == POLICY_DENY, has_identity = false;
	if (policy->action == POLICY_AUDIT)
		return;
	if (conf_is_guard(policy)) {
		conf_cover_put_at(c, key, 1, index);
		return;
	}
	const struct source *sources = conf_cover_sources(policy, &count);
	for (uint32_t i = 0; i < count && !c->p->is_exhausted; i++) {
		has_identity = has_identity || conf_source_is_identity(&sources[i]);
		conf_cover_put_at(c, key, conf_cover_source_key(&sources[i], key), index);
	}
	key[0] = 'd'; /* callers without identity may be whom it names */
	if (is_denial && has_identity)
		conf_cover_put_at(c, key, 1, index);
}

/* --- looking --- */

/* Of a rule for a service, or for all of them: "*". */
struct conf_cover_search {
	struct conf_cover *c;
	const struct policy *policy;
	struct str service;
	const struct conf_cover_ranks *ranks;
	const struct policy *found; /* the first in the files that covers it */
};

static void conf_cover_look(struct conf_cover_search *s, const char *key, size_t len)
{
	struct conf_cover *c = s->c;
	struct str text = {key, len};
	const struct conf_cover_bucket *b =
		conf_cover_bucket(c, text, hash_bytes((uintptr_t)c, key, len));
	for (const struct conf_cover_item *it = b ? b->first : NULL; it; it = it->next) {
		const struct policy *by = &c->p->snapshot->policies[it->index];
		const struct conf_policy_row *row = c->rows[it->index];
		if ((s->found && by >= s->found) || c->step_count >= CONF_COVER_STEPS_MAX)
			return;
		c->step_count += CONF_COVER_PAIR_STEPS;
		bool is_for = conf_cover_is_for_all(row) ||
			      conf_cover_has(row->services, row->service_count, s->service);
		if (is_for && conf_cover_is_by(c, by, s->policy, s->ranks)) {
			s->found = by;
			return;
		}
	}
}

/* For all that may cover its first path. */
static void conf_cover_look_paths(
	struct conf_cover_search *s, char key[CONF_COVER_KEY_SIZE], size_t len)
{
	const struct route_path *path = s->policy->to.path_count ? &s->policy->to.paths[0] : NULL;
	key[len++] = '\n';
	conf_cover_look(s, key, len);
	if (!path || path->text.len > CONF_PATH_BYTES_MAX)
		return;
	key[len] = '?';
	conf_cover_look(s, key, len + 1);
	key[len] = 't';
	conf_cover_look(s, key, len + 1);
	memcpy(key + len + 1, path->text.at, path->text.len);
	key[len] = 'e';
	conf_cover_look(s, key, len + 1 + path->text.len);
	key[len] = 'p';
	for (size_t i = 0; i <= path->text.len; i++) {
		bool is_end = i == path->text.len;
		if (!is_end && path->kind == ROUTE_PATH_TEMPLATE &&
			(path->text.at[i] == '{' || path->text.at[i] == '*'))
			return;
		if (is_end || path->text.at[i] == '/')
			conf_cover_look(s, key, len + 1 + i);
	}
}

static void conf_cover_look_range(
	struct conf_cover_search *s, const struct source *source, char key[CONF_COVER_KEY_SIZE])
{
	struct source wider = *source;
	for (unsigned len = source->range.prefix_len + 1u; len-- > 0;) {
		wider.range = source->range;
		wider.range.prefix_len = (uint8_t)len;
		wider.range = conf_range_cut(&wider.range);
		conf_cover_look_paths(s, key, conf_cover_source_key(&wider, key));
	}
}

static void conf_cover_look_id(
	struct conf_cover_search *s, const struct source *source, char key[CONF_COVER_KEY_SIZE])
{
	if (source->text.len >= CONF_COVER_KEY_MAX)
		return;
	conf_cover_look_paths(s, key, conf_cover_source_key(source, key));
	for (size_t i = STR("spiffe://").len; i < source->text.len; i++) {
		if (source->text.at[i] != '/')
			continue;
		struct source wider = {.kind = SOURCE_UNDER, .text = {source->text.at, i + 1}};
		conf_cover_look_paths(s, key, conf_cover_source_key(&wider, key));
	}
}

/* For all that may cover its first caller. */
static const struct policy *conf_cover_search(struct conf_cover_search *s)
{
	char key[CONF_COVER_KEY_SIZE] = "g";
	uint32_t count;
	conf_cover_look_paths(s, key, 1);
	if (conf_is_guard(s->policy))
		return s->found;
	const struct source *first = conf_cover_sources(s->policy, &count);
	if (first->kind == SOURCE_ID || first->kind == SOURCE_UNDER)
		conf_cover_look_id(s, first, key);
	if (first->kind == SOURCE_UNDECLARED)
		conf_cover_look_paths(s, key, conf_cover_source_key(first, key));
	if (first->kind == SOURCE_RANGE)
		conf_cover_look_range(s, first, key);
	key[0] = conf_source_is_identity(first) ? '*' : 'a';
	conf_cover_look_paths(s, key, 1);
	key[0] = 'd';
	if (!conf_source_is_identity(first))
		conf_cover_look_paths(s, key, 1);
	return s->found;
}

/* --- all of them --- */

/* What covers a rule for one service after the other: often it is one rule for all. */
struct conf_covered {
	const struct policy *first;
	bool by_several; /* rules */
	bool by_denial;	 /* all of them deny */
};

static void conf_cover_warn(
	const struct conf_cover *c, const struct policy *policy, const struct conf_covered *covered)
{
	const struct conf_policy_row *row = c->rows[policy - c->p->snapshot->policies];
	const struct policy *by = covered->first;
	bool is_allow = policy->action == POLICY_ALLOW;
	if (is_allow && covered->by_denial)
		conf_warning(c->p, row->setting, NULL,
			"never allows anything: \"%.*s\"%s all of it, at %.*s", STR_ARG(by->name),
			covered->by_several ? " and others deny" : " denies", STR_ARG(by->where));
	else if (covered->by_several)
		conf_warning(c->p, row->setting, NULL,
			"decides nothing: \"%.*s\" and others decide all of it already, at %.*s",
			STR_ARG(by->name), STR_ARG(by->where));
	else
		conf_warning(c->p, row->setting, NULL,
			"decides nothing: \"%.*s\" %s all of it already, at %.*s",
			STR_ARG(by->name), is_allow ? "allows" : "denies", STR_ARG(by->where));
}

static void conf_cover_policy(struct conf_cover *c, const struct policy *policy)
{
	const struct snapshot *s = c->p->snapshot;
	const struct conf_policy_row *row = c->rows[policy - s->policies];
	struct conf_covered covered = {.by_denial = true};
	for (uint32_t i = 0; i < row->service_count; i++) {
		const struct service *service = snapshot_service(s, row->services[i]);
		struct conf_cover_search search = {c, policy, row->services[i], &c->all, NULL};
		if (service)
			search.ranks = &c->ranks[service->index];
		const struct policy *by = conf_cover_search(&search);
		if (!by)
			return;
		covered.first = covered.first ? covered.first : by;
		covered.by_several = covered.by_several || by != covered.first;
		covered.by_denial = covered.by_denial && by->action == POLICY_DENY;
	}
	if (covered.first)
		conf_cover_warn(c, policy, &covered);
}

static void conf_cover_rank(struct conf_cover_ranks *ranks, const struct policy *policy)
{
	uint32_t count;
	if (policy->action == POLICY_AUDIT || conf_is_guard(policy))
		return;
	uint32_t *most = policy->action == POLICY_ALLOW ? &ranks->allow : &ranks->deny;
	const struct source *sources = conf_cover_sources(policy, &count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t rank = source_rank(&sources[i]);
		*most = rank > *most ? rank : *most;
	}
}

static void conf_cover_prepare(struct conf_cover *c)
{
	const struct snapshot *s = c->p->snapshot;
	c->rows = conf_build_array(c->p, s->policy_count, sizeof(*c->rows));
	c->ranks = conf_build_array(c->p, s->service_count, sizeof(*c->ranks));
	uint32_t count = 0;
	for (uint32_t f = 0; c->rows && f < c->p->mesh_count; f++) {
		for (uint32_t i = 0; i < c->p->mesh[f].mesh.policy_count; i++)
			c->rows[count++] = &c->p->mesh[f].mesh.policies[i];
	}
	for (uint32_t i = 0; i < s->policy_count; i++)
		conf_cover_rank(&c->all, &s->policies[i]);
	for (uint32_t i = 0; c->ranks && i < s->service_count; i++) {
		for (uint32_t k = 0; k < s->services[i].policy_count; k++)
			conf_cover_rank(&c->ranks[i], s->services[i].policies[k]);
	}
	for (uint32_t i = 0; !c->p->is_exhausted && i < s->policy_count; i++)
		conf_cover_put_policy(c, i);
}

void conf_cover_check(struct conf_parser *p)
{
	struct conf_cover c = {.p = p};
	map_init(&c.index);
	conf_cover_prepare(&c);
	for (uint32_t i = 0; !p->is_exhausted && i < p->snapshot->policy_count; i++)
		conf_cover_policy(&c, &p->snapshot->policies[i]);
	if (c.step_count >= CONF_COVER_STEPS_MAX)
		conf_report_line(p->report, CONF_WARNING, STR_NONE, 0,
			"policies are so many that not each was compared with all others: more of "
			"them may decide nothing");
	map_done(&c.index);
}
