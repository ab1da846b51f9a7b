/* sandbox.c - the lists of system calls, and the order in which privileges go.
 *
 * Each list is what the process was seen to need, with arguments pinned where a call can do harm:
 * files are opened for reading only (the scribe's database and the log's file apart), memory never
 * becomes executable, sockets are TCP, UDP or unix.
 * Anything else kills the process, and the master says "SIGSYS"; clone3 alone is answered with
 * ENOSYS, because the C library then falls back to clone, which can be judged by its arguments.
 *
 * The master keeps its user: a reload opens ports and reads secrets. It never reads from the
 * network.
 */
#include "proc/sandbox.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { SOCKET_TYPE = 0xf, CAPABILITIES_MAX = 64 };

/* What every process does: bytes, time, memory, signals, its end. */
static const int common[] = {
    SCMP_SYS(read),         SCMP_SYS(write),        SCMP_SYS(close),
    SCMP_SYS(epoll_wait),   SCMP_SYS(epoll_pwait),  SCMP_SYS(epoll_ctl),
    SCMP_SYS(poll),         SCMP_SYS(ppoll),        SCMP_SYS(clock_gettime),
    SCMP_SYS(futex),        SCMP_SYS(munmap),       SCMP_SYS(mremap),
    SCMP_SYS(madvise),      SCMP_SYS(brk),          SCMP_SYS(getrandom),
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(getpid),       SCMP_SYS(gettid),       SCMP_SYS(tgkill),
    SCMP_SYS(exit_group),   SCMP_SYS(sysinfo),      SCMP_SYS(restart_syscall),
};

/* Serving: the worker and the simulator. */
static const int serving[] = {SCMP_SYS(accept4)};

/* Calling, and what goes over connections: those, and a scribe that exports. */
static const int network[] = {
    SCMP_SYS(connect),    SCMP_SYS(recvfrom),    SCMP_SYS(recvmsg),     SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),    SCMP_SYS(writev),      SCMP_SYS(shutdown),    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
};

/* Trust stores and name servers' files; newfstatat and lseek come with reading them. */
static const int files[] = {
    SCMP_SYS(newfstatat),
    SCMP_SYS(lseek),
    SCMP_SYS(fcntl),
    SCMP_SYS(ioctl),
};

/* A database: its file, its journal, and the memory that its readers share. */
static const int storing[] = {
    SCMP_SYS(pread64),   SCMP_SYS(pwrite64),        SCMP_SYS(ftruncate), SCMP_SYS(fsync),
    SCMP_SYS(fdatasync), SCMP_SYS(unlink),          SCMP_SYS(unlinkat),  SCMP_SYS(access),
    SCMP_SYS(faccessat), SCMP_SYS(faccessat2),      SCMP_SYS(readlink),  SCMP_SYS(readlinkat),
    SCMP_SYS(getcwd),    SCMP_SYS(fchmod),          SCMP_SYS(fchown),    SCMP_SYS(geteuid),
    SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
};

/* The C library's own lookups of names. */
static const int asking[] = {
    SCMP_SYS(sendmmsg),
    SCMP_SYS(uname),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
};

/* Children, listeners, and what a child does before it confines itself further. */
static const int governing[] = {
    SCMP_SYS(clone),
    SCMP_SYS(wait4),
    SCMP_SYS(kill),
    SCMP_SYS(socketpair),
    SCMP_SYS(signalfd4),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(bind),
    SCMP_SYS(listen),
    SCMP_SYS(close_range),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(chmod),
    SCMP_SYS(fchmod),
    SCMP_SYS(fchmodat),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(readlink),
    SCMP_SYS(getdents64),
    SCMP_SYS(pread64),
    SCMP_SYS(uname),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getppid),
    SCMP_SYS(setgroups),
    SCMP_SYS(setresgid),
    SCMP_SYS(setresuid),
    SCMP_SYS(prctl),
    SCMP_SYS(seccomp),
    SCMP_SYS(prlimit64),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    SCMP_SYS(umask),
};

