/* SPDX-License-Identifier: Apache-2.0 */
/* A connection from another machine towards a local workload: over mutual TLS from its proxy, or in
 * plain text to a captured port, which only a service that allows it takes. */
#include "call.h"

#include "net/socket.h"
#include <stdlib.h>

static void inbound_deliver(struct call *c, const struct workload *target)
{
	c->way = CALL_WAY_LOCAL;
	c->target = target;
	c->service = target->service;
	c->protocol = target->protocol;
	c->server_first = target->service->server_first;
	c->upstream = target->deliver;
}

enum reason inbound_settle_plain(struct call *c)
{
	const struct workload *target =
		snapshot_workload_by_port(c->hold->plan->snapshot, c->original.port);
	if (!target)
		return REASON_NO_SERVICE;
	inbound_deliver(c, target);
	return service_mtls(target->service, target->port) == MTLS_STRICT ? REASON_PLAINTEXT
									  : REASON_NONE;
}

enum reason inbound_admit_plain(struct worker *w, int fd, uint8_t family, struct call *ret_call)
{
	struct call *c = ret_call;
	c->direction = CALL_INBOUND_PLAIN;
	if (!call_captured(w, c, fd, family))
		return REASON_DIRECT_DIAL;
	return inbound_settle_plain(c);
}

const struct workload *inbound_choose(struct worker *w, struct str server_name)
{
	return snapshot_workload_by_server_name(w->current->plan->snapshot, server_name);
}

bool inbound_is_own(const struct line *line)
{
	struct address peer;
	return socket_peer(line_fd(line), &peer) == 0 && address_is_loopback(&peer);
}

bool inbound_is_renamed(const struct worker *w, const struct line *line)
{
	const struct tls *tls = line_tls(line);
	const struct workload *target =
		tls ? snapshot_workload_by_server_name(
			      w->current->plan->snapshot, tls_server_name(tls))
		    : NULL;
	return target && !str_eq(target->identity, tls_own_identity(tls));
}

static bool inbound_protocol_fits(enum protocol declared, enum tls_alpn alpn)
{
	switch (declared) {
	case PROTOCOL_DETECT:
		return alpn != TLS_ALPN_NONE && alpn != TLS_ALPN_CHECK;
	case PROTOCOL_HTTP:
		return alpn == TLS_ALPN_HTTP1 || alpn == TLS_ALPN_CHANNELS;
	case PROTOCOL_TCP:
		return alpn == TLS_ALPN_TCP;
	}
	return false;
}

/* The session may have been begun, or the connection taken, under an older plan: name, trust and
 * protocol are asked for again. */
enum reason inbound_settle_mesh(struct worker *w, const struct line *line, struct call *c)
{
	const struct tls *tls = line_tls(line);
	const struct plan *plan = c->hold->plan;
	const struct workload *target =
		snapshot_workload_by_server_name(plan->snapshot, tls_server_name(tls));
	if (!target)
		return REASON_NO_SERVICE;
	if (!str_eq(target->identity, tls_own_identity(tls)) ||
		!tls_store_has_identity(plan->tls, target->identity))
		return REASON_NO_IDENTITY;
	struct str id = tls_peer_id(tls);
	c->source_id_text = strndup(id.at, id.len);
	if (!c->source_id_text)
		return REASON_OVERLOAD;
	c->source_id = (struct str){c->source_id_text, id.len};
	c->source_service = snapshot_service_by_id(plan->snapshot, id); /* for labels */
	inbound_deliver(c, target);
	enum tls_failure failure = tls_peer_again(tls, plan->tls, worker_wall_s(w));
	if (failure)
		return call_peer_failure(failure);
	if (!inbound_protocol_fits(target->protocol, tls_alpn(tls)))
		return REASON_PROTOCOL_MISMATCH;
	c->protocol = tls_alpn(tls) == TLS_ALPN_TCP ? PROTOCOL_TCP : PROTOCOL_HTTP;
	return REASON_NONE;
}

enum reason inbound_admit_mesh(struct worker *w, struct line *line, struct call *ret_call)
{
	struct call *c = ret_call;
	c->direction = CALL_INBOUND_MESH;
	c->hold = plan_hold_ref(w->current);
	c->mutual_tls = true;
	c->tls_resumed = tls_resumed(line_tls(line));
	socket_peer(line_fd(line), &c->client);
	socket_local(line_fd(line), &c->original);
	return inbound_settle_mesh(w, line, c);
}
