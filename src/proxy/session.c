/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include "carrier.h"
#include "codec/client_hello.h"
#include "codec/sniff.h"
#include "net/socket.h"
#include "outside.h"
#include "record.h"
#include "trunk.h"
#include "tunnel.h"

static const uint8_t session_moves[] = {
	[SESSION_ACCEPTED] = 1u << SESSION_QUEUED | 1u << SESSION_HANDSHAKE | 1u << SESSION_DETECT |
			     1u << SESSION_HANDED | 1u << SESSION_CLOSING,
	[SESSION_QUEUED] = 1u << SESSION_HANDSHAKE | 1u << SESSION_CLOSING,
	[SESSION_HANDSHAKE] = 1u << SESSION_PREAMBLE | 1u << SESSION_HANDED | 1u << SESSION_CLOSING,
	[SESSION_PREAMBLE] = 1u << SESSION_HANDED | 1u << SESSION_CLOSING,
	[SESSION_DETECT] = 1u << SESSION_HANDED | 1u << SESSION_CLOSING,
	[SESSION_HANDED] = 0,
	[SESSION_CLOSING] = 0,
};

static void session_move(struct session *s, enum session_state state)
{
	ASSERT(session_moves[s->state] & 1u << state);
	s->state = state;
}

static void session_timer(struct session *s, uint32_t timeout_ms)
{
	struct loop *l = &s->being.worker->loop;
	timer_set(l, &s->timer, l->now_ns + timeout_ms * CLOCK_MS);
}

/* Its turn has come: counted from here on, whether it takes it or ends first. */
static void session_handshake_begins(struct session *s)
{
	list_remove(&s->queue);
	s->handshake_counted = true;
	s->being.worker->handshake_count++;
}

static void session_handshake_ended(struct session *s)
{
	struct worker *w = s->being.worker;
	list_remove(&s->queue);
	if (!s->handshake_counted)
		return;
	s->handshake_counted = false;
	w->handshake_count--;
	while (!list_empty(&w->queued) && w->handshake_count < worker_conf(w)->handshakes_max) {
		struct session *next = CONTAINER_OF(w->queued.next, struct session, queue);
		session_handshake_begins(next);
		loop_ready(&w->loop, &next->being.task);
	}
}

static void session_end(struct session *s)
{
	struct worker *w = s->being.worker;
	session_handshake_ended(s);
	timer_clear(&w->loop, &s->timer);
	call_done(&s->call);
	being_end(&s->being);
}

static void session_refuse(struct session *s, enum reason reason, const char *details)
{
	struct worker *w = s->being.worker;
	struct record_tcp r = {
		.start_ns = s->being.born_ns,
		.start_wall_ns = s->born_wall_ns,
		.reason = reason,
		.details = details,
	};
	if (reason == REASON_UNATTRIBUTED)
		metric_add(&w->values->unattributed_total, 1);
	if (reason == REASON_DIRECT_DIAL)
		metric_add(&w->values->direct_refused_total, 1);
	record_refused(w, &s->call, &r);
	session_close(s);
}

void session_close(struct session *s)
{
	if (s->state == SESSION_CLOSING || s->state == SESSION_HANDED)
		return;
	/* A failed handshake leaves an alert to be sent; everything else is refused by a reset. */
	bool alert = s->state == SESSION_HANDSHAKE;
	session_move(s, SESSION_CLOSING);
	line_close(s->line, !alert);
}

/* --- handing over --- */

static void session_hand_over(struct session *s)
{
	struct worker *w = s->being.worker;
	enum reason reason = call_count(w, &s->call);
	if (reason != REASON_NONE) {
		session_refuse(s, reason, NULL);
		return;
	}
	bool taken = s->call.protocol == PROTOCOL_HTTP ? carrier_take_down(w, s->line, &s->call)
						       : tunnel_take(w, s->line, &s->call);
	if (!taken) {
		session_refuse(s, REASON_OVERLOAD, NULL);
		return;
	}
	s->line = NULL;
	session_move(s, SESSION_HANDED);
	session_end(s);
}

/* Each of its channels will be counted and let in as a connection of its own. */
static void session_hand_trunk(struct session *s)
{
	if (!trunk_take(s->being.worker, s->line)) {
		session_refuse(s, REASON_OVERLOAD, NULL);
		return;
	}
	s->line = NULL;
	session_move(s, SESSION_HANDED);
	session_end(s);
}

/* --- detection --- */

