/* SPDX-License-Identifier: Apache-2.0 */
#include "call.h"

#include "authorise.h"
#include "net/socket.h"
#include "outside.h"
#include "upstream.h"
#include <errno.h>
#include <stdlib.h>

void call_init(struct call *c)
{
	*c = (struct call){0};
}

static void call_uncount(struct call *c, size_t slot)
{
	if (c->uses[slot])
		atomic_fetch_sub_explicit(
			&c->uses[slot]->connection_count, 1, memory_order_relaxed);
	c->uses[slot] = NULL;
}

void call_done(struct call *c)
{
	for (size_t i = 0; i < ARRAY_LEN(c->uses); i++)
		call_uncount(c, i);
	free(c->source_id_text);
	free(c->host);
	upstream_done(c);
	if (c->hold)
		plan_hold_unref(c->hold);
	call_init(c);
}

void call_take(struct call *to, struct call *from)
{
	*to = *from;
	call_init(from);
}

bool call_captured(struct worker *w, struct call *c, int fd, uint8_t family)
{
	struct address local;
	c->hold = plan_hold_ref(w->current);
	socket_peer(fd, &c->client);
	if (socket_original_dst(fd, family, &c->original) < 0)
		return false;
	return socket_local(fd, &local) < 0 || !address_equal(&local, &c->original);
}

static bool call_count_one(
	struct worker *w, struct call *c, size_t slot, const struct workload *workload)
{
	if (!workload)
		return true;
	const struct plan *plan = c->hold->plan;
	struct workload_use *use = plan->uses[workload->index];
	uint32_t max = workload->connections_max ? workload->connections_max
						 : plan->conf->workload_connections_max;
	uint32_t before =
		atomic_fetch_add_explicit(&use->connection_count, 1, memory_order_relaxed);
	if (before >= max) {
		atomic_fetch_sub_explicit(&use->connection_count, 1, memory_order_relaxed);
		metric_add(&w->values->limit_refused_total, 1);
		return false;
	}
	c->uses[slot] = use;
	return true;
}

enum reason call_count_target(struct worker *w, struct call *c)
{
	call_uncount(c, 1);
	return call_count_one(w, c, 1, c->target) ? REASON_NONE : REASON_CONNECTIONS_MAX;
}

enum reason call_count(struct worker *w, struct call *c)
{
	if (!call_count_one(w, c, 0, c->source) || !call_count_one(w, c, 1, c->target))
		return REASON_CONNECTIONS_MAX;
	return REASON_NONE;
}

struct workload_use *call_serve(const struct call *c)
{
	struct workload_use *use = c->uses[1];
	if (use)
		atomic_fetch_add_explicit(&use->serving_count, 1, memory_order_relaxed);
	return use;
}

void call_served(struct workload_use *use)
{
	if (use)
		atomic_fetch_sub_explicit(&use->serving_count, 1, memory_order_relaxed);
}

/* --- under a newer plan --- */

/* The mark on the SYN said which user called, once and for all; numbers of marks may be given to
 * others meanwhile. What was picked stays picked while it is there. */
static enum reason call_settle_outbound(const struct call *before, struct call *c)
{
	const struct snapshot *s = c->hold->plan->snapshot;
	enum reason reason = outbound_settle(
		c, before->source ? snapshot_workload_by_uid(s, before->source->uid) : NULL);
	if (reason == REASON_NONE)
		reason = outside_name_again(before, c);
	if (reason != REASON_NONE || !c->picks)
		return reason;
	const struct service *to =
		before->service ? snapshot_service(s, before->service->name) : NULL;
	const struct endpoint *e =
		before->endpoint ? snapshot_endpoint(s, &before->endpoint->address) : NULL;
	const struct workload *local =
		before->target ? snapshot_workload_by_uid(s, before->target->uid) : NULL;
	e = e && e->service == to ? e : NULL;
	local = local && local->service == to ? local : NULL;
	if (!e && !local)
		return reason;
	c->service = to; /* to which a route may have led it */
	return outbound_settle_endpoint(c, e, e ? e->local : local);
}

static enum reason call_settle_way(
	struct worker *w, const struct line *line, const struct call *before, struct call *c)
{
	switch (before->direction) {
	case CALL_OUTBOUND:
		return call_settle_outbound(before, c);
	case CALL_INBOUND_PLAIN:
		return inbound_settle_plain(c);
	case CALL_INBOUND_MESH:
		return inbound_settle_mesh(w, line, c);
	}
	return REASON_NO_SERVICE;
}

