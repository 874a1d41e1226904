/* SPDX-License-Identifier: Apache-2.0 */
#include "faults.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
	enum fault fault;
	unsigned step, count;
	char log[16384];
	size_t log_len;
	void (*run)(void *arg);
	void *arg;
} faults;

void faults_arm(enum fault fault, unsigned step)
{
	faults.fault = fault;
	faults.step = step;
	faults.count = 0;
	faults.log_len = 0;
	faults.log[0] = '\0';
}

unsigned faults_count(void)
{
	return faults.count;
}

const char *faults_log(void)
{
	return faults.log;
}

void faults_when_unlocked(void (*run)(void *arg), void *arg)
{
	faults.run = run;
	faults.arg = arg;
}

static const char *faults_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static void faults_note(const char *call, const char *name)
{
	size_t left = sizeof(faults.log) - faults.log_len;
	int n = snprintf(faults.log + faults.log_len, left, "%s %s\n", call, name);
	if (n > 0 && (size_t)n < left)
		faults.log_len += (size_t)n;
}

static void faults_note_fd(const char *call, int fd)
{
	char link[64], path[PATH_MAX];
	struct stat st;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	bool is_directory = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
	faults_note(call, is_directory ? "." : faults_name(path));
}

/* Whether this call is the one. */
static bool faults_is_now(void)
{
	faults.count++;
	if (faults.fault == FAULT_FULL)
		return faults.count >= faults.step;
	return faults.fault != FAULT_NONE && faults.count == faults.step;
}

/* -1 with errno, or 0 to go on. */
static int faults_pass(void)
{
	if (!faults_is_now())
		return 0;
	if (faults.fault != FAULT_FULL)
		_exit(FAULT_EXIT);
	errno = ENOSPC;
	return -1;
}

int fsync(int fd)
{
	struct stat st;
	faults_note_fd("sync", fd);
	/* A directory's entry found its room at the rename. */
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && faults.fault == FAULT_FULL)
		return 0;
	return faults_pass();
}

int fdatasync(int fd)
{
	faults_note_fd("sync", fd);
	return faults_pass();
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	faults_note_fd("write", fd);
	if (faults.fault == FAULT_TORN && faults.count + 1 == faults.step)
		(void)!syscall(
			SYS_write, fd, parts[count - 1].iov_base, parts[count - 1].iov_len / 2);
	return faults_pass() < 0 ? -1 : (ssize_t)syscall(SYS_writev, fd, parts, count);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	faults_note("rename", faults_name(to));
	if (faults_pass() < 0)
		return -1;
	return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

/* Needs no room. */
int unlink(const char *path)
{
	faults_note("remove", faults_name(path));
	if (faults.fault != FAULT_FULL && faults_pass() < 0)
		return -1;
	return (int)syscall(SYS_unlink, path);
}

int flock(int fd, int operation)
{
	int r = (int)syscall(SYS_flock, fd, operation);
	void (*run)(void *arg) = faults.run;
	if (operation == LOCK_UN && run) {
		faults.run = NULL;
		run(faults.arg);
	}
	return r;
}
