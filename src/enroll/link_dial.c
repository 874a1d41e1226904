/* SPDX-License-Identifier: Apache-2.0 */
/* To an open connection: the name, the socket, the handshake, and what to tell an operator when it
 * comes to nothing. */
#include "link_private.h"

#define LINK_ALERT_CERTIFICATE_UNKNOWN	46
#define LINK_ALERT_CERTIFICATE_REQUIRED 116

struct str link_host(const struct link *l)
{
	struct str host;
	uint16_t port;
	return lookup_split(l->servers[l->at], &host, &port) ? host : STR_NONE;
}

/* --- finding --- */

static bool link_look_up(struct link *l)
{
	struct str host;
	uint16_t port;
	l->began_ns = l->loop->now_ns;
	if (!lookup_split(l->servers[l->at], &host, &port)) {
		link_fail(l, "not of the form \"host:port\": see identity.ca");
		return false;
	}
	l->lookup = lookup_start(host, port);
	if (!l->lookup)
		link_fail(l, "out of memory for the name");
	return l->lookup;
}

static bool link_secure(struct link *l)
{
	struct str host = link_host(l);
	struct tls *tls = l->tls ? tls_client_new_pki(l->tls, host, &l->conn.wire)
				 : tls_client_new_provisional(host, &l->conn.wire);
	if (tls)
		conn_secure(&l->conn, tls);
	return tls;
}

static void link_dial(struct link *l)
{
	l->up = true;
	l->used = l->heard = false;
	l->began_ns = l->loop->now_ns;
	conn_init(&l->conn, l->loop, &l->pool, &l->task);
	link_move(l, LINK_CONNECTING);
	int r = conn_dial(&l->conn, &l->found.at[l->found_at++]);
	if (r < 0)
		link_fail(l, "no socket: %s", strerror(-r));
	else if (!link_secure(l))
		link_fail(l, "out of memory");
	else
		conn_flush(&l->conn);
}

/* True: there is an address to be dialled. */
static bool link_found(struct link *l)
{
	if (l->found_at < l->found.count)
		return true;
	if (!l->lookup && !link_look_up(l))
		return false;
	if (!lookup_look(l->lookup, &l->found)) {
		if (l->loop->now_ns >= l->began_ns + LINK_TIMEOUT_MS * CLOCK_MS)
			link_fail(l, "no address of that name within %u s", LINK_TIMEOUT_MS / 1000);
		return false;
	}
	lookup_drop(l->lookup);
	l->lookup = NULL;
	l->found_at = 0;
	if (l->found.count == 0)
		link_fail(l, "%s", l->found.why);
	return l->found.count > 0;
}

void link_find(struct link *l)
{
	if (link_rid(l) && link_found(l))
		link_dial(l);
}

/* --- connecting --- */

static void link_fail_as_tls(struct link *l)
{
	const struct tls *tls = l->conn.tls;
	struct str names = tls_refused_names(tls);
	enum tls_failure failure = tls_failure(tls);
	uint8_t alert = tls_peer_alert(tls);
	if (failure == TLS_FAILURE_ALERT && alert == LINK_ALERT_CERTIFICATE_REQUIRED)
		link_fail(l, "TLS: the authority wants a certificate of ours, and there is none: "
			     "see \"ringmain join\"");
	else if (failure == TLS_FAILURE_ALERT)
		link_fail(l, "TLS: the authority refuses our certificate (alert %u)", alert);
	else if (failure == TLS_FAILURE_NAME)
		link_fail(l,
			"TLS: the authority's certificate is for another name (" STR_FMT
			"): see identity.ca",
			STR_ARG(names));
	else if (failure == TLS_FAILURE_CHAIN)
		link_fail(l, "TLS: the authority's certificate is not of an anchor that we know: "
			     "see identity.ca_roots");
	else if (failure == TLS_FAILURE_NOT_YET_VALID)
		link_fail(
			l, "TLS: the authority's certificate is not valid yet: is our clock slow?");
	else if (failure == TLS_FAILURE_EXPIRED)
		link_fail(l, "TLS: the authority's certificate has expired: is our clock fast?");
	else if (failure == TLS_FAILURE_PROTOCOL)
		link_fail(l, "TLS: the server does not speak TLS 1.3 on this port");
	else
		link_fail(l, "TLS: %s", tls_failure_text(failure));
}

void link_fail_as_conn(struct link *l)
{
	const struct conn *c = &l->conn;
	switch (c->failure) {
	case CONN_FAILURE_NONE:
		link_fail(l, "the server closed the connection");
		return;
	case CONN_FAILURE_CONNECT:
		link_fail(l, "%s", strerror(c->error));
		return;
	case CONN_FAILURE_HANDSHAKE:
		link_fail_as_tls(l);
		return;
	case CONN_FAILURE_RESET:
		link_fail(l, "the connection broke: %s", strerror(c->error));
		return;
	case CONN_FAILURE_TRUNCATED: /* TLS 1.3: our certificate is judged after the handshake */
		if (tls_failure(c->tls) == TLS_FAILURE_ALERT)
			link_fail_as_tls(l);
		else
			link_fail(l, "TLS: the connection was cut, or damaged on the way");
		return;
	case CONN_FAILURE_MEMORY:
		link_fail(l, "out of memory");
		return;
	}
}

static void link_need_signature(struct link *l)
{
	if (l->sign_asked)
		return;
	l->sign_asked = true;
	l->sign_number++;
	if (l->key) {
		uint8_t signature[TLS_SIGNATURE_MAX];
		size_t len = tls_key_sign(l->key, tls_sign_request(l->conn.tls), signature);
		link_sign_done(l, l->sign_number, signature, len);
		loop_ready(l->loop, &l->task);
	} else {
		l->sign_news = true;
		loop_ready(l->loop, l->owner);
	}
}

static void link_opened(struct link *l)
{
	l->http = http_new(HTTP_1_1, HTTP_CLIENT, &http_limits_default);
	if (!l->http || !link_write(l)) {
		link_fail(l, "out of memory");
		return;
	}
	link_move(l, LINK_ASKING);
	conn_flush(&l->conn);
}

void link_connect(struct link *l)
{
	conn_step(&l->conn);
	if (l->conn.need == CONN_NEED_SIGNATURE)
		link_need_signature(l);
	if (l->conn.failure != CONN_FAILURE_NONE || l->conn.eof)
		link_fail_as_conn(l);
	else if (l->conn.state == CONN_OPEN)
		link_opened(l);
	else if (l->loop->now_ns < l->began_ns + LINK_TIMEOUT_MS * CLOCK_MS)
		conn_flush(&l->conn);
	else if (l->conn.need == CONN_NEED_SIGNATURE)
		link_fail(
			l, "TLS: no signature of our own key within %u s", LINK_TIMEOUT_MS / 1000);
	else
		link_fail(l, "no connection within %u s", LINK_TIMEOUT_MS / 1000);
}
