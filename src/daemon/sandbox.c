/* SPDX-License-Identifier: Apache-2.0 */
/* A seccomp filter, written out as classic BPF from a table: first the machine, then one comparison
 * per rule, then the default. The proxy process has a list of what it needs, the state process one
 * of what it must not do; why, is said there.
 *
 * The proxy process's default is EPERM and not death: the table was made from what this program and
 * its libraries call, and a library update that tries a newer call first and falls back must not
 * cut every workload of the machine off. The forbidden thing does not happen either way. Death is
 * for what only somebody else's code would ask for. The keeper then starts a clean process.
 *
 * The filter does not see what is submitted to a ring; the rings have their own list of permitted
 * operations, and io_uring_setup is not in this table, so there will be no further ring. */
#include "daemon/sandbox.h"

#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SANDBOX_INSTRUCTIONS_MAX 512
#define SANDBOX_X32_BIT		 0x40000000u /* the same calls under other numbers */

static const struct sandbox_rule sandbox_rules[] = {
	/* Traffic. No bind, listen, accept, connect: listeners come from the keeper, the rest is
	 * the ring's. */
	{SYS_io_uring_enter, SANDBOX_ALLOW},
	{SYS_io_uring_register, SANDBOX_ALLOW}, /* buffer rings of new connections */
	{SYS_socket, SANDBOX_TCP},
	{SYS_read, SANDBOX_ALLOW},
	{SYS_write, SANDBOX_ALLOW},
	{SYS_readv, SANDBOX_ALLOW},
	{SYS_writev, SANDBOX_ALLOW},
	{SYS_sendto, SANDBOX_ALLOW},
	{SYS_recvfrom, SANDBOX_ALLOW},
	{SYS_sendmsg, SANDBOX_ALLOW}, /* the channel to the keeper, too */
	{SYS_recvmsg, SANDBOX_ALLOW},
	{SYS_close, SANDBOX_ALLOW},
	{SYS_shutdown, SANDBOX_ALLOW},
	{SYS_getsockopt, SANDBOX_ALLOW},
	{SYS_setsockopt, SANDBOX_ALLOW},
	{SYS_getsockname, SANDBOX_ALLOW},
	{SYS_getpeername, SANDBOX_ALLOW},
	/* Memory; the bundle's memfd is mapped. */
	{SYS_mmap, SANDBOX_NO_EXEC},
	{SYS_mprotect, SANDBOX_NO_EXEC},
	{SYS_munmap, SANDBOX_ALLOW},
	{SYS_mremap, SANDBOX_ALLOW},
	{SYS_madvise, SANDBOX_ALLOW},
	{SYS_brk, SANDBOX_ALLOW},
	{SYS_memfd_create, SANDBOX_ALLOW}, /* what is wanted of the world outside */
	/* Open files. */
	{SYS_fstat, SANDBOX_ALLOW},
	{SYS_newfstatat, SANDBOX_EMPTY_PATH}, /* glibc's fstat() */
	{SYS_lseek, SANDBOX_ALLOW},
	{SYS_pread64, SANDBOX_ALLOW},
	{SYS_fcntl, SANDBOX_ALLOW},
	{SYS_dup3, SANDBOX_ALLOW}, /* an access log that was rotated */
	{SYS_eventfd2, SANDBOX_ALLOW},
	{SYS_ppoll, SANDBOX_ALLOW},
	/* Threads that exist, signals, time, randomness. */
	{SYS_futex, SANDBOX_ALLOW},
	{SYS_sched_yield, SANDBOX_ALLOW},
	{SYS_sched_getaffinity, SANDBOX_ALLOW},
	{SYS_membarrier, SANDBOX_ALLOW},
	{SYS_rseq, SANDBOX_ALLOW},
	{SYS_set_robust_list, SANDBOX_ALLOW},
	{SYS_getpid, SANDBOX_ALLOW},
	{SYS_gettid, SANDBOX_ALLOW},
	{SYS_getrusage, SANDBOX_ALLOW},
	{SYS_sysinfo, SANDBOX_ALLOW}, /* glibc's qsort() */
	{SYS_tgkill, SANDBOX_ALLOW},  /* abort() */
	{SYS_rt_sigaction, SANDBOX_ALLOW},
	{SYS_rt_sigprocmask, SANDBOX_ALLOW},
	{SYS_rt_sigreturn, SANDBOX_ALLOW},
	{SYS_sigaltstack, SANDBOX_ALLOW},
	{SYS_restart_syscall, SANDBOX_ALLOW},
	{SYS_clock_gettime, SANDBOX_ALLOW},
	{SYS_clock_nanosleep, SANDBOX_ALLOW},
	{SYS_nanosleep, SANDBOX_ALLOW},
	{SYS_gettimeofday, SANDBOX_ALLOW},
	{SYS_getrandom, SANDBOX_ALLOW},
	{SYS_exit, SANDBOX_ALLOW},
	{SYS_exit_group, SANDBOX_ALLOW},
	SANDBOX_ARCH_RULES
	/* Not ours, under no circumstances. */
	{SYS_execve, SANDBOX_KILL},
	{SYS_execveat, SANDBOX_KILL},
	{SYS_ptrace, SANDBOX_KILL},
	{SYS_process_vm_readv, SANDBOX_KILL},
	{SYS_process_vm_writev, SANDBOX_KILL},
	{SYS_bpf, SANDBOX_KILL},
	{SYS_mount, SANDBOX_KILL},
	{SYS_unshare, SANDBOX_KILL},
	{SYS_setns, SANDBOX_KILL},
	{SYS_init_module, SANDBOX_KILL},
	{SYS_finit_module, SANDBOX_KILL},
	{SYS_kexec_load, SANDBOX_KILL},
	{SYS_open_by_handle_at, SANDBOX_KILL},
};

