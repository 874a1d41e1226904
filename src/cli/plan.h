/* SPDX-License-Identifier: Apache-2.0 */
/* What a command is going to change, for people and for programs; and whether the mesh would be one
 * afterwards. Pure. */
#pragma once

#include "edit.h"
#include "published.h"
#include <stdio.h>

struct plan {
	const struct edit *edit;
	const struct edit_wish *wish;
	uint64_t revision; /* of the edit; 0: there is nothing to change */
	bool dry_run;
};

void plan_print(FILE *out, const struct plan *plan);
void plan_print_json(FILE *out, const struct plan *plan);

/* Everything that is wrong with what is to stand, but not what was wrong before. `files`: what its
 * rows are from, or NULL. -EINVAL when there are errors; what else goes wrong is in err
 * too. */
int plan_check(const struct edit *edit, const struct bundle *files,
	const struct published *standing, struct str mesh, struct conf_report *report,
	struct err *err) MUST_CHECK;
/* Whether there would be more rollouts than nodes keep up; those of which there are as many or less
 * than before are taken. -EINVAL. */
int plan_check_rollouts(
	const struct edit *edit, const struct object_set *before, struct err *err) MUST_CHECK;
/* Whether this change makes another rollout of one without beginning it anew, and what is to be
 * said of that. */
#define PLAN_ROLLOUT_TEXT 256
bool plan_rollout_differs(const struct edit *edit, const struct object_set *before, struct str key,
	char text[PLAN_ROLLOUT_TEXT]);
