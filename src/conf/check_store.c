/* SPDX-License-Identifier: Apache-2.0 */
/* What belongs to the store of the mesh's state: the way to it, what others are told of this
 * machine, and how its workloads are checked. */
#include "parser.h"

#include "mesh/record.h"

static void conf_store_file(struct conf_parser *p, const char *key, struct str path)
{
	if (path.len > 0 && path.at[0] != '/')
		conf_node_error(p, "state", key, "\"%.*s\" is no absolute path", STR_ARG(path));
}

/* A file's path, or the name of a systemd credential. */
static void conf_store_secret(struct conf_parser *p, const char *key, struct str path)
{
	if (path.len > 0 && path.at[0] != '/' &&
		(memchr(path.at, '/', path.len) || path.at[0] == '.'))
		conf_node_error(p, "state", key,
			"\"%.*s\" is neither an absolute path nor the name of a systemd "
			"credential, which has no '/' and no '.' at its start",
			STR_ARG(path));
}

static void conf_store_files(struct conf_parser *p)
{
	const struct conf_state *s = &p->conf->state;
	conf_store_secret(p, "password_file", s->password_file);
	conf_store_secret(p, "sentinel_password_file", s->sentinel_password_file);
	conf_store_file(p, "tls_ca", s->tls_ca);
	conf_store_file(p, "tls_certificate", s->tls_certificate);
	conf_store_file(p, "tls_key", s->tls_key);
	conf_store_file(p, "dir", s->dir);
	for (uint32_t i = 0; i < s->operator_count; i++)
		conf_store_file(p, "operators", s->operators[i]);
}

static void conf_store_redis(struct conf_parser *p)
{
	const struct conf_state *s = &p->conf->state;
	char text[ADDRESS_TEXT_MAX];
	for (uint32_t i = 0; i < s->redis_count; i++) {
		const struct address *a = &s->redis[i];
		bool is_again = false;
		for (uint32_t j = 0; j < i; j++)
			is_again = is_again || (a->family && address_equal(a, &s->redis[j]));
		if (a->family && a->port == 0)
			conf_node_error(p, "state", "redis", "%s: the port is missing; write %s:%s",
				address_ip_text(a, text),
				a->family == AF_INET ? "10.77.0.10" : "[fd00::10]",
				s->sentinel.len > 0 ? "26379" : "6379");
		else if (is_again)
			conf_node_error(p, "state", "redis", "%s stands there twice",
				address_text(a, text));
	}
}

/* A key that means nothing without another. */
static void conf_store_needs(struct conf_parser *p, const char *key, struct str value,
	const char *other, struct str other_value)
{
	if (value.len > 0 && other_value.len == 0)
		conf_node_error(p, "state", key, "without state.%s it means nothing", other);
}

static void conf_store_pairs(struct conf_parser *p)
{
	const struct conf_state *s = &p->conf->state;
	conf_store_needs(p, "sentinel_username", s->sentinel_username, "sentinel", s->sentinel);
	conf_store_needs(
		p, "sentinel_password_file", s->sentinel_password_file, "sentinel", s->sentinel);
	conf_store_needs(p, "tls_name", s->tls_name, "tls_ca", s->tls_ca);
	conf_store_needs(p, "tls_certificate", s->tls_certificate, "tls_ca", s->tls_ca);
	conf_store_needs(p, "tls_certificate", s->tls_certificate, "tls_key", s->tls_key);
	conf_store_needs(p, "tls_key", s->tls_key, "tls_certificate", s->tls_certificate);
}

static void conf_store_state(struct conf_parser *p)
{
	const struct conf *c = p->conf;
	if (c->mesh_file_count > 0)
		conf_node_error(p, "mesh", "files",
			"with a store (state.redis) mesh objects come from it: publish them with "
			"`ringmain apply -f FILE`, and take this key out");
	if (c->state.operator_count == 0)
		conf_node_error(p, "state", "operators",
			"missing: whose mesh objects may be taken? Name the files of the public "
			"keys that `ringmain operator new` makes");
	if (c->node_name.len > 0 && !record_node_valid(c->node_name))
		conf_node_error(p, "node", "name",
			"\"%.*s\": the store takes letters, digits, '.', '-' and '_', at most %d",
			STR_ARG(c->node_name), RECORD_NODE_MAX);
	if (c->node_zone.len > 0 && !record_word_valid(c->node_zone))
		conf_node_error(p, "node", "zone",
			"\"%.*s\": printable characters without space, at most %d, and not \"-\"",
			STR_ARG(c->node_zone), RECORD_WORD_MAX);
	conf_store_redis(p);
	conf_store_files(p);
	conf_store_pairs(p);
}

static void conf_store_version(struct conf_parser *p, uint32_t index)
{
	struct str version = p->conf->workloads[index].version;
	if (version.len > 0 && !record_word_valid(version))
		conf_error(p, conf_workload_setting(p, index), "version",
			"\"%.*s\": printable characters without space, at most %d, and not \"-\"",
			STR_ARG(version), RECORD_WORD_MAX);
}

static void conf_store_health(struct conf_parser *p, uint32_t index)
{
	const struct conf_workload *w = &p->conf->workloads[index];
	const struct conf_health *h = &w->health;
	const config_setting_t *setting = conf_member(conf_workload_setting(p, index), "health");
	if (!setting)
		return;
	unsigned kinds = (h->http.len > 0) + (unsigned)h->tcp + (h->command_len > 0);
	if (kinds != 1)
		conf_error(p, setting, NULL,
			"one of \"http\", \"tcp\" and \"command\" says how to check, %s",
			kinds == 0 ? "none is given" : "and no second one");
	if (h->http.len > 0 && h->http.at[0] != '/')
		conf_error(p, setting, "http", "\"%.*s\" is no path; write \"/%.*s\"",
			STR_ARG(h->http), STR_ARG(h->http));
	for (size_t i = 0; i < h->http.len; i++) {
		if (h->http.at[i] <= ' ' || h->http.at[i] >= 0x7f || h->http.at[i] == '#') {
			conf_error(p, setting, "http", "\"%.*s\" is no path that can be asked for",
				STR_ARG(h->http));
			break;
		}
	}
	if (h->command_len > 0 && h->command[0].len > 0 && h->command[0].at[0] != '/')
		conf_error(p, setting, "command",
			"\"%.*s\" is no absolute path; there is no shell that would look for it",
			STR_ARG(h->command[0]));
	if (w->port == 0)
		conf_error(p, setting, NULL,
			"a workload without port is called by nobody; take this out, or give the "
			"port");
	if (!p->with_store)
		conf_warning(p, setting, NULL, "only with a store (state.redis) is it looked at");
}

void conf_check_store(struct conf_parser *p)
{
	const config_setting_t *state = conf_member(conf_file_root(&p->node), "state");
	if (p->with_store)
		conf_store_state(p);
	else if (state)
		conf_warning(p, state, "redis", "missing: the machine is standalone");
	for (uint32_t i = 0; i < p->conf->workload_count; i++) {
		if (p->with_store)
			conf_store_version(p, i);
		conf_store_health(p, i);
	}
}
