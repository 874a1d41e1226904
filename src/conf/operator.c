/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/operator.h"

#include "mesh/identity.h"
#include "parser.h"
#include <errno.h>
#include <stdlib.h>

#define CONF_OPERATOR_BYTES_MAX (1u << 20)
#define CONF_OPERATOR_NAME_MAX	63

static bool conf_operator_name_valid(struct str name)
{
	bool is_valid = name.len <= CONF_OPERATOR_NAME_MAX;
	for (size_t i = 0; is_valid && i < name.len; i++)
		is_valid = name.at[i] > ' ' && name.at[i] <= '~';
	return is_valid;
}

static void conf_operator_check_state(struct conf_parser *p, const struct conf_state *s)
{
	if (s->redis_count == 0)
		conf_node_error(p, "state", "redis",
			"missing: where the mesh's state is kept, such as \"10.77.0.10:6379\"");
	for (uint32_t i = 0; i < s->redis_count; i++) {
		if (s->redis[i].family && s->redis[i].port == 0)
			conf_node_error(p, "state", "redis", "the port is missing");
	}
	if ((s->tls_certificate.len > 0) != (s->tls_key.len > 0))
		conf_node_error(p, "state", s->tls_key.len ? "tls_certificate" : "tls_key",
			"a certificate and its key belong together");
	if (s->tls_ca.len == 0 && (s->tls_name.len > 0 || s->tls_certificate.len > 0))
		conf_node_error(p, "state", "tls_ca", "missing, so the connection is no TLS");
}

static void conf_operator_check(struct conf_parser *p, const struct conf_operator *o)
{
	struct str domain = o->conf.trust_domain;
	if (domain.len > 0 && !identity_trust_domain_valid(domain))
		conf_node_error(
			p, "mesh", "trust_domain", "\"%.*s\" is no trust domain", STR_ARG(domain));
	conf_operator_check_state(p, &o->conf.state);
	if (o->key.len > 0 && o->key.at[0] != '/')
		conf_node_error(
			p, "operator", "key", "\"%.*s\" is no absolute path", STR_ARG(o->key));
	if (o->key.len > 0 && o->name.len == 0)
		conf_node_error(p, "operator", "name", "missing: who publishes with this key");
	if (!conf_operator_name_valid(o->name))
		conf_node_error(p, "operator", "name",
			"at most %d letters, digits and marks without space",
			CONF_OPERATOR_NAME_MAX);
}

static struct conf_operator *conf_operator_new(void)
{
	struct conf_operator *o = calloc(1, sizeof(*o));
	if (o)
		arena_init(&o->conf.arena, CONF_OPERATOR_BYTES_MAX);
	return o;
}

/* `read`: where what the table says goes; for a node's file nowhere. */
static void conf_operator_read(struct conf_parser *p, const struct conf_group *root,
	struct conf_report *read, struct conf_operator *o)
{
	struct conf_report *report = p->report;
	const struct bundle_item *item = bundle_next(p->bundle, "conf", NULL);
	if (!item || !conf_file_open(&p->node, item, report))
		return;
	p->report = read;
	conf_read_root(p, root, conf_file_root(&p->node), o);
	p->report = report;
	conf_operator_check(p, o);
}

static int conf_operator_parse_root(const struct bundle *b, const struct conf_group *root,
	struct conf_report *read, struct conf_operator **ret_operator, struct conf_report *report)
{
	struct conf_operator *o = conf_operator_new();
	uint32_t errors_before = report->error_count;
	if (!o) {
		conf_report_line(report, CONF_ERROR, STR_NONE, 0, "out of memory");
		return -ENOMEM;
	}
	struct conf_parser p = {
		.bundle = b, .report = report, .arena = &o->conf.arena, .conf = &o->conf};
	conf_operator_read(&p, root, read, o);
	conf_file_close(&p.node);
	if (p.is_exhausted)
		conf_report_line(report, CONF_ERROR, STR_NONE, 0, "out of memory");
	if (report->error_count > errors_before) {
		conf_operator_free(o);
		return p.is_exhausted ? -ENOMEM : -EINVAL;
	}
	*ret_operator = o;
	return 0;
}

int conf_operator_parse(
	const struct bundle *b, struct conf_operator **ret_operator, struct conf_report *report)
{
	return conf_operator_parse_root(b, &conf_operator_root, report, ret_operator, report);
}

int conf_operator_parse_node(
	const struct bundle *b, struct conf_operator **ret_operator, struct conf_report *report)
{
	struct conf_report silent;
	conf_report_init(&silent);
	int r = conf_operator_parse_root(b, &conf_node_root, &silent, ret_operator, report);
	conf_report_done(&silent);
	return r;
}

void conf_operator_free(struct conf_operator *o)
{
	if (!o)
		return;
	arena_done(&o->conf.arena);
	free(o);
}
