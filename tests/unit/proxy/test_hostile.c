/* SPDX-License-Identifier: Apache-2.0 */
/* Callers and servers that mean harm: nothing they send, and no moment at which they send it, may
 * hurt more than their own connection. */
#include "lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK	  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"

static struct lab lab;

static void start(const char *node)
{
	lab_start(&lab, &(struct lab_options){.node = node});
}

static void say(int fd, const char *text)
{
	fake_peer_send_text(fd, text);
	lab_pump(&lab);
}

static int shop(uint32_t index)
{
	return lab_served(&lab, LAB_SHOP, index);
}

/* A response head of about 9 KB: two of them fill a buffer. */
static const char *large_head(const char *line)
{
	static char text[9300];
	int len = snprintf(text, sizeof(text), "%s\r\nX-Large: ", line);
	memset(text + len, 'x', 9000);
	snprintf(text + len + 9000, sizeof(text) - (size_t)len - 9000, "\r\n\r\n");
	return text;
}

static size_t count(struct str in, const char *what)
{
	size_t found = 0;
	for (const char *at = in.at;
		at && (at = memmem(at, in.len - (size_t)(at - in.at), what, strlen(what))); at++)
		found++;
	return found;
}

/* Answers all requests that come; how many there have been. */
static size_t answer(const char *line, size_t answered)
{
	for (; count(fake_peer_received(shop(0)), "GET ") > answered; answered++)
		say(shop(0), large_head(line));
	return answered;
}

/* --- a client that doesn't read, and a head that waits for it --- */

static void test_interim_heads_to_a_client_that_does_not_read(void **state)
{
	start(NULL);
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	fake_peer_window(client, 0);
	say(client, GET("/"));
	for (int i = 0; i < 10; i++)
		say(shop(0), large_head("HTTP/1.1 103 Early Hints"));
	say(shop(0), OK);
	fake_peer_window(client, SIZE_MAX);
	lab_pump(&lab);
	assert_int_equal(
		count(fake_peer_received(client), "HTTP/1.1 103 Early Hints\r\nX-Large: x"), 10);
	lab_expect_holds(client, "HTTP/1.1 200 OK\r\n");
	lab_finish(&lab);
}

static void test_a_head_without_body_waits_for_a_client_that_does_not_read(void **state)
{
	static const char *const lines[] = {"HTTP/1.1 304 Not Modified", "HTTP/1.1 204 No Content",
		"HTTP/1.1 200 OK\r\nContent-Length: 0"};
	for (size_t k = 0; k < ARRAY_LEN(lines); k++) {
		start(NULL);
		int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
		fake_peer_window(client, 0);
		for (int i = 0; i < 8; i++)
			say(client, GET("/"));
		size_t answered = answer(lines[k], 0);
		assert_in_range(answered, 2, 7); /* the last one has no room */
		fake_peer_window(client, SIZE_MAX);
		lab_pump(&lab);
		assert_int_equal(answer(lines[k], answered), 8);
		assert_int_equal(count(fake_peer_received(client), "\r\nX-Large: xxx"), 8);
		lab_finish(&lab);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interim_heads_to_a_client_that_does_not_read),
		cmocka_unit_test(test_a_head_without_body_waits_for_a_client_that_does_not_read),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
