/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include "base/usage.h"
#include "conf/objects.h"
#include "state/object.h"
#include <getopt.h>
#include <stdio.h>

static const struct option command_options[] = {
	{"config", required_argument, NULL, COMMAND_CONFIG},
	{"file", required_argument, NULL, COMMAND_FILE},
	{"help", no_argument, NULL, COMMAND_HELP},
	{"number", required_argument, NULL, COMMAND_NUMBER},
	{"output", required_argument, NULL, COMMAND_OUTPUT},
	{"check", no_argument, NULL, COMMAND_CHECK},
	{"dry-run", no_argument, NULL, COMMAND_DRY_RUN},
	{"if-revision", required_argument, NULL, COMMAND_IF_REVISION},
	{"prune", no_argument, NULL, COMMAND_PRUNE},
	{"replace-all", no_argument, NULL, COMMAND_REPLACE_ALL},
	{"why", required_argument, NULL, COMMAND_WHY},
	{0},
};

static const char *command_option_name(int letter)
{
	for (const struct option *o = command_options; o->name; o++) {
		if (o->val == letter)
			return o->name;
	}
	return "?";
}

/* One of some words with spaces between. */
static bool command_has_word(const char *words, const char *word)
{
	size_t len = strlen(word);
	for (const char *at = words; *at; at += strcspn(at, " "), at += *at == ' ') {
		if (len > 0 && strcspn(at, " ") == len && strncmp(at, word, len) == 0)
			return true;
	}
	return false;
}

static int command_take_number(
	struct command *c, int letter, uint64_t *ret_number, bool *ret_is_given)
{
	if (!str_to_u64(str_of(optarg), ret_number))
		return usage_wrong(
			c->name, "--%s: a number, not \"%s\"", command_option_name(letter), optarg);
	*ret_is_given = true;
	return 0;
}

static int command_take_file(struct command *c)
{
	if (c->file_count == COMMAND_FILES_MAX)
		return usage_wrong(c->name, "-f: more than %d times; name a directory instead",
			COMMAND_FILES_MAX);
	c->files[c->file_count++] = optarg;
	return 0;
}

static int command_take_output(struct command *c, const char *outputs)
{
	c->output = optarg;
	return command_has_word(outputs, optarg)
		       ? 0
		       : usage_wrong(c->name, "-o: one of: %s; not \"%s\"", outputs, optarg);
}

static int command_take_why(struct command *c)
{
	c->why = optarg;
	return object_line_valid(str_of(optarg))
		       ? 0
		       : usage_wrong(c->name, "--why: one line, at most %d bytes", OBJECT_LINE_MAX);
}

static int command_take(struct command *c, int letter, const char *outputs)
{
	switch ((enum command_letter)letter) {
	case COMMAND_CONFIG:
		c->conf_path = optarg;
		return 0;
	case COMMAND_FILE:
		return command_take_file(c);
	case COMMAND_NUMBER:
		return command_take_number(c, letter, &c->number, &c->has_number);
	case COMMAND_OUTPUT:
		return command_take_output(c, outputs);
	case COMMAND_IF_REVISION:
		return command_take_number(c, letter, &c->if_revision, &c->has_if_revision);
	case COMMAND_WHY:
		return command_take_why(c);
	case COMMAND_CHECK:
		c->check = true;
		return 0;
	case COMMAND_DRY_RUN:
		c->dry_run = true;
		return 0;
	case COMMAND_PRUNE:
		c->prune = true;
		return 0;
	case COMMAND_REPLACE_ALL:
		c->replace_all = true;
		return 0;
	case COMMAND_HELP:
		break;
	}
	return 0;
}

int command_read(int argc, char **argv, const char *takes, const char *outputs, const char *usage,
	struct command *ret_command)
{
	struct command *c = ret_command;
	int letter;
	*c = (struct command){.name = argv[0]};
	optind = 1;
	while ((letter = getopt_long(argc, argv, "c:f:hn:o:", command_options, NULL)) != -1) {
		if (letter == COMMAND_HELP) {
			fputs(usage, stdout);
			return 1;
		}
		if (letter == '?')
			return usage_more(c->name) + 1;
		if (!strchr(takes, letter))
			return usage_wrong(c->name, "there is no --%s here",
				       command_option_name(letter)) +
			       1;
		int wrong = command_take(c, letter, outputs);
		if (wrong)
			return wrong + 1;
	}
	c->words = argv + optind;
	c->word_count = (uint32_t)(argc - optind);
	return 0;
}

bool command_wants(const struct command *c, const char *output)
{
	return c->output && strcmp(c->output, output) == 0;
}

bool command_gather(const struct command *c, struct bundle *b)
{
	struct conf_report report;
	int r = 0;
	conf_report_init(&report);
	for (uint32_t i = 0; i < c->file_count; i++) {
		int one = conf_objects_gather(c->files[i], b, &report);
		r = r < 0 ? r : one;
	}
	if (report.text)
		fputs(report.text, stderr);
	conf_report_done(&report);
	return r == 0;
}

int command_files_wrong(const struct command *c)
{
	if (c->word_count > 0)
		return usage_wrong(c->name, "an argument too many, \"%s\"; files are given with -f",
			c->words[0]);
	return c->file_count > 0 ? 0 : usage_wrong(c->name, "-f is missing: which files?");
}

bool command_rows(const struct command *c, struct bundle *files, struct arena *arena,
	struct conf_object **ret_rows, uint32_t *ret_count)
{
	struct conf_report report;
	if (!command_gather(c, files))
		return false;
	conf_report_init(&report);
	int r = conf_objects_read(files, arena, ret_rows, ret_count, &report);
	if (report.text)
		fputs(report.text, stderr);
	conf_report_done(&report);
	return r == 0;
}
