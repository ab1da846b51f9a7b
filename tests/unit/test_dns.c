/* test_dns.c - the resolver against a name server that is a table in this file.
 *
 *   dns --UDP (or TCP, after a truncated answer)--> on_udp / on_tcp --> names[], counted per name
 *
 * The clock stands still unless a test moves it. The server answers on the same loop.
 */
#include "io/dns.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/sys.h"

enum {
    TURNS_MAX = 2000,
    SECOND_US = 1000 * 1000,
    TYPE_A = 1,
    TYPE_AAAA = 28,
    FLAG_TRUNCATED = 0x0200,
    SERVFAIL = 2,
    NXDOMAIN = 3,
    MESSAGE_MAX = 1024,
};

/* --- the name server --- */

struct name {
    const char *name;
    int n4, n6; /* addresses 10.0.0.i and 2001:db8::i */
    uint32_t ttl_s;
    int code;      /* instead of an answer */
    int code6;     /* the same for AAAA alone */
    int asked;     /* questions that came, A and AAAA together */
    bool only_tcp; /* over UDP the answer is truncated */
    bool silent;
};

static struct name names[8];
static struct loop *loop;
static struct dns *dns;
static uint64_t now_us;
static struct io_watch udp, tcp_listener, tcp;
static int udp_fd, tcp_listener_fd, tcp_fd;
static int tcp_asked;

struct writer {
    unsigned char p[MESSAGE_MAX];
    size_t n;
};

static void put16(struct writer *w, unsigned v)
{
    assert_true(w->n + 2 <= sizeof(w->p));
    w->p[w->n++] = (unsigned char)(v >> 8);
    w->p[w->n++] = (unsigned char)v;
}

static void put_bytes(struct writer *w, const void *p, size_t n)
{
    assert_true(w->n + n <= sizeof(w->p));
    memcpy(w->p + w->n, p, n);
    w->n += n;
}

/* A record for the name of the question (RFC 1035 section 4.1.4: a pointer to offset 12). */
static void put_record(struct writer *w, unsigned type, uint32_t ttl_s, const void *data, size_t n)
{
    put16(w, 0xC00C);
    put16(w, type);
    put16(w, 1);
    put16(w, ttl_s >> 16);
    put16(w, ttl_s & 0xFFFF);
    put16(w, (unsigned)n);
    put_bytes(w, data, n);
}

static void put_addresses(struct writer *w, const struct name *name, unsigned type)
{
    for (int i = 1; type == TYPE_A && i <= name->n4; i++) {
        const unsigned char a[4] = {10, 0, 0, (unsigned char)i};

        put_record(w, type, name->ttl_s, a, sizeof(a));
    }
    for (int i = 1; type == TYPE_AAAA && i <= name->n6; i++) {
        const unsigned char a[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = (unsigned char)i};

        put_record(w, type, name->ttl_s, a, sizeof(a));
    }
}

/* The question's name as text; returns the offset behind question and type. */
static size_t read_question(const unsigned char *p, size_t n, char *ret, size_t size,
                            unsigned *type)
{
    size_t at = 12, len = 0;

    while (at < n && p[at] != 0) {
        size_t label = p[at++];

        assert_true(at + label < n && len + label + 1 < size);
        if (len > 0)
            ret[len++] = '.';
        memcpy(ret + len, p + at, label);
        len += label;
        at += label;
    }
    ret[len] = '\0';
    assert_true(at + 5 <= n);
    *type = (unsigned)p[at + 1] << 8 | p[at + 2];
    return at + 5;
}

static struct name *find_name(const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].name && strcasecmp(names[i].name, text) == 0)
            return &names[i];
    return NULL;
}

/* False: no answer at all. */
static bool answer(const unsigned char *p, size_t n, bool over_tcp, struct writer *w)
{
    char text[256];
    unsigned type, code, flags = 0x8180, count = 0;
    size_t end = read_question(p, n, text, sizeof(text), &type);
    struct name *name = find_name(text);

    if (name)
        name->asked++;
    if (name && name->silent)
        return false;
    code = name ? (unsigned)name->code : NXDOMAIN;
    if (name && type == TYPE_AAAA && name->code6)
        code = (unsigned)name->code6;
    if (name && name->only_tcp && !over_tcp)
        flags |= FLAG_TRUNCATED;
    else if (code == 0)
        count = (unsigned)(type == TYPE_A ? name->n4 : name->n6);
    *w = (struct writer){0};
    put_bytes(w, p, 2);
    put16(w, flags | code);
    put16(w, 1);
    put16(w, count);
    put16(w, 0);
    put16(w, 0);
    put_bytes(w, p + 12, end - 12);
    if (count > 0)
        put_addresses(w, name, type);
    return true;
}

