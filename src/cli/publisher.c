/* SPDX-License-Identifier: Apache-2.0 */
#include "publisher.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void publisher_say(const struct publisher *p, const char *format, ...)
{
	char text[2048];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* What the store holds is quoted: no terminal is to take it for orders. */
	for (char *c = text; *c; c++) {
		if (((unsigned char)*c < ' ' && *c != '\n') || *c == 0x7f)
			*c = '?';
	}
	fprintf(stderr, "%s: %s\n", p->command, text);
}

struct str publisher_mesh(const struct publisher *p)
{
	return p->conf->conf.trust_domain;
}

static bool publisher_try(char path[PATH_MAX], const char *directory, const char *name)
{
	int len = directory && directory[0] ? snprintf(path, PATH_MAX, "%s%s", directory, name) : 0;
	return len > 0 && len < PATH_MAX && access(path, F_OK) == 0;
}

/* The file to read; false: there is none. */
static bool publisher_find(const char *given, enum publisher_use use, char path[PATH_MAX])
{
	if (!given)
		given = getenv("RINGMAIN_OPERATOR_CONF");
	if (given && given[0]) {
		snprintf(path, PATH_MAX, "%s", given);
		return true;
	}
	return publisher_try(path, getenv("XDG_CONFIG_HOME"), "/ringmain/operator.conf") ||
	       publisher_try(path, getenv("HOME"), "/.config/ringmain/operator.conf") ||
	       publisher_try(path, CONF_OPERATOR_PATH_DEFAULT, "") ||
	       (use == PUBLISHER_READS && publisher_try(path, CONF_PATH_DEFAULT, ""));
}

/* An operator's file, or for one who only reads a node's. */
static bool publisher_parse(struct publisher *p, const struct bundle *b, enum publisher_use use)
{
	struct conf_report report, silent;
	conf_report_init(&report);
	conf_report_init(&silent);
	int r = conf_operator_parse(b, &p->conf, &report);
	if (r < 0 && use == PUBLISHER_READS)
		r = conf_operator_parse_node(b, &p->conf, &silent);
	if (r < 0)
		fputs(report.text ? report.text : "", stderr);
	conf_report_done(&report);
	conf_report_done(&silent);
	return r == 0;
}

static bool publisher_read_conf(
	struct publisher *p, const char *given, enum publisher_use use, struct bundle *b)
{
	char path[PATH_MAX];
	struct err err;
	if (!publisher_find(given, use, path)) {
		publisher_say(p,
			"no operator's file: neither -c FILE nor $RINGMAIN_OPERATOR_CONF is given, "
			"and there is no ~/.config/ringmain/operator.conf and "
			"no " CONF_OPERATOR_PATH_DEFAULT);
		return false;
	}
	if (bundle_add_file(b, STR("conf"), path, &err) < 0) {
		publisher_say(p, "%s", err.text);
		return false;
	}
	return publisher_parse(p, b, use);
}

/* The operators' public keys, and the own one. */
static int publisher_read_keys(
	struct publisher *p, enum publisher_use use, struct bundle *b, struct err *err)
{
	const struct conf_state *state = &p->conf->conf.state;
	int r = 0;
	for (uint32_t i = 0; r == 0 && i < state->operator_count; i++)
		r = bundle_add_file(b, STR("operator"), state->operators[i].at, err);
	if (r == 0)
		r = operator_keys_new(b, &p->keys, err);
	if (r == 0 && use == PUBLISHER_WRITES && p->conf->key.len == 0)
		r = err_set(err, EINVAL,
			"operator.key is missing in the operator's file: what is published must be "
			"signed; `ringmain operator new FILE` makes a key");
	/* Who only reads needs no key, and may have none that can be read. */
	if (r < 0 || p->conf->key.len == 0)
		return r;
	r = operator_key_load(p->conf->key.at, &p->key, err);
	if (r < 0)
		return use == PUBLISHER_READS ? 0 : r;
	return operator_keys_add(p->keys, p->key) ? 0 : err_set(err, ENOMEM, "out of memory");
}

bool publisher_open(
	struct publisher *p, const char *command, const char *conf_path, enum publisher_use use)
{
	struct bundle b;
	struct err err;
	*p = (struct publisher){.command = command};
	bundle_init(&b);
	bool is_read = publisher_read_conf(p, conf_path, use, &b);
	int r = is_read ? publisher_read_keys(p, use, &b, &err) : 0;
	if (is_read && r == 0)
		r = client_open_conf(&p->conf->conf.state, &p->client, &err);
	if (r < 0)
		publisher_say(p, "%s", err.text);
	bundle_done(&b);
	return is_read && r == 0;
}

void publisher_close(struct publisher *p)
{
	if (p->client)
		client_close(p->client);
	operator_key_free(p->key);
	operator_keys_free(p->keys);
	conf_operator_free(p->conf);
	*p = (struct publisher){0};
}

int publisher_ask(struct publisher *p, const struct str *words, size_t word_count,
	redisReply **ret_reply, struct err *err)
{
	struct err why;
	int r = client_ask(p->client, words, word_count, ret_reply, &why);
	if (r == -EREMOTEIO)
		return err_set(err, EREMOTEIO, "the store refuses " STR_FMT ": %.400s",
			STR_ARG(words[0]), why.text);
	if (r < 0)
		*err = why;
	return r;
}
