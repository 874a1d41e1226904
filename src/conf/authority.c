/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/authority.h"

#include "mesh/identity.h"
#include "parser.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CONF_CA_BYTES_MAX	    (1u << 20)
#define CONF_REGISTRATION_BYTES_MAX (64u << 20)
#define CONF_NODE_NAME_MAX	    63
#define CONF_DNS_NAME_MAX	    253

/* --- names --- */

bool conf_node_name_valid(struct str name)
{
	return name.len <= CONF_NODE_NAME_MAX && identity_path_valid(name) &&
	       !memchr(name.at, '/', name.len);
}

bool conf_identity_path(struct str text, char path[CONF_IDENTITY_MAX + 1], struct err *why)
{
	bool is_path = text.len > 0 && memchr(text.at, '/', text.len) != NULL;
	if (!is_path && !identity_service_valid(text)) {
		err_set(why, EINVAL,
			"\"%.*s\" is no service: lower-case letters, digits and '-', at most %d",
			STR_ARG(text), IDENTITY_SERVICE_MAX);
		return false;
	}
	int len = snprintf(
		path, CONF_IDENTITY_MAX + 1, "%s%.*s", is_path ? "" : "service/", STR_ARG(text));
	struct str whole = {path, (size_t)len};
	if (len > CONF_IDENTITY_MAX || !identity_path_valid(whole)) {
		err_set(why, EINVAL,
			"\"%.80s\" is no identity: segments of letters, digits, '.', '-' and '_' "
			"with '/' between, at most %d bytes",
			text.at, CONF_IDENTITY_MAX);
		return false;
	}
	if (str_starts(whole, STR("node/"))) {
		err_set(why, EINVAL, "\"%s\": a node has its own identity and no other node's",
			path);
		return false;
	}
	return true;
}

const struct conf_registered *conf_registered_find(
	const struct conf_registration *r, struct str node)
{
	for (uint32_t i = 0; i < r->node_count; i++) {
		if (str_eq(r->nodes[i].name, node))
			return &r->nodes[i];
	}
	return NULL;
}

/* Labels of letters, digits and '-'; a '*' would stand for a machine that nobody named. */
static bool conf_dns_name_valid(struct str name)
{
	size_t start = 0;
	if (name.len == 0 || name.len > CONF_DNS_NAME_MAX)
		return false;
	for (size_t i = 0; i <= name.len; i++) {
		char c = i < name.len ? name.at[i] : '.';
		if (c == '.') {
			size_t len = i - start;
			if (len == 0 || len > 63 || name.at[start] == '-' || name.at[i - 1] == '-')
				return false;
			start = i + 1;
		} else if (!(c == '-' || (c >= '0' && c <= '9') ||
				   ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))) {
			return false;
		}
	}
	return true;
}

/* --- ca.conf --- */

static void conf_ca_check_listen(struct conf_parser *p, const struct conf_ca *c)
{
	static const struct address any = {0};
	bool is_any = false;
	for (uint32_t i = 0; i < c->listen_count; i++) {
		const struct address *a = &c->listen[i];
		if (a->family && a->port == 0)
			conf_node_error(p, "authority", "listen", "the port is missing");
		is_any = is_any || (a->family && memcmp(a->ip, any.ip, sizeof(a->ip)) == 0);
	}
	if (is_any && c->name_count == 0)
		conf_node_error(p, "authority", "names",
			"missing: listening at every address, the server's certificate needs the "
			"names or addresses by which nodes call it");
}

static void conf_ca_check(struct conf_parser *p, const struct conf_ca *c)
{
	struct address address;
	if (c->trust_domain.len > 0 && !identity_trust_domain_valid(c->trust_domain))
		conf_node_error(p, "authority", "trust_domain", "\"%.*s\" is no trust domain",
			STR_ARG(c->trust_domain));
	for (uint32_t i = 0; i < c->name_count; i++) {
		if (c->names[i].len > 0 && !address_parse(c->names[i], &address) &&
			!conf_dns_name_valid(c->names[i]))
			conf_node_error(p, "authority", "names",
				"\"%.*s\" is neither a DNS name nor an address",
				STR_ARG(c->names[i]));
	}
	conf_ca_check_listen(p, c);
	if (c->leaf_ms > 0 && c->node_ms > 0 && c->node_ms < c->leaf_ms)
		conf_node_error(p, "lifetimes", "node",
			"shorter than lifetimes.leaf: a machine whose own certificate is over can "
			"renew no other");
}

/* 0, -EINVAL, -ENOMEM. `row` is filled in either case. */
static int conf_authority_read(struct conf_parser *p, const struct conf_group *root, void *row)
{
	const struct bundle_item *item = bundle_next(p->bundle, "conf", NULL);
	if (!item || !conf_file_open(&p->node, item, p->report))
		return -EINVAL;
	conf_read_root(p, root, conf_file_root(&p->node), row);
	return p->is_exhausted ? -ENOMEM : 0;
}