/* What the sanitizers' runtime does: maps of memory, stacks for signals, the tracer of the leak
 * check. */
static const int sanitizer[] = {
    SCMP_SYS(mmap),        SCMP_SYS(mprotect),        SCMP_SYS(open),
    SCMP_SYS(openat),      SCMP_SYS(readlink),        SCMP_SYS(sigaltstack),
    SCMP_SYS(sched_yield), SCMP_SYS(clone),           SCMP_SYS(ptrace),
    SCMP_SYS(wait4),       SCMP_SYS(prctl),           SCMP_SYS(getdents),
    SCMP_SYS(getdents64),  SCMP_SYS(prlimit64),       SCMP_SYS(exit),
    SCMP_SYS(getppid),     SCMP_SYS(pipe2),           SCMP_SYS(process_vm_readv),
    SCMP_SYS(kill),        SCMP_SYS(uname),           SCMP_SYS(sched_getaffinity),
    SCMP_SYS(pread64),     SCMP_SYS(set_robust_list), SCMP_SYS(rt_sigtimedwait),
    SCMP_SYS(stat),        SCMP_SYS(fstat),           SCMP_SYS(lstat),
    SCMP_SYS(getuid),      SCMP_SYS(nanosleep),       SCMP_SYS(clock_nanosleep),
    SCMP_SYS(arch_prctl),  SCMP_SYS(access),
};

struct list_of {
    const int *calls;
    size_t n;
};

#define LIST(calls)                                                                                \
    {                                                                                              \
        (calls), ARRAY_LEN(calls)                                                                  \
    }

static const struct list_of lists[][7] = {
    [SANDBOX_MASTER] = {LIST(common), LIST(serving), LIST(network), LIST(files), LIST(governing),
                        LIST(storing), LIST(asking)},
    [SANDBOX_WORKER] = {LIST(common), LIST(serving), LIST(network), LIST(files)},
    [SANDBOX_SCRIBE] = {LIST(common), LIST(files), LIST(storing)},
    [SANDBOX_EXPORTER] = {LIST(common), LIST(network), LIST(files)},
    [SANDBOX_SCRIBE_EXPORTING] = {LIST(common), LIST(network), LIST(files), LIST(storing)},
    [SANDBOX_REMOTE_SCRIBE] = {LIST(common), LIST(network), LIST(files), LIST(asking)},
    [SANDBOX_SIMULATOR] = {LIST(common), LIST(serving), LIST(network), LIST(files)},
};

/* Reads /etc/passwd itself: the C library's lookup may load code and ask daemons. */
bool sandbox_find_user(struct str name, struct sandbox_user *ret)
{
    uint64_t number = 0;
    bool found = str_to_u64(name, &number) && number < UINT32_MAX;
    FILE *f = fopen("/etc/passwd", "re");
    const struct passwd *p;

    *ret = (struct sandbox_user){(uid_t)number, (gid_t)number};
    while (f && (p = fgetpwent(f)) != NULL) {
        if (found ? p->pw_uid == number : str_eq(str_c(p->pw_name), name)) {
            *ret = (struct sandbox_user){p->pw_uid, p->pw_gid};
            found = true;
            break;
        }
    }
    if (f)
        (void)fclose(f);
    return found && ret->uid != 0 && ret->gid != 0;
}

bool sandbox_leave_root(const struct sandbox_user *user)
{
    if (geteuid() != 0)
        return true;
    /* The bounding set goes first, while there is still the right to empty it. EINVAL is its end.
     */
    for (int cap = 0; cap < CAPABILITIES_MAX; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL && errno != EPERM)
            return false;
    return setgroups(0, NULL) == 0 && setresgid(user->gid, user->gid, user->gid) == 0 &&
           setresuid(user->uid, user->uid, user->uid) == 0;
}