static void on_udp(struct io_watch *w, unsigned events)
{
    unsigned char in[MESSAGE_MAX];
    struct writer out;
    struct sock_addr from = {.len = sizeof(from.storage)};
    ssize_t n = recvfrom(w->fd, in, sizeof(in), 0, &from.sa, &from.len);

    (void)events;
    assert_true(n > 12);
    if (answer(in, (size_t)n, false, &out))
        assert_int_equal(sendto(w->fd, out.p, out.n, 0, &from.sa, from.len), out.n);
}

static void close_tcp(void)
{
    loop_unwatch(loop, &tcp);
    if (tcp_fd >= 0)
        (void)close(tcp_fd);
    tcp_fd = -1;
}

/* Takes one message at a time; the answer goes out in two pieces. */
static void on_tcp(struct io_watch *w, unsigned events)
{
    unsigned char head[2], in[MESSAGE_MAX];
    struct writer out;
    ssize_t n = recv(w->fd, head, 2, MSG_WAITALL);

    (void)events;
    if (n <= 0) {
        close_tcp();
        return;
    }
    n = recv(w->fd, in, (size_t)head[0] << 8 | head[1], MSG_WAITALL);
    assert_true(n > 12);
    tcp_asked++;
    if (!answer(in, (size_t)n, true, &out))
        return;
    head[0] = (unsigned char)(out.n >> 8);
    head[1] = (unsigned char)out.n;
    assert_int_equal(send(w->fd, head, 2, MSG_NOSIGNAL), 2);
    assert_int_equal(send(w->fd, out.p, out.n, MSG_NOSIGNAL), out.n);
}

static void on_tcp_listener(struct io_watch *w, unsigned events)
{
    struct sockaddr_storage from;
    socklen_t len;

    (void)events;
    close_tcp();
    tcp_fd = sys_accept(w->fd, &from, &len);
    assert_true(tcp_fd >= 0);
    tcp.fd = tcp_fd;
    assert_true(loop_watch_level(loop, &tcp));
}

/* One port for both; the port that TCP was given may be in use on UDP. */
static uint16_t open_server(void)
{
    for (int i = 0; i < 20; i++) {
        struct sock_addr a;

        assert_true(sock_addr_ip(STR("127.0.0.1"), 0, &a));
        tcp_listener_fd = sock_listen(&a, false, 8);
        assert_true(tcp_listener_fd >= 0 && sock_local(tcp_listener_fd, &a));
        udp_fd = sys_socket(AF_INET, SOCK_DGRAM);
        assert_true(udp_fd >= 0);
        if (bind(udp_fd, &a.sa, a.len) == 0)
            return sock_addr_port(&a);
        (void)close(udp_fd);
        (void)close(tcp_listener_fd);
    }
    fail();
    return 0;
}

/* --- the client's side --- */

struct result {
    int calls;
    size_t n;
    const char *error;
    struct sock_addr addrs[DNS_ADDRS_MAX];
    struct dns_query **cancels;
    const char *looks_up;
    struct result *into;
};

static void on_result(void *ctx, const struct sock_addr *addrs, size_t n, const char *error)
{
    struct result *r = ctx;

    assert_true(n <= DNS_ADDRS_MAX);
    assert_true((n == 0) == (error != NULL));
    r->calls++;
    r->n = n;
    r->error = error;
    memcpy(r->addrs, addrs, n * sizeof(*addrs));
    if (r->cancels && *r->cancels) {
        dns_cancel(*r->cancels);
        *r->cancels = NULL;
    }
    if (r->looks_up)
        (void)dns_lookup(dns, str_c(r->looks_up), 1, on_result, r->into);
}

static uint64_t fake_clock(void)
{
    return now_us;
}

