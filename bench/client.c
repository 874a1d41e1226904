/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges are watched edge-triggered: one epoll_ctl for a connection's whole life. An edge tells
 * of new bytes only once, so a step receives until the socket is empty, which a receive that fills
 * less than its space shows without another call; unless the end is there too, of which an edge
 * tells only once. Streams are watched level-triggered, so that each gets its turn however much
 * there is. */
#include "client.h"

#include "base/assert.h"
#include "tcp.h"
#include <errno.h>
#include <unistd.h>

void client_init(struct client *c, struct errand *errand)
{
	*c = (struct client){.errand = errand, .state = CLIENT_ABSENT, .fd = -1};
	list_init(&c->node);
}

void client_close(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->state = CLIENT_ABSENT;
}

static enum client_news client_lose(struct client *c, const char *trouble)
{
	client_close(c);
	c->trouble = trouble;
	return CLIENT_LOST;
}

static enum client_news client_fail(struct client *c, int number)
{
	return client_lose(c, strerrordesc_np(number));
}

/* After a call that failed: nothing is wrong, an edge will tell when to go on. */
static bool client_must_wait(void)
{
	return errno == EAGAIN || errno == EINTR;
}

static int client_watch(struct client *c, int operation, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = c};
	return epoll_ctl(c->errand->epoll, operation, c->fd, &event);
}

enum client_news client_dial(struct client *c)
{
	ASSERT(c->state == CLIENT_ABSENT);
	int fd = tcp_dial(&c->errand->to);
	if (fd < 0)
		return client_fail(c, -fd);
	c->fd = fd;
	c->state = CLIENT_DIALLING;
	c->ended = false;
	c->exchanges = 0;
	if (client_watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0)
		return client_fail(c, errno);
	return CLIENT_NOTHING;
}

static enum client_news client_start_stream(struct client *c)
{
	uint32_t way = c->errand->protocol == PROTOCOL_SINK ? EPOLLOUT : EPOLLIN;
	if (client_watch(c, EPOLL_CTL_MOD, way | EPOLLRDHUP) < 0)
		return client_fail(c, errno);
	c->state = CLIENT_STREAMING;
	return CLIENT_CONNECTED;
}

static enum client_news client_connected(struct client *c)
{
	int number = 0;
	socklen_t len = sizeof(number);
	(void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &number, &len);
	if (number != 0)
		return client_fail(c, number);
	if (c->ended)
		return client_lose(c, "the far end closed a new connection at once");
	switch (c->errand->protocol) {
	case PROTOCOL_HTTP:
	case PROTOCOL_ECHO:
		c->state = CLIENT_IDLE;
		return CLIENT_CONNECTED;
	case PROTOCOL_SINK:
	case PROTOCOL_SOURCE:
		return client_start_stream(c);
	}
	return CLIENT_NOTHING;
}

/* Nothing should come. */
static enum client_news client_idle(struct client *c)
{
	ssize_t n = recv(c->fd, c->errand->scratch, c->errand->scratch_len, 0);
	if (n < 0)
		return client_must_wait() ? CLIENT_NOTHING : client_fail(c, errno);
	if (n > 0)
		return client_lose(c, "bytes came that nobody had asked for");
	client_close(c);
	c->trouble = "the far end closed an idle connection";
	return CLIENT_LEFT;
}

/* 0, or the errno of a socket that is done for. */
static int client_send(struct client *c)
{
	struct errand *e = c->errand;
	if (c->sent == e->request_len)
		return 0;
	ssize_t n = send(c->fd, e->request + c->sent, e->request_len - c->sent, MSG_NOSIGNAL);
	if (n < 0)
		return client_must_wait() ? 0 : errno;
	c->sent += (size_t)n;
	e->bytes_out += (uint64_t)n;
	return 0;
}

void client_begin(struct client *c)
{
	ASSERT(c->state == CLIENT_IDLE);
	c->state = CLIENT_BUSY;
	c->sent = 0;
	c->received = 0;
	message_init(&c->message, MESSAGE_RESPONSE);
	(void)client_send(c);
}

