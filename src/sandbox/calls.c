/* seccomp(2): the calls that a server makes. Others fail with EPERM, as a library that tries something new shall find its
 * other way; those that only an intruder wants end the process (docs/decisions/0009). */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/sockios.h>

#include "sandbox/internal.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

static const int allowed[] = {
	/* memory */
	SCMP_SYS(brk),
	SCMP_SYS(mmap),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(mprotect),
	SCMP_SYS(madvise),
	SCMP_SYS(mlock),
	SCMP_SYS(munlock),
	SCMP_SYS(mincore),
	SCMP_SYS(msync),
	SCMP_SYS(membarrier),
	SCMP_SYS(memfd_create),
	/* files: which ones, landlock says */
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(creat),
	SCMP_SYS(close),
	SCMP_SYS(close_range),
	SCMP_SYS(read),
	SCMP_SYS(pread64),
	SCMP_SYS(readv),
	SCMP_SYS(preadv),
	SCMP_SYS(preadv2),
	SCMP_SYS(write),
	SCMP_SYS(pwrite64),
	SCMP_SYS(writev),
	SCMP_SYS(pwritev),
	SCMP_SYS(pwritev2),
	SCMP_SYS(lseek),
	SCMP_SYS(ftruncate),
	SCMP_SYS(truncate),
	SCMP_SYS(fallocate),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(sync_file_range),
	SCMP_SYS(flock),
	SCMP_SYS(fcntl),
	SCMP_SYS(dup),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(stat),
	SCMP_SYS(fstat),
	SCMP_SYS(lstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	SCMP_SYS(statfs),
	SCMP_SYS(fstatfs),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(getdents64),
	SCMP_SYS(getdents),
	SCMP_SYS(getcwd),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(rmdir),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(link),
	SCMP_SYS(linkat),
	SCMP_SYS(chmod),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchmodat),
	SCMP_SYS(fchown),
	SCMP_SYS(umask),
	SCMP_SYS(utimensat),
	SCMP_SYS(fadvise64),
	SCMP_SYS(readahead),
	SCMP_SYS(copy_file_range),
	SCMP_SYS(sendfile),
	SCMP_SYS(splice),
	SCMP_SYS(tee),
	SCMP_SYS(inotify_init1),
	SCMP_SYS(inotify_add_watch),
	SCMP_SYS(inotify_rm_watch),
	/* waiting */
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(select),
	SCMP_SYS(pselect6),
	SCMP_SYS(epoll_create),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(eventfd2),
	SCMP_SYS(pipe),
	SCMP_SYS(pipe2),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(timerfd_gettime),
	SCMP_SYS(signalfd4),
	SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(pause),
	SCMP_SYS(restart_syscall),
	/* sockets: socket() itself is below */
	SCMP_SYS(socketpair),
	SCMP_SYS(bind),
	SCMP_SYS(listen),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(connect),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),
	SCMP_SYS(sendto),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(recvmmsg),
	/* threads, signals, time */
	SCMP_SYS(futex),
	SCMP_SYS(futex_waitv),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(get_robust_list),
	SCMP_SYS(set_tid_address),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_setaffinity),
	SCMP_SYS(sched_getparam),
	SCMP_SYS(sched_getscheduler),
	SCMP_SYS(sched_get_priority_max),
	SCMP_SYS(sched_get_priority_min),
	SCMP_SYS(getcpu),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(wait4),
	SCMP_SYS(waitid),
	SCMP_SYS(kill),
	SCMP_SYS(tgkill),
	SCMP_SYS(tkill),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigpending),
	SCMP_SYS(rt_sigsuspend),
	SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(rt_sigqueueinfo),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(times),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(getrandom),
	SCMP_SYS(setitimer),
	SCMP_SYS(getitimer),
	SCMP_SYS(alarm),
	/* about oneself and the machine */
	SCMP_SYS(getpid),
	SCMP_SYS(getppid),
	SCMP_SYS(gettid),
	SCMP_SYS(getpgrp),
	SCMP_SYS(getpgid),
	SCMP_SYS(getsid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(getresuid),
	SCMP_SYS(getresgid),
	SCMP_SYS(getgroups),
	SCMP_SYS(capget),
	SCMP_SYS(getrusage),
	SCMP_SYS(getrlimit),
	SCMP_SYS(setrlimit),
	SCMP_SYS(prlimit64),
	SCMP_SYS(getpriority),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
	SCMP_SYS(prctl),
	SCMP_SYS(arch_prctl),
	/* what some of them are called on 32-bit machines */
	SCMP_SYS(mmap2),
	SCMP_SYS(_llseek),
	SCMP_SYS(fcntl64),
	SCMP_SYS(stat64),
	SCMP_SYS(lstat64),
	SCMP_SYS(fstat64),
	SCMP_SYS(fstatat64),
	SCMP_SYS(statfs64),
	SCMP_SYS(fstatfs64),
	SCMP_SYS(truncate64),
	SCMP_SYS(ftruncate64),
	SCMP_SYS(fadvise64_64),
	SCMP_SYS(arm_fadvise64_64),
	SCMP_SYS(arm_sync_file_range),
	SCMP_SYS(sync_file_range2),
	SCMP_SYS(sendfile64),
	SCMP_SYS(fchown32),
	SCMP_SYS(utimensat_time64),
	SCMP_SYS(_newselect),
	SCMP_SYS(ppoll_time64),
	SCMP_SYS(pselect6_time64),
	SCMP_SYS(timerfd_settime64),
	SCMP_SYS(timerfd_gettime64),
	SCMP_SYS(clock_nanosleep_time64),
	SCMP_SYS(send),
	SCMP_SYS(recv),
	SCMP_SYS(recvmmsg_time64),
	SCMP_SYS(futex_time64),
	SCMP_SYS(waitpid),
	SCMP_SYS(sigreturn),
	SCMP_SYS(rt_sigtimedwait_time64),
	SCMP_SYS(clock_gettime64),
	SCMP_SYS(clock_getres_time64),
	SCMP_SYS(getuid32),
	SCMP_SYS(geteuid32),
	SCMP_SYS(getgid32),
	SCMP_SYS(getegid32),
	SCMP_SYS(getresuid32),
	SCMP_SYS(getresgid32),
	SCMP_SYS(getgroups32),
	SCMP_SYS(ugetrlimit),
	SCMP_SYS(cacheflush),
	SCMP_SYS(set_tls),
	SCMP_SYS(set_thread_area),
};

