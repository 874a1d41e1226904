/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys: what may stand in a configuration file, where it goes, and what it means. The
 * reader, the defaults, the list of what needs a restart and the reference are made from it.
 *
 * To add a key: a field in struct conf (or in a row below) and one entry in keys.c, or in the file
 * beside it that has the group. */
#pragma once

#include "conf/conf.h"
#include "mesh/external.h"
#include "mesh/limit.h"
#include "mesh/policy.h"
#include <libconfig.h>
#include <stddef.h>

enum conf_type {
	CONF_TEXT,	   /* struct str */
	CONF_BOOL,	   /* bool */
	CONF_NUMBER,	   /* uint16_t or uint32_t */
	CONF_BYTES,	   /* uint32_t or uint64_t: 65536 or "64K" */
	CONF_DURATION,	   /* uint32_t, milliseconds: "200ms", "5s", "1h" */
	CONF_PERCENT,	   /* uint32_t, tenths of a percent: 99 or "99.5" */
	CONF_ADDRESS,	   /* struct address without port */
	CONF_ADDRESS_PORT, /* struct address; the port may be left out where the help says so */
	CONF_RANGE,	   /* struct address_range */
	CONF_ENUM,	   /* an enum, or a bool for two names */
	CONF_GROUP,	   /* { } whose keys go into the same struct */
	CONF_ROWS,	   /* ( { }, { } ): an array of structs */
};

struct conf_key {
	const char *name;
	const char *plural; /* another word for it, where a list reads better so; NULL: none */
	enum conf_type type;
	bool many; /* one value or a list of them: an array in the arena */
	bool required;
	bool never_empty;	  /* CONF_ROWS: a list without rows is an error */
	bool restart;		  /* takes effect at the next start only */
	size_t offset;		  /* of the field; of the array's pointer */
	size_t size;		  /* of the field */
	size_t count_offset;	  /* many, CONF_ROWS: of a uint32_t */
	const char *fallback;	  /* as it would stand in the file, without quotes; NULL: zero */
	uint64_t min, max;	  /* numbers, bytes, milliseconds */
	const char *const *names; /* CONF_ENUM: in the order of the enum, NULL at the end */
	const struct conf_group *group; /* CONF_GROUP, CONF_ROWS */
	const char *help;
};

struct conf_group {
	const struct conf_key *keys;
	size_t key_count;
	size_t row_size;    /* CONF_ROWS: of one struct */
	bool keeps_setting; /* its rows begin with a `const config_setting_t *` */
};

/* What a mesh file holds, before it is joined to a snapshot. */
struct conf_endpoint_row {
	const config_setting_t *setting;
	struct address *addresses;
	uint32_t address_count;
	uint16_t port;
	struct str version, zone;
	uint32_t weight;
};

/* Of a service that nobody has declared; the table says the same of the others. */
#define CONF_OUTLIER_DEFAULT                 \
	((struct outlier_rules){.errors = 5, \
		.connect_errors = 5,         \
		.success_calls = 100,        \
		.ejection_ms = 30000,        \
		.ejection_max_ms = 300000,   \
		.ejected_percent = 50})
#define CONF_ZONE_CALLS_DEFAULT 32

#define CONF_RETRY_BUDGET_DEFAULT ((struct retry_budget){.percent = 20, .per_second = 3})

struct conf_mtls_row {
	const config_setting_t *setting;
	uint16_t port;
	enum mtls_mode mode;
};

struct conf_service_row {
	const config_setting_t *setting;
	struct str name;
	uint16_t port;
	enum protocol protocol;
	bool server_first;
	enum mtls_mode mtls;
	struct conf_mtls_row *mtls_ports;
	uint32_t mtls_port_count;
	enum policy_default policy_default;
	enum balance balance;
	struct str balance_by;
	enum zone_rule zones;
	uint32_t zone_calls, panic_percent;
	uint32_t breaker[BREAKER_LIMITS];
	struct retry_budget retry_budget;
	uint32_t slow_start_ms;
	struct outlier_rules outlier;
	struct str identity; /* path; empty: that of its name */
	struct str *identities;
	uint32_t identity_count;
	struct address *addresses; /* its own, besides those of its instances */
	uint32_t address_count;
	struct conf_endpoint_row *endpoints;
	uint32_t endpoint_count;
};

/* What a policy says of a request, or what it must not be. */
struct conf_operation_rows {
	struct str *methods, *paths, *hosts;
	uint32_t method_count, path_count, host_count;
	uint32_t *ports;
	uint32_t port_count;
};
struct conf_field_row;
struct conf_token_row {
	struct str *issuers, *audiences;
	uint32_t issuer_count, audience_count;
	struct conf_field_row *claims;
	uint32_t claim_count;
};

struct conf_policy_row {
	const config_setting_t *setting;
	struct str name;
	struct str *services;
	uint32_t service_count;
	enum policy_action action;
	enum policy_mode mode;
	struct str *from, *not_from;
	uint32_t from_count, not_from_count;
	struct conf_operation_rows to, not_to;
	struct conf_field_row *headers;
	uint32_t header_count;
	struct conf_token_row token;
};

struct conf_field_row {
	const config_setting_t *setting;
	struct str name, exact, prefix, suffix;
	bool present, invert;
};