static int setup(void **state)
{
    char servers[32];

    (void)state;
    memset(names, 0, sizeof(names));
    now_us = 1000 * (uint64_t)SECOND_US;
    clock_set_source(fake_clock, fake_clock);
    clock_refresh();
    loop = loop_new();
    tcp_fd = -1;
    tcp_asked = 0;
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", open_server());
    udp = (struct io_watch){.fd = udp_fd, .fn = on_udp, .name = "udp"};
    tcp_listener = (struct io_watch){.fd = tcp_listener_fd, .fn = on_tcp_listener, .name = "tcp"};
    tcp = (struct io_watch){.fd = -1, .fn = on_tcp, .name = "tcp"};
    assert_true(loop_watch_level(loop, &udp) && loop_watch_level(loop, &tcp_listener));
    dns = dns_new(loop, servers);
    assert_non_null(dns);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_free(dns);
    close_tcp();
    loop_unwatch(loop, &udp);
    loop_unwatch(loop, &tcp_listener);
    (void)close(udp_fd);
    (void)close(tcp_listener_fd);
    loop_free(loop);
    clock_set_source(NULL, NULL);
    assert_int_equal(mem_live(), 0);
    return 0;
}

static void pass(uint64_t s)
{
    now_us += s * SECOND_US;
    clock_refresh();
}

/* Looks name up and turns the loop until it is answered. */
static struct result look(const char *name)
{
    struct result r = {0};

    (void)dns_lookup(dns, str_c(name), 443, on_result, &r);
    for (int i = 0; r.calls == 0 && i < TURNS_MAX; i++)
        loop_turn(loop, SECOND_US);
    assert_int_equal(r.calls, 1);
    return r;
}

static void check_addr(const struct result *r, size_t i, const char *want)
{
    char out[SOCK_TEXT];
    struct str got;

    assert_true(i < r->n);
    got = sock_addr_text(&r->addrs[i], out);
    assert_true(str_eq(got, str_c(want)));
}

/* Answered before dns_lookup returns. */
static struct result look_at_once(const char *name)
{
    struct result r = {0};

    assert_null(dns_lookup(dns, str_c(name), 443, on_result, &r));
    assert_int_equal(r.calls, 1);
    return r;
}

/* --- tests --- */

static void test_without_asking(void **state)
{
    static const struct {
        const char *name, *first, *second;
    } cases[] = {
        {"192.0.2.7", "192.0.2.7:443", NULL},
        {"2001:db8::7", "[2001:db8::7]:443", NULL},
        {"[2001:db8::7]", "[2001:db8::7]:443", NULL},
        {"localhost", "[::1]:443", "127.0.0.1:443"},
        {"LocalHost.", "[::1]:443", "127.0.0.1:443"},
        {"app.localhost", "[::1]:443", "127.0.0.1:443"},
    };

    char longest[300];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct result r = look_at_once(cases[i].name);

        assert_int_equal(r.n, cases[i].second ? 2 : 1);
        check_addr(&r, 0, cases[i].first);
        if (cases[i].second)
            check_addr(&r, 1, cases[i].second);
    }
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_string_equal(look_at_once("").error, "not a host name");
    assert_string_equal(look_at_once(longest).error, "not a host name");
}

