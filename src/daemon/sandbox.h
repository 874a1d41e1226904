/* SPDX-License-Identifier: Apache-2.0 */
/* The tables behind sandbox_enter(). That of the proxy process is in two parts: sandbox.c has the
 * rules of every build, sandbox_strict.c or sandbox_sanitizer.c those that come before them. */
#pragma once

#include <linux/audit.h>
#include <stddef.h>
#include <sys/syscall.h>

enum sandbox_verdict {
	SANDBOX_ALLOW,
	SANDBOX_NO_EXEC,    /* allowed unless the third argument has PROT_EXEC */
	SANDBOX_TCP,	    /* socket(2): IPv4 and IPv6 streams only */
	SANDBOX_EMPTY_PATH, /* allowed if the fourth argument is AT_EMPTY_PATH: an open file's facts
			     */
	SANDBOX_KILL,
	/* of the list of what is forbidden */
	SANDBOX_REFUSE,	      /* EPERM */
	SANDBOX_ABSENT,	      /* ENOSYS: libraries then use the older call, which is looked at */
	SANDBOX_NO_NAMESPACE, /* clone(2): allowed without a namespace of its own */
	SANDBOX_USUAL_SOCKET, /* socket(2): IPv4, IPv6, unix and netlink */
};

struct sandbox_rule {
	unsigned number; /* of the system call */
	enum sandbox_verdict verdict;
};

const struct sandbox_rule *sandbox_extra_rules(size_t *ret_count);

/* What differs from machine to machine: the filter's name for it, and the calls only old ones have.
 */
#if defined(__x86_64__)
#define SANDBOX_ARCH	   AUDIT_ARCH_X86_64
#define SANDBOX_ARCH_RULES {SYS_poll, SANDBOX_ALLOW}, {SYS_time, SANDBOX_ALLOW},
#define SANDBOX_SANITIZER_ARCH_RULES                                                             \
	{SYS_open, SANDBOX_ALLOW}, {SYS_getdents, SANDBOX_ALLOW}, {SYS_readlink, SANDBOX_ALLOW}, \
		{SYS_stat, SANDBOX_ALLOW}, {SYS_pipe, SANDBOX_ALLOW},
#elif defined(__aarch64__)
#define SANDBOX_ARCH AUDIT_ARCH_AARCH64
#define SANDBOX_ARCH_RULES
#define SANDBOX_SANITIZER_ARCH_RULES
#else
#error "sandbox: name this machine's AUDIT_ARCH"
#endif
