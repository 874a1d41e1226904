/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include "base/json.h"
#include "base/table.h"
#include <errno.h>

#define PLAN_JSON_MAX	 (64u << 20)
#define PLAN_PRUNED_SHOW 10

static struct str plan_source(const struct plan *plan, const struct change *change)
{
	const struct object *o = object_set_find(&plan->edit->after, change->key);
	return o && o->source.len ? o->source : STR("");
}

/* --- what stays though it is in none of the files --- */

static uint32_t plan_prunable_count(const struct plan *plan)
{
	/* what is made of one object is about no other */
	bool is_of_files = plan->wish->kind == EDIT_PUT && !plan->wish->has_was;
	return is_of_files ? plan->edit->after.count - plan->wish->row_count : 0;
}

static void plan_print_prunable(FILE *out, const struct plan *plan)
{
	uint32_t count = plan_prunable_count(plan), shown = 0;
	if (count == 0)
		return;
	fprintf(out, "%u in none of the files stay%s; --prune would take away:", count,
		count == 1 ? "s" : "");
	OBJECT_EACH (&plan->edit->after, it) {
		if (shown < PLAN_PRUNED_SHOW && !edit_has_row(plan->edit, it->key))
			fprintf(out, "%s " STR_FMT, shown++ ? "," : "", STR_ARG(it->key));
	}
	if (count > shown)
		fprintf(out, " and %u more", count - shown);
	fputc('\n', out);
}

/* --- for people, for programs --- */

static void plan_print_end(FILE *out, const struct plan *plan)
{
	if (plan->revision == 0)
		fprintf(out, "nothing to change\n");
	else if (plan->dry_run)
		fprintf(out, "nothing was written: a dry run; it would be revision %llu\n",
			(unsigned long long)plan->revision);
	else
		fprintf(out, "published as revision %llu\n", (unsigned long long)plan->revision);
}

void plan_print(FILE *out, const struct plan *plan)
{
	struct table t;
	table_init(&t, 3);
	for (uint32_t i = 0; i < plan->edit->change_count; i++) {
		const struct change *c = &plan->edit->changes[i];
		struct str source = plan_source(plan, c);
		table_cell(&t, "%s", edit_verb_name(edit_verb(c)));
		table_cell_str(&t, c->key);
		table_cell(&t, STR_FMT, STR_ARG(source));
	}
	table_print(&t, out, 0);
	table_done(&t);
	if (plan->edit->unchanged_count > 0)
		fprintf(out, "unchanged %u\n", plan->edit->unchanged_count);
	plan_print_prunable(out, plan);
	plan_print_end(out, plan);
}

static void plan_json_changes(struct json *j, const struct plan *plan)
{
	json_key(j, "changes");
	json_open(j, '[');
	for (uint32_t i = 0; i < plan->edit->change_count; i++) {
		const struct change *c = &plan->edit->changes[i];
		json_open(j, '{');
		json_key(j, "verb");
		json_str(j, str_of(edit_verb_name(edit_verb(c))));
		json_key(j, "key");
		json_str(j, c->key);
		json_key(j, "source");
		json_str(j, plan_source(plan, c));
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void plan_json_prunable(struct json *j, const struct plan *plan)
{
	json_key(j, "prunable");
	json_open(j, '[');
	OBJECT_EACH (&plan->edit->after, it) {
		if (plan_prunable_count(plan) > 0 && !edit_has_row(plan->edit, it->key))
			json_str(j, it->key);
	}
	json_close(j, ']');
}

void plan_print_json(FILE *out, const struct plan *plan)
{
	struct json j;
	json_init(&j, PLAN_JSON_MAX);
	json_open(&j, '{');
	json_key(&j, "revision");
	json_u64(&j, plan->revision);
	json_key(&j, "dry_run");
	json_bool(&j, plan->dry_run);
	plan_json_changes(&j, plan);
	json_key(&j, "unchanged");
	json_u64(&j, plan->edit->unchanged_count);
	plan_json_prunable(&j, plan);
	json_close(&j, '}');
	json_newline(&j);
	fwrite(j.text, 1, j.len, out);
	json_done(&j);
}

/* --- the check --- */

static int plan_add_object(struct bundle *b, const struct object *o, struct err *err)
{
	char name[OBJECT_KEY_MAX + 64];
	int len = snprintf(name, sizeof(name), STR_FMT " (revision %llu)", STR_ARG(o->key),
		(unsigned long long)o->revision);
	return bundle_add(b, STR("object"), (struct str){name, (size_t)len}, o->text, err);
}

static int plan_add_nodes(struct bundle *b, const struct published *standing, struct err *err)
{
	int r = 0;
	for (uint32_t i = 0; r == 0 && i < standing->node_count; i++) {
		const struct published_node *node = &standing->nodes[i];
		if (node->is_readable)
			r = bundle_add(b, STR("node"), node->name, node->text, err);
	}
	return r;
}

static int plan_gather_after(
	struct bundle *b, const struct edit *edit, const struct bundle *files, struct err *err)
{
	const struct bundle_item *item = NULL;
	int r = 0;
	while (r == 0 && files && (item = bundle_next(files, "mesh", item)))
		r = bundle_add(b, STR("mesh"), item->name, item->text, err);
	for (const struct object *it = edit->after.ahead[0]; r == 0 && it; it = it->ahead[0]) {
		if (!files || !edit_has_row(edit, it->key))
			r = plan_add_object(b, it, err);
	}
	for (uint32_t i = 0; r == 0 && i < edit->change_count; i++) {
		if (edit_verb(&edit->changes[i]) == EDIT_REMOVE)
			r = bundle_add(b, STR("gone"), edit->changes[i].key, STR(""), err);
	}
	return r;
}

/* What is wrong already, for the report to pass over. */
static int plan_check_standing(const struct published *standing, struct str mesh,
	struct conf_report *report, struct err *err)
{
	struct bundle b;
	int r = 0;
	bundle_init(&b);
	for (const struct object *it = standing->set.ahead[0]; r == 0 && it; it = it->ahead[0])
		r = plan_add_object(&b, it, err);
	if (r == 0)
		r = plan_add_nodes(&b, standing, err);
	if (r < 0) {
		bundle_done(&b);
		return r;
	}
	r = conf_objects_check(&b, mesh, report);
	bundle_done(&b);
	return r == -ENOMEM ? err_set(err, ENOMEM, "out of memory") : 0;
}

int plan_check(const struct edit *edit, const struct bundle *files,
	const struct published *standing, struct str mesh, struct conf_report *report,
	struct err *err)
{
	struct conf_report known;
	struct bundle b;
	bundle_init(&b);
	conf_report_init(&known);
	int r = plan_check_standing(standing, mesh, &known, err);
	if (r == 0)
		r = plan_gather_after(&b, edit, files, err);
	if (r == 0)
		r = plan_add_nodes(&b, standing, err);
	report->known = &known;
	if (r == 0)
		r = plan_check_rollouts(edit, &standing->set, err);
	if (r == 0) {
		r = conf_objects_check(&b, mesh, report);
		if (r < 0)
			err_set(err, -r, "nothing was written");
	}
	report->known = NULL;
	conf_report_done(&known);
	bundle_done(&b);
	return r;
}
