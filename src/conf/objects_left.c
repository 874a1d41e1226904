/* SPDX-License-Identifier: Apache-2.0 */
/* Published objects that cannot be read: those of a newer version with a key, or of a kind, that is
 * unknown here, and those that are broken. A mesh that waits until they are mended would follow no
 * other change, also none that closes something. So each is left out, which is said, and what it
 * may have protected is closed: a guard that denies everything stands in the place of a policy, at
 * its services, and of a service, at that. When not even the services of a policy can be read, all
 * of them are: in every version `service` is all that a policy is about. Whoever is of a service
 * that is left out cannot be known, a token of an issuer that is left out is none, and what is
 * outside is refused without its external. Calls go on without a route, a rollout or a limit.
 *
 * Objects are tried one by one: what is said about one that cannot be read is taken back from the
 * report, in which it would be an error, and the first of it kept as the reason. What is wrong with
 * an object only beside others comes out when all are built: then the picture is parsed again
 * without it, some times at most. */
#include "build_policies.h"

#include <stdlib.h>

#define CONF_FAULT_MAX 400

/* By the parse before. */
struct conf_left {
	char fault[CONF_FAULT_MAX + 1]; /* "": it is not left out */
};

bool conf_is_closable(const struct conf_parser *p, const struct conf_file *file)
{
	return !p->published && file->is_object;
}

bool conf_is_policy(const struct conf_parser *p, const struct conf_file *file)
{
	return conf_is_closable(p, file) && str_starts(file->path, STR("policy/"));
}

struct str conf_object_key(const struct conf_file *file)
{
	const char *at = memchr(file->path.at, '@', file->path.len);
	return (struct str){file->path.at, at ? (size_t)(at - file->path.at) : file->path.len};
}

struct conf_trial conf_trial_begin(const struct conf_parser *p)
{
	const struct conf_report *r = p->report;
	return (struct conf_trial){r->error_count, r->warning_count, r->text_len};
}

/* Of what was said since: the first error, without the place. `is_its`: of this object, among those
 * of others. */
static struct str conf_trial_error(const struct conf_parser *p, const struct conf_trial *t,
	const struct conf_file *file, bool is_its)
{
	const struct conf_report *r = p->report;
	struct str rest = {r->text + t->text_len, r->text_len - t->text_len};
	while (rest.len > 0) {
		const char *end = memchr(rest.at, '\n', rest.len);
		struct str line = {rest.at, end ? (size_t)(end - rest.at) : rest.len};
		size_t taken = line.len + (end ? 1 : 0);
		bool is_placed = str_starts(line, file->path);
		rest = (struct str){rest.at + taken, rest.len - taken};
		if (is_placed)
			line = (struct str){line.at + file->path.len, line.len - file->path.len};
		if (str_starts(line, STR(": ")))
			line = (struct str){line.at + 2, line.len - 2};
		else if (str_starts(line, STR(":")))
			line = (struct str){line.at + 1, line.len - 1}; /* the number of a line */
		if (line.len > CONF_FAULT_MAX)
			line.len = CONF_FAULT_MAX;
		if ((is_placed || !is_its) && !str_starts(line, STR("warning: ")))
			return line;
	}
	return STR("it cannot be read");
}

static void conf_trial_undo(struct conf_report *r, const struct conf_trial *t)
{
	r->error_count = t->error_count;
	r->warning_count = t->warning_count;
	r->text_len = t->text_len;
	if (r->text)
		r->text[r->text_len] = '\0';
}

bool conf_trial_end(struct conf_parser *p, const struct conf_trial *t, struct conf_file *file)
{
	if (p->report->error_count == t->error_count)
		return true;
	file->fault = arena_str(&p->snapshot->arena, conf_trial_error(p, t, file, false));
	if (!file->fault.at)
		p->is_exhausted = true;
	file->error_count = 0;
	conf_trial_undo(p->report, t);
	return false;
}

/* --- what it protects --- */

static const config_setting_t *conf_closed_setting(const struct conf_file *file)
{
	if (!file->is_open)
		return NULL;
	const config_setting_t *list = conf_member(conf_file_root(file), "policies");
	bool is_one = list && config_setting_is_list(list) && config_setting_length(list) == 1;
	return is_one ? config_setting_get_elem(list, 0) : NULL;
}

static bool conf_closed_name(
	struct conf_parser *p, const config_setting_t *setting, struct str *ret_name)
{
	struct str name = str_of(config_setting_get_string(setting));
	*ret_name = arena_str(&p->snapshot->arena, name);
	if (!ret_name->at)
		p->is_exhausted = true;
	return str_eq(name, STR("*")) || identity_service_valid(name);
}

/* The names in `service`, if they are all that can be meant. */
static bool conf_closed_services(
	struct conf_parser *p, const struct conf_file *file, struct conf_policy_row *row)
{
	const config_setting_t *setting = conf_closed_setting(file);
	const config_setting_t *one = setting ? conf_member(setting, "service") : NULL;
	const config_setting_t *many = setting ? conf_member(setting, "services") : NULL;
	const config_setting_t *from = one ? one : many;
	if (!from || (one && many))
		return false;
	bool is_list = config_setting_is_list(from) || config_setting_is_array(from);
	uint32_t count = is_list ? (uint32_t)config_setting_length(from) : 1;
	row->services = conf_build_array(p, count, sizeof(*row->services));
	for (uint32_t i = 0; row->services && i < count; i++) {
		const config_setting_t *at = is_list ? config_setting_get_elem(from, i) : from;
		if (!conf_closed_name(p, at, &row->services[row->service_count++]))
			return false;
	}
	return row->services && count > 0;
}

