/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry/access.h"

#include "base/assert.h"
#include "json_check.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static const struct access_entry request = {
	.kind = ACCESS_HTTP,
	.start_wall_ns = 1764000000123000000ull,
	.duration_ns = 12345678,
	.processing_ns = 45678,
	.workload = {"orders", 6},
	.source_identity = {"spiffe://prod.example/service/web", 33},
	.destination_identity = {"spiffe://prod.example/service/orders", 36},
	.destination_service = {"orders", 6},
	.downstream_remote = {AF_INET, {10, 77, 0, 1}, 40001},
	.downstream_local = {AF_INET, {10, 77, 0, 2}, 15008},
	.upstream_remote = {AF_INET, {127, 0, 0, 1}, 8080},
	.protocol = {"HTTP/1.1", 8},
	.method = {"GET", 3},
	.path = {"/api?a=1", 8},
	.authority = {"orders", 6},
	.user_agent = {"curl/8", 6},
	.response_code = 200,
	.response_flags = {"-", 1},
	.response_details = {"NONE", 4},
	.bytes_received = 0,
	.bytes_sent = 512,
	.security = {"mutual_tls", 10},
	.policy = {"policies[0]", 11},
	.route = {"orders/canary", 13},
	.destination_version = {"v1", 2},
	.attempt_count = 1,
	.connection_number = 7,
	.config_generation = 3,
};

static void request_line(void **state)
{
	char text[ACCESS_LINE_MAX];
	size_t len = access_format(&request, text, sizeof(text));
	text[len] = 0;
	assert_string_equal(text,
		"{\"start_time\":\"2025-11-24T16:00:00.123Z\",\"kind\":\"http\","
		"\"protocol\":\"HTTP/1.1\",\"method\":\"GET\",\"path\":\"/api?a=1\","
		"\"authority\":\"orders\",\"response_code\":200,\"user_agent\":\"curl/8\","
		"\"request_id\":null,\"attempts\":1,\"processing_ns\":45678,"
		"\"response_flags\":\"-\",\"response_code_details\":\"NONE\","
		"\"bytes_received\":0,\"bytes_sent\":512,\"duration\":12,"
		"\"duration_ns\":12345678,\"downstream_remote_address\":\"10.77.0.1:40001\","
		"\"downstream_local_address\":\"10.77.0.2:15008\","
		"\"upstream_host\":\"127.0.0.1:8080\",\"workload\":\"orders\","
		"\"direction\":\"inbound\","
		"\"source_identity\":\"spiffe://prod.example/service/web\","
		"\"destination_identity\":\"spiffe://prod.example/service/orders\","
		"\"destination_service\":\"orders\",\"destination_version\":\"v1\","
		"\"route_name\":\"orders/"
		"canary\",\"endpoint_choice\":null,\"security\":\"mutual_tls\","
		"\"tls_resumed\":false,\"policy\":\"policies[0]\",\"conn_id\":7,"
		"\"config_generation\":3}\n");
	assert_true(json_valid(text, len));
	struct access_entry copy = request;
	copy.is_mirror = true;
	len = access_format(&copy, text, sizeof(text));
	text[len] = 0;
	assert_non_null(strstr(text, "\"processing_ns\":45678,\"mirror\":true,\"response_flags\""));
	assert_true(json_valid(text, len));
}

static void tcp_lines(void **state)
{
	char text[ACCESS_LINE_MAX];
	struct access_entry e = {
		.kind = ACCESS_TCP_OPEN, .outbound = true, .security = STR("local")};
	size_t len = access_format(&e, text, sizeof(text));
	text[len] = 0;
	assert_true(json_valid(text, len));
	assert_non_null(strstr(text, "\"kind\":\"tcp_open\""));
	assert_non_null(strstr(text, "\"direction\":\"outbound\""));
	assert_non_null(strstr(text, "\"security\":\"local\""));
	assert_non_null(strstr(text, "\"upstream_host\":null"));
	assert_null(strstr(text, "\"duration\""));
	assert_null(strstr(text, "\"method\""));
	e.kind = ACCESS_TCP_CLOSE;
	e.security = STR("");
	len = access_format(&e, text, sizeof(text));
	text[len] = 0;
	assert_true(json_valid(text, len));
	assert_non_null(strstr(text, "\"kind\":\"tcp_close\""));
	assert_non_null(strstr(text, "\"security\":null"));
	assert_non_null(strstr(text, "\"duration\":0"));
	assert_null(strstr(text, "\"method\""));
}