/* What the call would be if it came now. To be let go of in any case. */
static enum reason call_settle_again(
	struct worker *w, const struct line *line, const struct call *before, struct call *ret_call)
{
	struct call *c = ret_call;
	*c = (struct call){
		.hold = plan_hold_ref(w->current),
		.direction = before->direction,
		.client = before->client,
		.original = before->original,
		.mutual_tls = before->mutual_tls,
		.tls_resumed = before->tls_resumed,
		.number = before->number,
		.is_mirror = before->is_mirror,
	};
	enum reason reason = call_settle_way(w, line, before, c);
	/* outside nobody says which one it is: what names there are on a port is no protocol */
	if (c->protocol == PROTOCOL_DETECT || (!c->service && !before->service))
		c->protocol = before->protocol;
	if (reason == REASON_NONE && c->protocol != before->protocol)
		return REASON_PROTOCOL_MISMATCH;
	return reason;
}

/* Where the workload is the same, its count goes on. */
static bool call_count_again(struct worker *w, struct call *before, struct call *c, size_t slot,
	const struct workload *workload)
{
	if (slot == 0 && c->is_mirror)
		return true;
	if (!workload || before->uses[slot] != c->hold->plan->uses[workload->index])
		return call_count_one(w, c, slot, workload);
	c->uses[slot] = before->uses[slot];
	before->uses[slot] = NULL;
	return true;
}

/* Puts the fresh call in the place of the one before. */
static enum reason call_replace(struct worker *w, struct call *c, struct call *fresh)
{
	if (!call_count_again(w, c, fresh, 0, fresh->source) ||
		!call_count_again(w, c, fresh, 1, fresh->target))
		return REASON_CONNECTIONS_MAX;
	fresh->pick_way = c->pick_way;
	call_done(c);
	call_take(c, fresh);
	return REASON_NONE;
}

enum reason call_renew(struct worker *w, const struct line *line, struct call *c)
{
	struct call fresh;
	if (c->hold == w->current)
		return REASON_NONE;
	enum reason reason = call_settle_again(w, line, c, &fresh);
	if (reason == REASON_NONE)
		reason = call_replace(w, c, &fresh);
	call_done(&fresh);
	return reason;
}

/* What runs outside keeps its address while its external would let it go there, though what is
 * known of that has changed. */
static enum reason call_keep_place(const struct call *before, struct call *c, enum reason reason)
{
	bool is_same = before->external && c->external && before->way == CALL_WAY_OUTSIDE &&
		       c->way == CALL_WAY_OUTSIDE &&
		       str_eq(before->external->name, c->external->name);
	if (!is_same || (reason != REASON_NONE && reason != REASON_EXTERNAL_UNRESOLVED))
		return reason;
	c->upstream = before->upstream;
	if (c->named == REASON_EXTERNAL_UNRESOLVED)
		c->named = REASON_NONE;
	return REASON_NONE;
}

static bool call_leads_alike(const struct call *a, const struct call *b)
{
	return a->way == b->way && address_equal(&a->upstream, &b->upstream) &&
	       !a->external == !b->external &&
	       (!a->external || (str_eq(a->external->name, b->external->name) &&
					a->external->tls == b->external->tls)) &&
	       !a->service == !b->service &&
	       (!a->service || str_eq(a->service->name, b->service->name)) &&
	       (a->way == CALL_WAY_LOCAL ||
		       (!a->endpoint == !b->endpoint &&
			       (!a->endpoint || address_equal(&a->endpoint->address,
							&b->endpoint->address))));
}

void call_follow(struct worker *w, const struct line *line, struct call *c, bool running)
{
	struct call fresh;
	if (c->hold == w->current)
		return;
	enum reason reason = call_settle_again(w, line, c, &fresh);
	if (reason == REASON_NONE && running)
		reason = call_keep_place(c, &fresh, outside_check(&fresh));
	if (reason == REASON_NONE && (!running || call_leads_alike(c, &fresh)))
		(void)call_replace(w, c, &fresh);
	call_done(&fresh);
}

bool call_is_secured_otherwise(struct worker *w, const struct line *line, const struct call *c)
{
	struct call fresh;
	if (c->hold == w->current || c->way != CALL_WAY_OUTSIDE || !c->external)
		return false;
	enum reason reason = call_settle_again(w, line, c, &fresh);
	bool is_otherwise =
		reason == REASON_NONE && fresh.external && fresh.external->tls != c->external->tls;
	call_done(&fresh);
	return is_otherwise;
}

