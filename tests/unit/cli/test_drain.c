/* SPDX-License-Identifier: Apache-2.0 */
/* The whole command against a socket that plays a script: how the status is from one look to the
 * next. */
#include "cli/drain.h"

#include "base/assert.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/ringmain-drain-XXXXXX";
static char socket_path[sizeof((struct sockaddr_un){}.sun_path)];
static int listener;
static char printed[65536], complained[65536], asked[65536];
static _Atomic bool over;

#define STATUS(connected, drained, serving, more) LOOK(connected, connected, drained, serving, more)
#define LOOK(connected, told, drained, serving, more)                                       \
	"{\"workloads\":[{\"service\":\"orders\",\"serving\":" serving "},"                 \
	"{\"service\":\"web\",\"serving\":7}],"                                             \
	"\"state\":{\"mode\":\"redis\",\"connected\":" connected ",\"told\":" told "," more \
	"\"own\":["                                                                         \
	"{\"service\":\"orders\",\"drained\":" drained "},"                                 \
	"{\"service\":\"web\",\"drained\":false}]}}"
#define TOLD   STATUS("true", "true", "0", "")
#define BEFORE STATUS("true", "false", "0", "")

/* The last one is how it stays. */
struct script {
	const char *post; /* what follows the answer's "HTTP/1.1 " */
	const char *looks[10];
};

static void answer_one(const struct script *s, unsigned *look)
{
	char request[4096];
	int fd = accept(listener, NULL, NULL);
	ssize_t n = recv(fd, request, sizeof(request) - 1, 0);
	request[n > 0 ? n : 0] = 0;
	if (strncmp(request, "POST ", 5) == 0) {
		strncat(asked, request, strcspn(request, "\r"));
		strcat(asked, "\n");
		dprintf(fd, "HTTP/1.1 %s", s->post);
	} else {
		dprintf(fd, "HTTP/1.1 200 OK\r\n\r\n%s", s->looks[*look]);
		if (s->looks[*look + 1])
			(*look)++;
	}
	close(fd);
}

static void *serve(void *argument)
{
	unsigned look = 0;
	while (!atomic_load(&over)) {
		struct pollfd polls = {.fd = listener, .events = POLLIN};
		if (poll(&polls, 1, 20) == 1)
			answer_one(argument, &look);
	}
	return NULL;
}

static int swap_output(int fd, const char *name)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int saved = dup(fd), file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	dup2(file, fd);
	close(file);
	return saved;
}

static void restore_output(int fd, int saved, const char *name, char *text, size_t size)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	dup2(saved, fd);
	close(saved);
	FILE *file = fopen(path, "r");
	text[fread(text, 1, size - 1, file)] = 0;
	fclose(file);
	unlink(path);
}

static int run(const struct script *script, char **argv)
{
	pthread_t thread;
	int argc = 0;
	while (argv[argc])
		argc++;
	asked[0] = 0;
	atomic_store(&over, false);
	pthread_create(&thread, NULL, serve, (void *)(uintptr_t)script);
	fflush(stdout);
	int saved_out = swap_output(1, "out"), saved_err = swap_output(2, "err");
	int exit_status = cli_drain_main(argc, argv);
	fflush(stdout);
	restore_output(1, saved_out, "out", printed, sizeof(printed));
	restore_output(2, saved_err, "err", complained, sizeof(complained));
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	return exit_status;
}

#define RUN(script, ...)                                     \
	run(script, (char *[]){"ringmain drain", "--socket", \
			    socket_path __VA_OPT__(, ) __VA_ARGS__, NULL})

#define ASKED "202 Accepted\r\nContent-Length: 0\r\n\r\n"

static void assert_in(const char *text, const char *part)
{
	if (!strstr(text, part)) {
		fprintf(stderr, "missing: %s\nin: %s\n", part, text);
		fail();
	}
}

static void it_is_safe_when_the_others_know_and_nothing_is_in_progress(void **state)
{
	static const struct script script = {ASKED,
		{BEFORE, STATUS("true", "true", "2", ""), STATUS("true", "true", "1", ""), TOLD}};
	assert_int_equal(RUN(&script, "orders"), 0);
	assert_string_equal(asked, "POST /endpoints/drain?service=orders HTTP/1.1\n");
	assert_string_equal(
		printed, "orders: out of the mesh, and nothing is in progress: safe to stop\n");
	assert_string_equal(complained, "orders: asked for\norders: drained; 2 in progress\n"
					"orders: drained; 1 in progress\n"
					"orders: drained; waiting until the others have seen it\n");
}

static void a_moment_between_two_requests_is_not_enough(void **state)
{
	static const struct script script = {
		ASKED, {TOLD, TOLD, STATUS("true", "true", "1", ""), TOLD, TOLD,
			       STATUS("true", "true", "3", "")}};
	assert_int_equal(RUN(&script, "orders", "--timeout", "3s"), 1);
	assert_in(complained, "after 3s 3 requests or connections are in progress");
	assert_string_equal(printed, "");
}

