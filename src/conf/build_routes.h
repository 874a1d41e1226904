/* SPDX-License-Identifier: Apache-2.0 */
/* Routes and limits from rows, inside the conf room. */
#pragma once

#include "mesh/limit.h"
#include "parser.h"

#define CONF_HEADER_NAME_MAX 128 /* of a header */
#define CONF_PATH_BYTES_MAX  1024

/* --- build_rules.c --- */
void conf_rule_when(
	struct conf_parser *p, const struct conf_rule_row *row, struct route_when *when);
bool conf_template_is_good(struct str template);
void conf_check_methods(struct conf_parser *p, const config_setting_t *setting, const char *key,
	const struct str *methods, uint32_t count);
void conf_check_hosts(struct conf_parser *p, const config_setting_t *setting, const char *key,
	const struct str *hosts, uint32_t count);
/* Whose fields they are: what is to be said of a name that cannot be asked for. */
enum conf_fields {
	CONF_FIELDS_PLAIN, /* no headers */
	CONF_FIELDS_ROUTE,
	CONF_FIELDS_POLICY,
};
/* One that a proxy can look for. */
void conf_check_header_name(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str name);
void conf_rule_edit(struct conf_parser *p, const struct conf_rule_row *row, const char *key,
	const struct conf_edit_rows *from, struct route_edit *edit);
void conf_rule_sticky(
	struct conf_parser *p, const struct conf_rule_row *row, struct route_sticky *sticky);
void conf_rule_retries(
	struct conf_parser *p, const struct conf_rule_row *row, struct route_retry *retry);
void conf_rule_fault(
	struct conf_parser *p, const struct conf_rule_row *row, struct route_fault *fault);
/* Redirect, answer, or what is forwarded instead. */
void conf_rule_action(
	struct conf_parser *p, const struct conf_rule_row *row, struct route_rule *rule);

/* Headers, or query keys, cookies or claims, that are asked for. */
struct route_fields conf_rule_fields(struct conf_parser *p, const struct conf_field_row *rows,
	uint32_t count, enum conf_fields fields);

/* --- build_routes.c --- */
/* Whether an endpoint or workload of the service has it, as far as is known here. */
bool conf_service_has_version(
	const struct conf_parser *p, const struct service *service, struct str version);
void conf_words_of_versions(
	const struct conf_parser *p, const struct service *service, struct conf_words *words);

/* --- build_rollouts.c --- */
/* What becomes of the routes by the rollouts: legs are divided, services without a route get one.
 * snapshot.routes has room for one more for each rollout. */
void conf_build_rollouts(struct conf_parser *p);

/* --- routes_cover.c --- */
/* Warns of rules that earlier ones leave nothing to match. */
void conf_route_cover(
	struct conf_parser *p, const struct route *route, const struct conf_route_row *row);
/* Every path, or host, that one matches is matched by the other, as far as can be seen. */
bool conf_path_covers(const struct route_path *by, const struct route_path *path);
bool conf_host_covers(struct str by, struct str host);
/* Whatever one asks of fields is asked by the other, too. */
bool conf_fields_cover(const struct route_fields *by, const struct route_fields *fields);
/* `by` asks for nothing more than `when`, as far as can be seen. */
bool conf_when_covers(const struct route_when *by, const struct route_when *when);

/* --- limits_cover.c --- */
/* Warns of limits that others leave nothing to refuse. `rows`: beside snapshot.limits. */
void conf_limits_cover(struct conf_parser *p, const struct conf_limit_row **rows);
