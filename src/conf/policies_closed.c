/* SPDX-License-Identifier: Apache-2.0 */
/* Published policies that cannot be read: those of a newer version with a key that is unknown here,
 * and those that are broken. A mesh without such a one would be more open than its operator has
 * said, and a mesh that waits until it is mended would follow no other change. So its services are
 * closed: a guard stands in its place that denies everything, and says why. When not even the
 * services can be read, all of them are.
 *
 * Policies are tried one by one: what is said about one that cannot be read is taken back from the
 * report, in which it would be an error, and the first of it kept as the reason. */
#include "build_policies.h"

#define CONF_FAULT_MAX 400

bool conf_is_closable(const struct conf_parser *p, const struct conf_file *file)
{
	return !p->published && file->is_object && str_starts(file->path, STR("policy/"));
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

/* Of what was said since: the first error, without the place. */
static struct str conf_trial_error(
	const struct conf_parser *p, const struct conf_trial *t, const struct conf_file *file)
{
	const struct conf_report *r = p->report;
	struct str rest = {r->text + t->text_len, r->text_len - t->text_len};
	while (rest.len > 0) {
		const char *end = memchr(rest.at, '\n', rest.len);
		struct str line = {rest.at, end ? (size_t)(end - rest.at) : rest.len};
		size_t taken = line.len + (end ? 1 : 0);
		rest = (struct str){rest.at + taken, rest.len - taken};
		if (str_starts(line, file->path))
			line = (struct str){line.at + file->path.len, line.len - file->path.len};
		if (str_starts(line, STR(": ")))
			line = (struct str){line.at + 2, line.len - 2};
		else if (str_starts(line, STR(":")))
			line = (struct str){line.at + 1, line.len - 1}; /* the number of a line */
		if (line.len > CONF_FAULT_MAX)
			line.len = CONF_FAULT_MAX;
		if (!str_starts(line, STR("warning: ")))
			return line;
	}
	return STR("it cannot be read");
}

bool conf_trial_end(struct conf_parser *p, const struct conf_trial *t, struct conf_file *file)
{
	struct conf_report *r = p->report;
	if (r->error_count == t->error_count)
		return true;
	file->fault = arena_str(&p->snapshot->arena, conf_trial_error(p, t, file));
	if (!file->fault.at)
		p->is_exhausted = true;
	r->error_count = t->error_count;
	r->warning_count = t->warning_count;
	r->text_len = t->text_len;
	if (r->text)
		r->text[r->text_len] = '\0';
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

void conf_close(struct conf_parser *p, struct conf_file *file)
{
	static struct str all[] = {{"*", 1}};
	struct conf_policy_row *row = conf_build_array(p, 1, sizeof(*row));
	file->mesh = (struct conf_mesh){0};
	if (!row)
		return;
	if (!conf_closed_services(p, file, row)) {
		row->services = all;
		row->service_count = 1;
	}
	file->mesh.policies = row;
	file->mesh.policy_count = 1;
	conf_closed_warn(p, file, row);
}

/* --- the guard --- */

void conf_closed_guard(struct conf_parser *p, const struct conf_file *file, struct policy *policy)
{
	struct str key = conf_object_key(file), kind = STR("policy/");
	*policy = (struct policy){
		.name = arena_str(
			&p->snapshot->arena, (struct str){key.at + kind.len, key.len - kind.len}),
		.where = arena_str(&p->snapshot->arena, file->path),
		.action = POLICY_DENY,
		.fault = file->fault,
	};
	if (!policy->name.at || !policy->where.at)
		p->is_exhausted = true;
}
