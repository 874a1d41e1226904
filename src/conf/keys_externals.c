/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the table that the world outside of the mesh is read by. */
#include "key_words.h"

#define EXTERNAL(field) FIELD(struct conf_external_row, field)

static const char *const conf_external_tls_names[] = {"passthrough", "originate", "none", NULL};

static const struct conf_key conf_external_keys[] = {
	KEY("name", EXTERNAL(name), .required = true,
		.help = "As a service's, for logs and metrics; no service's name."),
	KEY("host", .plural = "hosts", LIST(struct conf_external_row, hosts, host_count),
		.help = "Names that workloads ask for: the server name of their TLS, the host of "
			"their requests. In lower case; \"*.cdn.example\" is any name below it. "
			"Without, it is known by `addresses` alone."),
	KEY("port", .plural = "ports", .type = CONF_NUMBER,
		LIST(struct conf_external_row, ports, port_count), .required = true, .min = 1,
		.max = 65535, .help = "As workloads dial them."),
	KEY("address", .plural = "addresses", .type = CONF_RANGE,
		LIST(struct conf_external_row, addresses, address_count),
		.help = "Where it is, addresses or ranges. Without, each host is looked up by its "
			"name; \"*.cdn.example\" cannot be. A connection goes to the address that "
			"was dialled when it is one of these, else to any of these, ranges "
			"aside."),
	KEY("from", LIST(struct conf_external_row, from, from_count),
		.help = "Who may, as in policies. Any workload of the mesh unless given."),
	KEY("tls", .type = CONF_ENUM, EXTERNAL(tls), .fallback = "passthrough",
		.names = conf_external_tls_names,
		.help = "The workload's own TLS goes on untouched, its server name is what is "
			"looked at (passthrough); the workload speaks in the plain, and its proxy "
			"makes it TLS to a server that proves its name (originate); in the "
			"plain all the way (none)."),
	KEY("port_tls", .type = CONF_NUMBER, EXTERNAL(port_tls), .min = 1, .max = 65535,
		.help = "With \"originate\": the server's port. 443 where 80 was dialled, else the "
			"same, unless given."),
	KEY("sni", EXTERNAL(sni),
		.help = "With \"originate\": the name that the server is asked for and has to "
			"prove. The host unless given."),
	KEY("ca", EXTERNAL(ca),
		.help = "With \"originate\": the authorities that the server's certificate may be "
			"of, as a file of the node's outside.directory, without \".pem\". The "
			"node's outside.roots unless given."),
};
const struct conf_group conf_external_group = {GROUP_OF(conf_external_keys),
	.row_size = sizeof(struct conf_external_row), .keeps_setting = true};

static const struct conf_key conf_outside_keys[] = {
	KEY("roots", FIELD(struct conf, outside_roots),
		.fallback = "/etc/ssl/certs/ca-certificates.crt",
		.help = "PEM file of the authorities that servers outside of the mesh may have "
			"their certificates of, where the proxy makes the TLS."),
	KEY("directory", FIELD(struct conf, outside_dir), .fallback = "/etc/ringmain/outside",
		.help = "More of them: *.pem, which externals name in `ca`."),
};
const struct conf_group conf_outside_group = {GROUP_OF(conf_outside_keys)};
