/* SPDX-License-Identifier: Apache-2.0 */
/* Sanitizer builds: what the sanitizers do when they report, and LeakSanitizer's tracing of its own
 * process at the end. Such a build is for tests, never for traffic that matters. */
#include "daemon/sandbox.h"
#include "sandbox.h"

void sandbox_hide(void)
{
	/* LeakSanitizer could not attach to a process that is not dumpable. */
}

const struct sandbox_rule *sandbox_extra_rules(size_t *ret_count)
{
	static const struct sandbox_rule rules[] = {{SYS_openat, SANDBOX_ALLOW},
		{SYS_newfstatat, SANDBOX_ALLOW}, {SYS_readlinkat, SANDBOX_ALLOW},
		{SYS_getdents64, SANDBOX_ALLOW}, {SYS_ioctl, SANDBOX_ALLOW},
		{SYS_clone, SANDBOX_ALLOW}, {SYS_wait4, SANDBOX_ALLOW}, {SYS_ptrace, SANDBOX_ALLOW},
		{SYS_process_vm_readv, SANDBOX_ALLOW}, {SYS_prctl, SANDBOX_ALLOW},
		{SYS_prlimit64, SANDBOX_ALLOW}, {SYS_getppid, SANDBOX_ALLOW},
		{SYS_uname, SANDBOX_ALLOW}, {SYS_pipe2, SANDBOX_ALLOW},
		SANDBOX_SANITIZER_ARCH_RULES};
	*ret_count = sizeof(rules) / sizeof(rules[0]);
	return rules;
}
