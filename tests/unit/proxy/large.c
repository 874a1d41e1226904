/* SPDX-License-Identifier: Apache-2.0 */
#include "large.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void large_services(FILE *out, const struct large_size *size)
{
	fprintf(out, "services: (");
	for (uint32_t i = 0; i < size->services; i++) {
		fprintf(out,
			"%s\n { name = \"s%04u\"; port = 80; protocol = \"http\"; endpoints = (",
			i ? "," : "", i);
		for (uint32_t k = 0; k < size->endpoints; k++)
			fprintf(out, "%s { address = \"10.%u.%u.%u\"; }", k ? "," : "", 80 + k,
				i / 250, i % 250 + 1);
		fprintf(out, " ); }");
	}
	fprintf(out, " );\n");
}

/* Of three kinds in turn: what an application may, what a team's applications may, and what one may
 * not. */
static void large_policy_by_path(FILE *out, uint32_t i)
{
	uint32_t team = i / 3 % 97, application = i / 3 % 1009;
	fprintf(out, "\n { name = \"p%04u\"; service = \"orders\"; ", i);
	if (i % 3 == 0)
		fprintf(out,
			"action = \"allow\"; from = [ \"team-%u/app-%u\" ]; "
			"paths = [ \"/api/v1/thing-%u/*\", \"/api/v1/things\" ]; },",
			team, application, i % 211);
	else if (i % 3 == 1)
		fprintf(out,
			"action = \"allow\"; from = [ \"team-%u/*\" ]; methods = [ \"GET\" ]; "
			"paths = [ \"/api/v1/thing-%u/{id}/parts\" ]; },",
			team, i);
	else
		fprintf(out,
			"action = \"deny\"; from = [ \"team-%u/app-%u\" ]; "
			"methods = [ \"DELETE\", \"PUT\" ]; paths = [ \"/admin/%u/*\" ]; },",
			team, application, i);
}

static void large_list(FILE *out, const char *key, const char *item, uint32_t count)
{
	fprintf(out, "%s = [ ", key);
	for (uint32_t i = 0; i < count; i++)
		fprintf(out, item, i ? ", " : "", i);
	fprintf(out, " ]; ");
}

/* One policy with long lists. */
static void large_one(FILE *out, const struct large_size *size)
{
	fprintf(out, "\n { service = \"orders\"; action = \"allow\"; ");
	if (size->crowd == LARGE_PRODUCT)
		large_list(out, "from", "%s\"spiffe://prod.example/service/web%u\"",
			size->policies / 10);
	if (size->crowd != LARGE_NOTS) {
		large_list(out, "paths", "%s\"/p/%u\"",
			size->policies / (size->crowd == LARGE_PRODUCT ? 10 : 1));
	} else {
		large_list(out, "paths", "%s\"/p/%u/*\"", 8);
		large_list(out, "not_from", "%s\"team/app-%u\"", 32);
		large_list(out, "not_paths", "%s\"/p/{id}/of/%u\"", 32);
		large_list(out, "not_hosts", "%s\"h%u.example\"", 32);
	}
	fprintf(out, "},");
}

static void large_crowd(FILE *out, const struct large_size *size)
{
	static const char *const rules[] = {
		[LARGE_TEMPLATES] = "action = \"allow\"; paths = \"/{tenant}/res%u\";",
		[LARGE_TEMPLATE_DENIES] = "action = \"deny\"; paths = \"/{tenant}/res%u\"; "
					  "methods = \"DELETE\";",
		[LARGE_GUARDS] = "action = \"deny\"; paths = \"/{tenant}/res%u\"; "
				 "not_from = [ \"web\", \"team/*\" ];",
		[LARGE_DENIES] = "action = \"deny\"; from = \"team/app-%u\";",
		[LARGE_HOSTS] = "action = \"allow\"; paths = \"/api/*\"; hosts = \"h%u.example\";",
		[LARGE_NOTS] = NULL,
	};
	const char *rule = rules[size->crowd];
	if (!rule) {
		large_one(out, size);
		return;
	}
	for (uint32_t i = 0; i < size->policies; i++) {
		fprintf(out, "\n { service = \"orders\"; ");
		fprintf(out, rule, i);
		fprintf(out, " },");
	}
}

/* From one service to the next, so that none is about the lab's own callers; the one that lets web
 * in comes last. */
static void large_policies(FILE *out, const struct large_size *size)
{
	fprintf(out, "policies: (");
	if (size->crowd != LARGE_NO_CROWD)
		large_crowd(out, size);
	for (uint32_t i = 0; size->crowd == LARGE_NO_CROWD && i < size->policies; i++) {
		uint32_t service = i % size->services;
		if (size->by_path) {
			large_policy_by_path(out, i);
			continue;
		}
		fprintf(out, "\n { name = \"p%04u\"; service = \"", i);
		if (size->of_orders)
			fprintf(out, "orders");
		else
			fprintf(out, "s%04u", service);
		fprintf(out,
			"\"; action = \"allow\"; from = [ \"s%04u\" ]; methods = [ \"GET\" ]; },",
			(service + 1) % size->services);
	}
	fprintf(out, "\n { name = \"api\"; service = \"orders\"; action = \"allow\"; "
		     "from = [ \"web\" ]; paths = [ \"/api/*\" ]; } );\n");
}

char *large_mesh(const struct large_size *size)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	assert_non_null(out);
	large_services(out, size);
	large_policies(out, size);
	assert_int_equal(fclose(out), 0);
	return text;
}
