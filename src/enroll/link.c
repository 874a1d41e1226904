/* SPDX-License-Identifier: Apache-2.0 */
/* The states; the picture of the machine is in the header. A connection that is given up has to end
 * before the next one is dialled, so FINDING begins by waiting for that. */
#include "link_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LINK_MAGIC 0x11c4e571u
/* What a conn's two directions, TLS and a receive that stands still need. */
#define LINK_BLOCKS	 8
#define LINK_BLOCK_BYTES 24576

#define BIT(state) (1u << LINK_##state)

/* Allowed moves: a bit per target state. */
static const uint8_t link_moves[] = {
	[LINK_IDLE] = BIT(FINDING) | BIT(CLOSING),
	[LINK_FINDING] = BIT(FINDING) | BIT(CONNECTING) | BIT(IDLE) | BIT(CLOSING),
	[LINK_CONNECTING] = BIT(ASKING) | BIT(FINDING) | BIT(IDLE) | BIT(CLOSING),
	[LINK_ASKING] = BIT(OPEN) | BIT(FINDING) | BIT(IDLE) | BIT(CLOSING),
	[LINK_OPEN] = BIT(ASKING) | BIT(FINDING) | BIT(IDLE) | BIT(CLOSING),
	[LINK_CLOSING] = BIT(CLOSED),
	[LINK_CLOSED] = 0,
};

void link_move(struct link *l, enum link_state state)
{
	ASSERT(l->magic == LINK_MAGIC);
	ASSERT(link_moves[l->state] & 1u << state);
	l->state = state;
	loop_ready(l->loop, &l->task);
}

/* --- life --- */

static bool link_copy_settings(struct link *l, const struct link_settings *settings)
{
	size_t bytes = 0;
	uint32_t count = settings->server_count < LINK_SERVERS_MAX ? settings->server_count
								   : LINK_SERVERS_MAX;
	for (uint32_t i = 0; i < count; i++)
		bytes += settings->servers[i].len;
	char *texts = malloc(bytes + 1), *at = texts;
	if (!texts)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		memcpy(at, settings->servers[i].at, settings->servers[i].len);
		l->servers[i] = (struct str){at, settings->servers[i].len};
		at += settings->servers[i].len;
	}
	free(l->texts);
	l->texts = texts;
	l->server_count = count;
	struct tls_store *before = l->tls;
	l->tls = settings->tls ? tls_store_ref(settings->tls) : NULL;
	tls_store_unref(before);
	l->key = settings->key;
	return true;
}

struct link *link_new(
	struct loop *loop, uint16_t kind, struct task *owner, const struct link_settings *settings)
{
	ASSERT(settings->server_count > 0);
	struct link *l = calloc(1, sizeof(*l));
	if (!l || !link_copy_settings(l, settings)) {
		free(l);
		return NULL;
	}
	l->magic = LINK_MAGIC;
	l->loop = loop;
	l->owner = owner;
	task_init(&l->task, kind);
	timer_init(&l->timer, &l->task);
	buf_pool_init(&l->pool, LINK_BLOCK_BYTES, LINK_BLOCKS);
	l->at = (uint32_t)(loop_random(loop) % l->server_count);
	return l;
}

static bool link_same(const struct link *l, const struct link_settings *settings)
{
	if (l->tls != settings->tls || l->server_count != settings->server_count)
		return false;
	for (uint32_t i = 0; i < l->server_count; i++) {
		if (!str_eq(l->servers[i], settings->servers[i]))
			return false;
	}
	return true;
}

bool link_configure(struct link *l, const struct link_settings *settings)
{
	ASSERT(settings->server_count > 0);
	if (link_same(l, settings))
		return true;
	/* What is looked up or dialled has its own copy of what it needs of the name. */
	if (!link_copy_settings(l, settings))
		return false;
	l->at %= l->server_count;
	if (l->state == LINK_OPEN) {
		link_drop(l);
		link_move(l, LINK_IDLE);
	} else if (l->state == LINK_FINDING || l->state == LINK_CONNECTING) {
		link_drop(l);
		l->tried = 0;
		link_move(l, LINK_FINDING);
	}
	return true;
}

static void link_clear_question(struct link *l)
{
	if (l->request)
		explicit_bzero(l->request, l->body.len + l->authorization.len);
	free(l->request);
	l->request = NULL;
	l->body = l->authorization = STR_NONE;
	l->asking = false;
}