static enum client_news client_take_http(struct client *c, size_t len)
{
	const struct message *m = &c->message;
	size_t used;
	enum message_outcome outcome = message_feed(&c->message, c->errand->scratch, len, &used);
	if (outcome == MESSAGE_MORE)
		return CLIENT_NOTHING;
	if (outcome == MESSAGE_BAD)
		return client_lose(c, "the answer is no HTTP/1.1 response with a Content-Length");
	if (used < len)
		return client_lose(c, "bytes came after the end of the answer");
	c->ended |= m->closes || c->sent < c->errand->request_len;
	bool wanted = m->status == 200 &&
		      (!c->errand->checks_body || m->body_bytes == c->errand->body_bytes);
	return wanted ? CLIENT_ANSWERED : CLIENT_REJECTED;
}

static enum client_news client_take_echo(struct client *c, size_t len)
{
	if (len > c->sent - c->received)
		return client_lose(c, "more bytes came back than were sent");
	if (memcmp(c->errand->scratch, c->errand->request + c->received, len) != 0)
		return client_lose(c, "other bytes came back than were sent");
	c->received += len;
	return c->received == c->errand->request_len ? CLIENT_ANSWERED : CLIENT_NOTHING;
}

static enum client_news client_take(struct client *c, size_t len)
{
	c->errand->bytes_in += len;
	enum client_news news = c->errand->protocol == PROTOCOL_HTTP ? client_take_http(c, len)
								     : client_take_echo(c, len);
	if (news == CLIENT_ANSWERED || news == CLIENT_REJECTED) {
		c->state = CLIENT_IDLE;
		c->exchanges++;
	}
	return news;
}

static enum client_news client_exchange(struct client *c)
{
	size_t space = c->errand->scratch_len;
	int number = client_send(c);
	if (number != 0)
		return client_fail(c, number);
	for (;;) {
		ssize_t n = recv(c->fd, c->errand->scratch, space, 0);
		if (n < 0)
			return client_must_wait() ? CLIENT_NOTHING : client_fail(c, errno);
		if (n == 0)
			return client_lose(c, "the far end closed in the middle of an exchange");
		enum client_news news = client_take(c, (size_t)n);
		if (news != CLIENT_NOTHING || ((size_t)n < space && !c->ended))
			return news;
	}
}

static enum client_news client_stream_out(struct client *c)
{
	struct errand *e = c->errand;
	if (c->ended)
		return client_lose(c, "the far end closed a stream");
	ssize_t n = send(c->fd, e->request, e->request_len, MSG_NOSIGNAL);
	if (n < 0)
		return client_must_wait() ? CLIENT_NOTHING : client_fail(c, errno);
	e->bytes_out += (uint64_t)n;
	return CLIENT_NOTHING;
}

/* MSG_TRUNC: the kernel drops the bytes without copying them to us. */
static enum client_news client_stream_in(struct client *c)
{
	struct errand *e = c->errand;
	ssize_t n = recv(c->fd, e->scratch, e->scratch_len, MSG_TRUNC);
	if (n < 0)
		return client_must_wait() ? CLIENT_NOTHING : client_fail(c, errno);
	if (n == 0)
		return client_lose(c, "the far end closed a stream");
	e->bytes_in += (uint64_t)n;
	return CLIENT_NOTHING;
}

enum client_news client_step(struct client *c, uint32_t events)
{
	if (events & (EPOLLRDHUP | EPOLLHUP))
		c->ended = true;
	switch (c->state) {
	case CLIENT_ABSENT:
		return CLIENT_NOTHING;
	case CLIENT_DIALLING:
		return client_connected(c);
	case CLIENT_IDLE:
		return client_idle(c);
	case CLIENT_BUSY:
		return client_exchange(c);
	case CLIENT_STREAMING:
		return c->errand->protocol == PROTOCOL_SINK ? client_stream_out(c)
							    : client_stream_in(c);
	}
	return CLIENT_NOTHING;
}
