/* SPDX-License-Identifier: Apache-2.0 */
/* What one key alone cannot tell: keys of the node file against each other and against what was
 * looked up on the machine. */
#include "parser.h"

#include "mesh/identity.h"
#include <stdio.h>

/* A server name is "<port>.<service>.<trust domain>" and has 255 bytes at most. */
#define CONF_TRUST_DOMAIN_MAX (255 - sizeof("65535.") - IDENTITY_SERVICE_MAX)
#define CONF_SOCKET_PATH_MAX  107
#define CONF_HEAD_SPARE_BYTES 1024

struct conf_port_use {
	const char *group, *key;
	uint32_t first, count;
};

const config_setting_t *conf_workload_setting(const struct conf_parser *p, uint32_t index)
{
	return config_setting_get_elem(conf_member(conf_file_root(&p->node), "workloads"), index);
}

static void conf_check_trust_domain(struct conf_parser *p)
{
	struct str domain = p->conf->trust_domain;
	if (domain.len == 0)
		return;
	if (!identity_trust_domain_valid(domain))
		conf_node_error(p, "mesh", "trust_domain",
			"\"%.*s\" is no trust domain: lower-case letters, digits, '.', '-' and '_'",
			STR_ARG(domain));
	else if (domain.len > CONF_TRUST_DOMAIN_MAX)
		conf_node_error(p, "mesh", "trust_domain",
			"%zu bytes; at most %zu fit into a server name", domain.len,
			CONF_TRUST_DOMAIN_MAX);
}

static void conf_check_path(
	struct conf_parser *p, const char *group, const char *key, struct str path)
{
	if (path.len > 0 && path.at[0] != '/')
		conf_node_error(p, group, key, "\"%.*s\" is no absolute path", STR_ARG(path));
}

static void conf_check_paths(struct conf_parser *p)
{
	const struct conf *c = p->conf;
	conf_check_path(p, "node", "admin_socket", c->admin_socket);
	conf_check_path(p, "node", "run_dir", c->run_dir);
	conf_check_path(p, "outside", "roots", c->outside_roots);
	conf_check_path(p, "outside", "directory", c->outside_dir);
	if (!str_eq(c->access_log, STR("stderr")) && !str_eq(c->access_log, STR("off")))
		conf_check_path(p, "node", "access_log", c->access_log);
	if (c->admin_socket.len > CONF_SOCKET_PATH_MAX)
		conf_node_error(p, "node", "admin_socket",
			"%zu bytes; a socket's path has at most %d", c->admin_socket.len,
			CONF_SOCKET_PATH_MAX);
}

static void conf_check_admin_tcp(struct conf_parser *p)
{
	const struct address *a = &p->conf->admin_tcp;
	if (!a->family)
		return;
	if (!address_is_loopback(a))
		conf_node_error(p, "node", "admin_tcp",
			"only a loopback address is taken: it is open to whoever can reach it");
	else if (a->port == 0)
		conf_node_error(p, "node", "admin_tcp", "the port is missing");
}

static bool conf_ports_meet(const struct conf_port_use *a, const struct conf_port_use *b)
{
	return a->count > 0 && b->count > 0 && a->first < b->first + b->count &&
	       b->first < a->first + a->count;
}

static void conf_check_workload_port(
	struct conf_parser *p, uint32_t index, const struct conf_port_use *uses, size_t use_count)
{
	uint16_t port = p->conf->workloads[index].port;
	struct conf_port_use own = {.first = port, .count = port > 0};
	for (size_t i = 0; i < use_count; i++) {
		if (conf_ports_meet(&own, &uses[i]))
			conf_error(p, conf_workload_setting(p, index), "port",
				"%u is one of the proxy's own ports, %s.%s", port, uses[i].group,
				uses[i].key);
	}
}

