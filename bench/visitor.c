/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a visitor is owed, answers or a stream without end, is a number of bytes of one text
 * that repeats itself, so nothing is stored for it. Only echo stores what the visitor does not take
 * at once, and receives nothing from it meanwhile.
 *
 * Streams are watched level-triggered and move once per step, so that each gets its turn. The
 * others are watched edge-triggered and go on until the socket is empty, which a receive that fills
 * less than its space shows without another call; unless the end is there too, of which epoll tells
 * only once. */
#include "visitor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void visitor_init(struct visitor *v, struct offer *offer, int fd)
{
	v->offer = offer;
	v->fd = fd;
	list_init(&v->node);
	message_init(&v->message, MESSAGE_REQUEST);
	offer->connections++;
}

uint32_t visitor_events(const struct visitor *v)
{
	switch (v->offer->protocol) {
	case OFFER_SINK:
		return EPOLLIN;
	case OFFER_SOURCE:
		return EPOLLOUT;
	case OFFER_HTTP:
	case OFFER_ECHO:
		return EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
	}
	return 0;
}

void visitor_done(struct visitor *v)
{
	close(v->fd);
	free(v->kept);
}

static bool visitor_must_wait(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* Sends what fits; returns how much, 0 when the socket is full, -1 when it is done for. */
static ssize_t visitor_send(struct visitor *v, const uint8_t *bytes, size_t len)
{
	ssize_t n = send(v->fd, bytes, len, MSG_NOSIGNAL);
	if (n < 0)
		return visitor_must_wait() ? 0 : -1;
	v->offer->bytes_out += (uint64_t)n;
	return n;
}

/* One send of what is owed; as visitor_send(). */
static ssize_t visitor_pay_some(struct visitor *v)
{
	const struct offer *o = v->offer;
	bool echo = o->protocol == OFFER_ECHO;
	size_t len = echo ? v->owed : o->text_len - v->at;
	if (len > v->owed)
		len = v->owed;
	ssize_t n = visitor_send(v, (echo ? v->kept : o->text) + v->at, len);
	if (n <= 0)
		return n;
	v->at += (size_t)n;
	v->owed -= (uint64_t)n;
	if (!echo)
		v->at %= o->answer_len;
	return n;
}

/* False when the socket is done for. Something may still be owed, because the socket is full. */
static bool visitor_pay(struct visitor *v)
{
	ssize_t n = 1;
	while (v->owed > 0 && n > 0)
		n = visitor_pay_some(v);
	return n >= 0;
}

/* Straight back; what does not fit is kept for later. */
static bool visitor_take_echo(struct visitor *v, size_t len)
{
	struct offer *o = v->offer;
	ssize_t n = visitor_send(v, o->scratch, len);
	if (n < 0)
		return false;
	if ((size_t)n == len)
		return true;
	if (!v->kept && !(v->kept = malloc(o->scratch_len)))
		return false;
	v->owed = len - (size_t)n;
	v->at = 0;
	memcpy(v->kept, o->scratch + n, v->owed);
	return true;
}

static void visitor_take_http(struct visitor *v, size_t len)
{
	struct offer *o = v->offer;
	size_t at = 0, used;
	while (at < len && !v->ended) {
		enum message_outcome outcome =
			message_feed(&v->message, o->scratch + at, len - at, &used);
		at += used;
		if (outcome == MESSAGE_MORE)
			continue;
		v->ended = outcome == MESSAGE_BAD || v->message.closes;
		if (outcome == MESSAGE_DONE) {
			v->owed += o->answer_len;
			o->requests++;
		}
		message_init(&v->message, MESSAGE_REQUEST);
	}
}

static bool visitor_take(struct visitor *v, size_t len)
{
	v->offer->bytes_in += len;
	if (v->offer->protocol == OFFER_ECHO)
		return visitor_take_echo(v, len);
	visitor_take_http(v, len);
	return visitor_pay(v);
}

/* Receive and answer until there is nothing to receive, or no room for the answer. */
static bool visitor_answer(struct visitor *v)
{
	size_t space = v->offer->scratch_len, len = space;
	if (!visitor_pay(v))
		return false;
	while (v->owed == 0 && !v->ended && (len == space || v->ending)) {
		ssize_t n = recv(v->fd, v->offer->scratch, space, 0);
		if (n < 0)
			return visitor_must_wait();
		v->ended |= n == 0;
		len = (size_t)n;
		if (n > 0 && !visitor_take(v, len))
			return false;
	}
	return v->owed > 0 || !v->ended;
}

/* MSG_TRUNC: the kernel drops the bytes without copying them to us. */
static bool visitor_drop(struct visitor *v)
{
	ssize_t n = recv(v->fd, v->offer->scratch, v->offer->scratch_len, MSG_TRUNC);
	if (n < 0)
		return visitor_must_wait();
	v->offer->bytes_in += (uint64_t)n;
	return n > 0;
}

static bool visitor_stream(struct visitor *v)
{
	v->owed = v->offer->text_len;
	return visitor_pay_some(v) >= 0;
}

bool visitor_step(struct visitor *v, uint32_t events)
{
	v->ending |= (events & EPOLLRDHUP) != 0;
	switch (v->offer->protocol) {
	case OFFER_HTTP:
	case OFFER_ECHO:
		return visitor_answer(v);
	case OFFER_SINK:
		return visitor_drop(v);
	case OFFER_SOURCE:
		return visitor_stream(v);
	}
	return false;
}
