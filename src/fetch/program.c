/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int fetch_program_files(posix_spawn_file_actions_t *files, int out_fd, int err_fd)
{
	int r = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(files, out_fd, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(files, err_fd, STDERR_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
	if (r == 0)
		r = posix_spawn_file_actions_addchdir_np(files, "/");
	return r;
}

static void fetch_program_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(attributes, &none);
	posix_spawnattr_setsigdefault(attributes, &all);
	posix_spawnattr_setpgroup(attributes, 0);
	posix_spawnattr_setflags(
		attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

static int fetch_program_spawn(pid_t *ret_pid, char *const argv[], int out_fd, int err_fd)
{
	char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char *environment[] = {path, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	int r = posix_spawn_file_actions_init(&files);
	if (r != 0)
		return -r;
	posix_spawnattr_init(&attributes);
	fetch_program_attributes(&attributes);
	r = fetch_program_files(&files, out_fd, err_fd);
	if (r == 0)
		r = posix_spawn(ret_pid, argv[0], &files, &attributes, argv, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	return -r;
}

int fetch_program_start(struct fetch_program *p, char *const argv[], size_t out_max)
{
	int out[2] = {-1, -1}, why[2] = {-1, -1};
	*p = (struct fetch_program){.out_fd = -1, .err_fd = -1, .out_max = out_max};
	p->out = malloc(out_max);
	if (!p->out)
		return -ENOMEM;
	int r = pipe2(out, O_CLOEXEC) < 0 || pipe2(why, O_CLOEXEC) < 0 ? -errno : 0;
	p->out_fd = out[0];
	p->err_fd = why[0];
	/* Ours only: the program's ends wait for room. */
	if (r == 0 &&
		(fcntl(out[0], F_SETFL, O_NONBLOCK) < 0 || fcntl(why[0], F_SETFL, O_NONBLOCK) < 0))
		r = -errno;
	if (r == 0)
		r = fetch_program_spawn(&p->pid, argv, out[1], why[1]);
	if (out[1] >= 0)
		close(out[1]);
	if (why[1] >= 0)
		close(why[1]);
	if (r < 0) {
		p->pid = 0;
		fetch_program_done(p);
	}
	return r;
}

static void fetch_program_read_out(struct fetch_program *p)
{
	while (!p->out_over) {
		char more;
		bool is_full = p->out_len == p->out_max;
		ssize_t n = is_full ? read(p->out_fd, &more, 1)
				    : read(p->out_fd, p->out + p->out_len, p->out_max - p->out_len);
		if (n <= 0)
			return;
		if (is_full)
			p->out_over = true;
		else
			p->out_len += (size_t)n;
	}
	fetch_program_kill(p);
}

/* Its first line, in printable characters. */
static void fetch_program_read_why(struct fetch_program *p)
{
	char text[512];
	ssize_t n;
	while ((n = read(p->err_fd, text, sizeof(text))) > 0) {
		for (ssize_t i = 0; i < n && p->why_len + 1 < sizeof(p->why); i++)
			p->why[p->why_len++] = text[i] >= ' ' && text[i] <= '~' ? text[i] : ' ';
	}
	while (p->why_len > 0 && p->why[p->why_len - 1] == ' ')
		p->why_len--;
	p->why[p->why_len] = '\0';
}

bool fetch_program_look(struct fetch_program *p, int *ret_status)
{
	siginfo_t ended = {0};
	*ret_status = -1;
	bool unknown = waitid(P_PID, (id_t)p->pid, &ended, WEXITED | WNOHANG | WNOWAIT) < 0 &&
		       errno == ECHILD;
	fetch_program_read_out(p);
	fetch_program_read_why(p);
	if (!unknown && ended.si_pid == 0)
		return false;
	/* Until it is reaped its number, and so the group's, is nobody else's. */
	if (!unknown) {
		fetch_program_kill(p);
		if (waitpid(p->pid, ret_status, WNOHANG) != p->pid)
			*ret_status = -1;
	}
	p->pid = 0;
	return true;
}

void fetch_program_kill(struct fetch_program *p)
{
	if (p->pid > 1)
		(void)kill(-p->pid, SIGKILL);
}

void fetch_program_done(struct fetch_program *p)
{
	ASSERT(p->pid == 0);
	if (p->out_fd >= 0)
		close(p->out_fd);
	if (p->err_fd >= 0)
		close(p->err_fd);
	free(p->out);
	*p = (struct fetch_program){.out_fd = -1, .err_fd = -1};
}