enum reason call_peer_failure(enum tls_failure failure)
{
	if (failure == TLS_FAILURE_NONE)
		return REASON_NONE;
	return failure == TLS_FAILURE_REVOKED ? REASON_PEER_REVOKED : REASON_PEER_UNTRUSTED;
}

static enum reason call_check_certificates(
	struct worker *w, const struct line *line, const struct workload *own)
{
	const struct tls *tls = line_tls(line);
	const struct tls_store *now = w->current->plan->tls;
	if (!tls)
		return REASON_NONE;
	/* That of the session, too: the workload may have been given another since. */
	if (own && (!str_eq(own->identity, tls_own_identity(tls)) ||
			   !tls_store_has_identity(now, own->identity)))
		return REASON_NO_IDENTITY;
	return call_peer_failure(tls_peer_again(tls, now, worker_wall_s(w)));
}

enum reason call_check_down(struct worker *w, const struct line *down, const struct call *c)
{
	return call_check_certificates(w, down, c->target);
}

enum reason call_check_up(struct worker *w, const struct line *up, const struct call *c)
{
	/* who is outside does not know us by it */
	return call_check_certificates(w, up, c->way == CALL_WAY_OUTSIDE ? NULL : c->source);
}

/* A server that was let go of, or that may not be this service any more. */
static enum reason call_check_upstream(
	struct worker *w, const struct line *up, const struct call *c)
{
	const struct tls *tls = line_tls(up);
	enum reason reason = call_check_up(w, up, c);
	if (!tls || reason != REASON_NONE)
		return reason;
	for (uint32_t i = 0; c->way == CALL_WAY_MESH && i < c->service->id_count; i++) {
		if (str_eq(c->service->ids[i], tls_peer_id(tls)))
			return REASON_NONE;
	}
	return c->way == CALL_WAY_MESH ? REASON_UPSTREAM_IDENTITY : REASON_NONE;
}

/* The endpoint is not known any more: it fell silent, maybe with the store. False: the call stays
 * as it is, and is over. */
static bool call_outlives_endpoint(const struct call *before, struct call *c, enum reason reason)
{
	bool is_lost = reason == REASON_NO_SERVICE || reason == REASON_UNKNOWN_DESTINATION ||
		       (reason == REASON_NONE && c->way == CALL_WAY_PICK);
	if (!is_lost || before->way != CALL_WAY_MESH || !c->source)
		return false;
	const struct service *service =
		snapshot_service(c->hold->plan->snapshot, before->service->name);
	if (!service || service_mtls(service, before->endpoint->address.port) == MTLS_DISABLED)
		return false;
	c->service = service;
	c->way = CALL_WAY_MESH;
	return true;
}

/* Bytes to a workload of this machine are judged here, as its service's: they may not go on as
 * something else, which another proxy or another policy would judge. */
static bool call_is_still_judged(const struct call *before, const struct call *c)
{
	return before->way != CALL_WAY_LOCAL ||
	       (c->way == CALL_WAY_LOCAL && str_eq(before->service->name, c->service->name));
}

enum reason call_check(struct worker *w, const struct line *down, const struct line *up,
	struct call *c, const struct authorise_asks *asks, struct authorisation *ret)
{
	struct call fresh;
	struct authorisation now = authorisation_none();
	enum reason reason = call_settle_again(w, down, c, &fresh);
	if (reason == REASON_NONE)
		reason = outside_check(&fresh);
	reason = call_keep_place(c, &fresh, reason);
	if (call_outlives_endpoint(c, &fresh, reason))
		reason = REASON_NONE;
	else if (reason == REASON_NONE &&
		 (fresh.way == CALL_WAY_PICK || !call_is_still_judged(c, &fresh)))
		reason = REASON_NO_SERVICE;
	if (reason == REASON_NONE)
		reason = authorise(&fresh, asks, &now);
	if (reason == REASON_NONE)
		reason = call_check_upstream(w, up, &fresh);
	bool follows = reason == REASON_NONE && call_leads_alike(c, &fresh) &&
		       call_replace(w, c, &fresh) == REASON_NONE;
	if (follows || now.reason != REASON_NONE)
		*ret = now;
	call_done(&fresh);
	return reason;
}

enum reason call_check_outside(struct worker *w, const struct line *down, const struct call *c)
{
	struct call fresh;
	bool is_outside = c->direction == CALL_OUTBOUND && !c->service &&
			  (c->way == CALL_WAY_OUTSIDE || c->way == CALL_WAY_PLAIN);
	/* a refusal of before tells nothing */
	if (!is_outside || (c->by_name && (!c->is_named || c->named != REASON_NONE)))
		return REASON_NONE;
	enum reason reason = call_settle_again(w, down, c, &fresh);
	if (reason == REASON_NONE)
		reason = outside_check(&fresh);
	call_done(&fresh);
	/* where it is going it has found already */
	return reason == REASON_EXTERNAL_UNRESOLVED ? REASON_NONE : reason;
}

