/* SPDX-License-Identifier: Apache-2.0 */
#include "base/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

static int program_set_output(posix_spawn_file_actions_t *files, int fd, int as)
{
	if (fd < 0)
		return posix_spawn_file_actions_addopen(files, as, "/dev/null", O_WRONLY, 0);
	return posix_spawn_file_actions_adddup2(files, fd, as);
}

static int program_set_files(posix_spawn_file_actions_t *files, int out_fd, int err_fd)
{
	int r = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = program_set_output(files, out_fd, STDOUT_FILENO);
	if (r == 0)
		r = program_set_output(files, err_fd, STDERR_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
	if (r == 0)
		r = posix_spawn_file_actions_addchdir_np(files, "/");
	return r;
}

/* What a daemon blocks or ignores is no business of the program. */
static void program_set_signals(posix_spawnattr_t *attributes)
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

int program_start(char *const argv[], int out_fd, int err_fd, pid_t *ret_pid)
{
	char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char *environment[] = {path, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	pid_t pid;
	int r = posix_spawn_file_actions_init(&files);
	if (r != 0)
		return -r;
	posix_spawnattr_init(&attributes);
	program_set_signals(&attributes);
	r = program_set_files(&files, out_fd, err_fd);
	if (r == 0)
		r = posix_spawn(&pid, argv[0], &files, &attributes, argv, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	if (r == 0)
		*ret_pid = pid;
	return -r;
}

bool program_ended(pid_t pid, int *ret_status)
{
	siginfo_t ended = {0};
	*ret_status = -1;
	if (waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) < 0)
		return errno == ECHILD;
	if (ended.si_pid == 0)
		return false;
	/* Until it is reaped its number, and so the group's, is nobody else's. */
	program_kill(pid);
	if (waitpid(pid, ret_status, WNOHANG) != pid)
		*ret_status = -1;
	return true;
}

void program_kill(pid_t pid)
{
	ASSERT(pid > 1);
	(void)kill(-pid, SIGKILL);
}