/* The state process. It speaks to the store and to local workloads, and what a workload's check
 * says is run: curl, pg_isready, somebody's script. A filter outlives execve(), so a list of what
 * is needed would be a list of what any program needs; this is one of what none of them does. What
 * it guards against is a way up from an account that may do nothing: into the kernel by its less
 * travelled interfaces, into other processes, or out of here as a server. Files are the business of
 * their permissions: the state process owns its directory, and the account nothing else. (Landlock
 * would tie it to the directory, and the programs with it.)
 *
 * EPERM, not death: the programs are not ours to judge, and the check says what became of it. */
static const struct sandbox_rule sandbox_state_rules[] = {
	{SYS_socket, SANDBOX_USUAL_SOCKET},
	{SYS_listen, SANDBOX_REFUSE},
	{SYS_accept, SANDBOX_REFUSE},
	{SYS_accept4, SANDBOX_REFUSE},
	/* Namespaces: what root may do in one's own is a large part of the kernel. */
	{SYS_clone, SANDBOX_NO_NAMESPACE},
	{SYS_clone3, SANDBOX_ABSENT}, /* its flags are in memory, where no filter can look */
	{SYS_unshare, SANDBOX_REFUSE},
	{SYS_setns, SANDBOX_REFUSE},
	{SYS_mount, SANDBOX_REFUSE},
	{SYS_umount2, SANDBOX_REFUSE},
	{SYS_pivot_root, SANDBOX_REFUSE},
	{SYS_chroot, SANDBOX_REFUSE},
	{SYS_open_tree, SANDBOX_REFUSE},
	{SYS_move_mount, SANDBOX_REFUSE},
	{SYS_fsopen, SANDBOX_REFUSE},
	{SYS_fsconfig, SANDBOX_REFUSE},
	{SYS_fsmount, SANDBOX_REFUSE},
	{SYS_fspick, SANDBOX_REFUSE},
	{SYS_mount_setattr, SANDBOX_REFUSE},
	/* Other processes: the proxy process runs as the same user. */
	{SYS_ptrace, SANDBOX_REFUSE},
	{SYS_process_vm_readv, SANDBOX_REFUSE},
	{SYS_process_vm_writev, SANDBOX_REFUSE},
	{SYS_pidfd_getfd, SANDBOX_REFUSE},
	{SYS_kcmp, SANDBOX_REFUSE},
	/* The kernel. */
	{SYS_bpf, SANDBOX_REFUSE},
	{SYS_perf_event_open, SANDBOX_REFUSE},
	{SYS_userfaultfd, SANDBOX_REFUSE},
	{SYS_io_uring_setup, SANDBOX_ABSENT},
	{SYS_init_module, SANDBOX_REFUSE},
	{SYS_finit_module, SANDBOX_REFUSE},
	{SYS_delete_module, SANDBOX_REFUSE},
	{SYS_kexec_load, SANDBOX_REFUSE},
	{SYS_kexec_file_load, SANDBOX_REFUSE},
	{SYS_keyctl, SANDBOX_REFUSE},
	{SYS_add_key, SANDBOX_REFUSE},
	{SYS_request_key, SANDBOX_REFUSE},
	{SYS_open_by_handle_at, SANDBOX_REFUSE},
	{SYS_fanotify_init, SANDBOX_REFUSE},
	{SYS_quotactl, SANDBOX_REFUSE},
	{SYS_acct, SANDBOX_REFUSE},
	{SYS_swapon, SANDBOX_REFUSE},
	{SYS_swapoff, SANDBOX_REFUSE},
	{SYS_reboot, SANDBOX_REFUSE},
	{SYS_syslog, SANDBOX_REFUSE},
};