/* No program here makes them; whoever does has taken it over. */
static const int hostile[] = {
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(kcmp),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(bpf),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(move_mount),
	SCMP_SYS(open_tree),
	SCMP_SYS(fsopen),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(setns),
	SCMP_SYS(unshare),
	SCMP_SYS(keyctl),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(swapon),
	SCMP_SYS(reboot),
	SCMP_SYS(iopl),
	SCMP_SYS(ioperm),
	SCMP_SYS(personality),
	SCMP_SYS(setuid),
	SCMP_SYS(setresuid),
	SCMP_SYS(setreuid),
	SCMP_SYS(setuid32),
	SCMP_SYS(setresuid32),
	SCMP_SYS(setreuid32),
	SCMP_SYS(umount),
};

/* LeakSanitizer stops our threads with a process of its own, and reports go through a symbolizer. */
static const int of_sanitizers[] = {
	SCMP_SYS(clone),       SCMP_SYS(ptrace), SCMP_SYS(execve),
	SCMP_SYS(personality), SCMP_SYS(fork),   SCMP_SYS(vfork),
};

#define THREAD_FLAGS 0x00010000 /* CLONE_THREAD */

static int add_all(scmp_filter_ctx filter, uint32_t action, const int *list, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		r = seccomp_rule_add(filter, action, list[i], 0);
		/* Not a call of this architecture; or what the filter does by itself. */
		if (r == -EDOM || r == -EACCES || r == -EEXIST)
			r = 0;
	}
	return r;
}

static int add_rules(scmp_filter_ctx filter)
{
	static const int families[] = { AF_INET, AF_INET6, AF_UNIX, AF_NETLINK };
	/* Of sockets, pipes and terminals; putting input into terminals (TIOCSTI) is not among them. */
	static const scmp_datum_t requests[] = { FIONBIO,      FIOCLEX,       FIONCLEX,
						 FIONREAD,     TIOCOUTQ,      TCGETS,
						 TIOCGWINSZ,   SIOCGIFNAME,   SIOCGIFINDEX,
						 SIOCGIFFLAGS, SIOCGIFCONF,   SIOCGIFADDR,
						 SIOCGIFMTU,   SIOCGIFNETMASK };
	int r = add_all(filter, SCMP_ACT_ALLOW, allowed, ARRAY_LEN(allowed));

	for (size_t i = 0; i < ARRAY_LEN(families) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
	/* Threads yes, processes no. glibc tries clone3() first, whose flags a filter cannot see. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (IS_SANITIZED)
		r = r ? r : add_all(filter, SCMP_ACT_ALLOW, of_sanitizers, ARRAY_LEN(of_sanitizers));
	else if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				     SCMP_A0(SCMP_CMP_MASKED_EQ, THREAD_FLAGS, THREAD_FLAGS));
	for (size_t i = 0; i < ARRAY_LEN(requests) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_EQ, requests[i]));
	if (r == 0 && !IS_SANITIZED)
		r = add_all(filter, SCMP_ACT_KILL_PROCESS, hostile, ARRAY_LEN(hostile));
	return r;
}

int sandbox_shut_calls(char *ret_what, struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));

	if (!filter)
		return err_set(err, E_IO, "seccomp");
	/* Every thread that there is. */
	int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	r = r ? r : seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	r = r ? r : add_rules(filter);
	r = r ? r : seccomp_load(filter);
	seccomp_release(filter);
	if (r != 0)
		return err_set_errno(err, r == -EINVAL ? E_UNSUPPORTED : E_IO, -r, "seccomp");
	size_t count = 4; /* those with conditions */
	for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
		count += allowed[i] >= 0; /* others are of other machines */
	(void)snprintf(ret_what, SANDBOX_WORDS, "%zu of them%s", count,
		       IS_SANITIZED ? ", and what sanitizers need: this is a test build" : "");
	return 0;
}
