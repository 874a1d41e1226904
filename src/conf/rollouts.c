/* SPDX-License-Identifier: Apache-2.0 */
#include "rollouts.h"

#include "conf/rollouts.h"
#include "mesh/record.h"
#include <errno.h>

static bool conf_rollout_version(struct conf_parser *p, const struct conf_rollout_row *row,
	const char *key, struct str version)
{
	if (version.len == 0) /* missing, which is said */
		return false;
	if (record_word_valid(version))
		return true;
	conf_error(p, row->setting, key,
		"\"%.*s\" is no version: at most %d printable bytes without space",
		STR_ARG(version), RECORD_WORD_MAX);
	return false;
}

static bool conf_rollout_steps(
	struct conf_parser *p, const struct conf_rollout_row *row, struct rollout_rule *rule)
{
	uint32_t before = 0;
	if (row->step_count > ROLLOUT_STEPS_MAX) {
		conf_error(p, row->setting, "steps", "more than %d", ROLLOUT_STEPS_MAX);
		return false;
	}
	for (uint32_t i = 0; i < row->step_count; i++) {
		uint32_t step = row->steps[i];
		if (step == 0) /* out of range, which is said */
			return false;
		if (step <= before) {
			conf_error(p, row->setting, "steps",
				"%u is not above %u, the step before it: they rise", step, before);
			return false;
		}
		rule->steps[rule->step_count++] = (uint8_t)step;
		before = step;
	}
	if (row->step_count > 0 && before != 100)
		conf_error(p, row->setting, "steps",
			"the last is %u: a rollout ends with 100, and `order` = \"pause\" stops it "
			"before",
			before);
	return before == 100;
}

bool conf_rollout_read(
	struct conf_parser *p, const struct conf_rollout_row *row, struct rollout_rule *ret_rule)
{
	*ret_rule = (struct rollout_rule){.service = row->service,
		.from = row->from,
		.to = row->to,
		.attempt = row->attempt,
		.every_ms = row->every_ms,
		.success_tenths = row->success_tenths,
		.p99_ms = row->p99_ms,
		.calls_min = row->calls_min,
		.order = (enum rollout_order)row->order};
	bool is_good = conf_rollout_version(p, row, "from", row->from);
	is_good = conf_rollout_version(p, row, "to", row->to) && is_good;
	is_good = conf_rollout_steps(p, row, ret_rule) && is_good;
	if (is_good && str_eq(row->from, row->to)) {
		conf_error(
			p, row->setting, "to", "\"%.*s\" is what it comes from", STR_ARG(row->to));
		return false;
	}
	return is_good && row->service.len > 0 && row->attempt > 0 && row->every_ms > 0 &&
	       row->calls_min > 0;
}

static int conf_rollout_of(struct conf_parser *p, struct rollout_rule *ret_rule, struct err *err)
{
	struct conf_mesh *mesh = &p->mesh->mesh;
	if (p->mesh->is_open)
		conf_read_root(p, &conf_mesh_root, conf_file_root(p->mesh), mesh);
	bool is_good = p->report->error_count == 0 && mesh->rollout_count == 1 &&
		       conf_rollout_read(p, mesh->rollouts, ret_rule);
	if (p->is_exhausted)
		return err_set(err, ENOMEM, "out of memory");
	if (is_good && p->report->error_count == 0)
		return 0;
	if (!p->report->text)
		return err_set(err, EINVAL, "no rollout");
	struct str line = {p->report->text, strcspn(p->report->text, "\n")};
	return err_set(err, EINVAL, "%.*s", STR_ARG(line));
}

int conf_rollout_rule(
	struct str text, struct arena *arena, struct rollout_rule *ret_rule, struct err *err)
{
	/* Spans are not terminated; the parser of texts needs it. */
	struct bundle_item item = {.name = STR("rollout"), .text = arena_str(arena, text)};
	struct rollout_rule rule;
	struct conf_report report;
	struct conf_file file = {.is_object = true};
	struct conf_parser p = {.report = &report, .arena = arena, .mesh = &file, .mesh_count = 1};
	if (!item.text.at)
		return err_set(err, ENOMEM, "out of memory");
	conf_report_init(&report);
	bool is_open = conf_file_open(&file, &item, &report);
	file.is_object = is_open;
	int r = conf_rollout_of(&p, &rule, err);
	conf_file_close(&file);
	conf_report_done(&report);
	if (r == 0)
		*ret_rule = rule;
	return r;
}

static bool conf_rollout_set_order(struct conf_file *file, enum rollout_order order)
{
	config_setting_t *list = config_lookup(&file->tree, "rollouts");
	config_setting_t *row = list ? config_setting_get_elem(list, 0) : NULL;
	if (!row || !config_setting_is_group(row))
		return false;
	config_setting_remove(row, "order");
	config_setting_t *member = config_setting_add(row, "order", CONFIG_TYPE_STRING);
	return member && config_setting_set_string(member, rollout_order_name(order));
}

struct str conf_rollout_ordered(struct str text, enum rollout_order order, struct arena *arena)
{
	struct bundle_item item = {.name = STR("rollout"), .text = arena_str(arena, text)};
	struct conf_report report;
	struct conf_file file;
	struct str ordered = STR_NONE;
	if (!item.text.at)
		return STR_NONE;
	conf_report_init(&report);
	if (conf_file_open(&file, &item, &report) && conf_rollout_set_order(&file, order))
		ordered = conf_write_tree(arena, &file.tree);
	conf_file_close(&file);
	conf_report_done(&report);
	return ordered;
}