static int conf_authority_end(struct conf_parser *p, uint32_t errors_before)
{
	conf_file_close(&p->node);
	if (p->is_exhausted)
		conf_report_line(p->report, CONF_ERROR, STR_NONE, 0, "out of memory");
	if (p->is_exhausted)
		return -ENOMEM;
	return p->report->error_count > errors_before ? -EINVAL : 0;
}

int conf_ca_parse(const struct bundle *b, struct conf_ca **ret_ca, struct conf_report *report)
{
	struct conf_ca *c = calloc(1, sizeof(*c));
	uint32_t errors_before = report->error_count;
	struct conf_parser p = {.bundle = b, .report = report, .is_exhausted = c == NULL};
	if (c) {
		arena_init(&c->arena, CONF_CA_BYTES_MAX);
		p.arena = &c->arena;
		if (conf_authority_read(&p, &conf_ca_root, c) == 0)
			conf_ca_check(&p, c);
	}
	int r = conf_authority_end(&p, errors_before);
	if (r < 0)
		conf_ca_free(c);
	else
		*ret_ca = c;
	return r;
}

void conf_ca_free(struct conf_ca *c)
{
	if (!c)
		return;
	arena_done(&c->arena);
	free(c);
}

/* --- registration.conf --- */

/* "orders" becomes "service/orders", so that whoever looks something up compares once. */
static void conf_registered_identity(
	struct conf_parser *p, const struct conf_registered *node, uint32_t index)
{
	char path[CONF_IDENTITY_MAX + 1];
	struct err why;
	struct str text = node->identities[index];
	if (text.len == 0) /* of a wrong type: said already */
		return;
	if (!conf_identity_path(text, path, &why)) {
		conf_error(p, node->setting, "identities", "%s", why.text);
		return;
	}
	struct str copy = arena_str(p->arena, str_of(path));
	p->is_exhausted = p->is_exhausted || !copy.at;
	node->identities[index] = copy;
	for (uint32_t i = 0; i < index; i++) {
		if (str_eq(node->identities[i], copy))
			conf_error(p, node->setting, "identities", "\"%s\" is there twice", path);
	}
}

static int conf_registered_compare(const void *a, const void *b)
{
	const struct conf_registered *const *left = a, *const *right = b;
	struct str x = (*left)->name, y = (*right)->name;
	int order = memcmp(x.at ? x.at : "", y.at ? y.at : "", x.len < y.len ? x.len : y.len);
	if (order == 0 && x.len != y.len)
		order = x.len < y.len ? -1 : 1;
	/* In order of the file, so that the second of two is the one that is blamed. */
	return order ? order : *left < *right ? -1 : 1;
}

static void conf_registration_check_twice(struct conf_parser *p, const struct conf_registration *r)
{
	const struct conf_registered **sorted =
		arena_take(p->arena, (r->node_count + 1) * sizeof(struct conf_registered *));
	if (!sorted) {
		p->is_exhausted = true;
		return;
	}
	for (uint32_t i = 0; i < r->node_count; i++)
		sorted[i] = &r->nodes[i];
	qsort(sorted, r->node_count, sizeof(struct conf_registered *), conf_registered_compare);
	for (uint32_t i = 1; i < r->node_count; i++) {
		if (sorted[i]->name.len > 0 && str_eq(sorted[i]->name, sorted[i - 1]->name)) {
			char place[300];
			conf_error(p, sorted[i]->setting, "name",
				"the node \"%.*s\" is at %s already; join the two",
				STR_ARG(sorted[i]->name),
				conf_place_text(p, sorted[i - 1]->setting, place, sizeof(place)));
		}
	}
}

static void conf_registration_check(struct conf_parser *p, struct conf_registration *r)
{
	for (uint32_t i = 0; i < r->node_count; i++) {
		const struct conf_registered *node = &r->nodes[i];
		if (node->name.len > 0 && !conf_node_name_valid(node->name))
			conf_error(p, node->setting, "name",
				"\"%.*s\": letters, digits, '.', '-' and '_', at most %d",
				STR_ARG(node->name), CONF_NODE_NAME_MAX);
		for (uint32_t k = 0; k < node->identity_count && !p->is_exhausted; k++)
			conf_registered_identity(p, node, k);
	}
	conf_registration_check_twice(p, r);
	for (uint32_t i = 0; i < r->node_count; i++)
		r->nodes[i].setting = NULL;
}

int conf_registration_parse(const struct bundle *b, struct conf_registration **ret_registration,
	struct conf_report *report)
{
	struct conf_registration *r = calloc(1, sizeof(*r));
	uint32_t errors_before = report->error_count;
	struct conf_parser p = {.bundle = b, .report = report, .is_exhausted = r == NULL};
	if (r) {
		arena_init(&r->arena, CONF_REGISTRATION_BYTES_MAX);
		p.arena = &r->arena;
		if (conf_authority_read(&p, &conf_registration_root, r) == 0)
			conf_registration_check(&p, r);
	}
	int result = conf_authority_end(&p, errors_before);
	if (result < 0)
		conf_registration_free(r);
	else
		*ret_registration = r;
	return result;
}

void conf_registration_free(struct conf_registration *r)
{
	if (!r)
		return;
	arena_done(&r->arena);
	free(r);
}
