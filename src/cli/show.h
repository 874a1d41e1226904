/* SPDX-License-Identifier: Apache-2.0 */
/* The page of `ringmain status`: /status as text for people. Pure. */
#pragma once

#include "json_tree.h"
#include <stdint.h>
#include <stdio.h>

struct show_source {
	const struct json_tree *status;
	const struct json_tree *redirect; /* NULL: no watch runs here */
	uint64_t now_s;			  /* wall time */
};

/* Prints the page and returns how many problems it names: what needs somebody to act. */
int show_status(FILE *out, const struct show_source *source);
/* The same count, printing nothing. */
int show_problems(const struct show_source *source);

/* The page of `ringmain certs`, of the answer to /certs. */
int show_certs(FILE *out, const struct show_source *source);
int show_certs_problems(const struct show_source *source);

/* The pages of `ringmain routes`, of the answers to /routes and /routes/explain */
void show_routes(FILE *out, const struct json_tree *routes);
void show_explain(FILE *out, const struct json_tree *explained);
/* Legs that lead nowhere, or whose service refuses the caller. */
int show_explain_problems(const struct json_tree *explained);

/* The page of `ringmain limits`, of the answer to /limits. */
void show_limits(FILE *out, const struct json_tree *limits);

/* The pages of `ringmain authz`, of the answers to /authz/check, /authz/why and /authz. */
void show_authz_check(FILE *out, const struct json_tree *answer);
void show_authz_why(FILE *out, const struct json_tree *answer);
void show_authz_list(FILE *out, const struct json_tree *answer);

/* "3d 4h", "2h 5m", "10s". */
const char *show_duration(int64_t seconds, char text[32]);