static void assert_path_shown(const char *path, const char *shown)
{
	char text[ACCESS_LINE_MAX], want[4096];
	struct access_entry e = request;
	e.path = str_of(path);
	size_t len = access_format(&e, text, sizeof(text));
	text[len] = 0;
	snprintf(want, sizeof(want), "\"path\":\"%s\",", shown);
	if (!strstr(text, want)) {
		print_error("want %s in %s\n", want, text);
		fail();
	}
}

static void signatures_are_redacted(void **state)
{
	static const char *const rows[][2] = {
		{"/", "/"},
		{"/a?", "/a?"},
		{"/a?sig=abc", "/a?sig=REDACTED"},
		{"/a?x=1&sig=abc&y=2", "/a?x=1&sig=REDACTED&y=2"},
		{"/a?sig=", "/a?sig=REDACTED"},
		{"/a?sig", "/a?sig"},
		{"/a?sig=a=b", "/a?sig=REDACTED"},
		{"/a?sigx=1&xsig=2", "/a?sigx=1&xsig=2"},
		{"/a?Sig=1;SIGNATURE=2", "/a?Sig=REDACTED;SIGNATURE=REDACTED"},
		{"/a?s%69g=1", "/a?s%69g=REDACTED"},
		{"/a?X-Amz-Signature=1&X-Amz-Credential=2&X-Amz-Security-Token=3",
			"/a?X-Amz-Signature=REDACTED&X-Amz-Credential=REDACTED&"
			"X-Amz-Security-Token=REDACTED"},
		{"/a?AWSAccessKeyId=1&Signature=2&X-Goog-Signature=3",
			"/a?AWSAccessKeyId=REDACTED&Signature=REDACTED&X-Goog-Signature=REDACTED"},
		{"/sig=1", "/sig=1"},
		{"/a?&&=&sig=1&", "/a?&&=&sig=REDACTED&"},
		{"/a?b?sig=1", "/a?b?sig=1"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_path_shown(rows[i][0], rows[i][1]);
}

/* A redacted text that is longer than the original stays within its room. */
static void many_redactions_fit(void **state)
{
	char path[2000] = "/?", text[ACCESS_LINE_MAX];
	for (int i = 0; i < 300; i++)
		strcat(path, "sig=&");
	struct access_entry e = request;
	e.path = str_of(path);
	size_t len = access_format(&e, text, sizeof(text));
	assert_true(len > 0 && json_valid(text, len));
}

static void what_policy_said(void **state)
{
	char text[ACCESS_LINE_MAX];
	struct access_entry e = request;
	e.policy_where = STR("mesh.conf:41");
	size_t len = access_format(&e, text, sizeof(text));
	text[len] = 0;
	assert_non_null(strstr(
		text, "\"policy\":\"policies[0]\",\"policy_where\":\"mesh.conf:41\",\"conn_id\""));
	assert_true(json_valid(text, len));
	e.would_deny = STR("default");
	e.would_deny_where = STR("mesh.default_policy");
	e.noted = STR("watch");
	e.noted_where = STR("mesh.conf:7");
	len = access_format(&e, text, sizeof(text));
	text[len] = 0;
	assert_non_null(strstr(text,
		"\"would_deny\":\"default\",\"would_deny_where\":\"mesh.default_policy\","
		"\"policy_noted\":\"watch\",\"policy_noted_where\":\"mesh.conf:7\",\"conn_id\""));
	assert_true(json_valid(text, len));
}

static void any_bytes_make_valid_json(void **state)
{
	char bytes[256], text[ACCESS_LINE_MAX];
	for (int i = 0; i < 256; i++)
		bytes[i] = (char)i;
	struct access_entry e = request;
	struct str all = {bytes, sizeof(bytes)};
	e.method = e.path = e.authority = e.user_agent = e.request_id = all;
	e.workload = e.source_identity = e.policy = e.response_flags = all;
	size_t len = access_format(&e, text, sizeof(text));
	assert_true(len > 0 && json_valid(text, len));
	assert_ptr_equal(memchr(text, '\n', len), text + len - 1); /* one line */
}

static void longest_values_fit(void **state)
{
	size_t size = 100000;
	char *bytes = malloc(size), text[ACCESS_LINE_MAX];
	memset(bytes, 1, size);
	struct str all = {bytes, size};
	struct access_entry e = request;
	e.method = e.path = e.authority = e.user_agent = e.request_id = e.protocol = all;
	e.workload = e.source_identity = e.destination_identity = e.destination_service = all;
	e.policy = e.response_flags = e.response_details = e.route = e.destination_version = all;
	e.limit = e.shadow_limit = e.choice = e.policy_where = all;
	e.would_deny = e.would_deny_where = e.noted = e.noted_where = all;
	e.duration_ns = e.bytes_sent = e.bytes_received = e.processing_ns = UINT64_MAX;
	e.connection_number = e.config_generation = e.start_wall_ns = UINT64_MAX;
	memset(&e.downstream_remote, 0xff, sizeof(e.downstream_remote));
	e.downstream_remote.family = AF_INET6;
	e.downstream_local = e.upstream_remote = e.downstream_remote;
	size_t len = access_format(&e, text, sizeof(text));
	assert_true(len > 0 && json_valid(text, len));
	free(bytes);
}

static void short_room_gives_nothing(void **state)
{
	char text[ACCESS_LINE_MAX];
	size_t len = access_format(&request, text, sizeof(text));
	for (size_t size = 0; size < len; size++)
		assert_int_equal(access_format(&request, text, size), 0);
	assert_int_equal(access_format(&request, text, len), len);
}

/* --- the queues and the thread --- */

static int temp_fd(void)
{
	char path[] = "/tmp/ringmain-access-XXXXXX";
	int fd = mkstemp(path);
	unlink(path);
	return fd;
}

static void lines_reach_the_file(void **state)
{
	int fd = temp_fd(), again = dup(fd);
	struct err err;
	struct access_log *log;
	assert_int_equal(access_log_new(fd, 2, &log, &err), 0);
	assert_true(access_write(access_log_queue(log, 0), &request));
	usleep(30000); /* now it sleeps and has to be woken */
	assert_true(access_write(access_log_queue(log, 1), &request));
	for (int i = 0; i < 200 && lseek(again, 0, SEEK_END) < 1500; i++)
		usleep(10000);
	char want[ACCESS_LINE_MAX], have[ACCESS_LINE_MAX];
	size_t len = access_format(&request, want, sizeof(want));
	assert_int_equal(pread(again, have, sizeof(have), 0), 2 * len);
	assert_memory_equal(have, want, len);
	assert_memory_equal(have + len, want, len);
	access_log_free(log);
	close(again);
}

static void log_off(void **state)
{
	struct err err;
	struct access_log *log;
	assert_int_equal(access_log_new(-1, 4, &log, &err), 0);
	assert_null(access_log_queue(log, 3));
	assert_true(access_write(NULL, &request));
	access_log_free(log);
	access_log_free(NULL);
}

static void full_queue_drops_and_never_waits(void **state)
{
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	struct err err;
	struct access_log *log;
	assert_int_equal(access_log_new(ends[1], 1, &log, &err), 0);
	size_t taken = 0; /* nobody reads the pipe */
	while (taken < 100000 && access_write(access_log_queue(log, 0), &request))
		taken++;
	assert_true(taken > 500 && taken < 100000);
	access_log_free(log); /* gives up although the pipe is still full */
	close(ends[0]);
}

static void assert_lines_fail(int fd)
{
	struct err err;
	struct access_log *log;
	assert_int_equal(access_log_new(fd, 1, &log, &err), 0);
	assert_true(access_write(access_log_queue(log, 0), &request));
	assert_true(access_write(access_log_queue(log, 0), &request));
	for (int i = 0; i < 200 && access_log_failed_count(log) < 2; i++)
		usleep(10000);
	assert_int_equal(access_log_failed_count(log), 2);
	access_log_free(log);
}

static void failed_lines_are_counted(void **state)
{
	int ends[2];
	assert_lines_fail(open("/dev/full", O_WRONLY));
	assert_int_equal(pipe(ends), 0); /* nobody will ever read it: no SIGPIPE either */
	close(ends[0]);
	assert_lines_fail(ends[1]);
}

/* A file that fills up in the middle of a line: the first line after that stands on its own. */
static void a_torn_line_is_ended(void **state)
{
	char path[] = "/tmp/ringmain-access-XXXXXX", text[ACCESS_LINE_MAX];
	int fd = mkstemp(path), again = dup(fd);
	size_t len = access_format(&request, text, sizeof(text));
	struct rlimit before, small;
	struct err err;
	struct access_log *log;
	getrlimit(RLIMIT_FSIZE, &before);
	signal(SIGXFSZ, SIG_IGN);
	small = (struct rlimit){.rlim_cur = len + len / 2, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(access_log_new(fd, 1, &log, &err), 0);
	assert_true(access_write(access_log_queue(log, 0), &request));
	assert_true(access_write(access_log_queue(log, 0), &request));
	for (int i = 0; i < 200 && access_log_failed_count(log) < 1; i++)
		usleep(10000);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_true(access_write(access_log_queue(log, 0), &request));
	access_log_free(log);
	assert_int_equal(lseek(again, 0, SEEK_END), len + len / 2 + 1 + len);
	assert_int_equal(pread(again, text, 1, (off_t)(len + len / 2)), 1);
	assert_int_equal(text[0], '\n');
	unlink(path);
	close(again);
}

#define RACE_LINES 5000

static void *race_write(void *argument)
{
	struct access_queue *q = argument;
	struct access_entry e = request;
	for (uint64_t i = 0; i < RACE_LINES; i++) {
		e.connection_number = i;
		while (!access_write(q, &e))
			usleep(100);
	}
	return NULL;
}

/* Whole lines, each queue's in order, none lost. */
static void two_workers_at_once(void **state)
{
	int fd = temp_fd();
	FILE *file = fdopen(dup(fd), "r");
	struct err err;
	struct access_log *log;
	pthread_t threads[2];
	assert_int_equal(access_log_new(fd, 2, &log, &err), 0);
	for (uint32_t i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, race_write, access_log_queue(log, i));
	for (uint32_t i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	access_log_free(log);
	rewind(file);
	char line[4096];
	size_t count = 0;
	while (fgets(line, sizeof(line), file)) {
		assert_true(json_valid(line, strlen(line)));
		count++;
	}
	assert_int_equal(count, 2 * RACE_LINES);
	fclose(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_line),
		cmocka_unit_test(tcp_lines),
		cmocka_unit_test(signatures_are_redacted),
		cmocka_unit_test(many_redactions_fit),
		cmocka_unit_test(what_policy_said),
		cmocka_unit_test(any_bytes_make_valid_json),
		cmocka_unit_test(longest_values_fit),
		cmocka_unit_test(short_room_gives_nothing),
		cmocka_unit_test(lines_reach_the_file),
		cmocka_unit_test(log_off),
		cmocka_unit_test(full_queue_drops_and_never_waits),
		cmocka_unit_test(failed_lines_are_counted),
		cmocka_unit_test(a_torn_line_is_ended),
		cmocka_unit_test(two_workers_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
