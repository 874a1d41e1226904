/* SPDX-License-Identifier: Apache-2.0 */
/* The whole admin API on a real ring: sockets in, bytes out. */
#include "admin/admin.h"

#include "base/assert.h"
#include "base/clock.h"
#include "json_check.h"
#include "sample.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static struct sample sample;
static struct loop loop;
static struct admin *admin;
static char socket_path[] = "/tmp/ringmain-admin-XXXXXX";
static int unix_fd, tcp_fd;
static struct sockaddr_in tcp_address;

static void turn(uint64_t wait_ns)
{
	struct task waker;
	struct timer timer;
	struct task *t;
	task_init(&waker, 1);
	timer_init(&timer, &waker);
	timer_set(&loop, &timer, loop.now_ns + wait_ns);
	loop_wait(&loop);
	while ((t = loop_next(&loop)))
		if (t != &waker)
			admin_step(t);
	while ((t = loop_dead(&loop)))
		admin_reap(t);
	timer_clear(&loop, &timer);
	list_remove(&waker.node);
}

static int dial(bool is_unix)
{
	int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strcpy(address.sun_path, socket_path);
	int r = is_unix ? connect(fd, (struct sockaddr *)&address, sizeof(address))
			: connect(fd, (struct sockaddr *)&tcp_address, sizeof(tcp_address));
	assert_int_equal(r, 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Turns the loop until the far end has said `until` or closed; returns what it said. */
static char *hear(int fd, const char *until)
{
	size_t len = 0, size = 1 << 20;
	char *text = calloc(1, size);
	for (int i = 0; i < 2000; i++) {
		if (len + 4096 > size)
			text = realloc(text, size *= 2);
		ssize_t n = recv(fd, text + len, size - len - 1, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return text;
		if (n > 0)
			len += (size_t)n;
		text[len] = 0;
		if (n > 0 && until && strstr(text, until))
			return text;
		if (n < 0)
			turn(CLOCK_MS);
	}
	print_error("heard only: %.300s\n", text);
	fail();
	return NULL;
}

static void assert_says(bool is_unix, const char *request, const char *start, const char *part)
{
	int fd = dial(is_unix);
	say(fd, request);
	char *text = hear(fd, NULL);
	if (strncmp(text, start, strlen(start)) != 0 || !strstr(text, part)) {
		print_error("want %s … %s\nhave: %s\n", start, part, text);
		fail();
	}
	free(text);
	close(fd);
}

static int setup(void **state)
{
	struct err err;
	struct ring_limits limits = {
		.entries = 64, .completions = 256, .block_bytes = 4096, .block_count = 8};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	sample_init(&sample);
	if (loop_init(&loop, &limits, 1, &err) < 0 || ring_enable(&loop.ring, &err) < 0)
		return -1;
	close(mkstemp(socket_path));
	unlink(socket_path);
	strcpy(address.sun_path, socket_path);
	unix_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	tcp_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	tcp_address = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(tcp_address);
	if (bind(unix_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(unix_fd, 64) < 0 || bind(tcp_fd, (struct sockaddr *)&tcp_address, len) < 0 ||
		listen(tcp_fd, 64) < 0 ||
		getsockname(tcp_fd, (struct sockaddr *)&tcp_address, &len) < 0)
		return -1;
	if (admin_new(&loop, &sample.proxy, &admin, &err) < 0 ||
		admin_listen(admin, unix_fd, true, &err) < 0 ||
		admin_listen(admin, tcp_fd, false, &err) < 0)
		return -1;
	turn(0);
	return 0;
}

static int teardown(void **state)
{
	admin_close(admin);
	for (int i = 0; i < 1000 && !admin_idle(admin); i++)
		turn(CLOCK_MS);
	if (!admin_idle(admin))
		return -1;
	admin_free(admin);
	loop_done(&loop);
	close(unix_fd);
	close(tcp_fd);
	unlink(socket_path);
	strcpy(socket_path + strlen(socket_path) - 6, "XXXXXX");
	sample_done(&sample);
	return 0;
}

#define CLOSE "Connection: close\r\n\r\n"

static void pages_over_both_sockets(void **state)
{
	assert_says(true, "GET /status HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 200 OK\r\n",
		"\r\nContent-Type: application/json\r\n");
	assert_says(false, "GET /livez HTTP/1.1\r\nHost: localhost\r\n" CLOSE,
		"HTTP/1.1 200 OK\r\n", "\r\nX-Content-Type-Options: nosniff\r\n");
	assert_says(false, "GET /livez HTTP/1.1\r\nHost: evil.example\r\n" CLOSE,
		"HTTP/1.1 403 Forbidden\r\n", "Host header");
	assert_says(false, "GET /status HTTP/1.1\r\nHost: localhost\r\n" CLOSE,
		"HTTP/1.1 403 Forbidden\r\n", "unix socket only");
	assert_says(false, "POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n" CLOSE,
		"HTTP/1.1 403 Forbidden\r\n", "unix socket only");
	assert_says(true, "GET /drain HTTP/1.1\r\nHost: x\r\n" CLOSE,
		"HTTP/1.1 405 Method Not Allowed\r\n", "\r\nAllow: POST\r\n");
	assert_says(true, "GET /livez HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\nok\n");
	assert_false(sample.proxy.drain_asked);
}

static void drain_is_asked_for(void **state)
{
	assert_says(true, "POST /drain HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n" CLOSE "abc",
		"HTTP/1.1 202 Accepted\r\n", "draining");
	assert_true(sample.proxy.drain_asked);
}

static void reload_waits_for_its_outcome(void **state)
{
	int fd = dial(true);
	say(fd, "POST /reload HTTP/1.1\r\nHost: x\r\n" CLOSE);
	for (int i = 0; i < 200 && !sample.proxy.reload_asked; i++)
		turn(CLOCK_MS);
	assert_true(sample.proxy.reload_asked);
	for (int i = 0; i < 50; i++)
		turn(CLOCK_MS);
	char byte;
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	sample.proxy.reload_wall_ns = clock_wall_ns();
	strcpy(sample.proxy.reload_text, "a.conf:1: nope");
	char *text = hear(fd, NULL);
	assert_int_equal(strncmp(text, "HTTP/1.1 409 ", 13), 0);
	assert_non_null(strstr(text, "a.conf:1: nope"));
	free(text);
	close(fd);
}

static void client_leaves_while_a_reload_is_awaited(void **state)
{
	int fd = dial(true);
	say(fd, "POST /reload HTTP/1.1\r\nHost: x\r\n\r\n");
	for (int i = 0; i < 200 && !sample.proxy.reload_asked; i++)
		turn(CLOCK_MS);
	close(fd); /* teardown insists that nothing is left */
}

static void requests_share_a_connection(void **state)
{
	int fd = dial(true);
	for (int i = 0; i < 3; i++) {
		say(fd, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
		char *text = hear(fd, "ok\n");
		assert_null(strstr(text, "Connection: close"));
		free(text);
	}
	say(fd, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); /* no body may follow */
	free(hear(fd, "\r\n\r\n"));
	/* two at once, the second in pieces */
	say(fd, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /version HTTP/1.1\r\nHo");
	free(hear(fd, "ok\n"));
	say(fd, "st: x\r\n\r\n");
	char *text = hear(fd, "\"version\"");
	assert_int_equal(strncmp(text, "HTTP/1.1 200 OK\r\n", 17), 0);
	free(text);
	close(fd);
}

static void bad_requests_are_refused(void **state)
{
	char big[20000];
	assert_says(true, "nonsense\r\n\r\n", "HTTP/1.1 ", "\r\nConnection: close\r\n");
	assert_says(true, "GET /livez HTTP/1.1\r\n\r\n", "HTTP/1.1 400 ", "Host");
	assert_says(true, "\x16\x03\x01\x02\x00", "HTTP/1.1 400 ", "");
	memset(big, 'a', sizeof(big));
	memcpy(big, "GET /", 5);
	big[sizeof(big) - 1] = 0;
	int fd = dial(true);
	say(fd, big);
	char *text = hear(fd, NULL);
	assert_true(*text == 0 || strncmp(text, "HTTP/1.1 4", 10) == 0);
	free(text);
	close(fd);
}

/* A question that was cut would be another one. */
static void long_paths_are_refused(void **state)
{
	char request[6000], path[4097];
	for (size_t len = 4095; len <= 4096; len++) {
		memset(path, 'a', len);
		memcpy(path, "/routes?service=", 16);
		path[len] = 0;
		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n" CLOSE, path);
		assert_says(true, request, len == 4095 ? "HTTP/1.1 200 " : "HTTP/1.1 414 ", "");
	}
}

/* Megabytes, to a client that reads slowly through a small window: whole, and in pieces. */
static void large_answers_are_sent_in_pieces(void **state)
{
	struct metrics *many = metrics_new(200);
	struct metrics *const before = sample.metrics[0];
	for (uint16_t code = 200; code < 400; code++)
		metrics_request(many, &(struct metric_labels){.response_code = code}, 1, 1, 1);
	sample.metrics[0] = many;
	int fd = dial(false);
	say(fd, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n" CLOSE);
	for (int i = 0; i < 20; i++)
		turn(CLOCK_MS);
	char *text = hear(fd, NULL);
	const char *body = strstr(text, "\r\n\r\n") + 4;
	unsigned long len = strtoul(strstr(text, "Content-Length: ") + 16, NULL, 10);
	assert_true(len > 2000000);
	assert_int_equal(strlen(body), len);
	free(text);
	close(fd);
	sample.metrics[0] = before;
	metrics_free(many);
}

/* For each kind of socket apart: who uses up TCP does not lock the operator out. */
static void connections_are_bounded(void **state)
{
	int fds[40];
	char byte;
	size_t refused = 0;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial(false);
	for (int i = 0; i < 20; i++)
		turn(CLOCK_MS);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		refused += recv(fds[i], &byte, 1, MSG_DONTWAIT) == 0;
	assert_int_equal(refused, 8);
	assert_says(true, "GET /livez HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 200 ", "ok\n");
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	for (int i = 0; i < 20; i++)
		turn(CLOCK_MS);
	assert_says(
		false, "GET /livez HTTP/1.1\r\nHost: localhost\r\n" CLOSE, "HTTP/1.1 200 ", "ok\n");
}

static void close_ends_whatever_is_going_on(void **state)
{
	int idle = dial(true), half = dial(true), busy = dial(false);
	say(half, "GET /st");
	say(busy, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
	turn(CLOCK_MS);
	teardown(NULL);
	assert_int_equal(setup(NULL), 0); /* for the test's own teardown */
	close(idle);
	close(half);
	close(busy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pages_over_both_sockets),
		TEST(drain_is_asked_for),
		TEST(reload_waits_for_its_outcome),
		TEST(client_leaves_while_a_reload_is_awaited),
		TEST(requests_share_a_connection),
		TEST(bad_requests_are_refused),
		TEST(long_paths_are_refused),
		TEST(large_answers_are_sent_in_pieces),
		TEST(connections_are_bounded),
		TEST(close_ends_whatever_is_going_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
