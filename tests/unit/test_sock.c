/* test_sock.c - addresses to text and back, and listeners on TCP and unix sockets. */
#include "io/sock.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/sys.h"

static void check_str(struct str got, const char *want)
{
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p, want, got.n);
}

static void test_ip(void **state)
{
    static const struct {
        const char *ip, *text, *host; /* text NULL: not an address */
        bool loopback;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1:8000", "127.0.0.1", true},
        {"127.255.0.9", "127.255.0.9:8000", "127.255.0.9", true},
        {"10.1.2.3", "10.1.2.3:8000", "10.1.2.3", false},
        {"0.0.0.0", "0.0.0.0:8000", "0.0.0.0", false},
        {"::1", "[::1]:8000", "::1", true},
        {"::", "[::]:8000", "::", false},
        {"2001:DB8::1", "[2001:db8::1]:8000", "2001:db8::1", false},
        {"::ffff:127.0.0.1", "[::ffff:127.0.0.1]:8000", "127.0.0.1", true},
        {"::ffff:10.1.2.3", "[::ffff:10.1.2.3]:8000", "10.1.2.3", false},
        {"", NULL, NULL, false},
        {"localhost", NULL, NULL, false},
        {"127.1", NULL, NULL, false},
        {"256.0.0.1", NULL, NULL, false},
        {"1.2.3.4 ", NULL, NULL, false},
        {"[::1]", NULL, NULL, false},
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", NULL, NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[SOCK_TEXT];
        struct sock_addr a;

        assert_int_equal(sock_addr_ip(str_c(cases[i].ip), 8000, &a), cases[i].text != NULL);
        if (!cases[i].text)
            continue;
        check_str(sock_addr_text(&a, out), cases[i].text);
        check_str(sock_addr_host(&a, out), cases[i].host);
        assert_int_equal(sock_addr_is_loopback(&a), cases[i].loopback);
        assert_int_equal(sock_addr_port(&a), 8000);
    }
    assert_false(sock_addr_ip(str_of("1.2.3.4\0", 8), 1, &(struct sock_addr){0}));
}

static void test_unix_addr(void **state)
{
    char out[SOCK_TEXT], path[200];
    struct sock_addr a;

    (void)state;
    assert_true(sock_addr_unix(STR("/run/x.sock"), &a));
    check_str(sock_addr_text(&a, out), "unix:/run/x.sock");
    check_str(sock_addr_host(&a, out), "unix");
    assert_true(sock_addr_is_loopback(&a));
    assert_int_equal(sock_addr_port(&a), 0);
    a.len = sizeof(sa_family_t); /* a peer without a name */
    check_str(sock_addr_text(&a, out), "unix:");
    memset(path, 'p', sizeof(path));
    assert_true(sock_addr_unix(str_of(path, 107), &a));
    assert_false(sock_addr_unix(str_of(path, 108), &a));
    assert_false(sock_addr_unix(STR(""), &a));
    assert_false(sock_addr_unix(str_of("a\0b", 3), &a));
    a.sa.sa_family = AF_UNSPEC;
    check_str(sock_addr_text(&a, out), "unknown");
    check_str(sock_addr_host(&a, out), "unknown");
    assert_false(sock_addr_is_loopback(&a));
}

static void test_listen_tcp(void **state)
{
    struct sock_addr a;
    struct sockaddr_storage peer;
    socklen_t len;
    int on = 0, first, second, client, conn;
    socklen_t on_len = sizeof(on);

    (void)state;
    assert_true(sock_addr_ip(STR("127.0.0.1"), 0, &a));
    first = sock_listen(&a, true, 8);
    assert_true(first >= 0);
    assert_true(sock_local(first, &a));
    assert_int_not_equal(sock_addr_port(&a), 0);
    second = sock_listen(&a, true, 8);
    assert_true(second >= 0);
    (void)close(second);
    assert_int_equal(sock_listen(&a, false, 8), -1);
    assert_int_equal(errno, EADDRINUSE);

    assert_int_equal(sys_accept(first, &peer, &len), -1);
    assert_int_equal(errno, EAGAIN);
    client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, &a.sa, a.len), 0);
    conn = sys_accept(first, &peer, &len);
    assert_true(conn >= 0);
    assert_int_equal(getsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &on, &on_len), 0);
    assert_true(on); /* handed down by the listener */
    assert_int_equal(getsockopt(conn, SOL_SOCKET, SO_KEEPALIVE, &on, &on_len), 0);
    assert_true(on);
    (void)close(conn);
    (void)close(client);
    (void)close(first);
}

static void test_listen_unix(void **state)
{
    char dir[] = P_tmpdir "/test_sock.XXXXXX", path[64];
    struct sock_addr a;
    struct stat st;
    FILE *f;
    int fd;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/s", dir);
    assert_true(sock_addr_unix(str_c(path), &a));
    fd = sock_listen(&a, false, 8);
    assert_true(fd >= 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(sock_listen(&a, false, 8), -1); /* somebody is there */
    assert_int_equal(errno, EADDRINUSE);
    (void)close(fd);
    fd = sock_listen(&a, false, 8); /* nobody is there any more */
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(unlink(path), 0);

    f = fopen(path, "w"); /* not a socket: not ours to remove */
    assert_non_null(f);
    (void)fclose(f);
    assert_int_equal(sock_listen(&a, false, 8), -1);
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_error_text(void **state)
{
    (void)state;
    assert_string_equal(sock_error_text(ECONNREFUSED), "connection refused");
    assert_string_equal(sock_error_text(0), "no error");
    assert_non_null(sock_error_text(EXDEV));
    assert_string_equal(sock_error_text(12345), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ip),         cmocka_unit_test(test_unix_addr),
        cmocka_unit_test(test_listen_tcp), cmocka_unit_test(test_listen_unix),
        cmocka_unit_test(test_error_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
