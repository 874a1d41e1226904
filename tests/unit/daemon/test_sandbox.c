/* SPDX-License-Identifier: Apache-2.0 */
/* Each attempt in a child that has entered the sandbox; always built without sanitizers, with the
 * strict list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What came of it: 0, an errno, or minus a signal. */
static int attempt(enum sandbox_kind kind, long (*try)(void))
{
	pid_t pid = fork();
	if (pid == 0) {
		struct err err;
		if (sandbox_enter(kind, &err) < 0)
			_exit(255);
		errno = 0;
		_exit(try() < 0 ? errno : 0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static long try_open(void)
{
	return open("/etc/hostname", O_RDONLY);
}

static long try_stat(void)
{
	struct stat st;
	return stat("/etc/hostname", &st);
}

static long try_execve(void)
{
	return execl("/bin/true", "true", NULL);
}

static long try_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static long try_fork(void)
{
	return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static long try_unix(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static long try_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0);
}

static long try_packet(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0);
}

static long try_udp(void)
{
	return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static long try_other_stream(void)
{
	return socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
}

static long try_ring(void)
{
	return syscall(SYS_io_uring_setup, 4, NULL);
}

static long try_executable_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
			       MAP_FAILED
		       ? -1
		       : 0;
}

static long try_make_executable(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static long try_bind(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return fd < 0 ? 0 : bind(fd, (struct sockaddr *)&a, sizeof(a));
}

static long try_kill(void)
{
	return kill(getppid(), 0);
}

static long try_other_numbers(void)
{
	return syscall(0x40000000 | SYS_getpid);
}

static long try_tcp(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP) < 0 ||
			       socket(AF_INET6, SOCK_STREAM, 0) < 0
		       ? -1
		       : 0;
}

static long try_usual(void)
{
	struct stat st;
	struct timespec t;
	char bytes[16], *heap = malloc(1 << 20);
	if (!heap || fstat(STDIN_FILENO, &st) < 0 || clock_gettime(CLOCK_MONOTONIC, &t) < 0)
		return -1;
	free(heap);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) < 0 || close(fd) < 0)
		return -1;
	return syscall(SYS_getrandom, bytes, sizeof(bytes), 0) == sizeof(bytes) && usleep(1) == 0
		       ? 0
		       : -1;
}

static void *other_thread(void *unused)
{
	usleep(50000);
	return (void *)(intptr_t)(open("/etc/hostname", O_RDONLY) < 0 ? errno : 0);
}

static void only_what_carries_traffic_is_left(void **state)
{
	static const struct {
		const char *name;
		long (*try)(void);
		int result;
	} cases[] = {
		{"open", try_open, EPERM},
		{"stat", try_stat, EPERM},
		{"execve", try_execve, -SIGSYS},
		{"ptrace", try_ptrace, -SIGSYS},
		{"fork", try_fork, EPERM},
		{"socket AF_UNIX", try_unix, EPERM},
		{"socket AF_NETLINK", try_netlink, EPERM},
		{"socket AF_PACKET", try_packet, EPERM},
		{"socket SOCK_DGRAM", try_udp, EPERM},
		{"socket of another stream protocol", try_other_stream, EPERM},
		{"io_uring_setup", try_ring, EPERM},
		{"mmap executable", try_executable_memory, EPERM},
		{"mprotect executable", try_make_executable, EPERM},
		{"bind", try_bind, EPERM},
		{"kill", try_kill, EPERM},
		{"calls under other numbers", try_other_numbers, -SIGSYS},
		{"socket TCP", try_tcp, 0},
		{"usual calls", try_usual, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int result = attempt(SANDBOX_PROXY, cases[i].try);
		if (result != cases[i].result)
			fail_msg("%s: %d, not %d", cases[i].name, result, cases[i].result);
	}
}

static long try_program(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "/bin/cat /etc/hostname >/dev/null", NULL);
		_exit(1);
	}
	int status;
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

/* What a program that is run there may not do either. */
static long try_program_namespace(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		execl("/usr/bin/unshare", "unshare", "--user", "/bin/true", NULL);
		_exit(0);
	}
	int status;
	errno = EPERM;
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static void *idle_thread(void *unused)
{
	return NULL;
}

static long try_thread(void)
{
	pthread_t thread;
	return pthread_create(&thread, NULL, idle_thread, NULL) == 0 ? pthread_join(thread, NULL)
								     : -1;
}

static long try_listen(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return fd < 0 ? 0 : listen(fd, 1);
}

static long try_accept(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return fd < 0 ? 0 : accept(fd, NULL, NULL);
}

static long try_clone_namespace(void)
{
	return syscall(SYS_clone, SIGCHLD | CLONE_NEWUSER, 0, 0, 0, 0);
}

static long try_clone3(void)
{
	return syscall(SYS_clone3, NULL, 0);
}

static long try_unshare(void)
{
	return unshare(CLONE_NEWUSER);
}

static long try_mount(void)
{
	return mount("none", "/mnt", "tmpfs", 0, NULL);
}

static long try_bpf(void)
{
	return syscall(SYS_bpf, 0, NULL, 0);
}

static long try_alg(void)
{
	return socket(AF_ALG, SOCK_SEQPACKET, 0);
}

static long try_attach(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static long try_key(void)
{
	return syscall(SYS_add_key, "user", "x", "y", 1, -1);
}

static void the_state_process_may_run_programs_but_not_climb(void **state)
{
	static const struct {
		const char *name;
		long (*try)(void);
		int result;
	} cases[] = {
		{"a program", try_program, 0},
		{"a program that wants a namespace", try_program_namespace, EPERM},
		{"a thread", try_thread, 0},
		{"open", try_open, 0},
		{"socket TCP", try_tcp, 0},
		{"socket AF_UNIX", try_unix, 0},
		{"socket AF_NETLINK", try_netlink, 0},
		{"socket SOCK_DGRAM", try_udp, 0},
		{"usual calls", try_usual, 0},
		{"listen", try_listen, EPERM},
		{"accept", try_accept, EPERM},
		{"socket AF_PACKET", try_packet, EPERM},
		{"socket AF_ALG", try_alg, EPERM},
		{"clone into a namespace", try_clone_namespace, EPERM},
		{"clone3", try_clone3, ENOSYS},
		{"unshare", try_unshare, EPERM},
		{"mount", try_mount, EPERM},
		{"bpf", try_bpf, EPERM},
		{"ptrace", try_attach, EPERM},
		{"add_key", try_key, EPERM},
		{"io_uring_setup", try_ring, ENOSYS},
		{"calls under other numbers", try_other_numbers, -SIGSYS},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int result = attempt(SANDBOX_STATE, cases[i].try);
		if (result != cases[i].result)
			fail_msg("%s: %d, not %d", cases[i].name, result, cases[i].result);
	}
}

static void it_holds_for_threads_that_were_there_before(void **state)
{
	pid_t pid = fork();
	if (pid == 0) {
		pthread_t thread;
		struct err err;
		void *result;
		if (pthread_create(&thread, NULL, other_thread, NULL) != 0 ||
			sandbox_enter(SANDBOX_PROXY, &err) < 0)
			_exit(255);
		pthread_join(thread, &result);
		_exit((int)(intptr_t)result);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, EPERM << 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_carries_traffic_is_left),
		cmocka_unit_test(the_state_process_may_run_programs_but_not_climb),
		cmocka_unit_test(it_holds_for_threads_that_were_there_before),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
