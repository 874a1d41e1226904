/* SPDX-License-Identifier: Apache-2.0 */
/* The states; the picture of the machine is in the header. Two things to know: a connection that
 * has failed is given up at once, but its socket has to end before the next one is dialled, so
 * LOOKING and CONNECTING begin by waiting for that. And `why` collects the failures of one round,
 * for that is what an operator has to read. */
#include "store_private.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define STORE_MAGIC 0x5703e5a1u
/* All that a conn can hold: what its two directions, TLS and a receive that stands still need. */
#define STORE_BLOCKS	  8
#define STORE_BLOCK_BYTES 20480

static const char *const store_state_names[] = {
	[STORE_DOWN] = "down",
	[STORE_LOOKING] = "looking",
	[STORE_CONNECTING] = "connecting",
	[STORE_GREETING] = "greeting",
	[STORE_READY] = "ready",
	[STORE_CLOSING] = "closing",
	[STORE_CLOSED] = "closed",
};

#define BIT(state) (1u << STORE_##state)
#define STORE_NEXT (BIT(LOOKING) | BIT(CONNECTING) | BIT(DOWN) | BIT(CLOSING))

/* Allowed moves: a bit per target state. */
static const uint8_t store_moves[] = {
	[STORE_DOWN] = BIT(LOOKING) | BIT(CONNECTING) | BIT(CLOSING),
	[STORE_LOOKING] = STORE_NEXT,
	[STORE_CONNECTING] = STORE_NEXT | BIT(GREETING),
	[STORE_GREETING] = STORE_NEXT | BIT(READY),
	[STORE_READY] = BIT(DOWN) | BIT(CLOSING),
	[STORE_CLOSING] = BIT(CLOSED),
	[STORE_CLOSED] = 0,
};

const char *store_state_name(enum store_state s)
{
	return store_state_names[s];
}

void store_news(struct store *s)
{
	loop_ready(s->loop, s->owner);
}

void store_move(struct store *s, enum store_state state)
{
	ASSERT(s->magic == STORE_MAGIC);
	ASSERT(store_moves[s->state] & 1u << state);
	s->state = state;
	store_news(s);
}

/* --- life --- */

static const size_t store_texts[] = {
	offsetof(struct store_settings, sentinel),
	offsetof(struct store_settings, username),
	offsetof(struct store_settings, password),
	offsetof(struct store_settings, sentinel_username),
	offsetof(struct store_settings, sentinel_password),
	offsetof(struct store_settings, tls_name),
	offsetof(struct store_settings, channel),
	offsetof(struct store_settings, client_name),
};

static struct str *store_text_at(struct store_settings *settings, size_t i)
{
	return (struct str *)((char *)settings + store_texts[i]);
}

/* Addresses and texts into one block of ours. */
static bool store_copy_settings(struct store *s, const struct store_settings *settings)
{
	size_t addresses = settings->address_count * sizeof(*settings->addresses);
	s->settings = *settings;
	s->texts_bytes = addresses;
	for (size_t i = 0; i < ARRAY_LEN(store_texts); i++)
		s->texts_bytes += store_text_at(&s->settings, i)->len;
	s->texts = malloc(s->texts_bytes + 1);
	if (!s->texts)
		return false;
	memcpy(s->texts, settings->addresses, addresses);
	s->settings.addresses = (const struct address *)s->texts;
	char *at = s->texts + addresses;
	for (size_t i = 0; i < ARRAY_LEN(store_texts); i++) {
		struct str *text = store_text_at(&s->settings, i);
		if (text->len > 0)
			memcpy(at, text->at, text->len);
		text->at = at;
		at += text->len;
	}
	return true;
}

struct store *store_new(
	struct loop *loop, uint16_t kind, struct task *owner, const struct store_settings *settings)
{
	ASSERT(settings->address_count > 0 && settings->timeout_ms > 0);
	struct store *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	if (!store_copy_settings(s, settings)) {
		free(s);
		return NULL;
	}
	s->magic = STORE_MAGIC;
	s->loop = loop;
	s->owner = owner;
	if (s->settings.tls)
		tls_store_ref(s->settings.tls);
	task_init(&s->task, kind);
	timer_init(&s->timer, &s->task);
	list_init(&s->pending);
	list_init(&s->answered);
	list_init(&s->messages);
	buf_pool_init(&s->pool, STORE_BLOCK_BYTES, STORE_BLOCKS);
	s->address = s->settings.addresses[0];
	s->retry_ns = loop->now_ns;
	loop_ready(loop, &s->task);
	return s;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	ASSERT(s->magic == STORE_MAGIC && s->state == STORE_CLOSED);
	store_queue_free(s);
	list_remove(&s->task.node);
	list_remove(&s->task.hungry);
	store_reader_done(&s->reader);
	buf_pool_done(&s->pool);
	tls_store_unref(s->settings.tls);
	explicit_bzero(s->texts, s->texts_bytes); /* passwords */
	free(s->texts);
	s->magic = 0;
	free(s);
}

struct task *store_task(struct store *s)
{
	return &s->task;
}

struct store *store_of(struct task *t)
{
	struct store *s = CONTAINER_OF(t, struct store, task);
	ASSERT(s->magic == STORE_MAGIC);
	return s;
}

/* --- what others see --- */

enum store_state store_state(const struct store *s)
{
	return s->state;
}

const char *store_why(const struct store *s)
{
	return s->state == STORE_READY ? "" : s->why;
}