static void session_detected(struct session *s, enum protocol protocol)
{
	struct worker *w = s->being.worker;
	metric_add(protocol == PROTOCOL_HTTP ? &w->values->detect_http_total
					     : &w->values->detect_tcp_total,
		1);
	s->call.protocol = protocol;
	session_hand_over(s);
}

/* What was kept before stands before what came now: both together are looked at. `ret_full`: there
 * will never be more to look at. */
static enum sniff session_sniff(struct conn *c, bool *ret_full)
{
	const uint8_t *bytes;
	size_t before, len = conn_input(c, &bytes);
	enum sniff sniff = SNIFF_MORE;
	*ret_full = false;
	do {
		before = len;
		if (len > 0)
			sniff = sniff_bytes(bytes, len);
		if (len > 0 && sniff == SNIFF_MORE)
			*ret_full = !conn_gather(c);
		len = conn_input(c, &bytes);
	} while (sniff == SNIFF_MORE && len > before);
	*ret_full = *ret_full || c->eof;
	return sniff;
}

/* Opaque bytes. Where the name that they are for decides, it is in them or they have none; of
 * requests each has its own. */
static void session_detected_bytes(
	struct session *s, enum external_speech speech, const char *server_name)
{
	enum reason reason = REASON_NONE;
	if (s->call.by_name)
		reason = outside_name(&s->call, speech, str_of(server_name));
	if (reason != REASON_NONE)
		session_refuse(s, reason, NULL);
	else
		session_detected(s, PROTOCOL_TCP);
}

static void session_detect_name(struct session *s)
{
	char name[CLIENT_HELLO_NAME_MAX + 1];
	struct conn *c = &s->line->conn;
	const uint8_t *bytes;
	size_t name_len, before, len = conn_input(c, &bytes);
	enum client_hello hello;
	bool full = c->eof || s->timer.fired;
	do {
		before = len;
		hello = client_hello_read(bytes, len, name, &name_len);
		if (hello == CLIENT_HELLO_MORE && !conn_gather(c))
			full = true;
		len = conn_input(c, &bytes);
	} while (hello == CLIENT_HELLO_MORE && len > before);
	if (hello == CLIENT_HELLO_MORE && !full)
		return; /* waits for: more bytes or the detection timer */
	/* one with a NUL in it is none */
	bool is_name = hello == CLIENT_HELLO_DONE && strlen(name) == name_len;
	session_detected_bytes(s, EXTERNAL_TLS, is_name ? name : "");
}

static void session_detect(struct session *s)
{
	struct worker *w = s->being.worker;
	bool full;
	switch (session_sniff(&s->line->conn, &full)) {
	case SNIFF_HTTP1:
		session_detected(s, PROTOCOL_HTTP);
		return;
	case SNIFF_MORE:
		if (s->timer.fired)
			metric_add(&w->values->detect_timeout_total, 1);
		else if (!full)
			return; /* waits for: more bytes or the detection timer */
		session_detected_bytes(s, EXTERNAL_BYTES, "");
		return;
	case SNIFF_TLS:
		if (s->call.by_name) {
			session_detect_name(s);
			return;
		}
		session_detected(s, PROTOCOL_TCP);
		return;
	case SNIFF_HTTP2: /* carried as opaque bytes: no codec for it yet */
	case SNIFF_OTHER:
		session_detected_bytes(s, EXTERNAL_BYTES, "");
		return;
	}
}

/* --- mutual TLS --- */

/* Let in under a plan that is over: whether it would be now, before its first byte. */
static enum reason session_follow(struct session *s)
{
	struct worker *w = s->being.worker;
	if (s->call.hold == w->current)
		return REASON_NONE;
	call_done(&s->call);
	s->call.number = s->being.number;
	return inbound_admit_mesh(w, s->line, &s->call);
}

static void session_preamble(struct session *s)
{
	struct preamble p;
	const uint8_t *bytes;
	enum reason reason = session_follow(s);
	if (reason != REASON_NONE) {
		session_refuse(s, reason, NULL);
		return;
	}
	size_t used, len = conn_input(&s->line->conn, &bytes);
	switch (len > 0 ? preamble_read(bytes, len, &p, &used) : PREAMBLE_MORE) {
	case PREAMBLE_MORE:
		if (s->line->conn.eof || (len > 0 && !conn_gather(&s->line->conn)))
			session_refuse(s, REASON_BAD_PREAMBLE, NULL);
		else if (s->timer.fired)
			session_refuse(s, REASON_HEADER_TIMEOUT, NULL);
		return; /* waits for: more bytes or the timer */
	case PREAMBLE_BAD:
		session_refuse(s, REASON_BAD_PREAMBLE, NULL);
		return;
	case PREAMBLE_DONE:
		conn_consume(&s->line->conn, used);
		if (p.source.family) {
			s->call.client = p.source;
			s->call.original = p.destination;
		}
		session_hand_over(s);
		return;
	}
}

