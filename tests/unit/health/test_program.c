/* SPDX-License-Identifier: Apache-2.0 */
/* Checks by a program: real processes, in virtual time. No test waits for the clock: whoever
 * waits, waits for a process to end. */
#include "ward.h"

#include "base/clock.h"
#include "base/program.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char place[] = "/tmp/ringmain-health-XXXXXX";
static char script[sizeof(place) + 16];

/* A program of this text; its output file is at "$OUT" of the text, written as %s. */
static const char *program(const char *text)
{
	snprintf(script, sizeof(script), "%s/check", place);
	unlink(script);
	FILE *f = fopen(script, "w");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\n%s\n", text);
	fclose(f);
	assert_int_equal(chmod(script, 0755), 0);
	return script;
}

/* What a program wrote into the file "out" beside it. */
static const char *output(char text[4096])
{
	char path[sizeof(place) + 16];
	snprintf(path, sizeof(path), "%s/out", place);
	FILE *f = fopen(path, "r");
	size_t len = f ? fread(text, 1, 4095, f) : 0;
	text[len] = '\0';
	if (f)
		fclose(f);
	unlink(path);
	return text;
}

/* Starts the check; it runs after this. */
static void begin(const char *path, const char *argument)
{
	ward_start();
	ward_add_command(path, argument);
	ward_configure();
	ward_run(200 * CLOCK_MS);
}

/* Waits until a child has ended, if any is left (a quick one was seen to end at once), and tells
 * the room as the state process does. */
static void child_ends(void)
{
	siginfo_t ended;
	(void)waitid(P_ALL, 0, &ended, WEXITED | WNOWAIT);
	health_child(ward.health);
	ward_pump();
}

