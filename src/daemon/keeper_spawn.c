/* SPDX-License-Identifier: Apache-2.0 */
/* A child gets standard error, the control channel and nothing else: no privilege, no
 * descriptor, no way to gain either. Between fork and exec the child is a copy of the keeper
 * without its keys (the keyring's pages are empty in a child). */
#include "keeper.h"

#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEEPER_FILES_MAX (1u << 20)

int keeper_user_find(const struct conf *conf, struct keeper_user *ret_user, struct err *err)
{
	char text[16384];
	struct passwd entry, *found = NULL;
	bool is_self = conf->uid == geteuid();
	if (conf->uid == 0)
		return err_set(err, EPERM,
			"node.user is \"" STR_FMT
			"\"; the processes that talk to the network must not run as root",
			STR_ARG(conf->user));
	if (geteuid() != 0 && !is_self)
		return err_set(err, EPERM,
			"must be started as root, to run the proxy process as \"" STR_FMT
			"\"; without root, name your own user in node.user",
			STR_ARG(conf->user));
	int r = getpwuid_r(conf->uid, &entry, text, sizeof(text), &found);
	if (r != 0)
		return err_set(
			err, r, "user \"" STR_FMT "\": %s", STR_ARG(conf->user), strerror(r));
	/* A bare number that nobody has needs no entry: its group is the same number. */
	*ret_user = (struct keeper_user){conf->uid, found ? found->pw_gid : conf->uid, is_self};
	return 0;
}

void keeper_limits(uint64_t files_wanted)
{
	const struct rlimit no_core = {0, 0};
	(void)setrlimit(RLIMIT_CORE, &no_core);
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	struct rlimit more = {KEEPER_FILES_MAX, KEEPER_FILES_MAX};
	if (files.rlim_max > more.rlim_max)
		more.rlim_cur = more.rlim_max = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &more) < 0) {
		/* The hard limit stands: go up to it. */
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files_wanted)
		log_warning("keeper",
			"the limit of open files is %llu, but limits.connections_max needs %llu; "
			"raise "
			"LimitNOFILE",
			(unsigned long long)files.rlim_cur, (unsigned long long)files_wanted);
}

/* --- in the child --- */

_Noreturn static void keeper_child_fail(const char *what)
{
	log_error("keeper", "starting a child: %s: %m", what);
	_exit(127);
}

/* Whatever the user change leaves behind. The bounding set needs CAP_SETPCAP to be dropped; a
 * service manager that withheld it has bounded us already, and no_new_privs makes the set moot. */
static void keeper_child_drop_capabilities(void)
{
	for (unsigned long c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++) {
		if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0 && errno != EPERM)
			keeper_child_fail("dropping the capability bounding set");
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		keeper_child_fail("clearing ambient capabilities");
}

static void keeper_child_verify(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0};
	if (syscall(SYS_capset, &head, none) < 0 || syscall(SYS_capget, &head, none) < 0)
		keeper_child_fail("dropping capabilities");
	for (size_t i = 0; i < ARRAY_LEN(none); i++) {
		errno = EPERM;
		if (none[i].effective || none[i].permitted || none[i].inheritable)
			keeper_child_fail("capabilities are left over");
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		keeper_child_fail("PR_SET_NO_NEW_PRIVS");
}

static void keeper_child_become(const struct keeper_user *user)
{
	keeper_child_drop_capabilities();
	if (!user->is_self) {
		if (setgroups(0, NULL) < 0)
			keeper_child_fail("setgroups");
		if (setresgid(user->gid, user->gid, user->gid) < 0)
			keeper_child_fail("setresgid");
		if (setresuid(user->uid, user->uid, user->uid) < 0)
			keeper_child_fail("setresuid");
	}
	keeper_child_verify();
}

static void keeper_child_files(int channel_fd)
{
	int null_fd = open("/dev/null", O_RDWR);
	if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0)
		keeper_child_fail("/dev/null");
	/* dup2 onto itself would leave close-on-exec set. */
	if (channel_fd == WIRE_CHANNEL_FD ? fcntl(channel_fd, F_SETFD, 0) < 0
					  : dup2(channel_fd, WIRE_CHANNEL_FD) < 0)
		keeper_child_fail("the control channel");
	if (syscall(SYS_close_range, WIRE_CHANNEL_FD + 1, UINT_MAX, 0) < 0)
		keeper_child_fail("close_range");
}

_Noreturn static void keeper_child(const struct keeper_child *c, const struct keeper_user *user,
	int channel_fd, pid_t keeper_pid)
{
	char *argv[] = {"ringmain", (char *)(uintptr_t)c->command, NULL};
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* A group of its own: Ctrl-C at a terminal is the keeper's to act upon. */
	setpgid(0, 0);
	keeper_child_files(channel_fd);
	keeper_child_become(user);
	/* After the user change, which clears it. Without a keeper there is nobody to sign. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		keeper_child_fail("PR_SET_PDEATHSIG");
	if (getppid() != keeper_pid)
		_exit(0);
	execv("/proc/self/exe", argv);
	keeper_child_fail("exec");
}

int keeper_spawn(
	struct keeper_child *c, const struct keeper_user *user, int channel_fd, struct err *err)
{
	pid_t keeper_pid = getpid(), pid = fork();
	if (pid == 0)
		keeper_child(c, user, channel_fd, keeper_pid);
	int error = errno;
	close(channel_fd);
	if (pid < 0)
		return err_set(err, error, "fork: %s", strerror(error));
	c->pid = pid;
	return 0;
}
