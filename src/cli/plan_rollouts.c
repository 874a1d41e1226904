/* SPDX-License-Identifier: Apache-2.0 */
/* How many rollouts there may be. */
#include "plan.h"

#include "rollout/rollout.h"
#include <errno.h>

/* --- how many --- */

static uint32_t plan_rollout_count(const struct object_set *set)
{
	uint32_t count = 0;
	OBJECT_EACH (set, it)
		count += str_eq(object_key_kind(it->key), STR("rollout"));
	return count;
}

/* A node that does not keep one up takes it for one that has not begun. */
int plan_check_rollouts(const struct edit *edit, const struct object_set *before, struct err *err)
{
	uint32_t count = plan_rollout_count(&edit->after);
	if (count <= ROLLOUT_TOLD_MAX || count <= plan_rollout_count(before))
		return 0;
	return err_set(err, EINVAL,
		"there would be %u rollouts, and nodes keep up %d at most, those that are over "
		"too: take away some that are over first (ringmain rollout list, ringmain delete "
		"rollout/SERVICE); nothing was written",
		count, ROLLOUT_TOLD_MAX);
}
