/* SPDX-License-Identifier: Apache-2.0 */
#include "line.h"

#include "trunk.h"
#include <stdlib.h>

/* Nothing that far away needs a timer; and nanoseconds of it fit into 64 bits. */
#define LINE_YEARS_S INT64_C(1000000000)

struct line *line_new(struct worker *w, struct task *owner)
{
	struct line *l = malloc(sizeof(*l));
	if (!l)
		return NULL;
	conn_init(&l->conn, &w->loop, &w->buffers, owner);
	signature_init(&l->signature, owner);
	l->trunk = NULL;
	l->connection = (struct service_hold){0};
	list_init(&l->waiting);
	metric_add(&w->values->connections_active, 1);
	return l;
}

void line_own(struct line *l, struct task *owner)
{
	conn_own(&l->conn, owner);
	l->signature.owner = owner;
}

static void line_sign(struct line *l, struct worker *w)
{
	struct conn *c = &l->conn;
	struct signature *s = &l->signature;
	if (s->answered) {
		s->answered = false;
		tls_sign_done(c->tls, s->bytes, s->len);
		metric_add(&w->values->signatures_total, 1);
		c->need = CONN_NEED_NOTHING;
		conn_step(c);
	} else if (list_empty(&s->node)) {
		signer_ask(&w->signer, s, tls_sign_request(c->tls));
	}
}

void line_step(struct line *l, struct worker *w)
{
	conn_step(&l->conn);
	if (l->conn.state == CONN_HANDSHAKE && l->conn.need == CONN_NEED_SIGNATURE)
		line_sign(l, w);
}

void line_close(struct line *l, bool reset)
{
	if (!l)
		return;
	signer_forget(&l->signature);
	conn_close(&l->conn, reset);
	service_hold_give(&l->connection, BREAKER_CONNECTIONS);
}

bool line_is_lacked(const struct line *l)
{
	return l->connection.use && breaker_is_short(&l->connection.use->breaker);
}

bool line_take_lack(const struct line *l)
{
	return l->connection.use && breaker_take_lack(&l->connection.use->breaker);
}

const struct tls *line_tls(const struct line *l)
{
	const struct line *line = l->trunk ? l->trunk->line : l;
	return line ? line->conn.tls : NULL;
}

int line_fd(const struct line *l)
{
	const struct line *line = l->trunk ? l->trunk->line : l;
	return line ? line->conn.fd : -1;
}

uint64_t line_expiry_ns(const struct line *l, const struct worker *w)
{
	const struct tls *tls = line_tls(l);
	if (!tls)
		return UINT64_MAX;
	int64_t left_s = tls_peer_not_after_s(tls) - worker_wall_s(w);
	if (left_s > LINE_YEARS_S)
		return UINT64_MAX;
	if (left_s < -LINE_YEARS_S)
		return 0;
	/* to the second: the wall clock's fraction has no meaning for a certificate */
	int64_t at_ns = (int64_t)w->loop.now_ns + left_s * (int64_t)CLOCK_S;
	return at_ns > 0 ? (uint64_t)at_ns : 0;
}

bool line_expired(const struct line *l, const struct worker *w)
{
	return line_expiry_ns(l, w) <= w->loop.now_ns;
}

uint64_t line_pair_expiry_ns(const struct line *a, const struct line *b, const struct worker *w)
{
	uint64_t a_ns = line_expiry_ns(a, w), b_ns = line_expiry_ns(b, w);
	uint64_t first_ns = a_ns < b_ns ? a_ns : b_ns;
	if (first_ns == UINT64_MAX)
		return first_ns;
	return first_ns + worker_conf(w)->expired_timeout_ms * CLOCK_MS;
}

bool line_join(struct line **line, struct worker *w)
{
	if (!*line)
		return true;
	if (!conn_join(&(*line)->conn))
		return false;
	trunk_leave(*line);
	free(*line);
	*line = NULL;
	metric_add(&w->values->connections_active, -1);
	return true;
}

void line_drop(struct line *line, struct worker *w)
{
	line_close(line, true);
	bool joined = line_join(&line, w);
	ASSERT(joined);
}

/* Much at once goes in large pieces, one after the other: the sockets' own buffers keep both ends
 * busy meanwhile. A deaf one takes everything, and no send of its own will wake us. */
static void line_pace(struct conn *from, const struct conn *to)
{
	if (from->channel || to->channel)
		return;
	from->bulk = conn_drained(to) || to->deaf ? CONN_BULK_GO : CONN_BULK_WAIT;
}

bool line_relay(struct line *from, struct line *to, uint64_t *byte_count)
{
	bool moved = false;
	const uint8_t *bytes;
	size_t len;
	if (to->conn.state != CONN_OPEN || to->conn.failure != CONN_FAILURE_NONE)
		return false;
	while ((len = conn_input(&from->conn, &bytes)) > 0) {
		size_t used = conn_hand_over(&from->conn, &to->conn);
		if (used == 0) {
			used = buf_fill(&to->conn.out, bytes, len);
			if (used == 0) {
				conn_no_room(&to->conn);
				break;
			}
			conn_consume(&from->conn, used);
		}
		*byte_count += used;
		moved = true;
	}
	buf_release_if_empty(&to->conn.out);
	line_pace(&from->conn, &to->conn);
	if (from->conn.eof && conn_input(&from->conn, &bytes) == 0 && !to->conn.finish) {
		to->conn.finish = true;
		moved = true;
	}
	return moved;
}

bool line_pair_done(const struct line *a, const struct line *b)
{
	return a->conn.finished && b->conn.finished && a->conn.eof && b->conn.eof;
}
