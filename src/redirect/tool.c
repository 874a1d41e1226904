/* SPDX-License-Identifier: Apache-2.0 */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A restore that waits for a lock gives up after TOOL_LOCK_WAIT; one that hangs is ended. */
#define TOOL_LOCK_WAIT	"5"
#define TOOL_TIMEOUT_MS 30000

extern char **environ;

static const char *const tool_family[IP_VERSION_COUNT] = {"iptables", "ip6tables"};

const char *ip_version_name(enum ip_version v)
{
	return v == IP_V4 ? "IPv4" : "IPv6";
}

enum ip_version tool_version_count(const struct tool *t)
{
	return t->ipv6 ? IP_VERSION_COUNT : IP_V6;
}

int tool_init(struct tool *t, const char *backend, struct err *err)
{
	bool automatic = strcmp(backend, "auto") == 0;
	size_t len = strspn(backend, "abcdefghijklmnopqrstuvwxyz0123456789");
	if (len == 0 || backend[len] != '\0' || len > 16)
		return err_set(err, EINVAL, "auto, nft or legacy, not \"%s\"", backend);
	for (enum ip_version v = 0; v < IP_VERSION_COUNT; v++) {
		const char *dash = automatic ? "" : "-", *name = automatic ? "" : backend;
		snprintf(
			t->restore[v], TOOL_NAME_MAX, "%s%s%s-restore", tool_family[v], dash, name);
		snprintf(t->save[v], TOOL_NAME_MAX, "%s%s%s-save", tool_family[v], dash, name);
	}
	/* Switched off by sysctl it can be switched on again, so only a kernel without counts. */
	t->ipv6 = access("/proc/sys/net/ipv6", F_OK) == 0;
	return 0;
}

/* Waits for the child; a hanging one is killed. Its status, or -errno. */
static int tool_wait(pid_t pid, const char *name, struct err *err)
{
	int status;
	int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd ended = {.fd = pid_fd, .events = POLLIN};
	bool late = pid_fd >= 0 && poll(&ended, 1, TOOL_TIMEOUT_MS) == 0;
	if (late)
		kill(pid, SIGKILL);
	if (pid_fd >= 0)
		close(pid_fd);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(err, errno, "%s: %s", name, strerror(errno));
	if (late)
		return err_set(err, ETIMEDOUT, "%s did not end within %d s and was killed", name,
			TOOL_TIMEOUT_MS / 1000);
	return status;
}

/* Files in memory carry the input and the output, so that nobody waits for the other's pipe. */
static int tool_spawn(char *const argv[], int in, int out, int complaints, struct err *err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	pid_t pid;
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, complaints, STDERR_FILENO);
	/* The watch blocks its signals; a program started by it must not inherit that. */
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	int r = posix_spawnp(&pid, argv[0], &actions, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	if (r == ENOENT)
		return err_set(err, r, "%s is not in PATH; install the iptables package", argv[0]);
	if (r != 0)
		return err_set(err, r, "cannot run %s: %s", argv[0], strerror(r));
	return tool_wait(pid, argv[0], err);
}

/* Runs a program to its end: its exit status (127 and more for a signal), or -errno when it could
 * not be run. */
