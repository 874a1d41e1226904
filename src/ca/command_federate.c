/* SPDX-License-Identifier: Apache-2.0 */
#include "anchors.h"
#include "base/usage.h"
#include "book.h"
#include "commands.h"
#include "ledger.h"
#include "mesh/identity.h"
#include <errno.h>
#include <stdio.h>

static const char command_federate_usage[] =
	"Publishes the roots of another trust domain, for machines that name it in "
	"identity.federates. They\n"
	"are good for peers of that trust domain only: roots of two are never put together.\n"
	"\n"
	"usage: ringmain ca federate [--dir DIR] TD ROOTS.pem\n"
	"       ringmain ca federate [--dir DIR] TD --remove\n"
	"\n"
	"  TD         the other trust domain\n"
	"  ROOTS.pem  its roots, all of them, got by a way that you trust; they replace those "
	"before\n"
	"  --remove   publishes them no longer; machines that have them keep them until they "
	"ask again\n";

static int command_federate_check(
	const struct options *o, const struct folder *f, struct str domain, struct err *err)
{
	struct conf_ca *settings;
	if (!identity_trust_domain_valid(domain))
		return err_set(err, EINVAL, "\"%s\" is no trust domain", o->words[0]);
	int r = book_settings(f, &settings, err);
	if (r < 0)
		return r;
	if (str_eq(settings->trust_domain, domain))
		r = err_set(err, EINVAL,
			"\"%s\" is this authority's own trust domain; its roots are changed by "
			"ringmain ca rotate",
			o->words[0]);
	conf_ca_free(settings);
	return r;
}

static int command_federate_add(
	const struct options *o, const struct folder *f, const char *name, struct err *err)
{
	struct str text;
	int r = file_read(o->words[1], FILE_PUBLIC, &text, err);
	if (r < 0)
		return r;
	r = anchors_check(text, o->words[1], err);
	if (r == 0)
		r = folder_subdirectory(f, "federation", err);
	if (r == 0)
		r = folder_write(f, name, FILE_PUBLIC, text, err);
	file_text_free(text);
	return r;
}

static int command_federate_in(const struct options *o, const struct folder *f, struct err *err)
{
	bool is_removing = options_value(o, OPTIONS_REMOVE) != NULL;
	struct str domain = str_of(o->words[0]);
	char name[300];
	int r = command_federate_check(o, f, domain, err);
	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "federation/" STR_FMT ".pem", STR_ARG(domain));
	if (is_removing && !folder_has(f, name))
		return err_set(err, ENOENT, "there are no roots of \"%s\"", o->words[0]);
	r = is_removing ? folder_remove(f, name, err) : command_federate_add(o, f, name, err);
	struct ledger_event e = {.event = is_removing ? "unfederated" : "federated", .why = domain};
	return r < 0 ? r : ledger_audit(f, options_now(), &e, err);
}

static int command_federate_run(const struct options *o)
{
	bool is_removing = options_value(o, OPTIONS_REMOVE) != NULL;
	struct folder f;
	struct err err;
	if (is_removing == (o->word_count == 2))
		return usage_wrong(o->command, "either a file of roots, or --remove");
	if (!options_enter(o, &f))
		return 1;
	int r = command_federate_in(o, &f, &err);
	options_leave(&f);
	if (r < 0)
		return options_failed(o, &err);
	printf(is_removing ? "the roots of %s are published no longer\n"
			   : "the roots of %s are published\n",
		o->words[0]);
	return 0;
}

const struct options_command command_federate = {.name = "federate",
	.usage = command_federate_usage,
	.takes = OPTIONS_BIT(DIR) | OPTIONS_BIT(REMOVE),
	.words_min = 1,
	.words_max = 2,
	.run = command_federate_run};