/* This machine has looked at the certificate that is served, and nothing more comes of it, whoever
 * it was: no call, no failure. A client's end by itself is what such a handshake comes to; any
 * other fault is one. */
static bool session_was_check(const struct session *s)
{
	const struct conn *c = &s->line->conn;
	enum tls_failure failure = tls_failure(c->tls);
	return tls_alpn(c->tls) == TLS_ALPN_CHECK && c->failure != CONN_FAILURE_MEMORY &&
	       (failure == TLS_FAILURE_NONE || failure == TLS_FAILURE_CLOSED ||
		       failure == TLS_FAILURE_NO_CERTIFICATE);
}

static void session_checked(struct session *s)
{
	metric_add(&s->being.worker->values->handshake_checks_total, 1);
	session_close(s);
}

static void session_handshake_done(struct session *s)
{
	struct worker *w = s->being.worker;
	session_handshake_ended(s);
	metric_add(&w->values->handshakes_total, 1);
	if (tls_resumed(s->line->conn.tls))
		metric_add(&w->values->handshakes_resumed_total, 1);
	enum reason reason = inbound_admit_mesh(w, s->line, &s->call);
	if (reason != REASON_NONE) {
		session_refuse(s, reason, NULL);
	} else if (tls_alpn(s->line->conn.tls) == TLS_ALPN_CHANNELS) {
		session_hand_trunk(s);
	} else if (s->call.protocol == PROTOCOL_HTTP) {
		session_hand_over(s);
	} else {
		session_move(s, SESSION_PREAMBLE);
		session_timer(s, worker_conf(w)->header_timeout_ms);
		loop_ready(&w->loop, &s->being.task); /* it may have come with the handshake */
	}
}

static void session_choose(struct session *s)
{
	struct conn *c = &s->line->conn;
	const struct workload *target = inbound_choose(s->being.worker, tls_server_name(c->tls));
	uint32_t http = 1u << TLS_ALPN_HTTP1;
	if (worker_conf(s->being.worker)->channels)
		http |= 1u << TLS_ALPN_CHANNELS;
	uint32_t mask = http | 1u << TLS_ALPN_TCP;
	if (target && target->protocol == PROTOCOL_HTTP)
		mask = http;
	if (target && target->protocol == PROTOCOL_TCP)
		mask = 1u << TLS_ALPN_TCP;
	if (inbound_is_own(s->line))
		mask |= 1u << TLS_ALPN_CHECK;
	tls_server_choose(c->tls, target ? target->identity : STR_NONE, mask);
	conn_resume(c);
}

static void session_handshake_failed(struct session *s)
{
	if (session_was_check(s)) {
		session_checked(s);
		return;
	}
	metric_add(&s->being.worker->values->handshake_failures_total, 1);
	session_refuse(
		s, REASON_HANDSHAKE_FAILED, tls_failure_name(tls_failure(s->line->conn.tls)));
}

static void session_handshake(struct session *s)
{
	struct worker *w = s->being.worker;
	struct conn *c = &s->line->conn;
	if (c->failure != CONN_FAILURE_NONE ||
		(c->transport_eof && c->state == CONN_HANDSHAKE && c->need == CONN_NEED_NOTHING)) {
		session_handshake_failed(s);
	} else if (c->state == CONN_OPEN && session_was_check(s)) {
		session_checked(s);
	} else if (c->state == CONN_OPEN) {
		session_handshake_done(s);
	} else if (s->timer.fired) {
		metric_add(&w->values->handshake_failures_total, 1);
		session_refuse(s, REASON_HANDSHAKE_TIMEOUT, NULL);
	} else if (c->need == CONN_NEED_NAME) {
		session_choose(s);
	}
	/* waits for: bytes, a signature or the handshake timer */
}

/* --- life --- */

