/* test_sandbox.c - children confine themselves and try what they must not: the kernel kills them.
 *
 * Under sanitizers some calls are let through for their runtime; those cases are skipped there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/sandbox.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { PAGE = 4096, NO_SANDBOX = 77 };

/* The status of a child that confines itself and calls fn, whose result it exits with. */
static int confined(enum sandbox_kind kind, int (*fn)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(sandbox_confine(kind) ? fn() : NO_SANDBOX);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int try_execve(void)
{
    char *const args[] = {NULL};

    return execve("/bin/true", args, args);
}

static int try_open_for_writing(void)
{
    return open("/tmp/ccproxy-sandbox", O_WRONLY | O_CREAT, 0600) < 0;
}

static int try_open_for_updating(void)
{
    return open("/tmp/ccproxy-sandbox", O_RDWR | O_CREAT, 0600) < 0;
}

static int try_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) < 0;
}

static int try_open_and_truncate(void)
{
    return open("/dev/null", O_RDONLY | O_TRUNC) < 0;
}

static int try_raw_socket(void)
{
    return socket(AF_INET, SOCK_RAW, 1) < 0;
}

static int try_netlink(void)
{
    return socket(AF_NETLINK, SOCK_DGRAM, 0) < 0;
}

static int try_executable_memory(void)
{
    return mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
           MAP_FAILED;
}

static int try_making_executable(void)
{
    void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return mprotect(p, PAGE, PROT_READ | PROT_EXEC);
}

static int try_fork(void)
{
    return fork() < 0;
}

static int try_kill(void)
{
    return kill(1, 0);
}

static int try_ptrace(void)
{
    return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int try_unlink(void)
{
    return unlink("/tmp/ccproxy-sandbox");
}

static int try_setuid(void)
{
    return setuid(0);
}

static int try_bind(void)
{
    const struct sockaddr any = {.sa_family = AF_UNIX};

    return bind(0, &any, sizeof(any));
}

static int try_accept(void)
{
    return accept4(0, NULL, NULL, 0) < 0;
}

static int try_unshare(void)
{
    return (int)syscall(SYS_unshare, 0);
}

static int try_memfd(void)
{
    return (int)syscall(SYS_memfd_create, "x", 0) < 0;
}

static int try_io_uring(void)
{
    return (int)syscall(SYS_io_uring_setup, 1, NULL) < 0;
}

enum {
    MASTER = 1 << SANDBOX_MASTER,
    WORKER = 1 << SANDBOX_WORKER,
    SCRIBE = 1 << SANDBOX_SCRIBE,
    EXPORTER = 1 << SANDBOX_EXPORTER,
    BOTH = 1 << SANDBOX_SCRIBE_EXPORTING,
    REMOTE_SCRIBE = 1 << SANDBOX_REMOTE_SCRIBE,
    GENTLE = MASTER | REMOTE_SCRIBE, /* lookups of names are told no */
    SIMULATOR = 1 << SANDBOX_SIMULATOR,
};

static void test_forbidden(void **state)
{
    static const struct {
        const char *name;
        int (*fn)(void);
        unsigned may; /* of the kinds */
        bool sanitizer_may;
    } cases[] = {
        {"execve", try_execve, 0, false},
        {"open for writing", try_open_for_writing, 0, true},
        {"open for updating", try_open_for_updating, MASTER | SCRIBE | BOTH, true},
        {"open and truncate", try_open_and_truncate, 0, true},
        {"socket", try_socket, MASTER | WORKER | EXPORTER | BOTH | REMOTE_SCRIBE | SIMULATOR,
         false},
        {"raw socket", try_raw_socket, 0, false},
        {"netlink", try_netlink, GENTLE, false},
        {"executable memory", try_executable_memory, GENTLE, true},
        {"making memory executable", try_making_executable, GENTLE, true},
        {"fork", try_fork, MASTER, true},
        {"kill", try_kill, MASTER, true},
        {"ptrace", try_ptrace, 0, true},
        {"unlink", try_unlink, MASTER | SCRIBE | BOTH, false},
        {"setuid", try_setuid, 0, false},
        {"bind", try_bind, MASTER, false},
        {"accept", try_accept, MASTER | WORKER | SIMULATOR, false},
        {"unshare", try_unshare, 0, false},
        {"memfd_create", try_memfd, 0, false},
        {"io_uring", try_io_uring, 0, false},
    };

    static const enum sandbox_kind kinds[] = {
        SANDBOX_MASTER,           SANDBOX_WORKER,        SANDBOX_SCRIBE,   SANDBOX_EXPORTER,
        SANDBOX_SCRIBE_EXPORTING, SANDBOX_REMOTE_SCRIBE, SANDBOX_SIMULATOR};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
            int status;

            if ((SANITIZED && cases[i].sanitizer_may) || cases[i].may & 1u << kinds[k])
                continue;
            status = confined(kinds[k], cases[i].fn);
            if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
                fail_msg("%s, kind %u: status %#x", cases[i].name, (unsigned)kinds[k],
                         (unsigned)status);
        }
    }
}