struct conf_header_row {
	const config_setting_t *setting;
	struct str name, value;
};

struct conf_leg_row {
	const config_setting_t *setting;
	struct str service, version;
	uint32_t weight;
};

struct conf_edit_rows {
	struct conf_header_row *set;
	uint32_t set_count;
	struct conf_header_row *added;
	uint32_t added_count;
	struct str *removed;
	uint32_t removed_count;
};

struct conf_rule_row {
	const config_setting_t *setting;
	struct str name;
	struct { /* match */
		struct str *paths;
		uint32_t path_count;
		struct str *prefixes;
		uint32_t prefix_count;
		struct str *templates;
		uint32_t template_count;
		struct str *regexes;
		uint32_t regex_count;
		struct str *methods;
		uint32_t method_count;
		struct str *hosts;
		uint32_t host_count;
		struct conf_field_row *headers;
		uint32_t header_count;
		struct conf_field_row *query;
		uint32_t query_count;
		struct conf_field_row *cookies;
		uint32_t cookie_count;
		struct str *from;
		uint32_t from_count;
	} when;
	struct conf_leg_row *legs;
	uint32_t leg_count;
	struct conf_leg_row *mirrors; /* `weight` is their percent */
	uint32_t mirror_count;
	struct {
		bool source;
		struct str header, cookie;
	} sticky;
	uint32_t timeout_ms;
	struct {
		uint32_t attempts;
		struct str *on;
		uint32_t on_count;
		uint32_t per_try_ms, backoff_ms, wait_max_ms;
		bool any_method;
	} retries;
	struct {
		uint32_t delay_ms, delay_percent, abort_status, abort_percent;
	} fault;
	struct conf_edit_rows request, response;
	struct {
		struct str host, path, prefix;
	} rewrite;
	struct {
		struct str scheme, host, path, prefix;
		uint16_t status;
	} redirect;
	struct {
		struct str body;
		uint16_t status;
	} respond;
};

struct conf_route_row {
	const config_setting_t *setting;
	struct str service;
	struct conf_rule_row *rules;
	uint32_t rule_count;
};

struct conf_limit_row {
	struct conf_rule_row rule; /* setting, name and match are as those of a route's rule */
	struct str service;
	uint32_t amount, window_ms, burst;
	enum limit_scope scope;
	struct str *by;
	uint32_t by_count;
	bool fair, shadow;
	enum limit_away away;
	struct str body;
};

struct conf_rollout_row {
	const config_setting_t *setting;
	struct str service, from, to;
	uint32_t attempt;
	uint32_t *steps;
	uint32_t step_count;
	uint32_t every_ms, success_tenths, p99_ms, calls_min;
	struct { /* preview */
		struct conf_field_row *headers;
		uint32_t header_count;
		struct conf_field_row *cookies;
		uint32_t cookie_count;
	} preview;
	uint32_t order; /* enum rollout_order */
};

struct conf_issuer_row {
	const config_setting_t *setting;
	struct str name, issuer, url, header;
	struct str *audiences;
	uint32_t audience_count, leeway_ms;
	bool is_forwarded;
};

struct conf_external_row {
	const config_setting_t *setting;
	struct str name;
	struct str *hosts;
	uint32_t host_count;
	uint16_t *ports;
	uint32_t port_count;
	struct address_range *addresses;
	uint32_t address_count;
	struct str *from;
	uint32_t from_count;
	enum external_tls tls;
	struct str sni, ca;
	uint16_t port_tls;
};

struct conf_mesh {
	struct conf_service_row *services;
	uint32_t service_count;
	struct conf_policy_row *policies;
	uint32_t policy_count;
	struct conf_issuer_row *issuers;
	uint32_t issuer_count;
	struct conf_route_row *routes;
	uint32_t route_count;
	struct conf_limit_row *limits;
	uint32_t limit_count;
	struct conf_rollout_row *rollouts;
	uint32_t rollout_count;
	struct conf_external_row *externals;
	uint32_t external_count;
};

extern const struct conf_group conf_node_root;	       /* into struct conf */
extern const struct conf_group conf_operator_root;     /* into struct conf_operator */
extern const struct conf_group conf_mesh_root;	       /* into struct conf_mesh */
extern const struct conf_group conf_ca_root;	       /* into struct conf_ca */
extern const struct conf_group conf_registration_root; /* into struct conf_registration */
extern const struct conf_group conf_route_group;       /* rows of it, in keys_routes.c */
extern const struct conf_group conf_policy_group;      /* rows of it, in keys_policies.c */
extern const struct conf_group conf_issuer_group;      /* rows of it, in keys_issuers.c */
extern const struct conf_group conf_match_group;       /* into struct conf_rule_row */
extern const struct conf_group conf_limit_group;       /* rows of it, in keys_limits.c */
extern const struct conf_group conf_field_group;       /* headers, likewise */
extern const struct conf_group conf_rollout_group;     /* rows of it, in keys_rollouts.c */
extern const struct conf_group conf_external_group;    /* rows of it, in keys_externals.c */
extern const struct conf_group conf_outside_group;     /* likewise, into struct conf */

/* "a text in quotes", "a duration such as \"5s\"". */
const char *conf_type_text(enum conf_type type);
/* Bytes of one value of a type in an array; 0: never in an array. */
size_t conf_type_size(enum conf_type type);
