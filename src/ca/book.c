/* SPDX-License-Identifier: Apache-2.0 */
#include "book.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BOOK_SETTINGS	  "ca.conf"
#define BOOK_REGISTRATION "registration.conf"

static int book_bundle(const struct folder *f, const char *name, struct bundle *b, struct err *err)
{
	char path[PATH_MAX];
	folder_path(f, path, "%s", name);
	bundle_init(b);
	return bundle_add_file(b, STR("conf"), path, err);
}

/* The first line of a report; the others are what `ringmain ca check` shows. */
static int book_report(const struct conf_report *report, int result, struct err *err)
{
	struct str text = {report->text, report->text_len}, line;
	bool has_line = report->text && folder_line(&text, &line);
	int r = has_line ? err_set(err, EINVAL, STR_FMT, STR_ARG(line))
			 : err_set(err, ENOMEM, "out of memory");
	size_t len = strlen(err->text);
	if (report->error_count > 1)
		snprintf(err->text + len, sizeof(err->text) - len, " (and %u more)",
			report->error_count - 1);
	return has_line ? r : result;
}

int book_check_settings(struct str text, const char *place, struct err *err)
{
	struct bundle b;
	struct conf_report report;
	struct conf_ca *settings = NULL;
	conf_report_init(&report);
	bundle_init(&b);
	int r = bundle_add(&b, STR("conf"), str_of(place), text, err);
	if (r == 0) {
		r = conf_ca_parse(&b, &settings, &report);
		if (r < 0)
			r = book_report(&report, r, err);
	}
	conf_ca_free(settings);
	conf_report_done(&report);
	bundle_done(&b);
	return r;
}

int book_settings(const struct folder *f, struct conf_ca **ret_ca, struct err *err)
{
	struct bundle b;
	struct conf_report report;
	conf_report_init(&report);
	int r = book_bundle(f, BOOK_SETTINGS, &b, err);
	if (r == 0) {
		r = conf_ca_parse(&b, ret_ca, &report);
		if (r < 0)
			r = book_report(&report, r, err);
	}
	conf_report_done(&report);
	bundle_done(&b);
	return r;
}

int book_registration(
	const struct folder *f, struct conf_registration **ret_registration, struct err *err)
{
	struct bundle b;
	struct conf_report report;
	conf_report_init(&report);
	int r = book_bundle(f, BOOK_REGISTRATION, &b, err);
	if (r == 0) {
		r = conf_registration_parse(&b, ret_registration, &report);
		if (r < 0)
			r = book_report(&report, r, err);
	}
	conf_report_done(&report);
	bundle_done(&b);
	return r;
}

/* --- rewriting --- */

/* One node as it shall be: what it has now and what it gets, or without what it loses. */
struct book_change {
	struct str node;
	struct str *identities;
	uint32_t count;
};

static bool book_has(const struct str *identities, uint32_t count, struct str identity)
{
	for (uint32_t i = 0; i < count; i++) {
		if (str_eq(identities[i], identity))
			return true;
	}
	return false;
}

static struct str book_short(struct str identity)
{
	struct str prefix = STR("service/");
	struct str name = {identity.at + prefix.len, identity.len - prefix.len};
	bool is_service = str_starts(identity, prefix) && !memchr(name.at, '/', name.len);
	return is_service ? name : identity;
}

static void book_print_node(FILE *out, struct str name, const struct str *identities,
	uint32_t count, const struct conf_registered *from)
{
	char text[ADDRESS_TEXT_MAX];
	fprintf(out, "\t{ name = \"" STR_FMT "\";", STR_ARG(name));
	if (count > 0)
		fputs(" identities = [ ", out);
	for (uint32_t i = 0; i < count; i++)
		fprintf(out, "%s\"" STR_FMT "\"", i ? ", " : "",
			STR_ARG(book_short(identities[i])));
	if (count > 0)
		fputs(" ];", out);
	if (from && from->address_count > 0)
		fputs(" addresses = [ ", out);
	for (uint32_t i = 0; from && i < from->address_count; i++)
		fprintf(out, "%s\"%s/%u\"", i ? ", " : "",
			address_ip_text(&from->addresses[i].base, text),
			from->addresses[i].prefix_len);
	if (from && from->address_count > 0)
		fputs(" ];", out);
	fputs(" }", out);
}