static void expect_no_children(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void expect_outcome(const char *path, const char *argument, bool up, const char *why)
{
	begin(path, argument);
	child_ends();
	ward_expect(up, up ? 0 : 1, why);
	expect_no_children();
	ward_finish();
}

static void test_exit_status(void **state)
{
	expect_outcome("/bin/true", NULL, true, "");
	expect_outcome("/bin/false", NULL, false, "ended with status 1");
	expect_outcome(program("exit 42"), NULL, false, "ended with status 42");
	expect_outcome(program("kill -9 $$"), NULL, false, "killed by signal 9");
	expect_outcome(program("kill -15 $$"), NULL, false, "killed by signal 15");
	expect_outcome(program("test \"$1\" = '; exit 3 *'"), "; exit 3 *", true, "");
}

static void test_cannot_be_started(void **state)
{
	static const struct {
		const char *path, *why;
	} cases[] = {
		{"/nowhere/at/all", "cannot be started: No such file or directory"},
		{"/etc/passwd", "cannot be started: Permission denied"},
		{"/tmp", "cannot be started: Permission denied"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		begin(cases[i].path, NULL);
		ward_expect(false, 1, cases[i].why);
		expect_no_children();
		ward_run(5 * CLOCK_S);
		ward_expect(false, 2, cases[i].why);
		ward_finish();
	}
}

/* Nothing of this process comes along: no descriptor, no variable, no blocked or ignored signal. */
static void test_environment(void **state)
{
	char text[4096], body[512];
	sigset_t blocked, before;
	assert_int_equal(dup2(STDERR_FILENO, 57), 57); /* without O_CLOEXEC */
	setenv("RINGMAIN_SECRET", "x", 1);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	snprintf(body, sizeof(body),
		"exec >%s/out\n"
		"test -e /proc/$$/fd/57 && echo leaks\n"
		"echo in $(readlink /proc/$$/fd/0) errors $(readlink /proc/$$/fd/2)\n"
		"tr '\\0' '\\n' </proc/$$/environ\n"
		"grep -E '^Sig(Blk|Ign):' /proc/$$/status | sed 's/\\t[0-9]*\\(.......\\)$/ \\1/'\n"
		"pwd\n"
		"echo group $(($(cut -d' ' -f5 /proc/$$/stat) - $$))\n",
		place);
	begin(program(body), NULL);
	child_ends();
	sigprocmask(SIG_SETMASK, &before, NULL);
	signal(SIGPIPE, SIG_DFL);
	unsetenv("RINGMAIN_SECRET");
	close(57);
	ward_expect(true, 0, "");
	assert_string_equal(output(text),
		"in /dev/null errors /dev/null\n"
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
		"SigBlk: 0000000\n"
		"SigIgn: 0000000\n"
		"/\n"
		"group 0\n");
	ward_finish();
}

/* Until the process has ended for good (state Z or gone). */
static bool is_alive(pid_t pid)
{
	char path[64], text[512] = "";
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *f = fopen(path, "r");
	if (!f)
		return false;
	size_t len = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	const char *end = len ? strrchr(text, ')') : NULL;
	return end && end[2] != 'Z' && end[2] != 'X';
}

static void expect_ends(pid_t pid)
{
	for (int i = 0; is_alive(pid); i++) {
		assert_true(i < 10000);
		usleep(1000);
	}
}

/* The number that the program wrote, once it is there. */
static pid_t written_pid(void)
{
	char text[4096];
	for (int i = 0; i < 10000; i++) {
		if (strchr(output(text), '\n'))
			return (pid_t)strtol(text, NULL, 10);
		usleep(1000);
	}
	fail();
	return 0;
}

static const char *program_with_child(const char *then)
{
	char body[512];
	snprintf(body, sizeof(body), "sleep 1000 &\necho $! >%s/part\nmv %s/part %s/out\n%s", place,
		place, place, then);
	return program(body);
}

static void test_killed_with_its_children(void **state)
{
	begin(program_with_child("wait"), NULL);
	pid_t grandchild = written_pid();
	assert_true(is_alive(grandchild));
	ward_run(1500 * CLOCK_MS);
	assert_false(ward_view(0).asked);
	ward_run(500 * CLOCK_MS);
	ward_expect(false, 1, "did not end in 2 s");
	child_ends();
	expect_ends(grandchild);
	expect_no_children();
	assert_int_equal(ward_check(0)->state, CHECK_IDLE);
	ward_finish();
}

/* It ends by itself, and leaves something running: that goes, too. */
static void test_leaves_nothing_running(void **state)
{
	begin(program_with_child("exit 0"), NULL);
	pid_t grandchild = written_pid();
	child_ends();
	ward_expect(true, 0, "");
	expect_ends(grandchild);
	ward_finish();
}

static void test_one_at_a_time(void **state)
{
	ward_start();
	struct conf_workload *w = ward_add_command("/bin/sleep", "1000");
	w->health.interval_ms = 100;
	ward_configure();
	ward_run(150 * CLOCK_MS);
	pid_t pid = ward_check(0)->pid;
	assert_true(pid > 0);
	ward_run(1700 * CLOCK_MS);
	assert_int_equal(ward_check(0)->pid, pid);
	ward_run(300 * CLOCK_MS); /* killed */
	ward_expect(false, 1, "did not end in 2 s");
	child_ends();
	ward_run(200 * CLOCK_MS);
	assert_int_not_equal(ward_check(0)->pid, pid);
	ward_finish();
	expect_no_children();
}

/* The signal may be missed, or come late: the check looks by itself after it has killed. */
static void test_reaped_without_being_told(void **state)
{
	begin("/bin/sleep", "1000");
	pid_t pid = ward_check(0)->pid;
	ward_run(2 * CLOCK_S);
	expect_ends(pid);
	ward_run(200 * CLOCK_MS);
	assert_int_equal(ward_check(0)->pid, 0);
	assert_int_equal(ward_check(0)->state, CHECK_IDLE);
	expect_no_children();
	ward_finish();
}

/* A process that does not end when it is killed: stands in for one that hangs in the kernel. It is
 * the test's own child, in no group of that number, so that no kill reaches it. */
static void test_does_not_end(void **state)
{
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	begin("/bin/sleep", "1000");
	struct check *c = ward_check(0);
	pid_t real = c->pid;
	pid_t stuck = fork();
	if (stuck == 0) {
		char byte;
		close(fds[1]);
		_exit(read(fds[0], &byte, 1) < 0);
	}
	c->pid = stuck;
	ward_run(2 * CLOCK_S);
	ward_expect(false, 1, "did not end in 2 s");
	assert_int_equal(ward.health->asking_count, 0); /* it keeps nobody from his turn */
	ward_run(2 * CLOCK_S);
	ward_expect(false, 1, "did not end in 2 s");
	ward_run(15 * CLOCK_S);
	ward_expect(false, 4, "does not end, though it was killed");
	assert_int_equal(c->pid, stuck);
	close(fds[0]);
	close(fds[1]);
	child_ends();
	assert_int_equal(c->pid, 0);
	program_kill(real);
	assert_int_equal(waitpid(real, NULL, 0), real);
	for (int i = 0; i < 60 && c->pid == 0; i++)
		ward_run(100 * CLOCK_MS);
	assert_true(c->pid > 0); /* another run */
	ward_finish();
	expect_no_children();
}

/* Children of others are not reaped. */
static void test_reaps_its_own_only(void **state)
{
	siginfo_t ended;
	pid_t other = fork();
	if (other == 0)
		_exit(7);
	assert_int_equal(waitid(P_PID, (id_t)other, &ended, WEXITED | WNOWAIT), 0);
	begin("/bin/sleep", "0.5"); /* one that ends at once may be reaped already */
	pid_t pid = ward_check(0)->pid;
	assert_int_equal(waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT), 0);
	health_child(ward.health);
	ward_pump();
	ward_expect(true, 0, "");
	int status;
	assert_int_equal(waitpid(other, &status, 0), other);
	assert_int_equal(WEXITSTATUS(status), 7);
	ward_finish();
}

static void test_closed_while_it_runs(void **state)
{
	begin(program_with_child("wait"), NULL);
	pid_t grandchild = written_pid();
	ward_finish();
	expect_ends(grandchild);
	expect_no_children();
	begin(program_with_child("wait"), NULL);
	grandchild = written_pid();
	free(ward.workloads[0].health.command);
	ward.workload_count = 0;
	ward_configure(); /* taken out of the configuration */
	child_ends();
	expect_ends(grandchild);
	expect_no_children();
	ward_finish();
}

static uint32_t count_descriptors(void)
{
	uint32_t count = 0;
	DIR *d = opendir("/proc/self/fd");
	assert_non_null(d);
	while (readdir(d))
		count++;
	closedir(d);
	return count;
}

static void test_many_runs_leave_nothing(void **state)
{
	uint32_t before = count_descriptors();
	ward_start();
	for (int i = 0; i < 4; i++) {
		struct conf_workload *w = ward_add_command(i % 2 ? "/bin/true" : "/no", NULL);
		w->health.interval_ms = 100;
	}
	ward_configure();
	for (int i = 0; i < 50; i++) {
		ward_run(110 * CLOCK_MS);
		while (ward_check(1)->pid > 0 || ward_check(3)->pid > 0)
			child_ends();
	}
	assert_true(ward_view(1).up && ward_view(3).up);
	assert_true(ward_view(0).failure_count > 20);
	ward_finish();
	expect_no_children();
	assert_int_equal(count_descriptors(), before);
}

static int make_place(void **state)
{
	return mkdtemp(place) ? 0 : -1;
}

static int remove_place(void **state)
{
	char text[4096];
	output(text);
	unlink(script);
	return rmdir(place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_status),
		cmocka_unit_test(test_cannot_be_started),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_killed_with_its_children),
		cmocka_unit_test(test_leaves_nothing_running),
		cmocka_unit_test(test_one_at_a_time),
		cmocka_unit_test(test_reaped_without_being_told),
		cmocka_unit_test(test_does_not_end),
		cmocka_unit_test(test_reaps_its_own_only),
		cmocka_unit_test(test_closed_while_it_runs),
		cmocka_unit_test(test_many_runs_leave_nothing),
	};
	return cmocka_run_group_tests(tests, make_place, remove_place);
}