static void test_families_take_turns(void **state)
{
    static const char *const want[] = {
        "[2001:db8::1]:443", "10.0.0.1:443", "[2001:db8::2]:443", "10.0.0.2:443", "10.0.0.3:443",
    };
    struct result r;

    (void)state;
    names[0] = (struct name){.name = "both.test", .n4 = 3, .n6 = 2, .ttl_s = 60};
    r = look("both.test");
    assert_int_equal(r.n, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        check_addr(&r, i, want[i]);
}

static void test_one_family_and_too_many(void **state)
{
    struct result r;

    (void)state;
    names[0] = (struct name){.name = "four.test", .n4 = 2, .ttl_s = 60};
    names[1] = (struct name){.name = "six.test", .n6 = 1, .ttl_s = 60};
    names[2] = (struct name){.name = "many.test", .n4 = 20, .n6 = 1, .ttl_s = 60};
    r = look("four.test");
    assert_int_equal(r.n, 2);
    check_addr(&r, 0, "10.0.0.1:443");
    r = look("six.test");
    assert_int_equal(r.n, 1);
    r = look("many.test");
    assert_int_equal(r.n, DNS_ADDRS_MAX);
    check_addr(&r, 0, "[2001:db8::1]:443");
}

static void test_one_family_fails(void **state)
{
    (void)state;
    names[0] = (struct name){.name = "a.test", .n4 = 1, .ttl_s = 60, .code6 = SERVFAIL};
    names[1] = (struct name){.name = "b.test", .n4 = 1, .ttl_s = 60, .code6 = NXDOMAIN};
    assert_int_equal(look("a.test").n, 1);
    assert_int_equal(look("b.test").n, 1);
}

static void test_times_to_live(void **state)
{
    static const struct {
        uint32_t ttl_s;
        uint64_t kept_s;
    } cases[] = {{0, 1}, {1, 1}, {30, 30}, {3600, 3600}, {86400, 3600}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[32];

        (void)snprintf(text, sizeof(text), "ttl%zu.test", i);
        names[0] = (struct name){.name = text, .n4 = 1, .n6 = 1, .ttl_s = cases[i].ttl_s};
        (void)look(text);
        assert_int_equal(names[0].asked, 2);
        pass(cases[i].kept_s - 1);
        now_us += SECOND_US - 1;
        clock_refresh();
        assert_int_equal(look_at_once(text).n, 2);
        assert_int_equal(names[0].asked, 2);
        now_us++;
        clock_refresh();
        (void)look(text);
        assert_int_equal(names[0].asked, 4);
    }
}

static void test_case_and_port(void **state)
{
    struct result r = {0};

    (void)state;
    names[0] = (struct name){.name = "a.test", .n4 = 1, .ttl_s = 60};
    (void)look("a.test");
    assert_null(dns_lookup(dns, STR("A.TEST"), 8443, on_result, &r));
    check_addr(&r, 0, "10.0.0.1:8443");
}

static void test_no_such_name(void **state)
{
    (void)state;
    names[0] = (struct name){.name = "none.test", .code = NXDOMAIN};
    assert_string_equal(look("none.test").error, "no such host name");
    assert_string_equal(look_at_once("none.test").error, "no such host name");
    assert_int_equal(names[0].asked, 2);
    pass(1);
    assert_string_equal(look("none.test").error, "no such host name");
    assert_int_equal(names[0].asked, 4);
    names[1] = (struct name){.name = "empty.test"};
    assert_non_null(look("empty.test").error);
}

static void test_stale_answer_when_servers_fail(void **state)
{
    struct result r;
    int asked;

    (void)state;
    names[0] = (struct name){.name = "a.test", .n4 = 1, .ttl_s = 10};
    (void)look("a.test");
    pass(10);
    names[0].code = SERVFAIL;
    r = look("a.test");
    assert_int_equal(r.n, 1);
    asked = names[0].asked;
    assert_int_equal(look_at_once("a.test").n, 1); /* and not asked again for a second */
    assert_int_equal(names[0].asked, asked);
    pass(3599);
    assert_int_equal(look("a.test").n, 1);
    pass(2);
    r = look("a.test");
    assert_int_equal(r.n, 0);
    assert_string_equal(r.error, "name servers failed or cannot be reached");
    pass(1);
    names[0].code = 0;
    assert_int_equal(look("a.test").n, 1);
}

/* "no such name" is an answer, not a failure. */
static void test_no_stale_answer_when_the_name_is_gone(void **state)
{
    (void)state;
    names[0] = (struct name){.name = "a.test", .n4 = 1, .ttl_s = 10};
    (void)look("a.test");
    pass(10);
    names[0].code = NXDOMAIN;
    assert_int_equal(look("a.test").n, 0);
    pass(1);
    names[0].code = SERVFAIL;
    assert_int_equal(look("a.test").n, 0);
}

#define RUN_UNTIL(cond)                                                                            \
    do {                                                                                           \
        for (int turn_ = 0; !(cond) && turn_ < TURNS_MAX; turn_++)                                 \
            loop_turn(loop, SECOND_US);                                                            \
        assert_true(cond);                                                                         \
    } while (0)

static void test_lookups_share_a_question(void **state)
{
    struct result r[3] = {0};

    (void)state;
    names[0] = (struct name){.name = "a.test", .n4 = 1, .n6 = 1, .ttl_s = 60};
    for (uint16_t i = 0; i < 3; i++)
        assert_non_null(dns_lookup(dns, STR("a.test"), i, on_result, &r[i]));
    assert_int_equal(r[0].calls, 0);
    RUN_UNTIL(r[0].calls && r[1].calls && r[2].calls);
    assert_int_equal(names[0].asked, 2);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(r[i].n, 2);
        assert_int_equal(sock_addr_port(&r[i].addrs[0]), i);
    }
}