/* The registration with one node changed; `change` without identities and `is_gone`: without it. */
static void book_print(FILE *out, const struct conf_registration *r,
	const struct book_change *change, bool is_gone)
{
	const char *between = "\n";
	bool is_known = false;
	fputs("# Which machine may hold which identities. `ringmain ca allow` and `ca forbid` "
	      "rewrite this\n"
	      "# file and keep no comments; it may be edited by hand, too.\n"
	      "nodes: (",
		out);
	for (uint32_t i = 0; i < r->node_count; i++) {
		const struct conf_registered *n = &r->nodes[i];
		bool is_it = str_eq(n->name, change->node);
		is_known = is_known || is_it;
		if (is_it && is_gone)
			continue;
		fputs(between, out);
		book_print_node(out, n->name, is_it ? change->identities : n->identities,
			is_it ? change->count : n->identity_count, n);
		between = ",\n";
	}
	if (!is_known && !is_gone) {
		fputs(between, out);
		book_print_node(out, change->node, change->identities, change->count, NULL);
	}
	fputs("\n);\n", out);
}

static int book_write(const struct folder *f, const struct conf_registration *r,
	const struct book_change *change, bool is_gone, struct err *err)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		return err_set(err, ENOMEM, "out of memory");
	book_print(out, r, change, is_gone);
	int result = fclose(out) == 0 ? 0 : err_set(err, ENOMEM, "out of memory");
	if (result == 0)
		result = folder_write(
			f, BOOK_REGISTRATION, FILE_PUBLIC, (struct str){text, size}, err);
	free(text);
	return result;
}

/* Paths of what the command line names, in the registration's arena. */
static int book_paths(struct conf_registration *r, const struct str *identities, uint32_t count,
	struct str **ret_paths, struct err *err)
{
	struct str *paths = arena_take(&r->arena, (count + 1) * sizeof(*paths));
	for (uint32_t i = 0; paths && i < count; i++) {
		char path[CONF_IDENTITY_MAX + 1];
		if (!conf_identity_path(identities[i], path, err))
			return -EINVAL;
		paths[i] = arena_str(&r->arena, str_of(path));
		if (!paths[i].at)
			paths = NULL;
	}
	if (!paths)
		return err_set(err, ENOMEM, "out of memory");
	*ret_paths = paths;
	return 0;
}

static int book_allow_in(const struct folder *f, struct conf_registration *r, struct str node,
	const struct str *identities, uint32_t count, struct err *err)
{
	const struct conf_registered *known = conf_registered_find(r, node);
	uint32_t known_count = known ? known->identity_count : 0, new_count = 0;
	struct str *paths = NULL;
	int result = book_paths(r, identities, count, &paths, err);
	if (result < 0)
		return result;
	struct str *all = arena_take(&r->arena, (known_count + count + 1) * sizeof(*all));
	if (!all)
		return err_set(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < known_count; i++)
		all[i] = known->identities[i];
	for (uint32_t i = 0; i < count; i++) {
		if (!book_has(all, known_count + new_count, paths[i]))
			all[known_count + new_count++] = paths[i];
	}
	struct book_change change = {node, all, known_count + new_count};
	if (known && new_count == 0)
		return 0;
	result = book_write(f, r, &change, false, err);
	return result < 0 ? result : (int)new_count + (known ? 0 : 1);
}

int book_allow(const struct folder *f, struct str node, const struct str *identities,
	uint32_t count, struct err *err)
{
	struct conf_registration *r = NULL;
	if (!conf_node_name_valid(node))
		return err_set(err, EINVAL,
			"\"" STR_FMT
			"\" is no node's name: letters, digits, '.', '-' and '_', at most 63",
			STR_ARG(node));
	int result = book_registration(f, &r, err);
	if (result == 0)
		result = book_allow_in(f, r, node, identities, count, err);
	conf_registration_free(r);
	return result;
}

static int book_forbid_in(const struct folder *f, struct conf_registration *r, struct str node,
	const struct str *identities, uint32_t count, struct err *err)
{
	const struct conf_registered *known = conf_registered_find(r, node);
	struct str *paths = NULL;
	int result = book_paths(r, identities, count, &paths, err);
	if (result == 0 && !known)
		result = err_set(
			err, ENOENT, "node \"" STR_FMT "\" is not registered", STR_ARG(node));
	if (result < 0)
		return result;
	struct str *left = arena_take(&r->arena, (known->identity_count + 1) * sizeof(*left));
	if (!left)
		return err_set(err, ENOMEM, "out of memory");
	struct book_change change = {node, left, 0};
	for (uint32_t i = 0; i < known->identity_count; i++) {
		if (!book_has(paths, count, known->identities[i]))
			left[change.count++] = known->identities[i];
	}
	uint32_t taken =
		count == 0 ? known->identity_count + 1 : known->identity_count - change.count;
	if (taken > 0)
		result = book_write(f, r, &change, count == 0, err);
	return result < 0 ? result : (int)taken;
}

int book_forbid(const struct folder *f, struct str node, const struct str *identities,
	uint32_t count, struct err *err)
{
	struct conf_registration *r = NULL;
	int result = book_registration(f, &r, err);
	if (result == 0)
		result = book_forbid_in(f, r, node, identities, count, err);
	conf_registration_free(r);
	return result;
}