uint64_t store_rounds_in_vain(const struct store *s)
{
	return s->rounds_in_vain;
}

const struct address *store_address(const struct store *s)
{
	return &s->address;
}

uint64_t store_life(const struct store *s)
{
	return s->life;
}

struct str store_replication_id(const struct store *s)
{
	return str_of(s->replication_id);
}

uint64_t store_bytes_in(const struct store *s)
{
	return s->bytes_in + (s->up ? s->conn.bytes_in : 0);
}

uint64_t store_bytes_out(const struct store *s)
{
	return s->bytes_out + (s->up ? s->conn.bytes_out : 0);
}

/* --- from one address to the next --- */

/* The next address of the round, or of the next round. */
static void store_try(struct store *s)
{
	s->found = false;
	s->address = s->settings.addresses[s->at];
	store_move(s, s->settings.sentinel.len > 0 ? STORE_LOOKING : STORE_CONNECTING);
	loop_ready(s->loop, &s->task);
}

static void store_wait(struct store *s)
{
	uint64_t window = STORE_BACKOFF_MAX_NS;
	if (s->waits < 8 && STORE_BACKOFF_MIN_NS << s->waits < window)
		window = STORE_BACKOFF_MIN_NS << s->waits;
	s->waits++;
	s->tried = 0;
	s->why_old = true;
	s->retry_ns = s->loop->now_ns + loop_random(s->loop) % (window + 1);
	store_move(s, STORE_DOWN);
}

static void store_explain(struct store *s, const char *text)
{
	char address[ADDRESS_TEXT_MAX];
	if (s->why_old)
		s->why[0] = '\0';
	s->why_old = false;
	size_t len = strlen(s->why);
	snprintf(s->why + len, sizeof(s->why) - len, "%s%s: %s", len > 0 ? "; " : "",
		address_text(&s->address, address), text);
}

/* The connection is of no more use. Its socket ends in its own time. */
static void store_drop(struct store *s)
{
	store_lose(s);
	if (!s->up)
		return;
	s->up = false;
	s->bytes_in += s->conn.bytes_in;
	s->bytes_out += s->conn.bytes_out;
	conn_close(&s->conn, false);
}

void store_fail(struct store *s, const char *format, ...)
{
	char text[400];
	va_list args;
	if (!s->up)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	bool was_ready = s->state == STORE_READY;
	if (was_ready)
		s->why_old = true;
	store_explain(s, text);
	store_drop(s);
	s->at = (s->at + 1) % s->settings.address_count;
	if (was_ready && s->loop->now_ns - s->ready_ns >= STORE_SETTLED_NS)
		s->waits = 0;
	if (!was_ready && ++s->tried < s->settings.address_count) {
		store_try(s);
		return;
	}
	s->rounds_in_vain += !was_ready;
	store_wait(s);
}

void store_found(struct store *s, const struct address *primary)
{
	store_drop(s);
	s->address = *primary;
	s->found = true;
	store_move(s, STORE_CONNECTING);
	loop_ready(s->loop, &s->task);
}

void store_ready(struct store *s)
{
	s->life++;
	s->tried = 0;
	s->why[0] = '\0';
	s->ready_ns = s->loop->now_ns;
	store_move(s, STORE_READY);
}

void store_reconnect(struct store *s, const char *why)
{
	store_fail(s, "%s", why);
}

void store_close(struct store *s)
{
	if (s->state == STORE_CLOSING || s->state == STORE_CLOSED)
		return;
	store_drop(s);
	timer_clear(s->loop, &s->timer);
	store_move(s, STORE_CLOSING);
	loop_ready(s->loop, &s->task);
}

/* --- the step --- */

/* The socket of the connection before has ended. */
static bool store_rid(struct store *s)
{
	return s->conn.state == CONN_NEW || conn_join(&s->conn);
}

static void store_step_up(struct store *s)
{
	if (!s->up) {
		if (store_rid(s))
			store_dial(s);
		return;
	}
	store_receive(s);
	uint64_t deadline_ns = s->up ? store_deadline(s) : 0;
	if (deadline_ns > 0 && s->loop->now_ns >= deadline_ns)
		store_overdue(s);
	if (s->up)
		store_transmit(s);
}

static void store_set_timer(struct store *s)
{
	uint64_t deadline_ns = 0;
	if (s->state == STORE_DOWN)
		deadline_ns = s->retry_ns;
	else if (s->up)
		deadline_ns = store_deadline(s);
	if (deadline_ns > 0)
		timer_set(s->loop, &s->timer, deadline_ns);
	else
		timer_clear(s->loop, &s->timer);
}

void store_step(struct store *s)
{
	ASSERT(s->magic == STORE_MAGIC);
	switch (s->state) {
	case STORE_DOWN: /* waits for: the socket's end, then the time */
		if (store_rid(s) && s->loop->now_ns >= s->retry_ns)
			store_try(s);
		break;
	case STORE_LOOKING:    /* waits for: the socket before, the Sentinel's answer */
	case STORE_CONNECTING: /* waits for: the socket before, the connect and the handshake */
	case STORE_GREETING:   /* waits for: answers to what is said first */
	case STORE_READY:      /* waits for: commands and answers */
		store_step_up(s);
		break;
	case STORE_CLOSING: /* waits for: the socket's end */
		if (store_rid(s))
			store_move(s, STORE_CLOSED);
		return;
	case STORE_CLOSED:
		return;
	}
	store_set_timer(s);
}
