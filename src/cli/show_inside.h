/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the status page share. */
#pragma once

#include "base/assert.h"
#include "base/table.h"
#include "show.h"

/* Problems (×) and notes (‼), as they are found. */
struct show_list {
	FILE *out; /* NULL: count only */
	int problem_count;
	bool begun;
};

void show_fact(FILE *out, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);
/* Several lines, each behind the same margin, without control characters. */
void show_lines(FILE *out, const char *margin, struct str text);
void show_headings(struct table *t, uint32_t count, const char *const *names);
/* Prints a table that has rows, and frees it. */
void show_rows(FILE *out, struct table *t);
void show_point(struct show_list *l, bool problem, const char *format, ...) PRINTF_LIKE(3, 4);

/* --- show_state.c: the store of the mesh's state; nothing on a standalone machine --- */

void show_state_facts(FILE *out, const struct show_source *s);
void show_state_endpoints(FILE *out, const struct show_source *s);
void show_check_state(struct show_list *l, const struct show_source *s);

/* --- show_balance.c: of the answer to /routes/explain, and of a status page --- */

/* How calls get their endpoints, leg by leg. */
void show_balances(FILE *out, const struct json_tree *explained);
void show_candidates(FILE *out, const struct json_tree *explained);
void show_ejected(FILE *out, const struct show_source *s);
/* show_routes.c: in hundredths of a percent, so that thirds can be told. */
void show_share(char text[32], int64_t weight, int64_t sum);

/* --- show_rollouts.c --- */

void show_rollouts(FILE *out, const struct show_source *s);
void show_check_rollouts(struct show_list *l, const struct show_source *s);

/* --- show_issuers.c --- */

void show_issuers(FILE *out, const struct show_source *s);
void show_check_issuers(struct show_list *l, const struct show_source *s);

/* --- show_certs.c --- */

/* One line. */
void show_certs_fact(FILE *out, const struct show_source *s);
/* What of it a status page says. */
void show_check_renewal(struct show_list *l, const struct show_source *s);
