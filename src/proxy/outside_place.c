/* SPDX-License-Identifier: Apache-2.0 */
#include "outside_place.h"

#include "outside.h"
#include "proxy/facts.h"
#include "upstream.h"

/* --- which addresses are its own --- */

bool outside_may_dial(const struct plan *plan, const struct address *a, bool is_declared)
{
	const struct snapshot *s = plan->snapshot;
	if (a->port == plan->conf->mesh_port)
		return false;
	if (!is_declared)
		return snapshot_may_be_outside(s, a);
	return address_is_host(a) && !snapshot_is_local(s, a) &&
	       snapshot_destination(s, a).kind == DESTINATION_UNKNOWN;
}

/* What one of its hosts was looked up as; NULL: nothing, or its addresses are declared. */
static const struct facts_host *outside_facts(
	const struct plan *plan, const struct external *e, struct str host)
{
	for (uint32_t i = 0; i < e->host_count && e->address_count == 0; i++) {
		if (str_eq(e->hosts[i], host))
			return facts_host(plan->facts, host);
	}
	return NULL;
}

static bool outside_looked_up(
	const struct plan *plan, const struct external *e, struct str host, const struct address *a)
{
	const struct facts_host *facts = outside_facts(plan, e, host);
	for (uint32_t i = 0; facts && i < facts->address_count; i++) {
		if (address_same_ip(&facts->addresses[i], a))
			return outside_may_dial(plan, a, false);
	}
	return false;
}

/* Whether the external is there: declared, or what this host was looked up as. */
static bool outside_knows(
	const struct plan *plan, const struct external *e, struct str host, const struct address *a)
{
	return external_declares(e, a) ? outside_may_dial(plan, a, true)
				       : outside_looked_up(plan, e, host, a);
}

bool outside_knows_any(const struct plan *plan, const struct external *e, const struct address *a)
{
	bool is_known = outside_knows(plan, e, STR(""), a);
	for (uint32_t i = 0; i < e->host_count && !is_known; i++)
		is_known = outside_looked_up(plan, e, e->hosts[i], a);
	return is_known;
}

uint16_t outside_port(const struct external *e, uint16_t dialled)
{
	if (e->tls != EXTERNAL_ORIGINATE)
		return dialled;
	if (e->port_tls != 0)
		return e->port_tls;
	return dialled == 80 ? 443 : dialled;
}

bool outside_is_known(const struct call *c, const struct address *a)
{
	const struct plan *plan = c->hold->plan;
	if (c->speech == EXTERNAL_BYTES)
		return outside_knows_any(plan, c->external, a);
	return outside_knows(plan, c->external, str_of(c->host), a);
}

/* --- which one is dialled --- */

/* Of those that may be dialled, and were not in vain, any one: of the family that the workload
 * dialled, as long as there is one, as it knows best which of them this machine has a way to; after
 * one that took no connection, of the other. */
struct outside_draw {
	const struct call *call;
	const struct call_tries *tries;
	uint8_t family;
	struct address drawn;
	uint32_t rank, rank_count, count; /* of those of this rank, and of all */
};

static bool outside_was_tried(const struct call_tries *tries, const struct address *a)
{
	for (uint32_t i = 0; i < tries->count; i++) {
		if (address_equal(&tries->at[i], a))
			return true;
	}
	return false;
}

static void outside_offer(struct outside_draw *d, const struct address *at, bool is_declared)
{
	const struct call *c = d->call;
	struct address a = *at;
	a.port = outside_port(c->external, c->original.port);
	uint32_t rank = a.family == d->family ? 2 : 1;
	if (outside_was_tried(d->tries, &a) || !outside_may_dial(c->hold->plan, &a, is_declared))
		return;
	d->count++;
	if (rank < d->rank)
		return;
	d->rank_count = rank > d->rank ? 1 : d->rank_count + 1;
	d->rank = rank;
	if (loop_random(&c->hold->worker->loop) % d->rank_count == 0)
		d->drawn = a;
}

static uint8_t outside_family(const struct call *c, const struct call_tries *tries)
{
	if (tries->count == 0)
		return c->original.family;
	return tries->at[tries->count - 1].family == AF_INET ? AF_INET6 : AF_INET;
}

/* How many there are. Without a name only the address that was dialled is meant. */
static uint32_t outside_draw(
	const struct call *c, const struct call_tries *tries, struct address *ret_address)
{
	struct outside_draw d = {.call = c, .tries = tries, .family = outside_family(c, tries)};
	const struct external *e = c->external;
	if (!e || !c->by_name || c->speech == EXTERNAL_BYTES)
		return 0;
	const struct facts_host *facts = outside_facts(c->hold->plan, e, str_of(c->host));
	for (uint32_t i = 0; i < e->address_count; i++) {
		if (external_is_single(&e->addresses[i]))
			outside_offer(&d, &e->addresses[i].base, true);
	}
	for (uint32_t i = 0; facts && i < facts->address_count; i++)
		outside_offer(&d, &facts->addresses[i], false);
	*ret_address = d.drawn;
	return d.count;
}

enum reason outside_place(struct call *c, const struct address *kept)
{
	static const struct call_tries none;
	struct address a = c->original;
	a.port = outside_port(c->external, a.port);
	if (kept->family != 0 && kept->port == a.port && outside_is_known(c, kept))
		a = *kept;
	else if (!outside_is_known(c, &a) && outside_draw(c, &none, &a) == 0)
		return REASON_EXTERNAL_UNRESOLVED;
	c->way = CALL_WAY_OUTSIDE;
	c->upstream = a;
	return REASON_NONE;
}

/* --- and which one next --- */

void outside_pick(struct call *c, struct call_tries *tries)
{
	struct worker *w = c->hold->worker;
	struct address other;
	if (c->way != CALL_WAY_OUTSIDE)
		return;
	/* others may have failed while it led to a service */
	if (tries->count == 0 || tries->until_ns == 0)
		tries->until_ns = w->loop.now_ns + worker_conf(w)->connect_timeout_ms * CLOCK_MS;
	else if (outside_draw(c, tries, &other) > 0) {
		upstream_done(c);
		c->upstream = other;
	}
	c->upstream_failed = false;
}

void outside_tried(struct call *c, struct call_tries *tries, enum reason reason)
{
	if (c->way != CALL_WAY_OUTSIDE || (reason != REASON_UPSTREAM_CONNECT_FAILED &&
						  reason != REASON_UPSTREAM_CONNECT_TIMEOUT))
		return;
	c->upstream_failed = true;
	if (tries->count < CALL_TRIES_MAX)
		tries->at[tries->count++] = c->upstream;
}

bool outside_may_pick_again(const struct call *c, const struct call_tries *tries)
{
	struct address other;
	return c->upstream_failed && c->hold->worker->loop.now_ns < tries->until_ns &&
	       outside_draw(c, tries, &other) > 0;
}

uint64_t outside_connect_ns(const struct call *c, const struct call_tries *tries)
{
	uint64_t now_ns = c->hold->worker->loop.now_ns;
	struct call_tries failed = *tries;
	struct address other;
	if (failed.count == CALL_TRIES_MAX || now_ns >= tries->until_ns)
		return tries->until_ns;
	failed.at[failed.count++] = c->upstream;
	uint32_t count = outside_draw(c, &failed, &other), left = CALL_TRIES_MAX - failed.count;
	return now_ns + (tries->until_ns - now_ns) / (1 + (count < left ? count : left));
}
