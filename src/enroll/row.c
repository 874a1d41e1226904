/* SPDX-License-Identifier: Apache-2.0 */
/* How it stands, for people. */
#include "inside.h"

#include <stdio.h>

/* What was asked for in vain matters more. */
static void row_served(const struct probe_target *t, struct enroll_row *row)
{
	if (t->finding == PROBE_OTHER)
		memcpy(row->served_serial, t->found, sizeof(row->served_serial));
	else if (t->finding == PROBE_UNREACHED && row->why[0] == '\0')
		snprintf(row->why, sizeof(row->why), "the certificate that is served %.120s",
			t->why);
}

static void row_identity(const struct enroll *e, const struct identity *i, struct enroll_row *row)
{
	struct schedule_now now = enroll_now(e);
	*row = (struct enroll_row){
		.identity = str_of(i->path),
		.state = schedule_state(&i->schedule, &now),
		.not_before_s = i->view.from_s,
		.not_after_s = i->view.until_s,
		.next_s = e->link ? schedule_next_s(&i->schedule, &now) : 0,
		.renewed_count = i->renewed_count,
		.failed_count = i->schedule.failed_count,
	};
	memcpy(row->serial, i->view.serial, sizeof(row->serial));
	memcpy(row->why, i->why, sizeof(row->why));
	row_served(&i->target, row);
}

static enum enroll_state row_trust_state(
	const struct trust *t, const struct schedule_now *now, const struct judge_view *view)
{
	if (view->until_s == 0)
		return ENROLL_MISSING;
	if (view->until_s * 1000 <= now->wall_ms)
		return ENROLL_EXPIRED;
	return t->schedule.failed_count > 0 ? ENROLL_FAILING : ENROLL_FRESH;
}

static void row_trust(const struct enroll *e, const struct trust *t, struct enroll_row *row)
{
	struct schedule_now now = enroll_now(e);
	struct judge_view view = {.serial = ""};
	(void)judge_anchors_view(t->roots.in_force, &view);
	*row = (struct enroll_row){
		.identity = str_of(t->domain),
		.is_trust = true,
		.state = row_trust_state(t, &now, &view),
		.not_before_s = view.from_s,
		.not_after_s = view.until_s,
		.next_s = e->link ? schedule_next_s(&t->schedule, &now) : 0,
		.renewed_count = t->renewed_count,
		.failed_count = t->schedule.failed_count,
	};
	memcpy(row->why, t->why, sizeof(row->why));
}

bool enroll_row(const struct enroll *e, uint32_t index, struct enroll_row *ret_row)
{
	for (struct list *n = e->identities.next; n != &e->identities; n = n->next) {
		if (index-- == 0) {
			row_identity(e, CONTAINER_OF(n, struct identity, node), ret_row);
			return true;
		}
	}
	for (struct list *n = e->trusts.next; n != &e->trusts; n = n->next) {
		if (index-- == 0) {
			row_trust(e, CONTAINER_OF(n, struct trust, node), ret_row);
			return true;
		}
	}
	return false;
}

int64_t enroll_skew_s(const struct enroll *e)
{
	int64_t skew_s = 0;
	if (e->link)
		(void)link_skew(e->link, &skew_s);
	return skew_s;
}