static int allow_sockets(scmp_filter_ctx f)
{
    static const unsigned families[] = {AF_INET, AF_INET6, AF_UNIX};
    static const unsigned types[] = {SOCK_STREAM, SOCK_DGRAM};
    int error = 0;

    for (size_t i = 0; i < ARRAY_LEN(families) && !error; i++)
        for (size_t j = 0; j < ARRAY_LEN(types) && !error; j++)
            error = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
                                     SCMP_A0(SCMP_CMP_EQ, families[i], 0),
                                     SCMP_A1(SCMP_CMP_MASKED_EQ, SOCKET_TYPE, types[j]));
    return error;
}

static int allow_reading(scmp_filter_ctx f)
{
    return seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                            SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
}

/* The log's file, which is opened anew now and then. */
static int allow_appending(scmp_filter_ctx f)
{
    return seccomp_rule_add(
        f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
        SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_APPEND | O_TRUNC, O_WRONLY | O_APPEND));
}

/* A database, which is written in place. */
static int allow_updating(scmp_filter_ctx f)
{
    return seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                            SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_TRUNC, O_RDWR));
}

static const int mapping[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};

static int allow_data_memory(scmp_filter_ctx f)
{
    int error = 0;

    for (size_t i = 0; i < ARRAY_LEN(mapping) && !error; i++)
        error = seccomp_rule_add(f, SCMP_ACT_ALLOW, mapping[i], 1,
                                 SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return error;
}

/* The C library's lookups try to load code and to ask the kernel for addresses, and do without. The
 * master's list is inherited, so it says no as gently. */
static int refuse_lookups_gently(scmp_filter_ctx f)
{
    int error = seccomp_rule_add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                 SCMP_A0(SCMP_CMP_EQ, AF_NETLINK, 0));

    for (size_t i = 0; i < ARRAY_LEN(mapping) && !error; i++)
        error = seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), mapping[i], 1,
                                 SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
    return error;
}

static int allow_all_of(scmp_filter_ctx f, const int *calls, size_t n)
{
    int error = 0;

    for (size_t i = 0; i < n && !error; i++)
        error = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
    return error;
}

static bool is_storing(enum sandbox_kind kind)
{
    return kind == SANDBOX_SCRIBE || kind == SANDBOX_SCRIBE_EXPORTING;
}

static int fill(scmp_filter_ctx f, enum sandbox_kind kind)
{
    int error = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

    for (size_t i = 0; i < ARRAY_LEN(lists[kind]) && !error; i++)
        error = allow_all_of(f, lists[kind][i].calls, lists[kind][i].n);
    if (SANITIZED && !error)
        error = allow_all_of(f, sanitizer, ARRAY_LEN(sanitizer));
    if (!error && kind != SANDBOX_SCRIBE)
        error = allow_sockets(f);
    if (!error)
        error = allow_reading(f);
    if (!error && kind == SANDBOX_MASTER)
        error = allow_appending(f);
    if (!error && (kind == SANDBOX_MASTER || is_storing(kind)))
        error = allow_updating(f);
    if (!error && (kind == SANDBOX_MASTER || kind == SANDBOX_REMOTE_SCRIBE))
        error = refuse_lookups_gently(f);
    return error ? error : allow_data_memory(f);
}

/* The first backtrace loads a library, which a failed assertion could not do any more. */
static void load_unwinder(void)
{
    void *frame;

    (void)backtrace(&frame, 1);
}

bool sandbox_confine(enum sandbox_kind kind)
{
    const struct rlimit none = {0, 0};
    scmp_filter_ctx f;
    int error;

    load_unwinder();
    if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return false;
    /* The sanitizers' leak check looks at its own process as a debugger does. */
    if (prctl(PR_SET_DUMPABLE, SANITIZED, 0, 0, 0) < 0)
        return false;
    f = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!f) {
        errno = ENOMEM;
        return false;
    }
    error = fill(f, kind);
    if (!error)
        error = seccomp_load(f);
    seccomp_release(f);
    errno = -error;
    return !error;
}