static void conf_closed_warn(
	struct conf_parser *p, const struct conf_file *file, const struct conf_policy_row *row)
{
	struct conf_words words = {0};
	for (uint32_t i = 0; i < row->service_count; i++)
		conf_words_add(&words, row->services[i]);
	bool is_all = row->service_count == 1 && str_eq(row->services[0], STR("*"));
	conf_report_line(p->report, CONF_WARNING, file->path, 0,
		"cannot be read, so everything is denied at %s: %.*s",
		is_all ? "all services" : words.text, STR_ARG(file->fault));
}

static struct str conf_after(struct str text, struct str start)
{
	return str_starts(text, start) ? (struct str){text.at + start.len, text.len - start.len}
				       : STR_NONE;
}

/* What it protects; false: nothing. */
static bool conf_closed_row(
	struct conf_parser *p, const struct conf_file *file, struct conf_policy_row *row)
{
	static struct str all[] = {{"*", 1}};
	struct str key = conf_object_key(file), name = conf_after(key, STR("service/"));
	if (identity_service_valid(name)) {
		row->services = conf_build_array(p, 1, sizeof(*row->services));
		if (!row->services)
			return false;
		row->services[row->service_count++] = arena_str(&p->snapshot->arena, name);
		p->is_exhausted = p->is_exhausted || !row->services[0].at;
		return true;
	}
	if (!str_starts(key, STR("policy/")))
		return false;
	if (!conf_closed_services(p, file, row)) {
		row->services = all;
		row->service_count = 1;
	}
	return true;
}

/* What follows, by kind; those that are closed aside. */
static const char *conf_left_follows(struct str key)
{
	static const struct {
		const char *kind, *follows;
	} rows[] = {
		{"issuer/", ", and no token of it is good"},
		{"external/", ", and nothing is let out by it"},
		{"limit/", ", AND NOTHING IS LIMITED BY IT"},
		{"route/", ", and calls go as if there were none"},
		{"rollout/", ", and no calls are led to the new version by it"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (str_starts(key, str_of(rows[i].kind)))
			return rows[i].follows;
	}
	return "";
}

void conf_close(struct conf_parser *p, struct conf_file *file)
{
	struct conf_policy_row *row = conf_build_array(p, 1, sizeof(*row));
	file->mesh = (struct conf_mesh){0};
	if (!row)
		return;
	if (!conf_closed_row(p, file, row)) {
		conf_report_line(p->report, CONF_WARNING, file->path, 0,
			"cannot be read, so it is left out%s: %.*s",
			conf_left_follows(conf_object_key(file)), STR_ARG(file->fault));
		return;
	}
	file->mesh.policies = row;
	file->mesh.policy_count = 1;
	conf_closed_warn(p, file, row);
}

/* --- again --- */

void conf_left_recall(struct conf_parser *p, uint32_t index)
{
	struct conf_file *file = &p->mesh[index];
	if (!p->left || p->left[index].fault[0] == '\0' || file->fault.len > 0)
		return;
	file->fault = arena_str(&p->snapshot->arena, str_of(p->left[index].fault));
	if (!file->fault.at)
		p->is_exhausted = true;
}

void conf_left_collect(struct conf_parser *p, const struct conf_trial *t)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < p->mesh_count; i++)
		count += conf_is_closable(p, &p->mesh[i]) ? p->mesh[i].error_count : 0;
	if (count == 0 || p->report->error_count - t->error_count != count || p->is_exhausted)
		return;
	if (!p->left)
		p->left = calloc(p->mesh_count, sizeof(*p->left));
	p->is_exhausted = !p->left;
	for (uint32_t i = 0; p->left && i < p->mesh_count; i++) {
		if (p->mesh[i].error_count == 0)
			continue;
		struct str fault = conf_trial_error(p, t, &p->mesh[i], true);
		memcpy(p->left[i].fault, fault.at, fault.len);
		p->left[i].fault[fault.len] = '\0';
	}
	p->is_again = p->left;
	if (p->is_again)
		conf_trial_undo(p->report, t);
}

void conf_left_free(struct conf_parser *p)
{
	free(p->left);
}

/* --- the guard --- */

void conf_closed_guard(struct conf_parser *p, const struct conf_file *file, struct policy *policy)
{
	struct str key = conf_object_key(file), name = conf_after(key, STR("policy/"));
	*policy = (struct policy){
		.name = arena_str(&p->snapshot->arena, name.len > 0 ? name : key),
		.where = arena_str(&p->snapshot->arena, file->path),
		.action = POLICY_DENY,
		.fault = file->fault,
	};
	if (!policy->name.at || !policy->where.at)
		p->is_exhausted = true;
}