void link_free(struct link *l)
{
	if (!l)
		return;
	ASSERT(l->magic == LINK_MAGIC && l->state == LINK_CLOSED);
	link_clear_question(l);
	list_remove(&l->task.node);
	list_remove(&l->task.hungry);
	buf_pool_done(&l->pool);
	tls_store_unref(l->tls);
	free(l->texts);
	free(l->text);
	l->magic = 0;
	free(l);
}

struct task *link_task(struct link *l)
{
	return &l->task;
}

/* --- questions and answers --- */

static bool link_copy_question(struct link *l, const struct link_question *q)
{
	if (!est_path(q->operation, q->label, l->path, sizeof(l->path)))
		return false;
	if (q->etag.len >= sizeof(l->etag) || q->body.len > EST_REQUEST_BYTES_MAX)
		return false;
	snprintf(l->etag, sizeof(l->etag), STR_FMT, STR_ARG(q->etag));
	l->request = malloc(q->body.len + q->authorization.len + 1);
	if (!l->request)
		return false;
	l->body = (struct str){l->request, q->body.len};
	l->authorization = (struct str){l->request + q->body.len, q->authorization.len};
	if (q->body.len > 0)
		memcpy(l->request, q->body.at, q->body.len);
	if (q->authorization.len > 0)
		memcpy(l->request + q->body.len, q->authorization.at, q->authorization.len);
	l->operation = q->operation;
	return true;
}

bool link_ask(struct link *l, const struct link_question *question)
{
	ASSERT(!l->asking);
	if (l->state != LINK_IDLE && l->state != LINK_OPEN)
		return false;
	if (!link_copy_question(l, question)) {
		link_clear_question(l);
		return false;
	}
	l->asking = true;
	l->answered = false;
	l->answer = (struct link_answer){.outcome = LINK_FAILED};
	l->text_len = 0;
	l->tried = 0;
	if (l->state == LINK_IDLE)
		link_move(l, LINK_FINDING);
	else if (link_write(l))
		link_move(l, LINK_ASKING);
	else {
		link_drop(l);
		link_move(l, LINK_FINDING);
	}
	return true;
}

bool link_asking(const struct link *l)
{
	return l->asking;
}

bool link_answer(struct link *l, struct link_answer *ret_answer)
{
	if (!l->answered)
		return false;
	l->answered = false;
	*ret_answer = l->answer;
	return true;
}

void link_answered(struct link *l, bool keep)
{
	link_clear_question(l);
	l->answered = true;
	l->used = true;
	loop_ready(l->loop, l->owner);
	if (keep) {
		l->heard_ns = l->loop->now_ns;
		link_move(l, LINK_OPEN);
	} else {
		link_drop(l);
		link_move(l, LINK_IDLE);
	}
}

void link_forget(struct link *l)
{
	l->answered = false;
	if (!l->asking)
		return;
	link_clear_question(l);
	link_drop(l);
	link_move(l, LINK_IDLE);
}

bool link_skew(const struct link *l, int64_t *ret_skew_s)
{
	if (l->has_skew)
		*ret_skew_s = l->skew_s;
	return l->has_skew;
}

/* --- from one server to the next --- */

void link_drop(struct link *l)
{
	lookup_drop(l->lookup);
	l->lookup = NULL;
	l->found.count = l->found_at = 0;
	http_free(l->http);
	l->http = NULL;
	l->sign_asked = l->sign_news = false;
	if (l->up)
		conn_close(&l->conn, false);
	l->up = l->used = false;
}

static void link_explain(struct link *l, const char *text)
{
	char *why = l->answer.why;
	size_t len = strlen(why);
	snprintf(why + len, LINK_WHY_MAX - len, "%s" STR_FMT ": %s", len > 0 ? "; " : "",
		STR_ARG(l->servers[l->at]), text);
}

/* The server closed a connection that it had kept open: nothing was asked yet. */
static bool link_was_stale(const struct link *l)
{
	return l->state == LINK_ASKING && l->used && !l->heard;
}

void link_fail(struct link *l, const char *format, ...)
{
	char text[400];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	bool stale = link_was_stale(l);
	bool more = l->state == LINK_CONNECTING && l->found_at < l->found.count;
	struct lookup_found found = l->found;
	uint32_t found_at = l->found_at;
	link_drop(l);
	if (!l->asking) {
		link_move(l, LINK_IDLE);
		return;
	}
	if (more) { /* the same server has further addresses */
		l->found = found;
		l->found_at = found_at;
	} else if (!stale) {
		link_explain(l, text);
		l->at = (l->at + 1) % l->server_count;
		l->tried++;
	}
	if (l->tried >= l->server_count) {
		l->answer.outcome = LINK_FAILED;
		link_answered(l, false);
	} else {
		link_move(l, LINK_FINDING);
	}
}

