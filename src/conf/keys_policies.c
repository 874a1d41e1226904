/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the table that policies are read by. */
#include "key_words.h"

#define POLICY(field) FIELD(struct conf_policy_row, field)

static const char *const conf_action_names[] = {"allow", "deny", "audit", NULL};
static const char *const conf_mode_names[] = {"enforce", "audit", NULL};

static const struct conf_key conf_token_keys[] = {
	KEY("issuers", LIST(struct conf_policy_row, token.issuers, token.issuer_count),
		.help = "Names of issuers; any that the mesh has unless given."),
	KEY("audiences", LIST(struct conf_policy_row, token.audiences, token.audience_count),
		.help = "One of them is in its \"aud\"."),
	KEY("claims", .never_empty = true,
		ROWS(struct conf_policy_row, token.claims, token.claim_count, &conf_field_group),
		.help = "All of them must match. Of an array any value may: \"groups\"; inside an "
			"object: \"realm_access.roles\"."),
};
static const struct conf_group conf_token_group = {GROUP_OF(conf_token_keys)};

static const struct conf_key conf_policy_keys[] = {
	KEY("name", POLICY(name), .help = "For logs and status; \"policies[3]\" unless given."),
	KEY("service", .plural = "services", LIST(struct conf_policy_row, services, service_count),
		.required = true,
		.help = "The service, or the list of services, that it protects; \"*\" is all."),
	KEY("action", .type = CONF_ENUM, POLICY(action), .required = true,
		.names = conf_action_names,
		.help = "Of rules that match, the one whose `from` is the most exact decides; of "
			"equally exact ones any that denies. \"audit\" decides nothing: what "
			"matches "
			"is counted and logged."),
	KEY("mode", .type = CONF_ENUM, POLICY(mode), .fallback = "enforce",
		.names = conf_mode_names,
		.help = "\"audit\": all goes on as if the rule were not there; what would have "
			"been "
			"refused with it is counted and logged."),
	KEY("from", LIST(struct conf_policy_row, from, from_count),
		.help = "Callers: services (\"web\"), identity paths (\"shop/web\"), all below one "
			"(\"shop/*\"), SPIFFE ids, a whole trust domain "
			"(\"spiffe://partner.example/*\"), \"*\" (any verified identity), "
			"\"anonymous\" (no identity), address ranges (\"10.0.0.0/8\": no identity, "
			"and "
			"from there). Without it an allow rule is for any verified identity, and "
			"nothing outranks a deny rule."),
	KEY("not_from", LIST(struct conf_policy_row, not_from, not_from_count),
		.help = "But none of these: 32 at most, as of every list but `from` and `paths`."),
	KEY("ports", .type = CONF_NUMBER, LIST(struct conf_policy_row, to.ports, to.port_count),
		.min = 1, .max = 65535, .help = "Of the service's workloads."),
	KEY("not_ports", .type = CONF_NUMBER,
		LIST(struct conf_policy_row, not_to.ports, not_to.port_count), .min = 1,
		.max = 65535, .help = "But none of these."),
	KEY("methods", LIST(struct conf_policy_row, to.methods, to.method_count),
		.help = "HTTP methods, exactly."),
	KEY("not_methods", LIST(struct conf_policy_row, not_to.methods, not_to.method_count),
		.help = "But none of these."),
	KEY("paths", LIST(struct conf_policy_row, to.paths, to.path_count),
		.help = "\"/exact\"; \"/below/*\": \"/below\" and whatever is below it; "
			"\"/orders/{id}/items\": a name in braces is any one segment. Compared "
			"without "
			"the query."),
	KEY("not_paths", LIST(struct conf_policy_row, not_to.paths, not_to.path_count),
		.help = "But none of these."),
	KEY("hosts", LIST(struct conf_policy_row, to.hosts, to.host_count),
		.help = "The host that was asked for, in lower case, without port; "
			"\"*.example.com\" is any name below it."),
	KEY("not_hosts", LIST(struct conf_policy_row, not_to.hosts, not_to.host_count),
		.help = "But none of these."),
	KEY("headers", .never_empty = true,
		ROWS(struct conf_policy_row, headers, header_count, &conf_field_group),
		.help = "All of them must match. Of a header that comes several times, an allow "
			"rule "
			"wants every value to match, and for a deny rule one is enough."),
	KEY("token", .type = CONF_GROUP, .group = &conf_token_group,
		.help = "The request carries a token of an end user, and this is in it. One that "
			"is not good is none."),
};
const struct conf_group conf_policy_group = {GROUP_OF(conf_policy_keys),
	.row_size = sizeof(struct conf_policy_row), .keeps_setting = true};
