/* SPDX-License-Identifier: Apache-2.0 */
/* The connection under a store: bytes in, bytes out, and how long is too long. */
#include "store_private.h"

#include <string.h>

#define STORE_PING "*1\r\n$4\r\nPING\r\n"

/* --- beginning --- */

void store_dial(struct store *s)
{
	s->up = true;
	s->greeted = s->pinged = s->sign_asked = s->sign_news = false;
	s->dialled_ns = s->heard_ns = s->loop->now_ns;
	s->replication_id[0] = '\0';
	conn_init(&s->conn, s->loop, &s->pool, &s->task);
	store_reader_done(&s->reader);
	if (!store_reader_init(&s->reader, s->settings.reply_bytes_max)) {
		store_fail(s, "out of memory");
		return;
	}
	int r = conn_dial(&s->conn, &s->address);
	if (r < 0)
		store_fail(s, "no socket: %s", strerror(-r));
	else if (s->settings.tls && !store_secure(s))
		store_fail(s, "out of memory");
	else
		conn_flush(&s->conn);
}

/* --- in --- */

static void store_fail_as_conn(struct store *s)
{
	const struct conn *c = &s->conn;
	switch (c->failure) {
	case CONN_FAILURE_NONE:
		store_fail(s, "the server closed the connection");
		return;
	case CONN_FAILURE_CONNECT:
		store_fail(s, "%s", strerror(c->error));
		return;
	case CONN_FAILURE_HANDSHAKE:
		store_fail_as_tls(s);
		return;
	case CONN_FAILURE_RESET:
		store_fail(s, "the connection broke: %s", strerror(c->error));
		return;
	case CONN_FAILURE_TRUNCATED:
		store_fail(s, "TLS: the connection was cut, or damaged on the way");
		return;
	case CONN_FAILURE_MEMORY:
		store_fail(s, "out of memory");
		return;
	}
}

bool store_withheld(const struct store *s)
{
	return s->untaken_bytes >= s->settings.reply_bytes_max;
}

static void store_read(struct store *s, const uint8_t *bytes, size_t len)
{
	size_t used;
	redisReply *reply;
	size_t before = s->reader.bytes;
	switch (store_reader_take(&s->reader, bytes, len, &used, &reply)) {
	case STORE_READ_MORE:
		conn_consume(&s->conn, used);
		return;
	case STORE_READ_REPLY:
		conn_consume(&s->conn, used);
		store_take_reply(s, reply, before + used);
		return;
	case STORE_READ_BAD:
		store_blame(s);
		store_fail(s, "%s", store_reader_fault(&s->reader));
		return;
	}
}

void store_receive(struct store *s)
{
	struct conn *c = &s->conn;
	const uint8_t *bytes;
	size_t len;
	conn_step(c);
	if (c->need == CONN_NEED_SIGNATURE)
		store_need_signature(s);
	if (c->state == CONN_OPEN && !s->greeted) {
		s->greeted = true;
		s->heard_ns = s->loop->now_ns;
		store_greet(s);
	}
	while (s->up && s->greeted && !store_withheld(s) && (len = conn_input(c, &bytes)) > 0) {
		s->heard_ns = s->loop->now_ns;
		s->pinged = false;
		store_read(s, bytes, len);
	}
	if (s->up && !store_withheld(s) && (c->failure != CONN_FAILURE_NONE || c->eof))
		store_fail_as_conn(s);
}

/* --- out --- */

static void store_fill(struct store *s)
{
	struct store_command *c;
	while ((c = s->filling)) {
		size_t n = buf_fill(&s->conn.out, c->bytes + c->sent, c->len - c->sent);
		c->sent += n;
		s->queued_bytes -= n;
		if (c->sent < c->len)
			return;
		store_command_sent(c);
		s->filling = c->node.next == &s->pending
				     ? NULL
				     : CONTAINER_OF(c->node.next, struct store_command, node);
	}
}

void store_transmit(struct store *s)
{
	if (s->greeted)
		store_fill(s);
	conn_flush(&s->conn);
	if (s->conn.failure != CONN_FAILURE_NONE)
		loop_ready(s->loop, &s->task);
}

/* --- too late --- */

static bool store_listens(const struct store *s)
{
	return s->state == STORE_READY && s->settings.channel.len > 0;
}

uint64_t store_deadline(const struct store *s)
{
	uint64_t timeout_ns = s->settings.timeout_ms * CLOCK_MS;
	if (!s->greeted)
		return s->dialled_ns + timeout_ns;
	if (store_withheld(s))
		return 0;
	if (!list_empty(&s->pending)) {
		uint64_t since_ns = s->heard_ns > s->asked_ns ? s->heard_ns : s->asked_ns;
		uint64_t last_ns = s->asked_ns + STORE_PATIENCE * timeout_ns;
		return since_ns + timeout_ns < last_ns ? since_ns + timeout_ns : last_ns;
	}
	return store_listens(s) ? (s->pinged ? s->pinged_ns : s->heard_ns) + timeout_ns : 0;
}

void store_overdue(struct store *s)
{
	unsigned timeout_ms = s->settings.timeout_ms;
	if (!s->greeted && s->conn.state == CONN_CONNECTING)
		store_fail(s, "no connection within %u ms", timeout_ms);
	else if (!s->greeted && s->conn.need == CONN_NEED_SIGNATURE)
		store_fail(s, "TLS: no signature of our own key within %u ms", timeout_ms);
	else if (!s->greeted)
		store_fail(s, "TLS: no end of the handshake within %u ms", timeout_ms);
	else if (!store_listens(s) || s->pinged)
		store_fail(s, "no answer within %u ms", timeout_ms);
	else if (!buf_put(&s->conn.out, STORE_PING, strlen(STORE_PING)))
		store_fail(s, "out of memory");
	else {
		s->pinged = true;
		s->pinged_ns = s->loop->now_ns;
	}
}