static int try_lookups(void)
{
    return try_netlink() && errno == EAFNOSUPPORT && try_executable_memory() && errno == EACCES &&
                   try_making_executable() && errno == EACCES
               ? 0
               : 1;
}

static void test_told_no(void **state)
{
    (void)state;
    if (SANITIZED)
        return;
    assert_int_equal(confined(SANDBOX_MASTER, try_lookups), 0);
    assert_int_equal(confined(SANDBOX_REMOTE_SCRIBE, try_lookups), 0);
}

/* What a worker lives on, and clone3, which must look as if there were no such call. */
static int live(void)
{
    struct epoll_event ev;
    int file = open("/etc/hosts", O_RDONLY | O_CLOEXEC), epfd = 3;
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int udp = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    void *memory = malloc(4 << 20);
    long clone3 = syscall(SYS_clone3, NULL, 0);
    int clone3_errno = errno;

    (void)epoll_wait(epfd, &ev, 1, 0);
    if (file < 0 || tcp < 0 || udp < 0 || !memory || clone3 != -1 || clone3_errno != ENOSYS)
        return 1;
    free(memory);
    return close(file) || close(tcp) || close(udp);
}

static void test_allowed(void **state)
{
    (void)state;
    assert_int_equal(confined(SANDBOX_MASTER, live), 0);
    assert_int_equal(confined(SANDBOX_WORKER, live), 0);
    assert_int_equal(confined(SANDBOX_EXPORTER, live), 0);
    assert_int_equal(confined(SANDBOX_SCRIBE_EXPORTING, live), 0);
    assert_int_equal(confined(SANDBOX_SIMULATOR, live), 0);
}

static int confine_again(void)
{
    return sandbox_confine(SANDBOX_WORKER) ? live() : 1;
}

static void test_worker_inside_master(void **state)
{
    (void)state;
    assert_int_equal(confined(SANDBOX_MASTER, confine_again), 0);
}

static int abort_now(void)
{
    assert_failed("this is a test", __FILE__, __LINE__, __func__);
}

/* A failed assertion must be able to say what it has to say. */
static void test_assertion_speaks(void **state)
{
    int status = confined(SANDBOX_WORKER, abort_now);

    (void)state;
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static int leave_root(void)
{
    struct sandbox_user user;

    if (!sandbox_find_user(STR("65534"), &user) || !sandbox_leave_root(&user))
        return 1;
    return geteuid() == user.uid && getgid() == user.gid && setuid(0) < 0 ? 0 : 2;
}

static void test_leave_root(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    if (geteuid() != 0)
        skip();
    pid = fork();
    if (pid == 0)
        _exit(leave_root());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_find_user(void **state)
{
    static const struct {
        struct str name;
        bool found;
    } cases[] = {
        {STR_INIT("65534"), true},         {STR_INIT("12345678"), true},
        {STR_INIT("root"), false},         {STR_INIT("0"), false},
        {STR_INIT("no such user"), false}, {STR_INIT(""), false},
        {STR_INIT("99999999999"), false},  {STR_INIT("-1"), false},
    };
    struct sandbox_user user;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(sandbox_find_user(cases[i].name, &user), cases[i].found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forbidden),        cmocka_unit_test(test_told_no),
        cmocka_unit_test(test_allowed),          cmocka_unit_test(test_worker_inside_master),
        cmocka_unit_test(test_assertion_speaks), cmocka_unit_test(test_leave_root),
        cmocka_unit_test(test_find_user),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