bool link_rid(struct link *l)
{
	return l->conn.state == CONN_NEW || conn_join(&l->conn);
}

/* --- signatures --- */

bool link_sign(struct link *l, struct link_sign *ret_sign)
{
	if (!l->up || !l->sign_news)
		return false;
	l->sign_news = false;
	*ret_sign = (struct link_sign){l->sign_number, tls_sign_request(l->conn.tls)};
	return true;
}

void link_sign_done(struct link *l, uint64_t number, const uint8_t *signature, size_t len)
{
	if (!l->up || !l->sign_asked || number != l->sign_number ||
		l->conn.need != CONN_NEED_SIGNATURE)
		return;
	l->sign_news = false;
	tls_sign_done(l->conn.tls, signature, len);
	conn_resume(&l->conn);
}

/* --- the step --- */

static void link_step_open(struct link *l)
{
	const uint8_t *bytes;
	conn_step(&l->conn);
	if (l->conn.failure == CONN_FAILURE_NONE && !l->conn.eof &&
		conn_input(&l->conn, &bytes) == 0 &&
		l->loop->now_ns < l->heard_ns + LINK_IDLE_MS * CLOCK_MS) {
		conn_flush(&l->conn);
		return;
	}
	link_drop(l);
	link_move(l, LINK_IDLE);
}

static void link_step_asking(struct link *l)
{
	conn_step(&l->conn);
	link_read(l);
	if (l->state != LINK_ASKING)
		return;
	uint64_t now_ns = l->loop->now_ns;
	if (now_ns >= l->heard_ns + LINK_TIMEOUT_MS * CLOCK_MS ||
		now_ns >= l->began_ns + LINK_ANSWER_MS_MAX * CLOCK_MS)
		link_fail(l, "no answer within %u s", LINK_TIMEOUT_MS / 1000);
	else
		conn_flush(&l->conn);
}

static void link_set_timer(struct link *l)
{
	uint64_t at_ns = 0, last_ns = l->began_ns + LINK_ANSWER_MS_MAX * CLOCK_MS;
	if (l->state == LINK_FINDING)
		at_ns = l->loop->now_ns + LOOKUP_LOOK_MS * CLOCK_MS;
	else if (l->state == LINK_CONNECTING)
		at_ns = l->began_ns + LINK_TIMEOUT_MS * CLOCK_MS;
	else if (l->state == LINK_ASKING)
		at_ns = l->heard_ns + LINK_TIMEOUT_MS * CLOCK_MS;
	else if (l->state == LINK_OPEN)
		at_ns = l->heard_ns + LINK_IDLE_MS * CLOCK_MS;
	if (l->state == LINK_ASKING && at_ns > last_ns)
		at_ns = last_ns;
	if (at_ns > 0)
		timer_set(l->loop, &l->timer, at_ns);
	else
		timer_clear(l->loop, &l->timer);
}

void link_step(struct task *t)
{
	struct link *l = CONTAINER_OF(t, struct link, task);
	ASSERT(l->magic == LINK_MAGIC);
	switch (l->state) {
	case LINK_IDLE: /* waits for: a question; the socket's end */
		if (!link_rid(l))
			return;
		break;
	case LINK_FINDING: /* waits for: the socket before, the lookup */
		link_find(l);
		break;
	case LINK_CONNECTING: /* waits for: the connect, the handshake and its signature */
		link_connect(l);
		break;
	case LINK_ASKING: /* waits for: the answer */
		link_step_asking(l);
		break;
	case LINK_OPEN: /* waits for: a question, the end of patience */
		link_step_open(l);
		break;
	case LINK_CLOSING: /* waits for: the socket's end */
		if (link_rid(l)) {
			link_move(l, LINK_CLOSED);
			loop_ready(l->loop, l->owner);
		}
		return;
	case LINK_CLOSED:
	case LINK_STATE_COUNT:
		return;
	}
	link_set_timer(l);
}

void link_close(struct link *l)
{
	if (l->state == LINK_CLOSING || l->state == LINK_CLOSED)
		return;
	link_clear_question(l);
	l->answered = false;
	link_drop(l);
	timer_clear(l->loop, &l->timer);
	link_move(l, LINK_CLOSING);
}

bool link_closed(const struct link *l)
{
	return l->state == LINK_CLOSED;
}
