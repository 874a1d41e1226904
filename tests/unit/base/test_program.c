/* SPDX-License-Identifier: Apache-2.0 */
/* Real processes: what they get, how they end, and what they leave. */
#include "base/program.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static pid_t start(const char *script, int out_fd, int err_fd)
{
	char *const argv[] = {"/bin/sh", "-c", (char *)script, NULL};
	pid_t pid = 0;
	assert_int_equal(program_start(argv, out_fd, err_fd, &pid), 0);
	assert_true(pid > 1);
	return pid;
}

static int end_of(pid_t pid)
{
	siginfo_t ended;
	int status;
	assert_int_equal(waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT), 0);
	assert_true(program_ended(pid, &status));
	return status;
}

/* All that comes until nobody holds the other end any more. */
static void expect_written(int fd, const char *want)
{
	char text[1024];
	size_t len = 0;
	ssize_t n;
	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	assert_string_equal(text, want);
	close(fd);
}

static void test_what_it_has(void **state)
{
	int out[2], why[2];
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(why, O_CLOEXEC), 0);
	assert_int_equal(dup2(STDERR_FILENO, 57), 57); /* without O_CLOEXEC */
	setenv("RINGMAIN_SECRET", "x", 1);
	pid_t pid = start("echo wrong >&2; pwd; readlink /proc/$$/fd/0; test -e /proc/$$/fd/57 && "
			  "echo leaks; "
			  "tr '\\0' '\\n' </proc/$$/environ",
		out[1], why[1]);
	close(out[1]);
	close(why[1]);
	expect_written(why[0], "wrong\n");
	expect_written(out[0],
		"/\n/dev/null\n"
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n");
	assert_int_equal(end_of(pid), 0);
	unsetenv("RINGMAIN_SECRET");
	close(57);
}

static void test_what_it_writes_may_be_nobodys(void **state)
{
	int out[2];
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid_t pid = start("readlink /proc/$$/fd/2", out[1], -1);
	close(out[1]);
	expect_written(out[0], "/dev/null\n");
	assert_int_equal(end_of(pid), 0);
	pid = start("test $(readlink /proc/$$/fd/1) = /dev/null", -1, -1);
	assert_int_equal(end_of(pid), 0);
}

/* What this process blocks and ignores, it does not. */
static void test_signals_are_its_own(void **state)
{
	sigset_t blocked, before;
	signal(SIGUSR1, SIG_IGN);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	pid_t by_term = start("kill -TERM $$; exit 3", -1, -1);
	pid_t by_user = start("kill -USR1 $$; exit 3", -1, -1);
	sigprocmask(SIG_SETMASK, &before, NULL);
	signal(SIGUSR1, SIG_DFL);
	int status = end_of(by_term);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	status = end_of(by_user);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
}

static void test_how_it_ends(void **state)
{
	int status = end_of(start("exit 42", -1, -1));
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	pid_t pid = start("sleep 1000", -1, -1);
	assert_false(program_ended(pid, &status));
	program_kill(pid);
	status = end_of(pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_what_it_leaves_is_killed(void **state)
{
	int out[2];
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid_t pid = start("sleep 1000 & exit 0", out[1], -1);
	close(out[1]);
	assert_int_equal(end_of(pid), 0);
	expect_written(out[0], ""); /* whoever had the other end is gone */
}

static void test_reaped_by_somebody_else(void **state)
{
	pid_t pid = start("exit 0", -1, -1);
	int status = 0;
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(program_ended(pid, &status));
	assert_int_equal(status, -1);
}

static void test_cannot_be_started(void **state)
{
	char *const nothing[] = {"/nowhere/at/all", NULL}, *const no_program[] = {
								   "/etc/passwd", NULL};
	pid_t pid = 7;
	assert_int_equal(program_start(nothing, -1, -1, &pid), -ENOENT);
	assert_int_equal(program_start(no_program, -1, -1, &pid), -EACCES);
	assert_int_equal(pid, 7);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_it_has),
		cmocka_unit_test(test_what_it_writes_may_be_nobodys),
		cmocka_unit_test(test_signals_are_its_own),
		cmocka_unit_test(test_how_it_ends),
		cmocka_unit_test(test_what_it_leaves_is_killed),
		cmocka_unit_test(test_reaped_by_somebody_else),
		cmocka_unit_test(test_cannot_be_started),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
