/* SPDX-License-Identifier: Apache-2.0 */
/* A connection that the redirect rules captured from a local workload: who it is, by the mark on
 * its SYN; where it wanted to go, by the original destination; what the mesh says about that. */
#include "call.h"

#include "net/socket.h"

static uint32_t outbound_mark(const struct conf *conf, int fd)
{
	unsigned shift = (unsigned)__builtin_ctz(conf->mark_mask);
	return (socket_mark(fd) & conf->mark_mask) >> shift;
}

static void outbound_identify(struct call *c, const struct workload *source)
{
	c->source = source;
	if (!source)
		return;
	c->source_service = source->service;
	c->source_id = source->service->ids[0];
}

static enum reason outbound_to_local(struct call *c, const struct destination *to)
{
	c->way = CALL_WAY_LOCAL;
	c->target = to->workload;
	c->protocol = to->workload->protocol;
	c->upstream = to->workload->deliver;
	if (!c->source && to->service->mtls == MTLS_STRICT)
		return REASON_UNATTRIBUTED;
	return REASON_NONE;
}

static enum reason outbound_to_remote(struct call *c, const struct destination *to)
{
	c->endpoint = to->endpoint;
	c->protocol = to->service->protocol;
	c->upstream = to->endpoint->address;
	if (to->service->mtls == MTLS_DISABLED) {
		c->way = CALL_WAY_PLAIN;
		return REASON_NONE;
	}
	c->way = CALL_WAY_MESH;
	c->upstream.port = c->hold->plan->conf->mesh_port;
	return c->source ? REASON_NONE : REASON_UNATTRIBUTED;
}

static enum reason outbound_to_unknown(struct call *c)
{
	c->way = CALL_WAY_PLAIN;
	c->protocol = PROTOCOL_TCP;
	c->upstream = c->original;
	if (!c->source)
		return REASON_UNATTRIBUTED;
	return snapshot_may_pass_through(c->hold->plan->snapshot, &c->original) ? REASON_NONE
										: REASON_NO_SERVICE;
}

enum reason outbound_settle(struct call *c, const struct workload *source)
{
	struct destination to = snapshot_destination(c->hold->plan->snapshot, &c->original);
	outbound_identify(c, source);
	c->service = to.service;
	switch (to.kind) {
	case DESTINATION_LOCAL:
		c->server_first = to.service->server_first;
		return outbound_to_local(c, &to);
	case DESTINATION_REMOTE:
		c->server_first = to.service->server_first;
		return outbound_to_remote(c, &to);
	case DESTINATION_SERVICE:
	case DESTINATION_UNKNOWN:
		return outbound_to_unknown(c);
	}
	return REASON_NO_SERVICE;
}

enum reason outbound_admit(struct worker *w, int fd, uint8_t family, struct call *ret_call)
{
	struct call *c = ret_call;
	c->direction = CALL_OUTBOUND;
	if (!call_captured(w, c, fd, family))
		return REASON_DIRECT_DIAL;
	return outbound_settle(c, snapshot_workload_by_mark(c->hold->plan->snapshot,
					  outbound_mark(worker_conf(w), fd)));
}