struct sandbox_program {
	struct sock_filter at[SANDBOX_INSTRUCTIONS_MAX];
	unsigned short count;
};

/* --- instructions --- */

static void sandbox_emit(struct sandbox_program *p, struct sock_filter instruction)
{
	ASSERT(p->count < SANDBOX_INSTRUCTIONS_MAX);
	p->at[p->count++] = instruction;
}

static void sandbox_load(struct sandbox_program *p, size_t offset)
{
	sandbox_emit(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offset));
}

/* The lower half: the arguments looked at are ints. */
static void sandbox_load_argument(struct sandbox_program *p, size_t index)
{
	sandbox_load(p, offsetof(struct seccomp_data, args) + index * sizeof(uint64_t));
}

static void sandbox_return(struct sandbox_program *p, unsigned action)
{
	sandbox_emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* Compares what is loaded; skips so many instructions on either outcome. */
static void sandbox_jump(struct sandbox_program *p, unsigned comparison, unsigned value,
	unsigned char skip_if_true, unsigned char skip_if_false)
{
	sandbox_emit(p, (struct sock_filter)BPF_JUMP(
				BPF_JMP | BPF_K | comparison, value, skip_if_true, skip_if_false));
}

/* --- rules --- */

#define SANDBOX_DENY (SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA))

static void sandbox_emit_no_exec(struct sandbox_program *p)
{
	sandbox_load_argument(p, 2);
	sandbox_jump(p, BPF_JSET, PROT_EXEC, 0, 1);
	sandbox_return(p, SANDBOX_DENY);
	sandbox_return(p, SECCOMP_RET_ALLOW);
}

static void sandbox_emit_tcp(struct sandbox_program *p)
{
	sandbox_load_argument(p, 0);
	sandbox_jump(p, BPF_JEQ, AF_INET, 1, 0);
	sandbox_jump(p, BPF_JEQ, AF_INET6, 0, 7);
	sandbox_load_argument(p, 1);
	sandbox_emit(p, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K,
				~(unsigned)(SOCK_CLOEXEC | SOCK_NONBLOCK)));
	sandbox_jump(p, BPF_JEQ, SOCK_STREAM, 0, 4);
	/* Not another stream protocol under the same type. */
	sandbox_load_argument(p, 2);
	sandbox_jump(p, BPF_JEQ, 0, 1, 0);
	sandbox_jump(p, BPF_JEQ, IPPROTO_TCP, 0, 1);
	sandbox_return(p, SECCOMP_RET_ALLOW);
	sandbox_return(p, SANDBOX_DENY);
}

static void sandbox_emit_empty_path(struct sandbox_program *p)
{
	sandbox_load_argument(p, 3);
	sandbox_jump(p, BPF_JEQ, AT_EMPTY_PATH, 0, 1);
	sandbox_return(p, SECCOMP_RET_ALLOW);
	sandbox_return(p, SANDBOX_DENY);
}

static void sandbox_emit_no_namespace(struct sandbox_program *p)
{
	sandbox_load_argument(p, 0);
	sandbox_jump(p, BPF_JSET,
		CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
			CLONE_NEWPID | CLONE_NEWNET,
		0, 1);
	sandbox_return(p, SANDBOX_DENY);
	sandbox_return(p, SECCOMP_RET_ALLOW);
}

