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

/* From one service to the next, so that none is about the lab's own callers; the one that lets web
 * in comes last. */
static void large_policies(FILE *out, const struct large_size *size)
{
	fprintf(out, "policies: (");
	for (uint32_t i = 0; i < size->policies; i++) {
		uint32_t service = i % size->services;
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
