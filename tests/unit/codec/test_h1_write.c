/* SPDX-License-Identifier: Apache-2.0 */
/* What is written, when a connection may go on, and that what was read is read the same again. */
#include "codec/http.h"

#include "codec/h1.h"
#include "h1_trace.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define BLOCK_BYTES HTTP_HEAD_SPACE(32 * 1024)

/* One codec, its output, and the last event. */
struct peer {
	struct http *http;
	struct buf_pool pool;
	struct buf out;
	struct http_event event;
};

static void peer_init(struct peer *p, enum http_side side, uint32_t block_bytes)
{
	p->http = http_new(HTTP_1_1, side, &http_limits_default);
	assert_non_null(p->http);
	buf_pool_init(&p->pool, block_bytes, 1);
	buf_init(&p->out, &p->pool);
}

static void peer_done(struct peer *p)
{
	http_free(p->http);
	buf_clear(&p->out);
	buf_pool_done(&p->pool);
}

/* Feeds all of `text`; the events must be these. */
static void peer_feed(
	struct peer *p, const char *text, const enum http_event_kind *kinds, size_t count)
{
	const uint8_t *at = (const uint8_t *)text;
	size_t len = strlen(text);
	for (size_t i = 0; i < count; i++) {
		size_t used = http_feed(p->http, at, len, &p->event);
		assert_int_equal(p->event.kind, kinds[i]);
		at += used;
		len -= used;
	}
}

#define FEED(p, text, ...)                                              \
	peer_feed(p, text, (const enum http_event_kind[]){__VA_ARGS__}, \
		ARRAY_LEN(((const enum http_event_kind[]){__VA_ARGS__})))

static void peer_wrote(struct peer *p, const char *expected)
{
	char text[1024];
	size_t len = buf_len(&p->out);
	assert_true(len < sizeof(text));
	if (len > 0)
		memcpy(text, buf_at(&p->out), len);
	text[len] = '\0';
	assert_string_equal(text, expected);
	buf_consume(&p->out, len);
	buf_release_if_empty(&p->out);
}

static void peer_head(struct peer *p, const struct http_head *head)
{
	assert_true(http_write_head(p->http, p->event.stream, head, &p->out));
}

static void peer_end(struct peer *p)
{
	assert_true(http_write_end(p->http, p->event.stream, NULL, &p->out));
}

#define REQUEST	    "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define REQUEST_1_0 "GET / HTTP/1.0\r\n\r\n"