static void session_admitted(struct session *s, enum reason reason)
{
	struct worker *w = s->being.worker;
	if (reason != REASON_NONE) {
		session_refuse(s, reason, NULL);
		return;
	}
	if (s->call.server_first)
		s->call.protocol = PROTOCOL_TCP;
	if (s->call.protocol == PROTOCOL_DETECT) {
		session_move(s, SESSION_DETECT);
		session_timer(s, worker_conf(w)->detect_timeout_ms);
		loop_ready(&w->loop, &s->being.task);
	} else {
		session_hand_over(s);
	}
}

static void session_start_handshake(struct session *s)
{
	struct worker *w = s->being.worker;
	struct tls *tls = tls_server_new(w->current->plan->tls, &s->line->conn.wire);
	if (!tls) {
		session_refuse(s, REASON_OVERLOAD, NULL);
		return;
	}
	conn_secure(&s->line->conn, tls);
	session_move(s, SESSION_HANDSHAKE);
	conn_flush(&s->line->conn);
}

/* Handshakes cost much: beyond the limit they wait their turn, unread, on one timer with the rest
 * of the handshake. */
static void session_queue_handshake(struct session *s)
{
	struct worker *w = s->being.worker;
	session_timer(s, worker_conf(w)->handshake_timeout_ms);
	if (w->handshake_count < worker_conf(w)->handshakes_max) {
		session_handshake_begins(s);
		session_start_handshake(s);
		return;
	}
	session_move(s, SESSION_QUEUED);
	list_add_last(&w->queued, &s->queue);
}

static void session_queued(struct session *s)
{
	if (s->timer.fired)
		session_refuse(s, REASON_HANDSHAKE_TIMEOUT, NULL);
	else if (s->handshake_counted)
		session_start_handshake(s);
	/* waits for: its turn or the handshake timer */
}

static void session_begin(struct session *s, const struct listener *listener)
{
	struct worker *w = s->being.worker;
	uint8_t family = listener->as.address.family;
	int fd = s->line->conn.fd;
	switch (listener->as.kind) {
	case WIRE_LISTENER_OUTBOUND:
		session_admitted(s, outbound_admit(w, fd, family, &s->call));
		return;
	case WIRE_LISTENER_INBOUND:
		session_admitted(s, inbound_admit_plain(w, fd, family, &s->call));
		return;
	case WIRE_LISTENER_MESH:
		session_queue_handshake(s);
		return;
	case WIRE_LISTENER_ADMIN:
	case WIRE_LISTENER_ACCESS_LOG:
		break;
	}
	ASSERT(!"not a data-path listener");
}

void session_accept(struct worker *w, const struct listener *listener, int fd)
{
	struct session *s = NULL;
	if (!w->ending && worker_has_room(w) && fd <= w->accepted_fd_max)
		s = pool_take(&w->sessions);
	if (!s) {
		metric_add(&w->values->limit_refused_total, 1);
		socket_linger_reset(fd);
		socket_close(fd);
		return;
	}
	being_init(&s->being, w, TASK_SESSION);
	metric_add(&w->values->connections_total, 1);
	s->born_wall_ns = w->loop.wall_ns;
	timer_init(&s->timer, &s->being.task);
	list_init(&s->queue);
	call_init(&s->call);
	s->call.number = s->being.number;
	s->line = line_new(w, &s->being.task);
	if (!s->line) {
		socket_close(fd);
		session_end(s);
		return;
	}
	conn_adopt(&s->line->conn, fd);
	session_begin(s, listener);
}

void session_step(struct session *s)
{
	struct worker *w = s->being.worker;
	if (s->state == SESSION_CLOSING) {
		if (line_join(&s->line, w))
			session_end(s);
		return; /* waits for: armed operations */
	}
	if (s->state == SESSION_HANDED)
		return;
	if (s->state == SESSION_QUEUED) {
		session_queued(s);
		return;
	}
	line_step(s->line, w);
	if (s->state != SESSION_HANDSHAKE && s->line->conn.failure != CONN_FAILURE_NONE) {
		session_refuse(s, REASON_DOWNSTREAM_CLOSED, NULL);
		return;
	}
	switch (s->state) {
	case SESSION_HANDSHAKE:
		session_handshake(s);
		break;
	case SESSION_PREAMBLE:
		session_preamble(s);
		break;
	case SESSION_DETECT:
		session_detect(s);
		break;
	case SESSION_ACCEPTED:
	case SESSION_QUEUED:
	case SESSION_HANDED:
	case SESSION_CLOSING:
		break;
	}
	if (s->line && s->state != SESSION_CLOSING)
		conn_flush(&s->line->conn);
}

void session_free(struct session *s)
{
	pool_put(&s->being.worker->sessions, s);
}
