/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include "base/clock.h"
#include "base/usage.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#define OPTIONS_LETTER	     256 /* of the first option, for getopt */
#define OPTIONS_LIFETIME_MAX (100ll * 365 * 86400)

static const char *const options_names[] = {
#define X(name, text, has_argument) [OPTIONS_##name] = (text),
	OPTIONS_LIST(X)
#undef X
};

static void options_table(const struct options_command *c, struct option table[OPTIONS_COUNT + 1])
{
	static const bool arguments[] = {
#define X(name, text, has_argument) [OPTIONS_##name] = (has_argument),
		OPTIONS_LIST(X)
#undef X
	};
	for (int i = 0; i < OPTIONS_COUNT; i++) {
		bool has_argument = arguments[i];
		if (i == OPTIONS_ROOT && (c->takes & OPTIONS_ROOT_SWITCH))
			has_argument = false;
		table[i] = (struct option){options_names[i],
			has_argument ? required_argument : no_argument, NULL, OPTIONS_LETTER + i};
	}
	table[OPTIONS_COUNT] = (struct option){0};
}

static int options_add(struct options *o, const char **list, uint32_t *count)
{
	if (*count == OPTIONS_LIST_MAX)
		return usage_wrong(o->command, "at most %d of them", OPTIONS_LIST_MAX);
	list[(*count)++] = optarg;
	return 0;
}

/* 0, or USAGE_WRONG when that has been said. */
static int options_one(const struct options_command *c, struct options *o, int letter)
{
	if (letter == 'h')
		letter = OPTIONS_LETTER + OPTIONS_HELP;
	if (letter == 'o')
		letter = OPTIONS_LETTER + OPTIONS_OUTPUT;
	if (letter < OPTIONS_LETTER)
		return usage_more(o->command);
	enum options_name name = (enum options_name)(letter - OPTIONS_LETTER);
	if (name != OPTIONS_HELP && !(c->takes & (1u << name)))
		return usage_wrong(o->command, "--%s is not for this command", options_names[name]);
	o->values[name] = optarg ? optarg : "";
	if (name == OPTIONS_LISTEN)
		return options_add(o, o->listen, &o->listen_count);
	if (name == OPTIONS_NAME)
		return options_add(o, o->names, &o->name_count);
	if (name == OPTIONS_OUTPUT && strcmp(optarg, "json") != 0 && strcmp(optarg, "table") != 0)
		return usage_wrong(o->command, "-o: table or json, not \"%s\"", optarg);
	return 0;
}

static int options_read(const struct options_command *c, int argc, char **argv, struct options *o)
{
	struct option table[OPTIONS_COUNT + 1];
	int letter, r = 0;
	options_table(c, table);
	optind = 0; /* begins anew, also after another command line in this process */
	while (r == 0 && (letter = getopt_long(argc, argv, "ho:", table, NULL)) != -1)
		r = options_one(c, o, letter);
	o->words = argv + optind;
	o->word_count = (uint32_t)(argc - optind);
	if (r != 0 || o->values[OPTIONS_HELP])
		return r;
	if (o->word_count > c->words_max)
		return usage_wrong(
			o->command, "an argument too many: \"%s\"", o->words[c->words_max]);
	if (o->word_count < c->words_min)
		return usage_wrong(o->command, "an argument is missing");
	return 0;
}

int options_run(const struct options_command *c, int argc, char **argv)
{
	char command[64];
	struct options o = {.command = command};
	snprintf(command, sizeof(command), "ringmain ca %s", c->name);
	argv[0] = command;
	int r = options_read(c, argc, argv, &o);
	if (r != 0)
		return r;
	if (o.values[OPTIONS_HELP]) {
		fputs(c->usage, stdout);
		return 0;
	}
	return c->run(&o);
}

const char *options_dir(const struct options *o)
{
	return o->values[OPTIONS_DIR] ? o->values[OPTIONS_DIR] : OPTIONS_DIR_DEFAULT;
}

const char *options_more(const struct options *o, char text[OPTIONS_MORE_TEXT])
{
	const char *dir = o->values[OPTIONS_DIR];
	if (!dir)
		return "";
	snprintf(text, OPTIONS_MORE_TEXT, " --dir %s", dir);
	return text;
}

bool options_lifetime(const char *given, uint64_t unit_s, int64_t *ret_s)
{
	static const struct {
		char letter;
		uint32_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	struct str text = str_of(given);
	uint64_t n;
	for (size_t i = 0; unit_s == 0 && text.len > 0 && i < ARRAY_LEN(units); i++) {
		if (text.at[text.len - 1] == units[i].letter) {
			unit_s = units[i].seconds;
			text.len--;
		}
	}
	if (unit_s == 0 || !str_to_u64(text, &n) || n == 0 || n > OPTIONS_LIFETIME_MAX / unit_s)
		return false;
	*ret_s = (int64_t)(n * unit_s);
	return true;
}

int options_failed(const struct options *o, const struct err *err)
{
	fprintf(stderr, "%s: %s\n", o->command, err->text);
	return 1;
}

int64_t options_now(void)
{
	return (int64_t)(clock_wall_ns() / CLOCK_S);
}

const char *options_time(int64_t time_s, char text[32])
{
	char full[25];
	clock_format((uint64_t)time_s * CLOCK_S, full);
	snprintf(text, 32, "%.10s %.8sZ", full, full + 11);
	return text;
}

const char *options_age(int64_t seconds, char text[32])
{
	static const struct {
		int64_t seconds;
		char letter;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}};
	int64_t n = seconds < 0 ? 0 : seconds;
	char letter = 's';
	/* Two of a unit at least: "36h" tells more than "1d". */
	for (size_t i = 0; letter == 's' && i < ARRAY_LEN(units); i++) {
		if (n >= 2 * units[i].seconds) {
			n = (n + units[i].seconds / 2) / units[i].seconds;
			letter = units[i].letter;
		}
	}
	snprintf(text, 32, "%lld%c", (long long)n, letter);
	return text;
}

bool options_enter(const struct options *o, struct folder *f)
{
	struct err err;
	int r = folder_open(options_dir(o), f, &err);
	if (r == 0 && !folder_has(f, "issuer.crt"))
		r = err_set(&err, ENOENT,
			folder_has(f, "issuer.csr")
				? "%s: the issuer's certificate is still to come: ringmain ca init "
				  "--install"
				: "%s: no authority; make one with: ringmain ca init",
			options_dir(o));
	if (r == 0)
		r = folder_lock(f, &err);
	if (r == 0)
		return true;
	options_failed(o, &err);
	folder_close(f);
	return false;
}

void options_leave(struct folder *f)
{
	folder_unlock(f);
	folder_close(f);
}
