/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy process wants to know of the world outside goes to the state process, and what
 * that finds out comes back. The keeper does not look at either: it sees to it that the memory
 * cannot change any more and is not too large, keeps the newest of each, and says it again to a
 * child that is started again; a new state process hears first what the one before has found out,
 * so that keys outlive it. */
#include "keeper.h"

#include "base/log.h"
#include <unistd.h>

static void keeper_relayed_forget(struct keeper_relayed *r)
{
	if (r->fd >= 0)
		close(r->fd);
	*r = (struct keeper_relayed){.fd = -1};
}

void keeper_outside_done(struct keeper *k)
{
	keeper_relayed_forget(&k->outside.want);
	keeper_relayed_forget(&k->outside.facts);
}

bool keeper_outside_wanted(const struct keeper *k)
{
	return k->outside.want.count > 0;
}

void keeper_outside_begin_proxy(struct keeper *k)
{
	k->outside.facts.unsaid = false; /* the opening has them */
}

void keeper_outside_begin_state(struct keeper *k)
{
	k->outside.want.unsaid = k->outside.want.fd >= 0;
	k->outside.back_unsaid = k->outside.facts.fd >= 0;
}

static void keeper_outside_keep(struct keeper *k, struct keeper_relayed *r, uint32_t count, int fd)
{
	if (fd < 0 || !keeper_sealed(fd, WIRE_OUTSIDE_BYTES_MAX)) {
		if (!k->outside.nonsense_told)
			log_error("keeper", "a child passed on what is no bundle of the world "
					    "outside");
		k->outside.nonsense_told = true;
		if (fd >= 0)
			close(fd);
		return;
	}
	keeper_relayed_forget(r);
	*r = (struct keeper_relayed){.fd = fd, .count = count, .unsaid = true};
}

bool keeper_outside_hear(struct keeper *k, const union channel_message *m, size_t len, int fd)
{
	if (len != sizeof(m->outside) || (m->head.kind != WIRE_WANT && m->head.kind != WIRE_FACTS))
		return false;
	if (m->head.kind == WIRE_FACTS) {
		keeper_outside_keep(k, &k->outside.facts, m->outside.count, fd);
		return true;
	}
	keeper_outside_keep(k, &k->outside.want, m->outside.count, fd);
	/* What nobody wants any more is old when it is wanted again. */
	if (k->outside.want.count == 0)
		keeper_relayed_forget(&k->outside.facts);
	return true;
}

static int keeper_outside_pass(
	struct keeper_child *c, enum wire_kind kind, struct keeper_relayed *relayed)
{
	struct wire_outside m = {.head = keeper_head(kind), .count = relayed->count};
	if (relayed->fd < 0)
		return 0;
	int r = keeper_child_say(c, &m, sizeof(m), relayed->fd);
	relayed->unsaid = r < 0;
	return r;
}

bool keeper_outside_wants_saying(const struct keeper *k)
{
	return k->outside.back_unsaid || k->outside.want.unsaid;
}

int keeper_outside_say(struct keeper *k)
{
	struct keeper_outside *o = &k->outside;
	struct keeper_relayed back = o->facts;
	if (!o->back_unsaid)
		return keeper_outside_pass(&k->mesh.child, WIRE_WANT, &o->want);
	int r = keeper_outside_pass(&k->mesh.child, WIRE_FACTS, &back);
	o->back_unsaid = r < 0;
	return r;
}

int keeper_outside_tell_facts(struct keeper *k)
{
	return keeper_outside_pass(&k->proxy, WIRE_FACTS, &k->outside.facts);
}
