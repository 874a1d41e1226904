/* SPDX-License-Identifier: Apache-2.0 */
/* Responses as a client reads them: framing against the request, refusals, at every split. */
#include "h1_trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define OK "HTTP/1.1 200 OK\r\n"

struct h1_case {
	const char *method; /* NULL: nothing was asked */
	const char *upgrade;
	bool eof;
	struct str input;
	const char *expected;
};

#define CASE(method, input, expected)                                     \
	{                                                                 \
		method, NULL, false, {input, sizeof(input) - 1}, expected \
	}
#define CASE_EOF(method, input, expected)                                \
	{                                                                \
		method, NULL, true, {input, sizeof(input) - 1}, expected \
	}
#define CASE_WS(input, expected)                                                \
	{                                                                       \
		"GET", "websocket", false, {input, sizeof(input) - 1}, expected \
	}

static const struct h1_case h1_cases[] = {
	CASE("GET", OK "Content-Length: 3\r\nA: b\r\n\r\nabc",
		"HEAD 200 1.1 length:3 {A:b}|BODY abc|END"),
	CASE("GET", OK "Content-Length: 0\r\n\r\n", "HEAD 200 1.1 length:0|END"),
	CASE("GET", OK "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nC: d\r\n\r\n",
		"HEAD 200 1.1 stream|BODY ab|TRAILERS {C:d}|END"),
	CASE("GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "HEAD 200 1.1 length:0|END"),
	CASE("GET", "HTTP/1.1 404 \xe4 x\t\r\nContent-Length: 0\r\n\r\n",
		"HEAD 404 1.1 length:0|END"),
	CASE("GET", OK "X_Under_Score: 1\r\nContent-Length: 0\r\n\r\n",
		"HEAD 200 1.1 length:0 {X_Under_Score:1}|END"),
	/* Until the end of the connection. */
	CASE_EOF("GET", OK "\r\nabc", "HEAD 200 1.1 close|BODY abc|END"),
	CASE_EOF("GET", "HTTP/1.0 200 OK\r\n\r\n", "HEAD 200 1.0 close|END"),
	CASE("GET", OK "\r\nabc", "HEAD 200 1.1 close|BODY abc"),
	/* Without body, whatever the fields say. */
	CASE("HEAD", OK "Content-Length: 3\r\n\r\n", "HEAD 200 1.1 none {Content-Length:3}|END"),
	CASE("HEAD", OK "Transfer-Encoding: chunked\r\n\r\n", "HEAD 200 1.1 none|END"),
	CASE("HEAD", OK "\r\n", "HEAD 200 1.1 none|END"),
	CASE("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",
		"HEAD 204 1.1 none|END"),
	CASE("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
		"HEAD 304 1.1 none {Content-Length:3}|END"),
	/* 60: body bytes where there is no body */
	CASE("HEAD", OK "Content-Length: 3\r\n\r\nabc",
		"HEAD 200 1.1 none {Content-Length:3}|END|BAD UNEXPECTED"),
	CASE("GET", "HTTP/1.1 204 No Content\r\n\r\nx", "HEAD 204 1.1 none|END|BAD UNEXPECTED"),
	CASE("GET", "HTTP/1.1 304 Not Modified\r\n\r\nx", "HEAD 304 1.1 none|END|BAD UNEXPECTED"),
	/* 57: bytes nobody asked for */
	CASE(NULL, OK "\r\n", "BAD UNEXPECTED"),
	CASE("GET", OK "Content-Length: 0\r\n\r\n" OK, "HEAD 200 1.1 length:0|END|BAD UNEXPECTED"),
	CASE("GET", OK "Content-Length: 1\r\n\r\nab",
		"HEAD 200 1.1 length:1|BODY a|END|BAD UNEXPECTED"),
	/* After the last message they are dropped. */
	CASE("GET", OK "Connection: close\r\nContent-Length: 0\r\n\r\nxyz",
		"HEAD 200 1.1 length:0|END"),
	/* Interim responses */
	CASE("GET",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" OK
		"Content-Length: 1\r\n\r\nx",
		"INTERIM 100 1.1 none|INTERIM 103 1.1 none {Link:a}|"
		"HEAD 200 1.1 length:1|BODY x|END"),
	CASE("GET", "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n", "INTERIM 100 1.1 none"),
	/* 59: 101 */
	CASE("GET", "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		"BAD UNEXPECTED"),
	CASE_WS("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\nA: b\r\n\r\nraw",
		"HEAD 101 1.1 tunnel upgrade WebSocket {A:b}|RAW raw"),
	CASE_WS("HTTP/1.1 101 X\r\n\r\n", "BAD UNEXPECTED"),
	CASE_WS("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", "BAD UNEXPECTED"),
	/* CVE-2024-23326: 200 to an Upgrade is no tunnel. */
	CASE_WS(OK "Content-Length: 3\r\n\r\nabc", "HEAD 200 1.1 length:3|BODY abc|END"),
	CASE_WS(OK "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
		"HEAD 200 1.1 length:0|END"),
	CASE("CONNECT", OK "Content-Length: 3\r\n\r\nraw", "HEAD 200 1.1 tunnel|RAW raw"),
	CASE("CONNECT", "HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nabc",
		"HEAD 403 1.1 length:3|BODY abc|END"),
	/* 56 */
	CASE("GET", OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"BAD LENGTH_AND_ENCODING"),
	CASE("GET", OK "Content-Length: x\r\n\r\n", "BAD LENGTH"),
	CASE("GET", OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", "BAD LENGTH"),
	CASE("GET", OK "Transfer-Encoding: gzip\r\n\r\n", "BAD ENCODING_UNKNOWN"),
	CASE("GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "BAD ENCODING"),
	CASE("GET", OK "Transfer-Encoding: chunked\r\n\r\nx", "HEAD 200 1.1 stream|BAD CHUNK"),
	CASE("GET", OK "A: b\r\n c\r\n\r\n", "BAD LINE_FOLDING"),
	CASE("GET", "HTTP/1.1 200 OK\nA: b\r\n\r\n", "BAD LINE_END"),
	CASE("GET", "HTTP/1.1 200\n", "BAD LINE_END"),
	CASE("GET", "HTTP/1.1 200 O\rK\r\n", "BAD LINE_END"),
	CASE("GET", "HTTP/1.1 200 O\x01K\r\n", "BAD SYNTAX"),
	CASE("GET", "HTTP/1.1 20 OK\r\n", "BAD SYNTAX"),
	CASE("GET", "HTTP/1.1 2000 OK\r\n", "BAD SYNTAX"),
	CASE("GET", "HTTP/1.1 099 OK\r\n\r\n", "BAD SYNTAX"),
	CASE("GET", "HTTP/1.1 600 OK\r\n\r\n", "BAD SYNTAX"),
	CASE("GET", "HTTP/2.0 200 OK\r\n", "BAD VERSION"),
	CASE("GET", "HTTP/1.2 200 OK\r\n", "BAD VERSION"),
	CASE("GET", "SSH-2.0-x\r\n", "BAD NOT_HTTP"),
	CASE("GET", "\r\n" OK, "BAD NOT_HTTP"),
	CASE_EOF("GET", "", "BAD TRUNCATED"),
	CASE_EOF("GET", "HTTP/1.1 2", "BAD TRUNCATED"),
	CASE_EOF("GET", OK "Content-Length: 2\r\n\r\na",
		"HEAD 200 1.1 length:2|BODY a|BAD TRUNCATED"),
	CASE_EOF("GET", OK "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
		"HEAD 200 1.1 stream|BODY a|BAD TRUNCATED"),
	CASE_EOF("GET", "HTTP/1.1 100 Continue\r\n\r\n", "INTERIM 100 1.1 none|BAD TRUNCATED"),
};

static struct h1_trace h1_trace_memory;

static void check_one(struct h1_trace *t, const struct h1_case *c)
{
	h1_trace_run(t, (const uint8_t *)c->input.at, c->input.len);
	if (strcmp(t->text, c->expected) != 0)
		fail_msg("%s (cut %zu, step %zu):\n got      %s\n expected %s", c->input.at, t->cut,
			t->step, t->text, c->expected);
}

static void test_responses(void **state)
{
	struct h1_trace *t = &h1_trace_memory;
	t->side = HTTP_CLIENT;
	t->limits = &http_limits_default;
	for (size_t i = 0; i < ARRAY_LEN(h1_cases); i++) {
		const struct h1_case *c = &h1_cases[i];
		t->method = c->method;
		t->upgrade = c->upgrade;
		t->eof = c->eof;
		for (t->step = 0, t->cut = 0; t->cut <= c->input.len; t->cut++)
			check_one(t, c);
		t->cut = 0;
		t->step = 1;
		check_one(t, c);
	}
}

static void test_interim_responses_are_bounded(void **state)
{
	struct h1_trace *t = &h1_trace_memory;
	static char input[64 * 1024];
	size_t len = 0;
	for (int i = 0; i < 65; i++)
		len += (size_t)snprintf(input + len, sizeof(input) - len, "HTTP/1.1 102 P\r\n\r\n");
	*t = (struct h1_trace){
		.side = HTTP_CLIENT, .limits = &http_limits_default, .method = "GET"};
	h1_trace_run(t, (uint8_t *)input, len);
	assert_string_equal(t->text + t->len - 15, "|BAD UNEXPECTED");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_responses),
		cmocka_unit_test(test_interim_responses_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
