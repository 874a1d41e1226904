/* SPDX-License-Identifier: Apache-2.0 */
#include "outside.h"

#include "outside_place.h"
#include "upstream.h"
#include <stdlib.h>

/* --- something unknown --- */

static bool outside_is_proxy_port(const struct conf *conf, uint16_t port)
{
	return port == conf->mesh_port ||
	       (uint16_t)(port - conf->outbound_port) < conf->port_range ||
	       (uint16_t)(port - conf->inbound_port) < conf->port_range;
}

static bool outside_may_be_unknown(const struct plan *plan, const struct address *a)
{
	return snapshot_may_be_outside(plan->snapshot, a) &&
	       !outside_is_proxy_port(plan->conf, a->port);
}

/* As workloads dial it, or as it is dialled for them. */
static bool outside_is_at_port(const struct external *e, uint16_t port)
{
	bool is_there = external_has_port(e, port);
	for (uint32_t i = 0; i < e->port_count && !is_there; i++)
		is_there = outside_port(e, (uint16_t)e->ports[i]) == port;
	return is_there;
}

/* An external that is there: whoever does not say its name is not let in by that. */
static const struct external *outside_denied(const struct call *c)
{
	const struct snapshot *s = c->hold->plan->snapshot;
	for (uint32_t i = 0; i < s->external_count; i++) {
		const struct external *e = &s->externals[i];
		if (outside_is_at_port(e, c->original.port) && !external_allows(e, c->source_id) &&
			outside_knows_any(c->hold->plan, e, &c->original))
			return e;
	}
	return NULL;
}

static enum reason outside_unknown(struct call *c, enum reason refusal)
{
	const struct external *denied =
		c->source->unknown != UNKNOWN_REFUSE ? outside_denied(c) : NULL;
	if (denied) {
		c->external = denied;
		return REASON_EXTERNAL_DENIED;
	}
	if (c->source->unknown == UNKNOWN_REFUSE ||
		!outside_may_be_unknown(c->hold->plan, &c->original))
		return refusal;
	c->way = CALL_WAY_PLAIN;
	c->upstream = c->original;
	c->unknown = c->source->unknown;
	return REASON_NONE;
}

/* --- by address --- */

static enum reason outside_settle_external(struct call *c, const struct external *e)
{
	c->external = e;
	if (!external_allows(e, c->source_id))
		return REASON_EXTERNAL_DENIED;
	c->way = CALL_WAY_OUTSIDE;
	c->upstream.port = outside_port(e, c->original.port);
	return outside_may_dial(c->hold->plan, &c->upstream, true) ? REASON_NONE
								   : REASON_EXTERNAL_UNRESOLVED;
}

static enum reason outside_settle_address(struct call *c)
{
	const struct snapshot *s = c->hold->plan->snapshot;
	c->way = CALL_WAY_PLAIN;
	c->protocol = PROTOCOL_TCP;
	c->upstream = c->original;
	if (!c->source)
		return REASON_UNATTRIBUTED;
	outbound_prove(c);
	if (snapshot_may_pass_through(s, &c->original))
		return REASON_NONE;
	if (snapshot_is_local(s, &c->original))
		return REASON_NO_SERVICE;
	const struct external *e = external_by_address(s, &c->original);
	if (e)
		return outside_settle_external(c, e);
	if (!external_wants_name(s, c->original.port))
		return outside_unknown(c, REASON_NO_SERVICE);
	c->way = CALL_WAY_OUTSIDE;
	c->protocol = PROTOCOL_DETECT;
	c->by_name = true;
	c->upstream = (struct address){0};
	return REASON_NONE;
}

enum reason outside_settle(struct call *c)
{
	enum reason reason = outside_settle_address(c);
	if (reason != REASON_NONE)
		c->upstream = (struct address){0};
	return reason;
}

/* --- by name --- */

/* What it led to before is not to be found under the new name. */
static void outside_leave(struct call *c)
{
	upstream_done(c);
	c->way = CALL_WAY_OUTSIDE;
	c->external = NULL;
	c->unknown = UNKNOWN_REFUSE;
	c->upstream = (struct address){0};
	c->upstream_failed = false;
	c->series = (struct record_series){0};
	free(c->host);
	c->host = NULL;
}

/* Bytes in which there is no name go where they wanted to go, if an external that takes such is
 * there. */
static const struct external *outside_by_bytes(const struct call *c)
{
	const struct snapshot *s = c->hold->plan->snapshot;
	for (uint32_t i = 0; i < s->external_count; i++) {
		const struct external *e = &s->externals[i];
		if (e->tls != EXTERNAL_PASSTHROUGH && external_has_port(e, c->original.port) &&
			outside_knows_any(c->hold->plan, e, &c->original))
			return e;
	}
	return NULL;
}

static bool outside_keep_host(struct call *c, struct str host)
{
	c->host = host.len > 0 ? strndup(host.at, host.len) : NULL;
	return c->host || host.len == 0;
}

static enum reason outside_settle_name(struct call *c, struct str host, const struct address *kept)
{
	const struct snapshot *s = c->hold->plan->snapshot;
	if (!outside_keep_host(c, host))
		return REASON_OVERLOAD;
	if (c->speech == EXTERNAL_BYTES)
		c->external = outside_by_bytes(c);
	else if (host.len > 0)
		c->external = external_by_host(s, host, c->original.port, c->speech);
	if (!c->external)
		return outside_unknown(c, REASON_UNKNOWN_DESTINATION);
	if (!external_allows(c->external, c->source_id))
		return REASON_EXTERNAL_DENIED;
	return outside_place(c, kept);
}

