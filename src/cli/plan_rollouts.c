/* SPDX-License-Identifier: Apache-2.0 */
/* What of rollouts neither a single object nor the mesh that it makes can tell. */
#include "plan.h"

#include "conf/rollouts.h"
#include "rollout/rollout.h"
#include <errno.h>

#define PLAN_ROLLOUT_BYTES_MAX (1u << 20)

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

/* --- the same attempt --- */

static bool plan_rollout_of(
	const struct object *o, struct arena *arena, struct rollout_rule *ret_rule)
{
	struct err err;
	return o && conf_rollout_rule(o->text, arena, ret_rule, &err) == 0;
}

static const char *plan_rollout_difference(
	const struct rollout_rule *a, const struct rollout_rule *b)
{
	if (!str_eq(a->from, b->from) || !str_eq(a->to, b->to))
		return "versions";
	if (a->step_count != b->step_count || memcmp(a->steps, b->steps, a->step_count) != 0)
		return "steps";
	return NULL;
}

bool plan_rollout_differs(const struct edit *edit, const struct object_set *before, struct str key,
	char text[PLAN_ROLLOUT_TEXT])
{
	struct rollout_rule was, now;
	struct arena arena;
	const char *difference = NULL;
	if (!str_eq(object_key_kind(key), STR("rollout")))
		return false;
	arena_init(&arena, PLAN_ROLLOUT_BYTES_MAX);
	if (plan_rollout_of(object_set_find(before, key), &arena, &was) &&
		plan_rollout_of(object_set_find(&edit->after, key), &arena, &now) &&
		was.attempt == now.attempt)
		difference = plan_rollout_difference(&was, &now);
	if (difference)
		snprintf(text, PLAN_ROLLOUT_TEXT,
			STR_FMT " has other %s under the same attempt, %llu: what was reached "
				"before counts for it; to begin anew, count `attempt` up",
			STR_ARG(key), difference, (unsigned long long)now.attempt);
	arena_done(&arena);
	return difference != NULL;
}