static void conf_check_ports(struct conf_parser *p)
{
	const struct conf *c = p->conf;
	const struct conf_port_use uses[] = {
		{"listeners", "outbound_port", c->outbound_port,
			c->outbound_port ? c->port_range : 0},
		{"listeners", "inbound_port", c->inbound_port, c->inbound_port ? c->port_range : 0},
		{"listeners", "mesh_port", c->mesh_port, c->mesh_port > 0},
		{"node", "admin_tcp", c->admin_tcp.port, c->admin_tcp.port > 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(uses); i++) {
		if (uses[i].first + uses[i].count > 65536)
			conf_node_error(p, uses[i].group, uses[i].key,
				"%u ports from %u on go beyond 65535", uses[i].count,
				uses[i].first);
		for (size_t j = 0; j < i; j++) {
			if (conf_ports_meet(&uses[i], &uses[j]))
				conf_node_error(p, uses[i].group, uses[i].key,
					"%u to %u meets the ports of %s.%s, %u to %u",
					uses[i].first, uses[i].first + uses[i].count - 1,
					uses[j].group, uses[j].key, uses[j].first,
					uses[j].first + uses[j].count - 1);
		}
	}
	for (uint32_t i = 0; i < c->workload_count; i++)
		conf_check_workload_port(p, i, uses, ARRAY_LEN(uses));
}

static void conf_check_mark_mask(struct conf_parser *p)
{
	uint32_t mask = p->conf->mark_mask;
	if (mask == 0)
		return;
	uint32_t number_max = mask >> __builtin_ctz(mask);
	if ((number_max & (number_max + 1)) != 0)
		conf_node_error(p, "redirect", "mark_mask",
			"0x%08x has gaps; its bits must be contiguous", mask);
	else if (p->conf->workload_count > number_max)
		conf_node_error(p, "redirect", "mark_mask",
			"0x%08x has numbers for %u workloads, there are %u", mask, number_max,
			p->conf->workload_count);
}

static void conf_check_buffers(struct conf_parser *p)
{
	const struct conf *c = p->conf;
	if (c->buffer_bytes > 0 && c->buffer_bytes < c->head_bytes_max + CONF_HEAD_SPARE_BYTES)
		conf_node_error(p, "limits", "buffer_bytes",
			"%u bytes do not hold head_bytes_max (%u) and %u to spare; at least %u",
			c->buffer_bytes, c->head_bytes_max, CONF_HEAD_SPARE_BYTES,
			c->head_bytes_max + CONF_HEAD_SPARE_BYTES);
}

/* By number, or by name from what was looked up. */
static bool conf_check_uid(const struct conf_parser *p, struct str user, uint32_t *ret_uid)
{
	uint64_t uid;
	if (!str_to_u64(user, &uid)) {
		const struct bundle_item *item = bundle_find(p->bundle, "user", user);
		if (!item || !str_to_u64(item->text, &uid))
			return false;
	}
	if (uid >= UINT32_MAX)
		return false;
	*ret_uid = (uint32_t)uid;
	return true;
}

static void conf_check_proxy_user(struct conf_parser *p)
{
	struct conf *c = p->conf;
	if (c->user.len == 0)
		return;
	if (!conf_check_uid(p, c->user, &c->uid)) {
		c->uid = UINT32_MAX;
		conf_node_error(p, "node", "user",
			"there is no user \"%.*s\" on this machine; create it: "
			"useradd --system --no-create-home --shell /usr/sbin/nologin %.*s",
			STR_ARG(c->user), STR_ARG(c->user));
	} else if (c->uid == 0) {
		conf_node_error(p, "node", "user", "the proxy does not run as root");
	}
}

/* False: the uid is not to be compared with others. */
static bool conf_check_workload_user(struct conf_parser *p, uint32_t index)
{
	struct conf_workload *w = &p->conf->workloads[index];
	const config_setting_t *setting = conf_workload_setting(p, index);
	w->uid = UINT32_MAX;
	if (w->user.len == 0)
		return false;
	if (!conf_check_uid(p, w->user, &w->uid))
		conf_error(p, setting, "user",
			"there is no user \"%.*s\" on this machine; create it, or name the one "
			"that "
			"the service runs as",
			STR_ARG(w->user));
	else if (w->uid == 0)
		conf_error(p, setting, "user",
			"root cannot be a workload: it would capture the machine's own agents; let "
			"the "
			"service run as a user of its own");
	else if (w->uid == p->conf->uid)
		conf_error(p, setting, "user",
			"\"%.*s\" is the proxy's own user (node.user); let the service run as a "
			"user of "
			"its own",
			STR_ARG(w->user));
	else
		return true;
	return false;
}

static void conf_check_workload_pair(struct conf_parser *p, uint32_t index, uint32_t other)
{
	const struct conf_workload *a = &p->conf->workloads[index], *b = &p->conf->workloads[other];
	const config_setting_t *setting = conf_workload_setting(p, index);
	if (a->identity.len > 0 && str_eq(a->identity, b->identity) &&
		!str_eq(a->service, b->service))
		conf_error(p, setting, "identity",
			"\"%.*s\" is that of workloads[%u], which is another service: whoever has "
			"it could pass for either",
			STR_ARG(a->identity), other);
	if (a->port > 0 && a->port == b->port)
		conf_error(p, setting, "port", "%u is workloads[%u]'s already", a->port, other);
	if (a->uid != UINT32_MAX && a->uid == b->uid)
		conf_error(p, setting, "user",
			"uid %u is workloads[%u] already, and one user has one identity; let each "
			"service "
			"run as a user of its own",
			a->uid, other);
}

static void conf_check_deliver(struct conf_parser *p, uint32_t index)
{
	struct conf_workload *w = &p->conf->workloads[index];
	if (w->deliver.family && w->port == 0)
		conf_error(p, conf_workload_setting(p, index), "deliver",
			"without port there is nothing to deliver");
	if (!w->deliver.family)
		w->deliver = (struct address){.family = AF_INET, .ip = {127, 0, 0, 1}};
	if (w->deliver.port == 0)
		w->deliver.port = w->port;
}

static void conf_check_workload_identity(struct conf_parser *p, uint32_t index)
{
	struct conf_workload *w = &p->conf->workloads[index];
	const config_setting_t *setting = conf_workload_setting(p, index);
	if (conf_member(setting, "identity")) {
		(void)conf_identity_check(p, setting, w->service, w->identity);
		return;
	}
	w->identity = arena_printf(&p->conf->arena, "service/" STR_FMT, STR_ARG(w->service));
	p->is_exhausted = p->is_exhausted || !w->identity.at;
}

static void conf_check_workloads(struct conf_parser *p)
{
	struct conf *c = p->conf;
	for (uint32_t i = 0; i < c->workload_count; i++) {
		struct conf_workload *w = &c->workloads[i];
		w->line = (int)config_setting_source_line(conf_workload_setting(p, i));
		conf_check_deliver(p, i);
		conf_check_workload_identity(p, i);
		if (!conf_check_workload_user(p, i))
			w->uid = UINT32_MAX;
		for (uint32_t other = 0; other < i; other++)
			conf_check_workload_pair(p, i, other);
	}
}

void conf_check_node(struct conf_parser *p)
{
	conf_check_trust_domain(p);
	conf_check_paths(p);
	conf_check_admin_tcp(p);
	conf_check_ports(p);
	conf_check_mark_mask(p);
	conf_check_buffers(p);
	conf_check_proxy_user(p);
	conf_check_workloads(p);
	conf_check_identity(p);
}
