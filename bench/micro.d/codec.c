/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "codec/http.h"
#include "mesh/policy.h"
#include "micro.h"
#include "texts.h"

#include <stdlib.h>

/* One request and its response on their way through a pair of codecs, in four halves. */
struct codec {
	struct http *server, *client;
	struct buf_pool pool;
	struct buf up, down;
	const struct http_head *request, *response; /* as read */
	size_t read_bytes;			    /* of the response */
	uint32_t stream[2];			    /* the server's, the client's */
	struct text_response text;
};

struct text_response text_response(void)
{
	struct text_response r;
	memcpy(r.bytes, TEXT_RESPONSE_HEAD, sizeof(TEXT_RESPONSE_HEAD) - 1);
	memset(r.bytes + sizeof(TEXT_RESPONSE_HEAD) - 1, 'x', TEXT_BODY_BYTES);
	return r;
}

static void *codec_start(void)
{
	struct codec *c = calloc(1, sizeof(*c));
	ASSERT(c);
	c->server = http_new(HTTP_1_1, HTTP_SERVER, &http_limits_default);
	c->client = http_new(HTTP_1_1, HTTP_CLIENT, &http_limits_default);
	ASSERT(c->server && c->client);
	buf_pool_init(&c->pool, 32768, 2);
	buf_init(&c->up, &c->pool);
	buf_init(&c->down, &c->pool);
	c->text = text_response();
	return c;
}

static void codec_stop(void *state)
{
	struct codec *c = state;
	http_free(c->server);
	http_free(c->client);
	buf_clear(&c->up);
	buf_clear(&c->down);
	buf_pool_done(&c->pool);
	free(c);
}

/* Reads up to an event of this kind; returns how far that was. */
static size_t codec_feed(struct http *h, const char *text, size_t len, enum http_event_kind kind,
	struct http_event *ret_event)
{
	size_t at = 0;
	do {
		at += http_feed(h, (const uint8_t *)text + at, len - at, ret_event);
		ASSERT(ret_event->kind != HTTP_EVENT_BAD);
	} while (ret_event->kind != kind && ret_event->kind != HTTP_EVENT_MORE);
	ASSERT(ret_event->kind == kind);
	return at;
}

static void codec_read_request(void *state)
{
	struct codec *c = state;
	struct http_event event;
	size_t len = sizeof(TEXT_REQUEST) - 1;
	size_t at = codec_feed(c->server, TEXT_REQUEST, len, HTTP_EVENT_HEAD, &event);
	c->stream[0] = event.stream;
	c->request = event.head;
	codec_feed(c->server, TEXT_REQUEST + at, len - at, HTTP_EVENT_END, &event);
}

static void codec_write_request(void *state)
{
	struct codec *c = state;
	c->stream[1] = http_open(c->client);
	bool ok = http_write_head(c->client, c->stream[1], c->request, &c->up) &&
		  http_write_end(c->client, c->stream[1], NULL, &c->up);
	ASSERT(ok);
}

static void codec_read_response(void *state)
{
	struct codec *c = state;
	struct http_event event;
	c->read_bytes = codec_feed(
		c->client, c->text.bytes, sizeof(c->text.bytes), HTTP_EVENT_HEAD, &event);
	c->response = event.head;
}

static void codec_write_response(void *state)
{
	struct codec *c = state;
	struct str body = {c->text.bytes, TEXT_BODY_BYTES};
	bool ok = http_write_head(c->server, c->stream[0], c->response, &c->down) &&
		  http_write_body(c->server, c->stream[0], body, &c->down) == body.len &&
		  http_write_end(c->server, c->stream[0], NULL, &c->down);
	ASSERT(ok);
}

static void codec_read_body(void *state)
{
	struct codec *c = state;
	struct http_event event;
	codec_feed(c->client, c->text.bytes + c->read_bytes, sizeof(c->text.bytes) - c->read_bytes,
		HTTP_EVENT_END, &event);
}

static void codec_run(struct codec *c, uint32_t count, void (*measured)(void *))
{
	/* The response's head is the client's until its body has been read. */
	void (*const steps[])(void *) = {codec_read_request, codec_write_request,
		codec_read_response, codec_write_response, codec_read_body};
	for (uint32_t i = 0; i < count; i++) {
		for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
			if (steps[k] == measured)
				micro_measure(measured, c);
			else
				steps[k](c);
		}
		buf_clear(&c->up);
		buf_clear(&c->down);
	}
}

static void codec_run_read_request(void *state, uint32_t count)
{
	codec_run(state, count, codec_read_request);
}

static void codec_run_write_request(void *state, uint32_t count)
{
	codec_run(state, count, codec_write_request);
}

static void codec_run_read_response(void *state, uint32_t count)
{
	codec_run(state, count, codec_read_response);
}

static void codec_run_write_response(void *state, uint32_t count)
{
	codec_run(state, count, codec_write_response);
}

/* --- the path --- */

static void codec_normalise(void *state)
{
	struct str path = STR("/api/orders/1042/items?limit=20&after=8812");
	char normal[64];
	size_t len;
	bool ok = path_normalise(path, normal, &len);
	ASSERT(ok);
}

static void codec_run_normalise(void *state, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		micro_measure(codec_normalise, NULL);
}

const struct micro_case micro_codec_cases[] = {
	{"http/1: read a request head", 64, codec_start, codec_run_read_request, codec_stop, NULL},
	{"http/1: write it", 64, codec_start, codec_run_write_request, codec_stop, NULL},
	{"http/1: read a response head", 64, codec_start, codec_run_read_response, codec_stop,
		NULL},
	{"http/1: write it, with 1 KiB", 64, codec_start, codec_run_write_response, codec_stop,
		NULL},
	{"http/1: normalise a path", 64, NULL, codec_run_normalise, NULL, NULL},
	{0},
};
