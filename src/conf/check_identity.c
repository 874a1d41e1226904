/* SPDX-License-Identifier: Apache-2.0 */
/* Where certificates come from: an authority, or a directory of files that somebody else writes. */
#include "parser.h"

#include "mesh/identity.h"
#include "mesh/record.h"

#define CONF_HOST_MAX  253 /* bytes of a DNS name */
#define CONF_LABEL_MAX 64

/* --- servers --- */

static bool conf_host_valid(struct str host)
{
	struct address a;
	if (host.len == 0 || host.len > CONF_HOST_MAX)
		return false;
	if (host.at[0] == '[')
		return host.len > 2 && host.at[host.len - 1] == ']' &&
		       address_parse((struct str){host.at + 1, host.len - 2}, &a) &&
		       a.family == AF_INET6;
	for (size_t i = 0; i < host.len; i++) {
		char c = host.at[i];
		bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
				(c >= '0' && c <= '9') || c == '-' || c == '.';
		if (!is_plain)
			return false;
	}
	return host.at[0] != '-' && host.at[0] != '.';
}

/* "ca.example:8443", "10.77.0.10:8443", "[fd00::10]:8443" */
static bool conf_server_valid(struct str server)
{
	uint64_t port;
	const char *colon = server.len > 0 ? memrchr(server.at, ':', server.len) : NULL;
	if (!colon)
		return false;
	struct str host = {server.at, (size_t)(colon - server.at)};
	struct str digits = {colon + 1, server.len - host.len - 1};
	return conf_host_valid(host) && digits.len > 0 && str_to_u64(digits, &port) && port > 0 &&
	       port <= UINT16_MAX;
}

static void conf_authority_servers(struct conf_parser *p)
{
	const struct conf_authority *a = &p->conf->authority;
	for (uint32_t i = 0; i < a->server_count; i++) {
		bool is_again = false;
		for (uint32_t j = 0; j < i; j++)
			is_again = is_again || str_eq(a->servers[i], a->servers[j]);
		if (!conf_server_valid(a->servers[i]))
			conf_node_error(p, "identity", "ca",
				"\"%.*s\" is no host with port such as \"ca.example:8443\"",
				STR_ARG(a->servers[i]));
		else if (is_again)
			conf_node_error(p, "identity", "ca", "\"%.*s\" stands there twice",
				STR_ARG(a->servers[i]));
	}
}

/* --- the rest --- */

static void conf_authority_file(struct conf_parser *p, const char *key, struct str path)
{
	if (path.len > 0 && path.at[0] != '/')
		conf_node_error(p, "identity", key, "\"%.*s\" is no absolute path", STR_ARG(path));
}

static void conf_authority_label(struct conf_parser *p)
{
	struct str label = p->conf->authority.label;
	bool ok = label.len <= CONF_LABEL_MAX;
	for (size_t i = 0; i < label.len; i++) {
		char c = label.at[i];
		ok = ok && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
				   (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_');
	}
	if (!ok)
		conf_node_error(p, "identity", "ca_label",
			"\"%.*s\": letters, digits, '.', '-' and '_', at most %d", STR_ARG(label),
			CONF_LABEL_MAX);
}

static void conf_authority_federates(struct conf_parser *p)
{
	const struct conf_authority *a = &p->conf->authority;
	for (uint32_t i = 0; i < a->federate_count; i++) {
		struct str domain = a->federates[i];
		bool is_again = false;
		for (uint32_t j = 0; j < i; j++)
			is_again = is_again || str_eq(domain, a->federates[j]);
		if (!identity_trust_domain_valid(domain) || domain.at[0] == '.')
			conf_node_error(p, "identity", "federates",
				"\"%.*s\" is no trust domain: lower-case letters, digits, '.', '-' "
				"and '_'",
				STR_ARG(domain));
		else if (str_eq(domain, p->conf->trust_domain))
			conf_node_error(p, "identity", "federates",
				"\"%.*s\" is our own trust domain (mesh.trust_domain)",
				STR_ARG(domain));
		else if (is_again)
			conf_node_error(p, "identity", "federates", "\"%.*s\" stands there twice",
				STR_ARG(domain));
	}
}

/* The state process's directory is its user's, who could put another `keep` into it. */
static void conf_authority_keep(struct conf_parser *p)
{
	struct str keep = p->conf->authority.keep_dir, dir = p->conf->state.dir;
	while (dir.len > 1 && dir.at[dir.len - 1] == '/')
		dir.len--;
	if (p->with_store && str_starts(keep, dir) &&
		(keep.len == dir.len || keep.at[dir.len] == '/'))
		conf_node_error(p, "identity", "keep",
			"\"%.*s\" lies in state.dir, which belongs to the unprivileged user; keep "
			"private keys elsewhere",
			STR_ARG(keep));
}

static bool conf_identity_has(const struct conf_parser *p, const char *key)
{
	const config_setting_t *identity = conf_member(conf_file_root(&p->node), "identity");
	return identity && conf_member(identity, key);
}

/* Keys that mean nothing without an authority. */
static void conf_authority_absent(struct conf_parser *p)
{
	static const char *const keys[] = {"ca_label", "ca_roots", "keep", "federates", "refresh"};
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (conf_identity_has(p, keys[i]))
			conf_node_error(
				p, "identity", keys[i], "without identity.ca it means nothing");
	}
}

void conf_check_identity(struct conf_parser *p)
{
	const struct conf *c = p->conf;
	conf_authority_file(p, "directory", c->certificate_dir);
	if (!conf_identity_has(p, "ca")) {
		conf_authority_absent(p);
		return;
	}
	if (conf_identity_has(p, "directory"))
		conf_node_error(p, "identity", "directory",
			"with identity.ca certificates come from the authority, and are kept in "
			"identity.keep; take out this key, or identity.ca to go on with files");
	if (!p->with_store && c->node_name.len > 0 && !record_node_valid(c->node_name))
		conf_node_error(p, "node", "name",
			"\"%.*s\" is part of this machine's identity: letters, digits, '.', '-' "
			"and '_', at most %d",
			STR_ARG(c->node_name), RECORD_NODE_MAX);
	conf_authority_servers(p);
	conf_authority_label(p);
	conf_authority_file(p, "ca_roots", c->authority.roots);
	conf_authority_file(p, "keep", c->authority.keep_dir);
	conf_authority_keep(p);
	conf_authority_federates(p);
}