static void it_is_not_safe_while_the_store_cannot_be_told(void **state)
{
	static const struct script script = {ASKED, {STATUS("false", "true", "0", "")}};
	assert_int_equal(RUN(&script, "orders", "--timeout", "2s"), 1);
	assert_in(complained, "orders: drained, but the store cannot be told now: others go on");
	assert_in(complained, "the store could not be told within 2s: others still send calls");

	/* It is there, but takes nothing: full, or read-only. */
	static const struct script full = {ASKED, {LOOK("true", "false", "true", "0", "")}};
	assert_int_equal(RUN(&full, "orders", "--timeout", "2s"), 1);
	assert_in(complained, "the store could not be told within 2s: others still send calls");

	/* Told, and lost again before the second is over: it begins anew. */
	static const struct script flapping = {
		ASKED, {TOLD, TOLD, TOLD, STATUS("false", "true", "0", ""), TOLD}};
	assert_int_equal(RUN(&flapping, "orders"), 0);
}

static void what_is_lost_is_asked_for_again(void **state)
{
	static const struct script script = {ASKED, {BEFORE}};
	assert_int_equal(RUN(&script, "orders", "--timeout", "3s"), 1);
	assert_in(asked, "POST /endpoints/drain?service=orders HTTP/1.1\n"
			 "POST /endpoints/drain?service=orders HTTP/1.1\n");
	assert_in(complained, "orders: not done within 3s; the log says why");
}

static void a_failure_is_told(void **state)
{
	static const struct script script = {
		ASKED, {STATUS("true", "false", "0", "\"drain_failed\":\"the disk is full\",")}};
	assert_int_equal(RUN(&script, "orders"), 1);
	assert_in(complained, "the disk is full");
	static const struct script standalone = {
		"409 Conflict\r\nContent-Length: 26\r\n\r\nthis machine is standalone", {BEFORE}};
	assert_int_equal(RUN(&standalone, "orders"), 1);
	assert_string_equal(complained, "ringmain drain: this machine is standalone\n");
}

static void without_a_name_it_is_all_of_the_machine(void **state)
{
	static const struct script script = {
		ASKED, {"{\"workloads\":[{\"service\":\"web\",\"serving\":0}],\"state\":{\"mode\":"
			"\"redis\","
			"\"connected\":true,\"told\":true,\"own\":[{\"service\":\"web\","
			"\"drained\":true}]}}"}};
	assert_int_equal(RUN(&script), 0);
	assert_string_equal(asked, "POST /endpoints/drain HTTP/1.1\n");
	assert_in(printed, "all of this machine: out of the mesh");
}

static void it_can_be_undone(void **state)
{
	static const struct script script = {ASKED, {TOLD, BEFORE}};
	assert_int_equal(RUN(&script, "--undo", "orders"), 0);
	assert_string_equal(asked, "POST /endpoints/undrain?service=orders HTTP/1.1\n");
	assert_string_equal(printed, "orders: back in the mesh\n");
	static const struct script alone = {ASKED, {STATUS("false", "false", "0", "")}};
	assert_int_equal(RUN(&alone, "--undo", "orders"), 0);
	assert_in(printed, "back in the mesh, but the store cannot be told now");
}

static void it_need_not_wait(void **state)
{
	static const struct script script = {ASKED, {BEFORE}};
	assert_int_equal(RUN(&script, "orders", "--timeout", "0"), 0);
	assert_in(printed, "orders: asked for");
}

static void usage(void **state)
{
	static const struct script script = {ASKED, {BEFORE}};
	assert_int_equal(RUN(&script, "orders", "web"), 2);
	assert_in(complained, "one service at a time");
	assert_int_equal(RUN(&script, "or/ders"), 2);
	assert_in(complained, "is no service's name");
	assert_int_equal(RUN(&script, "orders", "--timeout", "soon"), 2);
	assert_in(complained, "--timeout: 30s, 5m or 1h, not \"soon\"");
	assert_int_equal(RUN(&script, "--nonsense"), 2);
	assert_int_equal(RUN(&script, "--help"), 0);
	assert_in(printed, "usage: ringmain drain");
	assert_string_equal(asked, "");
}

static int setup_all(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (!mkdtemp(dir))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/admin.sock", dir);
	memcpy(address.sun_path, socket_path, sizeof(socket_path));
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	return bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 4);
}

static int teardown_all(void **state)
{
	close(listener);
	unlink(socket_path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_safe_when_the_others_know_and_nothing_is_in_progress),
		cmocka_unit_test(a_moment_between_two_requests_is_not_enough),
		cmocka_unit_test(it_is_not_safe_while_the_store_cannot_be_told),
		cmocka_unit_test(what_is_lost_is_asked_for_again),
		cmocka_unit_test(a_failure_is_told),
		cmocka_unit_test(without_a_name_it_is_all_of_the_machine),
		cmocka_unit_test(it_can_be_undone),
		cmocka_unit_test(it_need_not_wait),
		cmocka_unit_test(usage),
	};
	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