/* Refused, it leads nowhere; the log says what it was that it may not. */
static enum reason outside_settled(struct call *c, enum reason reason)
{
	c->is_named = true;
	c->named = reason;
	if (reason != REASON_NONE) {
		c->way = CALL_WAY_OUTSIDE;
		c->upstream = (struct address){0};
	}
	return reason;
}

enum reason outside_name(struct call *c, enum external_speech speech, struct str text)
{
	static const struct address nowhere;
	char name[EXTERNAL_HOST_MAX + 1];
	struct str host = external_host(text, speech == EXTERNAL_HTTP, name);
	bool is_same = c->is_named && c->speech == speech && str_eq(str_of(c->host), host);
	/* a request that ran on under a newer plan may have kept what is not to be found any more
	 */
	if (is_same && (c->named != REASON_NONE || !c->external ||
			       (outside_is_known(c, &c->upstream) && !c->upstream_failed)))
		return c->named;
	outside_leave(c);
	c->speech = speech;
	return outside_settled(c, outside_settle_name(c, host, &nowhere));
}

enum reason outside_name_again(const struct call *before, struct call *c)
{
	/* which began when nobody asked it for a name */
	bool is_bytes = !before->by_name && before->protocol == PROTOCOL_TCP;
	if (!c->by_name || (!before->is_named && !is_bytes))
		return REASON_NONE;
	c->speech = is_bytes ? EXTERNAL_BYTES : before->speech;
	enum reason reason =
		outside_settled(c, outside_settle_name(c, str_of(before->host), &before->upstream));
	return c->speech == EXTERNAL_HTTP ? REASON_NONE : reason;
}

enum reason outside_check(const struct call *c)
{
	return c->by_name ? c->named : REASON_NONE;
}

/* --- TLS --- */

static struct tls_store *outside_tls(const struct call *c)
{
	return c->external ? c->hold->plan->outside_tls[c->external->index] : NULL;
}

struct str outside_server_name(const struct call *c)
{
	const struct external *e = c->external;
	if (!e || e->tls != EXTERNAL_ORIGINATE)
		return STR("");
	if (e->sni.len > 0)
		return e->sni;
	if (c->host)
		return str_of(c->host);
	return e->host_count == 1 && e->hosts[0].at[0] != '*' ? e->hosts[0] : STR("");
}

enum reason outside_secure(const struct call *c, bool is_http, struct line *line)
{
	if (!c->external || c->external->tls != EXTERNAL_ORIGINATE)
		return REASON_NONE;
	struct str name = outside_server_name(c);
	struct tls_store *roots = outside_tls(c);
	if (!roots)
		return REASON_EXTERNAL_NO_ROOTS;
	if (name.len == 0)
		return REASON_EXTERNAL_UNRESOLVED;
	struct tls *tls = tls_client_new_outside(
		roots, name, is_http ? TLS_ALPN_HTTP1 : TLS_ALPN_NONE, &line->conn.wire);
	if (!tls)
		return REASON_OVERLOAD;
	conn_secure(&line->conn, tls);
	return REASON_NONE;
}

/* --- what is kept --- */

static bool outside_is_let_out(const struct snapshot *s, struct str source_id)
{
	for (uint32_t i = 0; i < s->workload_count; i++) {
		if (s->workloads[i].unknown != UNKNOWN_REFUSE &&
			str_eq(s->workloads[i].id, source_id))
			return true;
	}
	return false;
}

static const struct external *outside_external(const struct snapshot *s, struct str name)
{
	for (uint32_t i = 0; i < s->external_count; i++) {
		if (str_eq(s->externals[i].name, name))
			return &s->externals[i];
	}
	return NULL;
}

bool outside_leads(const struct plan *plan, struct str source_id, struct str external,
	const struct address *a, const struct tls_store *tls)
{
	const struct snapshot *s = plan->snapshot;
	if (external.len == 0)
		return snapshot_destination(s, a).kind == DESTINATION_UNKNOWN &&
		       (snapshot_may_pass_through(s, a) ||
			       (outside_may_be_unknown(plan, a) &&
				       outside_is_let_out(s, source_id)));
	const struct external *e = outside_external(s, external);
	return e && external_allows(e, source_id) && outside_knows_any(plan, e, a) &&
	       plan->outside_tls[e->index] == tls;
}

/* --- for the log --- */

bool outside_is_audited(const struct call *c)
{
	return c->unknown == UNKNOWN_AUDIT;
}

struct str outside_word(const struct call *c)
{
	if (c->direction != CALL_OUTBOUND || c->service)
		return STR("");
	if (c->external)
		return STR("external");
	switch (c->unknown) {
	case UNKNOWN_REFUSE:
		return c->way == CALL_WAY_PLAIN && snapshot_may_pass_through(
							   c->hold->plan->snapshot, &c->original)
			       ? STR("passthrough")
			       : STR("");
	case UNKNOWN_AUDIT:
		return STR("audited");
	case UNKNOWN_ALLOW:
		return STR("allowed");
	}
	return STR("");
}

struct str outside_security(const struct call *c)
{
	if (c->external && c->external->tls == EXTERNAL_ORIGINATE)
		return STR("tls");
	if (c->is_named && c->speech == EXTERNAL_TLS)
		return STR("passthrough");
	return c->external || c->protocol == PROTOCOL_HTTP ? STR("plaintext") : STR("none");
}