static int tool_run(char *const argv[], const struct text *in, struct text *ret_out,
	struct text *ret_complaints, struct err *err)
{
	int fds[3] = {-1, -1, -1};
	int r = 0;
	for (int i = 0; i < 3 && r == 0; i++) {
		/* Above the three numbers that the child's are copied onto. */
		int fd = memfd_create("redirect", MFD_CLOEXEC);
		fds[i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (fds[i] < 0)
			r = err_set(err, errno, "no file in memory: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
	}
	if (r == 0 && in && write(fds[0], text_at(in), in->len) != (ssize_t)in->len)
		r = err_set(err, ENOMEM, "no memory for the input of %s", argv[0]);
	if (r == 0) {
		lseek(fds[0], 0, SEEK_SET);
		r = tool_spawn(argv, fds[0], fds[1], fds[2], err);
	}
	if (r >= 0) {
		int status = WIFEXITED(r) ? WEXITSTATUS(r) : 128 + WTERMSIG(r);
		lseek(fds[1], 0, SEEK_SET);
		lseek(fds[2], 0, SEEK_SET);
		r = text_read_fd(ret_out, fds[1], argv[0], err);
		if (r == 0)
			r = text_read_fd(ret_complaints, fds[2], argv[0], err);
		r = r < 0 ? r : status;
	}
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return r;
}

struct tool_cure {
	const char *complaint, *cure;
};

/* The first that fits. Words of iptables 1.8 on the left. */
static const struct tool_cure tool_cures[] = {
	{"you must be root", "run it as root or with CAP_NET_ADMIN"},
	{"Permission denied", "run it as root or with CAP_NET_ADMIN"},
	{"Operation not permitted", "run it as root or with CAP_NET_ADMIN"},
	{"xtables lock", "another program is changing rules; try again"},
	{"is incompatible",
		"rules written by nft stand in this table; move them to a table of their own"},
	{"No chain/target/match by that name",
		"a kernel module is missing: modprobe xt_owner xt_mark xt_conntrack xt_addrtype "
		"xt_REDIRECT ipt_REJECT ip6t_REJECT"},
	{"RULE_APPEND failed",
		"a kernel module is missing: modprobe nft_compat xt_owner xt_mark xt_conntrack "
		"xt_addrtype xt_REDIRECT ipt_REJECT ip6t_REJECT"},
	{"Table does not exist", "a kernel module is missing: modprobe iptable_nat ip6table_nat"},
	{"unable to initialize table",
		"run it as root or with CAP_NET_ADMIN, and see that the kernel has the table's "
		"module: modprobe iptable_mangle iptable_nat iptable_filter ip6table_nat"},
	{"can't initialize", "a kernel module is missing: modprobe iptable_nat ip6table_nat"},
	{"Couldn't load", "an iptables extension is missing: reinstall the iptables package"},
};

static const char *tool_find_cure(const char *complaint)
{
	for (size_t i = 0; i < ARRAY_LEN(tool_cures); i++)
		if (strstr(complaint, tool_cures[i].complaint))
			return tool_cures[i].cure;
	return "see the line above; `ringmain redirect up --dry-run` prints the whole file";
}

/* The line of the file that a complaint names ("line 5", "line: 5"), or at == NULL. */
static struct str tool_blamed_line(const char *complaint, const struct text *file)
{
	const char *word = strstr(complaint, "line");
	unsigned number = 0;
	if (!word ||
		(sscanf(word, "line: %u", &number) < 1 && sscanf(word, "line %u", &number) < 1))
		return STR_NONE;
	const char *at = text_at(file);
	for (unsigned i = 1; at && i < number; i++) {
		at = strchr(at, '\n');
		at = at ? at + 1 : NULL;
	}
	if (!at || !*at || number == 0)
		return STR_NONE;
	return (struct str){at, strcspn(at, "\n")};
}

/* One line out of what the program wrote, which may be several and end in a hint to its --help. */
static void tool_squeeze(const struct text *complaints, char *ret_line, size_t size)
{
	size_t n = 0;
	const char *from = text_at(complaints), *hint = strstr(from, "Try `");
	for (; *from && from != hint && n + 1 < size; from++)
		if (*from != '\n')
			ret_line[n++] = *from;
		else if (n > 0 && ret_line[n - 1] != ' ')
			ret_line[n++] = ' ';
	while (n > 0 && ret_line[n - 1] == ' ')
		n--;
	ret_line[n] = '\0';
}

static int tool_failed(const char *program, int status, const struct text *file,
	const struct text *complaints, struct err *err)
{
	char line[200];
	tool_squeeze(complaints, line, sizeof(line));
	const char *cure = tool_find_cure(text_at(complaints));
	if (!file)
		return err_set(
			err, EIO, "%s (exit status %d): %s; %s", program, status, line, cure);
	struct str blamed = tool_blamed_line(text_at(complaints), file);
	const char *table = text_at(file) + 1;
	return err_set(err, EIO, "%s, table %.*s (exit status %d): %s%s%.*s%s; %s", program,
		(int)strcspn(table, "\n"), table, status, line, blamed.at ? " [" : "",
		(int)(blamed.len > 120 ? 120 : blamed.len), blamed.at ? blamed.at : "",
		blamed.at ? "]" : "", cure);
}

int tool_apply(const struct tool *t, enum ip_version v, const struct text *file, struct err *err)
{
	if (file->failed)
		return err_set(err, ENOMEM, "no memory for the rules");
	if (file->len == 0)
		return 0;
	struct text out, complaints;
	text_init(&out);
	text_init(&complaints);
	char *argv[] = {(char *)t->restore[v], "--noflush", "-w", TOOL_LOCK_WAIT, NULL};
	int r = tool_run(argv, file, &out, &complaints, err);
	if (r > 0)
		r = tool_failed(t->restore[v], r, file, &complaints, err);
	text_done(&out);
	text_done(&complaints);
	return r;
}

int tool_read(const struct tool *t, enum ip_version v, struct live *ret_live, struct err *err)
{
	struct text out, complaints;
	text_init(&out);
	text_init(&complaints);
	char *argv[] = {(char *)t->save[v], "-c", NULL};
	int r = tool_run(argv, NULL, &out, &complaints, err);
	if (r > 0)
		r = tool_failed(t->save[v], r, NULL, &complaints, err);
	if (r == 0)
		r = live_init(ret_live, (struct str){text_at(&out), out.len}, err);
	text_done(&out);
	text_done(&complaints);
	return r;
}

int tool_backend(const struct tool *t, char ret_name[TOOL_NAME_MAX], struct err *err)
{
	struct text out, complaints;
	text_init(&out);
	text_init(&complaints);
	char *argv[] = {(char *)t->restore[IP_V4], "--version", NULL};
	int r = tool_run(argv, NULL, &out, &complaints, err);
	if (r > 0)
		r = tool_failed(t->restore[IP_V4], r, NULL, &complaints, err);
	bool nft = strstr(text_at(&out), "(nf_tables)"), legacy = strstr(text_at(&out), "(legacy)");
	snprintf(ret_name, TOOL_NAME_MAX, "%s", nft ? "nf_tables" : legacy ? "legacy" : "unknown");
	text_done(&out);
	text_done(&complaints);
	return r;
}

bool tool_other(const struct tool *t, struct tool *ret_other)
{
	char name[TOOL_NAME_MAX];
	struct err err;
	if (tool_backend(t, name, &err) < 0 || strcmp(name, "unknown") == 0)
		return false;
	const char *other = strcmp(name, "legacy") == 0 ? "nft" : "legacy";
	if (tool_init(ret_other, other, &err) < 0)
		return false;
	return tool_backend(ret_other, name, &err) == 0;
}