static void sandbox_emit_usual_socket(struct sandbox_program *p)
{
	static const unsigned families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
	sandbox_load_argument(p, 0);
	for (unsigned i = 0; i < ARRAY_LEN(families); i++)
		sandbox_jump(p, BPF_JEQ, families[i], (unsigned char)(ARRAY_LEN(families) - i), 0);
	sandbox_return(p, SANDBOX_DENY);
	sandbox_return(p, SECCOMP_RET_ALLOW);
}

static void sandbox_emit_verdict(struct sandbox_program *p, enum sandbox_verdict verdict)
{
	switch (verdict) {
	case SANDBOX_ALLOW:
		sandbox_return(p, SECCOMP_RET_ALLOW);
		break;
	case SANDBOX_NO_EXEC:
		sandbox_emit_no_exec(p);
		break;
	case SANDBOX_TCP:
		sandbox_emit_tcp(p);
		break;
	case SANDBOX_EMPTY_PATH:
		sandbox_emit_empty_path(p);
		break;
	case SANDBOX_KILL:
		sandbox_return(p, SECCOMP_RET_KILL_PROCESS);
		break;
	case SANDBOX_REFUSE:
		sandbox_return(p, SANDBOX_DENY);
		break;
	case SANDBOX_ABSENT:
		sandbox_return(p, SECCOMP_RET_ERRNO | (ENOSYS & SECCOMP_RET_DATA));
		break;
	case SANDBOX_NO_NAMESPACE:
		sandbox_emit_no_namespace(p);
		break;
	case SANDBOX_USUAL_SOCKET:
		sandbox_emit_usual_socket(p);
		break;
	}
}

/* The number is loaded when a rule begins; a rule that matches ends in a return. */
static void sandbox_emit_rules(
	struct sandbox_program *p, const struct sandbox_rule *rules, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		unsigned short jump_at = p->count;
		sandbox_jump(p, BPF_JEQ, rules[i].number, 0, 0);
		sandbox_emit_verdict(p, rules[i].verdict);
		p->at[jump_at].jf = (unsigned char)(p->count - jump_at - 1);
	}
}

/* Calls under another machine's numbers are not looked up in a table: death. */
static void sandbox_emit_start(struct sandbox_program *p)
{
	p->count = 0;
	sandbox_load(p, offsetof(struct seccomp_data, arch));
	sandbox_jump(p, BPF_JEQ, SANDBOX_ARCH, 1, 0);
	sandbox_return(p, SECCOMP_RET_KILL_PROCESS);
	sandbox_load(p, offsetof(struct seccomp_data, nr));
	sandbox_jump(p, BPF_JGE, SANDBOX_X32_BIT, 0, 1);
	sandbox_return(p, SECCOMP_RET_KILL_PROCESS);
}

static void sandbox_build(struct sandbox_program *p, enum sandbox_kind kind)
{
	size_t extra_count = 0;
	const struct sandbox_rule *extra = sandbox_extra_rules(&extra_count);
	sandbox_emit_start(p);
	switch (kind) {
	case SANDBOX_PROXY:
		sandbox_emit_rules(p, extra, extra_count);
		sandbox_emit_rules(p, sandbox_rules, ARRAY_LEN(sandbox_rules));
		sandbox_return(p, SANDBOX_DENY);
		break;
	case SANDBOX_STATE:
		sandbox_emit_rules(p, extra, extra_count);
		sandbox_emit_rules(p, sandbox_state_rules, ARRAY_LEN(sandbox_state_rules));
		sandbox_return(p, SECCOMP_RET_ALLOW);
		break;
	}
}

int sandbox_enter(enum sandbox_kind kind, struct err *err)
{
	struct sandbox_program p;
	sandbox_build(&p, kind);
	struct sock_fprog filter = {.len = p.count, .filter = p.at};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(err, errno, "PR_SET_NO_NEW_PRIVS: %m");
	long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
	if (r < 0)
		return err_set(err, errno, "seccomp: %m");
	if (r > 0)
		return err_set(err, ESRCH, "seccomp: thread %ld has a filter of its own", r);
	return 0;
}