static void test_response_framings(void **state)
{
	static const struct {
		const char *request;
		struct http_head head;
		const char *body, *wrote;
		bool reusable;
	} cases[] = {
		{REQUEST, {.status = 200}, "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			true},
		{REQUEST, {.status = 200, .framing = HTTP_FRAMING_LENGTH, .body_bytes = 2}, "ab",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", true},
		{REQUEST, {.status = 200, .framing = HTTP_FRAMING_LENGTH, .body_bytes = 3}, "ab",
			"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", false},
		{REQUEST, {.status = 200, .framing = HTTP_FRAMING_LENGTH, .body_bytes = 1}, "ab",
			"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", true},
		{REQUEST, {.status = 201, .framing = HTTP_FRAMING_STREAM}, "ab",
			"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
			"2\r\nab\r\n0\r\n\r\n",
			true},
		{REQUEST, {.status = 299, .framing = HTTP_FRAMING_CLOSE}, "ab",
			"HTTP/1.1 299 \r\nTransfer-Encoding: chunked\r\n\r\n"
			"2\r\nab\r\n0\r\n\r\n",
			true},
		{REQUEST, {.status = 204}, "", "HTTP/1.1 204 No Content\r\n\r\n", true},
		{REQUEST, {.status = 204, .framing = HTTP_FRAMING_LENGTH, .body_bytes = 2}, "ab",
			"HTTP/1.1 204 No Content\r\n\r\n", true},
		{REQUEST, {.status = 304, .framing = HTTP_FRAMING_LENGTH, .body_bytes = 2}, "",
			"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", true},
		{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
			{.status = 200, .framing = HTTP_FRAMING_LENGTH, .body_bytes = 2}, "ab",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true},
		{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", {.status = 200}, "",
			"HTTP/1.1 200 OK\r\n\r\n", true},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", {.status = 204}, "",
			"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", false},
		{REQUEST_1_0, {.status = 200, .framing = HTTP_FRAMING_STREAM}, "ab",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab", false},
		{REQUEST_1_0, {.status = 200, .framing = HTTP_FRAMING_LENGTH, .body_bytes = 2},
			"ab", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab",
			false},
		{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
			{.status = 200, .framing = HTTP_FRAMING_LENGTH, .body_bytes = 2}, "ab",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nab",
			true},
		{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
			{.status = 200, .framing = HTTP_FRAMING_STREAM}, "ab",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct peer p;
		peer_init(&p, HTTP_SERVER, 4096);
		FEED(&p, cases[i].request, HTTP_EVENT_HEAD, HTTP_EVENT_END);
		peer_head(&p, &cases[i].head);
		http_write_body(p.http, 1, str_of(cases[i].body), &p.out);
		peer_end(&p);
		peer_wrote(&p, cases[i].wrote);
		assert_int_equal(http_reusable(p.http), cases[i].reusable);
		peer_done(&p);
	}
}

static void test_framing_fields_among_headers_are_not_written(void **state)
{
	struct peer p;
	struct http_head head = {.status = 200, .framing = HTTP_FRAMING_LENGTH, .body_bytes = 1};
	const char *names[] = {"Content-Length", "transfer-encoding", "Connection", "Upgrade", "TE",
		"Host", "Keep-Alive", "X"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_true(http_header_add(&head, str_of(names[i]), STR("9")));
	peer_init(&p, HTTP_SERVER, 4096);
	FEED(&p, REQUEST, HTTP_EVENT_HEAD, HTTP_EVENT_END);
	peer_head(&p, &head);
	peer_wrote(&p, "HTTP/1.1 200 OK\r\nX: 9\r\nContent-Length: 1\r\n\r\n");
	peer_done(&p);
}

static void test_interim_responses_are_written_to_1_1_only(void **state)
{
	struct peer p;
	peer_init(&p, HTTP_SERVER, 4096);
	FEED(&p, REQUEST, HTTP_EVENT_HEAD, HTTP_EVENT_END);
	peer_head(&p, &(struct http_head){.status = 100});
	peer_wrote(&p, "HTTP/1.1 100 Continue\r\n\r\n");
	peer_head(&p, &(struct http_head){.status = 204});
	peer_end(&p);
	peer_wrote(&p, "HTTP/1.1 204 No Content\r\n\r\n");
	FEED(&p, REQUEST_1_0, HTTP_EVENT_HEAD, HTTP_EVENT_END);
	peer_head(&p, &(struct http_head){.status = 100});
	peer_wrote(&p, "");
	peer_done(&p);
}

static void test_requests(void **state)
{
	struct http_head head = {.method = STR("GET"),
		.path = STR("/p"),
		.authority = STR("a:80"),
		.te_trailers = true,
		.upgrade = STR("websocket")};
	struct peer p;
	assert_true(http_header_add(&head, STR("host"), STR("evil")));
	assert_true(http_header_add(&head, STR("A"), STR("b")));
	peer_init(&p, HTTP_CLIENT, 4096);
	p.event.stream = http_open(p.http);
	assert_int_equal(p.event.stream, 1);
	assert_int_equal(http_open(p.http), 0);
	peer_head(&p, &head);
	peer_end(&p);
	peer_wrote(&p, "GET /p HTTP/1.1\r\nHost: a:80\r\nA: b\r\nUpgrade: websocket\r\n"
		       "TE: trailers\r\nConnection: Upgrade, TE\r\n\r\n");
	FEED(&p, "HTTP/1.1 204 x\r\n\r\n", HTTP_EVENT_HEAD, HTTP_EVENT_END, HTTP_EVENT_MORE);
	assert_true(http_reusable(p.http));

	/* With a body the upgrade is not asked for, so 101 is refused. */
	head.framing = HTTP_FRAMING_LENGTH;
	head.body_bytes = 1;
	head.expect_continue = true;
	head.te_trailers = false;
	http_close_after(p.http);
	assert_int_equal(http_open(p.http), 0);
	peer_done(&p);
	peer_init(&p, HTTP_CLIENT, 4096);
	p.event.stream = http_open(p.http);
	http_close_after(p.http);
	peer_head(&p, &head);
	peer_wrote(&p, "GET /p HTTP/1.1\r\nHost: a:80\r\nA: b\r\nContent-Length: 1\r\n"
		       "Expect: 100-continue\r\nConnection: close\r\n\r\n");
	FEED(&p, "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		HTTP_EVENT_BAD);
	peer_done(&p);
}

/* An early response ends before its request: the connection is not free until both have. */
static void test_both_halves_must_end(void **state)
{
	struct http_head head = {.method = STR("PUT"),
		.path = STR("/"),
		.authority = STR("a"),
		.framing = HTTP_FRAMING_STREAM};
	struct peer p;
	peer_init(&p, HTTP_CLIENT, 4096);
	p.event.stream = http_open(p.http);
	peer_head(&p, &head);
	FEED(&p, "HTTP/1.1 204 x\r\n\r\n", HTTP_EVENT_HEAD, HTTP_EVENT_END, HTTP_EVENT_MORE);
	assert_false(http_reusable(p.http));
	peer_end(&p);
	assert_true(http_reusable(p.http));
	peer_done(&p);
}

static void test_server_waits_for_its_response(void **state)
{
	struct peer p;
	peer_init(&p, HTTP_SERVER, 4096);
	FEED(&p, REQUEST REQUEST, HTTP_EVENT_HEAD, HTTP_EVENT_END, HTTP_EVENT_WAIT,
		HTTP_EVENT_WAIT);
	assert_int_equal(http_feed(p.http, (const uint8_t *)"G", 1, &p.event), 0);
	assert_int_equal(http_feed(p.http, NULL, 0, &p.event), 0);
	assert_int_equal(p.event.kind, HTTP_EVENT_MORE);
	peer_head(&p, &(struct http_head){.status = 204});
	peer_end(&p);
	FEED(&p, REQUEST, HTTP_EVENT_HEAD, HTTP_EVENT_END);
	assert_int_equal(p.event.stream, 2);
	peer_done(&p);
}

/* The head is there until its owner has no more use for it, in the middle of a message in any case.
 */
static void test_heads_are_held_until_rest(void **state)
{
	struct peer p;
	peer_init(&p, HTTP_SERVER, 4096);
	assert_null(h1_of(p.http)->head);
	FEED(&p, REQUEST, HTTP_EVENT_HEAD);
	struct http_head *head = p.event.head;
	FEED(&p, "", HTTP_EVENT_END, HTTP_EVENT_MORE);
	http_rest(p.http);
	peer_head(&p, &(struct http_head){.status = 204});
	assert_true(str_eq(head->authority, STR("a")));
	peer_end(&p);
	assert_true(str_eq(head->authority, STR("a")));
	http_rest(p.http);
	assert_null(h1_of(p.http)->head);
	peer_done(&p);
}

/* Usual heads come from the pool and go back there, long ones do not. */
static void test_heads_are_pooled(void **state)
{
	static char text[4096] = "GET / HTTP/1.1\r\nHost: a\r\nA: ";
	struct pool heads;
	struct http_event event;
	struct http_limits limits = http_limits_default;
	pool_init(&heads, http_head_bytes(), 2);
	limits.heads = &heads;
	size_t len = strlen(text);
	memset(text + len, 'x', sizeof(text) - len);
	memcpy(text + sizeof(text) - 4, "\r\n\r\n", 4);
	struct http *h = http_new(HTTP_1_1, HTTP_SERVER, &limits);
	assert_int_equal(http_feed(h, (const uint8_t *)text, 1000, &event), 1000);
	assert_int_equal(heads.out_count, 1);
	assert_int_equal(http_feed(h, (const uint8_t *)text + 1000, sizeof(text) - 1000, &event),
		sizeof(text) - 1000);
	assert_int_equal(event.kind, HTTP_EVENT_HEAD);
	assert_int_equal(event.head->headers[0].value.len, sizeof(text) - 4 - len);
	assert_int_equal(heads.out_count, 0);
	assert_int_equal(heads.idle_count, 1);
	http_free(h);
	pool_done(&heads);
}

static void test_drain(void **state)
{
	struct peer p;
	peer_init(&p, HTTP_SERVER, 4096);
	http_close_after(p.http);
	assert_false(http_reusable(p.http));
	FEED(&p, REQUEST, HTTP_EVENT_HEAD, HTTP_EVENT_END);
	peer_head(&p, &(struct http_head){.status = 204});
	peer_end(&p);
	peer_wrote(&p, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
	FEED(&p, REQUEST, HTTP_EVENT_MORE);
	peer_done(&p);
}

static void test_errors(void **state)
{
	struct peer p;
	peer_init(&p, HTTP_SERVER, 4096);
	FEED(&p, "GET  / HTTP/1.1\r\n", HTTP_EVENT_BAD, HTTP_EVENT_BAD);
	assert_int_equal(http_bad_status(p.event.bad), 400);
	assert_true(http_write_error(p.http, 0, 400, http_bad_text(p.event.bad), true, &p.out));
	peer_wrote(&p, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
		       "Content-Length: 30\r\nConnection: close\r\n\r\n"
		       "malformed request or response\n");
	assert_false(http_reusable(p.http));
	peer_done(&p);

	peer_init(&p, HTTP_SERVER, 4096);
	FEED(&p, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_EVENT_HEAD, HTTP_EVENT_END);
	assert_true(http_write_error(p.http, 1, 404, "no", false, &p.out));
	peer_wrote(&p, "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n"
		       "Content-Length: 3\r\n\r\n");
	assert_true(http_reusable(p.http));
	/* In the middle of a response nothing can be said any more. */
	FEED(&p, REQUEST, HTTP_EVENT_HEAD, HTTP_EVENT_END);
	peer_head(&p, &(struct http_head){.status = 200, .framing = HTTP_FRAMING_STREAM});
	buf_clear(&p.out);
	assert_true(http_write_error(p.http, 2, 502, "no", true, &p.out));
	peer_wrote(&p, "");
	peer_end(&p);
	assert_false(http_reusable(p.http));
	peer_done(&p);
}

static void test_all_or_nothing(void **state)
{
	struct peer p;
	peer_init(&p, HTTP_SERVER, 64);
	struct http_head head = {.status = 200, .framing = HTTP_FRAMING_STREAM};
	FEED(&p, REQUEST, HTTP_EVENT_HEAD, HTTP_EVENT_END);
	assert_true(buf_put(&p.out, "01234567890123456789", 20));
	assert_false(http_write_head(p.http, 1, &head, &p.out));
	peer_wrote(&p, "01234567890123456789");
	peer_head(&p, &head);
	assert_int_equal(http_body_space(p.http, 1, &p.out), 64 - 47 - 12);
	assert_int_equal(http_write_body(p.http, 1, STR("0123456789"), &p.out), 5);
	assert_int_equal(buf_len(&p.out), 47 + 5 + 5);
	assert_int_equal(http_write_body(p.http, 1, STR("56789"), &p.out), 0);
	assert_true(buf_put(&p.out, "xxx", 3));
	assert_false(http_write_end(p.http, 1, NULL, &p.out));
	buf_clear(&p.out);
	peer_end(&p);
	peer_wrote(&p, "0\r\n\r\n");
	/* A block taken for nothing is given back. */
	FEED(&p, REQUEST, HTTP_EVENT_HEAD, HTTP_EVENT_END);
	assert_false(
		http_write_error(p.http, 2, 500, "a text that is too long for it", true, &p.out));
	assert_null(p.out.bytes);
	peer_done(&p);
}

/* Every head that is accepted fits an empty buffer: the widest growth is a space per field. */
static void test_an_accepted_head_can_be_written(void **state)
{
	static char input[32 * 1024 + 1];
	struct peer server, client;
	int n = snprintf(input, sizeof(input),
		"GET http://h HTTP/1.1\r\nHost:h\r\nTE:trailers\r\n"
		"Connection:upgrade\r\nUpgrade:websocket\r\n");
	for (int i = 0; i < 95; i++)
		n += snprintf(input + n, sizeof(input) - (size_t)n, "a:\r\n");
	n += snprintf(input + n, sizeof(input) - (size_t)n, "b:");
	memset(input + n, 'x', sizeof(input) - 5 - (size_t)n);
	memcpy(input + sizeof(input) - 5, "\r\n\r\n", 5);
	peer_init(&server, HTTP_SERVER, BLOCK_BYTES);
	peer_init(&client, HTTP_CLIENT, BLOCK_BYTES);
	FEED(&server, input, HTTP_EVENT_HEAD);
	client.event.stream = http_open(client.http);
	peer_head(&client, server.event.head);
	peer_done(&server);
	peer_done(&client);
}

static void test_bodies_and_trailers_come_back(void **state)
{
	struct peer server, client;
	peer_init(&server, HTTP_SERVER, 4096);
	peer_init(&client, HTTP_CLIENT, 4096);
	FEED(&server,
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		"2;x=y\r\nab\r\n0\r\nSum: 1\r\n\r\n",
		HTTP_EVENT_HEAD);
	client.event.stream = http_open(client.http);
	peer_head(&client, server.event.head);
	FEED(&server, "2;x=y\r\nab\r\n0\r\nSum: 1\r\n\r\n", HTTP_EVENT_BODY);
	assert_int_equal(http_write_body(client.http, 1, server.event.body, &client.out), 2);
	FEED(&server, "\r\n0\r\nSum: 1\r\n\r\n", HTTP_EVENT_TRAILERS);
	assert_true(http_header_add(server.event.head, STR("Content-Length"), STR("1")));
	assert_true(http_write_end(client.http, 1, server.event.head, &client.out));
	peer_wrote(&client, "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
			    "2\r\nab\r\n0\r\nSum: 1\r\n\r\n");
	peer_done(&server);
	peer_done(&client);
}

static void test_headers(void **state)
{
	struct http_head head = {.header_count = 0};
	assert_true(http_header_add(&head, STR("A"), STR("1")));
	assert_true(http_header_add(&head, STR("b"), STR("2")));
	assert_true(http_header_add(&head, STR("a"), STR("3")));
	assert_true(str_eq(http_header_get(&head, "a"), STR("1")));
	assert_null(http_header_get(&head, "c").at);
	assert_true(http_header_add(&head, STR("x-REQUEST-id"), STR("4")));
	assert_true(str_eq(http_header_of(&head, HTTP_NAME_REQUEST_ID), STR("4")));
	assert_null(http_header_of(&head, HTTP_NAME_USER_AGENT).at);
	assert_int_equal(http_name_of(STR("X-Ringmain-Route")), HTTP_NAME_ROUTE);
	assert_int_equal(http_name_of(STR("Proxy-Connection")), HTTP_NAME_PROXY_CONNECTION);
	assert_true(http_header_add(&head, STR("a"), STR("5")));
	http_header_remove(&head, HTTP_NAME_REQUEST_ID);
	assert_int_equal(head.header_count, 4);
	assert_true(str_eq(head.headers[3].value, STR("5")));
	while (head.header_count < HTTP_HEADERS_MAX)
		assert_true(http_header_add(&head, STR("x"), STR("y")));
	assert_false(http_header_add(&head, STR("x"), STR("y")));
	assert_int_equal(http_bad_status(HTTP_BAD_HEADERS_TOO_LARGE), 431);
	assert_string_equal(http_bad_name(HTTP_BAD_NO_MEMORY), "NO_MEMORY");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_response_framings),
		cmocka_unit_test(test_framing_fields_among_headers_are_not_written),
		cmocka_unit_test(test_interim_responses_are_written_to_1_1_only),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_both_halves_must_end),
		cmocka_unit_test(test_server_waits_for_its_response),
		cmocka_unit_test(test_heads_are_held_until_rest),
		cmocka_unit_test(test_heads_are_pooled),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_all_or_nothing),
		cmocka_unit_test(test_an_accepted_head_can_be_written),
		cmocka_unit_test(test_bodies_and_trailers_come_back),
		cmocka_unit_test(test_headers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
