/* SPDX-License-Identifier: Apache-2.0 */
/* The whole command against a socket that gives canned answers. */
#include "cli/status.h"

#include "base/assert.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/ringmain-status-XXXXXX";
static char socket_path[sizeof((struct sockaddr_un){}.sun_path)], conf_path[128];
static int listener;
static char printed[65536], complained[65536];

#define WELL \
	"{\"generation\":1,\"run_dir\":null,\"ready\":true,\"listeners\":[{\"kind\":\"mesh\"}]}\n"

static void *serve(void *argument)
{
	const char *answer = argument;
	char request[4096];
	int fd = accept(listener, NULL, NULL);
	ssize_t n = recv(fd, request, sizeof(request) - 1, 0);
	request[n > 0 ? n : 0] = 0;
	if (strstr(request, "GET /status HTTP/1.1\r\n") && strstr(request, "\r\n\r\n"))
		(void)!write(fd, answer, strlen(answer));
	close(fd);
	return NULL;
}

static void swap_output(int fd, const char *path, int *saved)
{
	*saved = dup(fd);
	int file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	dup2(file, fd);
	close(file);
}

static void restore_output(int fd, const char *path, int saved, char *text, size_t size)
{
	dup2(saved, fd);
	close(saved);
	FILE *file = fopen(path, "r");
	text[fread(text, 1, size - 1, file)] = 0;
	fclose(file);
}

/* Runs the command, with a server when there is an answer. */
static int run(const char *answer, char **argv)
{
	char out[160], err[160];
	int saved_out, saved_err, argc = 0;
	pthread_t thread;
	snprintf(out, sizeof(out), "%s/out", dir);
	snprintf(err, sizeof(err), "%s/err", dir);
	while (argv[argc])
		argc++;
	if (answer)
		pthread_create(&thread, NULL, serve, (void *)(uintptr_t)answer);
	fflush(stdout);
	swap_output(1, out, &saved_out);
	swap_output(2, err, &saved_err);
	int exit_status = cli_status_main(argc, argv);
	fflush(stdout);
	restore_output(1, out, saved_out, printed, sizeof(printed));
	restore_output(2, err, saved_err, complained, sizeof(complained));
	if (answer)
		pthread_join(thread, NULL);
	return exit_status;
}

#define RUN(answer, ...) run(answer, (char *[]){"status", __VA_ARGS__ __VA_OPT__(, ) NULL})

static void well(void **state)
{
	assert_int_equal(
		RUN("HTTP/1.1 200 OK\r\nContent-Length: 75\r\n\r\n" WELL, "--socket", socket_path),
		0);
	assert_non_null(strstr(printed, "\nstate       ready\n"));
	assert_string_equal(complained, "");
}

static void socket_from_the_configuration(void **state)
{
	FILE *file = fopen(conf_path, "w");
	fprintf(file, "node: { admin_socket = \"%s\"; nonsense = 1; };\n", socket_path);
	fclose(file);
	assert_int_equal(RUN("HTTP/1.1 200 OK\r\n\r\n" WELL, "-c", conf_path), 0);
}

static void json_has_the_redirect(void **state)
{
	char answer[1024], path[160];
	snprintf(path, sizeof(path), "%s/redirect.json", dir);
	FILE *file = fopen(path, "w");
	fprintf(file, "{\"state\":\"in place\"}\n");
	fclose(file);
	snprintf(answer, sizeof(answer),
		"HTTP/1.1 200 OK\r\n\r\n{\"generation\":1,\"run_dir\":\"%s\",\"listeners\":[1]}\n",
		dir);
	assert_int_equal(RUN(answer, "--socket", socket_path, "-o", "json"), 0);
	assert_non_null(
		strstr(printed, "\"listeners\":[1],\"redirect\":{\"state\":\"in place\"}}\n"));
	file = fopen(path, "w"); /* half written: no reason to fail */
	fprintf(file, "{\"state\":");
	fclose(file);
	assert_int_equal(RUN(answer, "--socket", socket_path, "-o", "json"), 0);
	assert_non_null(strstr(printed, "\"listeners\":[1],\"redirect\":null}\n"));
	unlink(path);
}

static void a_problem_is_exit_status_1(void **state)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\n\r\n{\"generation\":0}";
	assert_int_equal(RUN(answer, "--socket", socket_path), 1);
	assert_non_null(strstr(printed, "× no configuration is in force\n"));
	assert_int_equal(RUN(answer, "--socket", socket_path, "-o", "json"), 1);
}

static void broken_answers(void **state)
{
	static const struct {
		const char *answer, *complaint;
	} rows[] = {
		{"", "gave no whole answer"},
		{"HTTP/1.1 200 OK\r\n", "gave no whole answer"},
		{"SSH-2.0-x\r\n\r\n", "gave no whole answer"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", "gave no whole answer"},
		{"HTTP/1.1 200 OK\r\n\r\nnope", "is no JSON object"},
		{"HTTP/1.1 200 OK\r\n\r\n[]", "is no JSON object"},
		{"HTTP/1.1 503 X\r\ncontent-length: 4\r\n\r\nwhy\n", "answers 503: why"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(RUN(rows[i].answer, "--socket", socket_path), 1);
		if (!strstr(complained, rows[i].complaint))
			print_error("row %zu: %s\n", i, complained);
		assert_non_null(strstr(complained, rows[i].complaint));
	}
}

static void nobody_there(void **state)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/none", dir);
	assert_int_equal(RUN(NULL, "--socket", path), 1);
	assert_non_null(strstr(complained, "there is no admin socket at"));
	int fd = socket(AF_UNIX, SOCK_STREAM, 0); /* bound, but nobody listens */
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(RUN(NULL, "--socket", path), 1);
	assert_non_null(strstr(complained, "nobody listens on"));
	close(fd);
	unlink(path);
}

/* It listens, so that the kernel takes the connection, and says nothing. */
static void proxy_that_hangs(void **state)
{
	assert_int_equal(RUN(NULL, "--socket", socket_path), 1);
	assert_non_null(strstr(complained, "does not answer within 5 s"));
	close(accept(listener, NULL, NULL));
}

static void usage(void **state)
{
	assert_int_equal(RUN(NULL, "extra"), 2);
	assert_string_equal(complained, "status: an argument too many\nTry \"status --help\".\n");
	assert_int_equal(RUN(NULL, "-o", "xml"), 2);
	assert_non_null(strstr(complained, "not \"xml\""));
	assert_int_equal(RUN(NULL, "--nonsense"), 2);
	assert_int_equal(RUN(NULL, "--help"), 0);
	assert_non_null(strstr(printed, "usage: ringmain status"));
}

static int setup_all(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (!mkdtemp(dir))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/admin.sock", dir);
	snprintf(conf_path, sizeof(conf_path), "%s/ringmain.conf", dir);
	memcpy(address.sun_path, socket_path, sizeof(socket_path));
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	return bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 4);
}

static int teardown_all(void **state)
{
	static const char *const names[] = {"admin.sock", "ringmain.conf", "out", "err"};
	char path[160];
	close(listener);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(well),
		cmocka_unit_test(socket_from_the_configuration),
		cmocka_unit_test(json_has_the_redirect),
		cmocka_unit_test(a_problem_is_exit_status_1),
		cmocka_unit_test(broken_answers),
		cmocka_unit_test(nobody_there),
		cmocka_unit_test(proxy_that_hangs),
		cmocka_unit_test(usage),
	};
	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