/* --- what it may --- */

bool call_may_pick_again(const struct call *c, const struct call_tries *tries, enum reason reason)
{
	return tries->count < CALL_TRIES_MAX && reason_row(reason)->retry &&
	       (c->picks || outside_may_pick_again(c, tries));
}

static const enum tls_alpn call_alpns[] = {
	[CALL_BYTES] = TLS_ALPN_TCP,
	[CALL_HTTP] = TLS_ALPN_HTTP1,
	[CALL_CHANNELS] = TLS_ALPN_CHANNELS,
};

static enum reason call_secure(
	struct worker *w, const struct call *c, enum call_carriage carriage, struct line *line)
{
	char name[SERVER_NAME_MAX];
	const struct plan *plan = c->hold->plan;
	size_t len = server_name_write(plan->snapshot, c->service, c->endpoint->address.port, name);
	struct tls_client_want want = {
		.identity = c->source->identity,
		.server_name = {name, len},
		.alpn = call_alpns[carriage],
		.alpn_other = carriage == CALL_CHANNELS ? TLS_ALPN_HTTP1 : TLS_ALPN_NONE,
		.server_ids = c->service->ids,
		.server_id_count = c->service->id_count,
	};
	struct tls *tls = tls_client_new(plan->tls, w->tls_sessions, &want, &line->conn.wire);
	if (!tls)
		return REASON_OVERLOAD;
	conn_secure(&line->conn, tls);
	return REASON_NONE;
}

/* At the limit, one that is idle makes room. */
static bool call_count_connection(struct worker *w, const struct call *c, struct line *line)
{
	struct service_hold *h = &line->connection;
	return service_hold_try(h, w, c, c->service, BREAKER_CONNECTIONS) ||
	       (upstream_make_room(w, c->service) &&
		       service_hold_try(h, w, c, c->service, BREAKER_CONNECTIONS)) ||
	       service_hold_take(h, w, c, c->service, BREAKER_CONNECTIONS);
}

enum reason call_dial(
	struct worker *w, const struct call *c, enum call_carriage carriage, struct line *line)
{
	if (!call_count_connection(w, c, line))
		return REASON_BREAKER_CONNECTIONS;
	if (conn_dial(&line->conn, &c->upstream) < 0)
		return REASON_UPSTREAM_CONNECT_FAILED;
	if (c->way == CALL_WAY_OUTSIDE || c->unknown != UNKNOWN_REFUSE)
		line->conn.routes = w->routes;
	if (c->way == CALL_WAY_OUTSIDE)
		return outside_secure(c, carriage == CALL_HTTP, line);
	return c->way == CALL_WAY_MESH ? call_secure(w, c, carriage, line) : REASON_NONE;
}

static enum reason call_handshake_failure(enum tls_failure failure)
{
	if (failure == TLS_FAILURE_UNEXPECTED_ID)
		return REASON_UPSTREAM_IDENTITY;
	if (failure == TLS_FAILURE_NO_IDENTITY || failure == TLS_FAILURE_SIGNATURE)
		return REASON_NO_IDENTITY;
	return REASON_UPSTREAM_HANDSHAKE_FAILED;
}

enum reason call_dial_failure(const struct line *line)
{
	const struct conn *c = &line->conn;
	switch (c->failure) {
	case CONN_FAILURE_CONNECT:
		if (c->routes >= 0 && c->error == ELOOP) /* an address that we got meanwhile */
			return REASON_EXTERNAL_UNRESOLVED;
		return REASON_UPSTREAM_CONNECT_FAILED;
	case CONN_FAILURE_NONE:
		return REASON_UPSTREAM_CONNECT_FAILED;
	case CONN_FAILURE_HANDSHAKE:
		return call_handshake_failure(tls_failure(line_tls(line)));
	case CONN_FAILURE_RESET:
	case CONN_FAILURE_TRUNCATED:
		return c->state == CONN_HANDSHAKE ? REASON_UPSTREAM_HANDSHAKE_FAILED
						  : REASON_UPSTREAM_CLOSED;
	case CONN_FAILURE_MEMORY:
		return REASON_OVERLOAD;
	}
	return REASON_UPSTREAM_CONNECT_FAILED;
}
