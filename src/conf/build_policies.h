/* SPDX-License-Identifier: Apache-2.0 */
/* Policies from rows, inside the conf room. */
#pragma once

#include "build_routes.h"
#include "mesh/identity.h"
#include "mesh/policy.h"

/* --- build_sources.c --- */
/* Entries of `from` or `not_from`, each checked. */
struct source *conf_build_sources(struct conf_parser *p, const config_setting_t *setting,
	const char *key, const struct str *entries, uint32_t entry_count, uint32_t *ret_count);
/* The same without the bits behind its prefix. */
struct address_range conf_range_cut(const struct address_range *range);
/* Every caller that one names is named by the other, too. What cannot be known aside. */
bool conf_source_covers(const struct source *by, const struct source *source);
/* Of a service that is not there: with a store it may be another node's, or come later, when it can
 * be one's name at all. */
void conf_check_service_name(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str name);

/* --- build_paths.c --- */
/* "/exact", "/below/" + "*", "/orders/{id}/items". */
struct route_path conf_policy_path(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str text);

/* --- policies_warn.c --- */
/* Of what cannot do what it seems to. `rows`: beside snapshot.policies. */
void conf_policies_warn(struct conf_parser *p, const struct conf_policy_row **rows);
/* Whether it is said there of an allow rule, unless it is for all services, that this one leaves it
 * nothing to allow. */
bool conf_warns_denied(const struct policy *by, const struct policy *policy);

/* --- objects_left.c --- */
/* A guard in place of an object that could not be read: file->fault is why. */
void conf_closed_guard(struct conf_parser *p, const struct conf_file *file, struct policy *policy);