static void test_cancel(void **state)
{
    struct result gone = {0}, stays = {0}, last = {0};
    struct dns_query *q, *victim;

    (void)state;
    names[0] = (struct name){.name = "a.test", .n4 = 1, .ttl_s = 60};
    q = dns_lookup(dns, STR("a.test"), 1, on_result, &gone);
    (void)dns_lookup(dns, STR("a.test"), 1, on_result, &stays);
    victim = dns_lookup(dns, STR("a.test"), 1, on_result, &last);
    stays.cancels = &victim; /* from inside the first one's call */
    dns_cancel(q);
    RUN_UNTIL(stays.calls == 1);
    loop_turn(loop, 0);
    assert_int_equal(gone.calls, 0);
    assert_int_equal(last.calls, 0);
    assert_null(victim);
}

static void test_cancel_of_the_only_one_still_fills_the_cache(void **state)
{
    struct result gone = {0}, other = {0};

    (void)state;
    names[0] = (struct name){.name = "a.test", .n4 = 1, .n6 = 1, .ttl_s = 60};
    dns_cancel(dns_lookup(dns, STR("a.test"), 1, on_result, &gone));
    (void)dns_lookup(dns, STR("b.test"), 1, on_result, &other);
    RUN_UNTIL(other.calls == 1 && names[0].asked == 2);
    RUN_UNTIL(look("a.test").n == 2);
    assert_int_equal(names[0].asked, 2);
    assert_int_equal(gone.calls, 0);
}

static void test_lookup_inside_a_call(void **state)
{
    struct result again = {0}, other = {0};
    struct result first = {.looks_up = "a.test", .into = &again};

    (void)state;
    names[0] = (struct name){.name = "a.test", .n4 = 1, .ttl_s = 60};
    names[1] = (struct name){.name = "b.test", .n4 = 1, .ttl_s = 60};
    again.looks_up = "b.test";
    again.into = &other;
    (void)dns_lookup(dns, STR("a.test"), 1, on_result, &first);
    RUN_UNTIL(other.calls == 1);
    assert_int_equal(first.calls, 1);
    assert_int_equal(again.calls, 1);
    assert_int_equal(other.n, 1);
}

static void test_truncated_answer_goes_to_tcp(void **state)
{
    (void)state;
    names[0] = (struct name){.name = "big.test", .n4 = 8, .n6 = 8, .ttl_s = 60, .only_tcp = true};
    assert_int_equal(look("big.test").n, 16);
    assert_int_equal(tcp_asked, 2);
}

static void test_free_with_lookups_pending(void **state)
{
    struct result r = {0};

    (void)state;
    names[0] = (struct name){.name = "quiet.test", .silent = true};
    assert_non_null(dns_lookup(dns, STR("quiet.test"), 1, on_result, &r));
    assert_non_null(dns_lookup(dns, STR("quiet.test"), 1, on_result, &r));
    RUN_UNTIL(names[0].asked > 0);
    dns_free(dns);
    dns = NULL;
    loop_turn(loop, 0);
    assert_int_equal(r.calls, 0);
}

static void test_cache_is_bounded(void **state)
{
    size_t live = 0;

    (void)state;
    for (int i = 0; i < 600; i++) {
        char text[32];

        (void)snprintf(text, sizeof(text), "n%d.test", i);
        names[0] = (struct name){.name = text, .n4 = 1, .ttl_s = 60};
        (void)look(text);
        loop_turn(loop, 0);
        if (i == 400)
            live = mem_live();
    }
    assert_int_equal(mem_live(), live);
}

static void test_server_list(void **state)
{
    static const struct {
        const char *servers;
        bool ok;
    } cases[] = {
        {NULL, true},
        {"127.0.0.1", true},
        {"127.0.0.1:53,[::1]:5353", true},
        {"not an address", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns *d = dns_new(loop, cases[i].servers);

        assert_int_equal(d != NULL, cases[i].ok);
        dns_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_without_asking, setup, teardown),
        cmocka_unit_test_setup_teardown(test_families_take_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_family_and_too_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_family_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_times_to_live, setup, teardown),
        cmocka_unit_test_setup_teardown(test_case_and_port, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_such_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_answer_when_servers_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_stale_answer_when_the_name_is_gone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_lookups_share_a_question, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_of_the_only_one_still_fills_the_cache, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_lookup_inside_a_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated_answer_goes_to_tcp, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_with_lookups_pending, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cache_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_list, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
