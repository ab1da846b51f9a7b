/* load.c - a load generator for the benchmarks: one epoll loop, the same for every contestant.
 *
 *   load --to 127.0.0.1:8000 --request FILE [--connections 32] [--requests 10000] [--rate 0]
 *
 * FILE is one HTTP request, byte for byte. Each connection sends it, reads the whole answer, and
 * sends it again (keep-alive). With --rate, requests leave at that many a second, whatever the
 * answers do; latency is then counted from the moment at which a request was due. With --hold,
 * every connection makes one request, and "all open" is printed when each has received its first
 * event.
 *
 * Prints one line of JSON: requests, errors (status other than 200, or a broken answer), events
 * ("data:" lines), bytes, seconds, and the latencies' p50 and p99 in microseconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/sock.h"
#include "wire/h1.h"

enum { READ_SIZE = 256 * 1024, HEAD_MAX = 65536, BATCH = 256 };

struct conn {
    int fd;

    enum { IDLE, HEAD, SIZED, CHUNKED } state;
    struct buf head; /* while it is not complete */
    struct h1_chunked chunks;
    uint64_t left;
    uint64_t due_us;
    unsigned matched; /* of "data:" */
    uint64_t events;
    bool failed;
};

static struct {
    struct sock_addr to;
    struct str request;
    unsigned connections;
    uint64_t requests, rate;
    bool hold;
} o = {.connections = 32, .requests = 10000};

static struct conn *conns;
static uint32_t *latencies;
static uint64_t sent, answered, errors, events, bytes, started_us, opened;
static int epfd;
static char block[READ_SIZE];

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

NORETURN static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void open_conn(struct conn *c)
{
    c->fd = socket(o.to.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, &o.to.sa, o.to.len) < 0)
        die("connect");
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &ev) < 0)
        die("epoll_ctl");
    buf_init(&c->head, HEAD_MAX);
    c->state = IDLE;
}

static void send_request(struct conn *c, uint64_t due_us)
{
    struct str rest = o.request;
    c->due_us = due_us;
    c->state = HEAD;
    c->failed = false;
    sent++;
    while (rest.n > 0) {
        ssize_t n = send(c->fd, rest.p, rest.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            continue; /* large requests are few; a spin keeps this simple */
        if (n < 0)
            die("send");
        rest = str_skip(rest, (size_t)n);
    }
}

static void count_events(struct conn *c, struct str s)
{
    static const char mark[] = "data:";
    for (size_t i = 0; i < s.n; i++) {
        c->matched = s.p[i] == mark[c->matched] ? c->matched + 1 : s.p[i] == mark[0];
        if (c->matched < sizeof(mark) - 1)
            continue;
        c->matched = 0;
        events++;
        if (c->events++ == 0 && o.hold && ++opened == o.connections) {
            printf("all open\n");
            fflush(stdout);
        }
    }
}

static void finish(struct conn *c)
{
    uint64_t took = now_us() - c->due_us;
    latencies[answered++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    errors += c->failed;
    c->state = IDLE;
    if (!o.rate && !o.hold && sent < o.requests)
        send_request(c, now_us());
}

/* Consumes what it can of s; returns how much. */
static size_t take_body(struct conn *c, struct str s)
{
    if (c->state == SIZED) {
        size_t n = size_min(s.n, (size_t)c->left);
        count_events(c, str_head(s, n));
        c->left -= n;
        if (c->left == 0)
            finish(c);
        return n;
    }
    size_t used;
    struct str data;
    enum h1_result r = h1_chunked_next(&c->chunks, s, &used, &data);
    count_events(c, data);
    if (r == H1_BAD) {
        fprintf(stderr, "load: bad chunk\n");
        exit(1);
    }
    if (r == H1_DONE)
        finish(c);
    return used;
}

static void take_head(struct conn *c)
{
    static struct h1_head head;
    size_t scanned = 0, used;
    enum h1_error error;
    enum h1_result r =
        h1_parse_response(buf_str(&c->head), HEAD_MAX, false, &scanned, &head, &used, &error);
    if (r == H1_MORE)
        return;
    if (r == H1_BAD) {
        fprintf(stderr, "load: bad head\n");
        exit(1);
    }
    buf_consume(&c->head, used);
    c->failed = head.status != 200;
    c->state = head.framing == H1_CHUNKED ? CHUNKED : SIZED;
    c->left = head.content_length;
    h1_chunked_init(&c->chunks);
    if (c->state == SIZED && c->left == 0)
        finish(c);
}

static void take(struct conn *c, struct str s)
{
    bytes += s.n;
    while (s.n > 0 || (c->state != HEAD && buf_len(&c->head) > 0)) {
        if (c->state == HEAD) {
            buf_append(&c->head, s);
            s = STR_NONE;
            take_head(c);
            if (c->state == HEAD)
                return;
            s = buf_str(&c->head); /* the start of the body came with the head */
            while (s.n > 0 && c->state != HEAD && c->state != IDLE)
                s = str_skip(s, take_body(c, s));
            buf_clear(&c->head);
            return;
        }
        if (c->state == IDLE)
            return;
        s = str_skip(s, take_body(c, s));
    }
}

static void on_readable(struct conn *c)
{
    ssize_t n = recv(c->fd, block, sizeof(block), 0);
    if (n > 0) {
        take(c, str_of(block, (size_t)n));
        return;
    }
    if (n < 0 && errno == EAGAIN)
        return;
    close(c->fd);
    if (c->state != IDLE) {
        c->failed = true;
        finish(c);
    }
    buf_done(&c->head);
    open_conn(c);
}

/* Sends what is due by now; returns microseconds until the next is. */
static int pace(void)
{
    if (!o.rate)
        return -1;
    for (unsigned i = 0; sent < o.requests; i++) {
        uint64_t due = started_us + sent * 1000000 / o.rate;
        uint64_t now = now_us();
        if (due > now)
            return (int)((due - now) / 1000);
        unsigned tries = 0;
        static unsigned next;
        while (conns[next % o.connections].state != IDLE && tries++ < o.connections)
            next++;
        if (tries > o.connections)
            return 0; /* all busy: the request leaves late, and that counts */
        send_request(&conns[next++ % o.connections], due);
    }
    return -1;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void report(void)
{
    double seconds = (double)(now_us() - started_us) / 1e6;
    qsort(latencies, answered, sizeof(*latencies), by_value);
    printf("{\"requests\":%llu,\"errors\":%llu,\"events\":%llu,\"bytes\":%llu,\"seconds\":%.3f,"
           "\"p50_us\":%u,\"p99_us\":%u}\n",
           (unsigned long long)answered, (unsigned long long)errors, (unsigned long long)events,
           (unsigned long long)bytes, seconds, latencies[answered / 2],
           latencies[answered * 99 / 100]);
}

static void read_request(const char *path)
{
    static struct buf b;
    buf_init(&b, 64 * 1024 * 1024);
    FILE *f = fopen(path, "rb");
    if (!f)
        die(path);
    size_t n;
    while ((n = fread(block, 1, sizeof(block), f)) > 0)
        buf_append(&b, str_of(block, n));
    fclose(f);
    o.request = buf_str(&b);
}

static void parse_to(const char *text)
{
    struct str s = str_c(text);
    size_t colon = s.n;
    while (colon > 0 && s.p[colon - 1] != ':')
        colon--;
    uint64_t port;
    if (colon == 0 || !str_to_u64(str_skip(s, colon), &port) ||
        !sock_addr_ip(str_head(s, colon - 1), (uint16_t)port, &o.to)) {
        fprintf(stderr, "load: --to takes address:port\n");
        exit(2);
    }
}

static void parse_args(int argc, char **argv)
{
    static const struct option options[] = {
        {"to", 1, NULL, 't'},       {"request", 1, NULL, 'f'}, {"connections", 1, NULL, 'c'},
        {"requests", 1, NULL, 'n'}, {"rate", 1, NULL, 'r'},    {"hold", 0, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    int opt;
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (opt) {
        case 't': parse_to(optarg); break;
        case 'f': read_request(optarg); break;
        case 'c': o.connections = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'n': o.requests = strtoull(optarg, NULL, 10); break;
        case 'r': o.rate = strtoull(optarg, NULL, 10); break;
        case 'h': o.hold = true; break;
        default: exit(2);
        }
    }
    if (!o.request.n || !o.to.len || !o.connections || !o.requests) {
        fprintf(stderr, "load: --to and --request are needed\n");
        exit(2);
    }
    if (o.hold)
        o.requests = o.connections;
}

int main(int argc, char **argv)
{
    parse_args(argc, argv);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc(o.connections, sizeof(*conns));
    latencies = calloc(o.requests + o.connections, sizeof(*latencies));
    if (!conns || !latencies || epfd < 0)
        die("start");
    for (unsigned i = 0; i < o.connections; i++)
        open_conn(&conns[i]);
    started_us = now_us();
    for (unsigned i = 0; i < o.connections && !o.rate && sent < o.requests; i++)
        send_request(&conns[i], now_us());
    while (answered < o.requests) {
        struct epoll_event evs[BATCH];
        int n = epoll_wait(epfd, evs, BATCH, pace());
        for (int i = 0; i < n; i++)
            on_readable(evs[i].data.ptr);
    }
    report();
    return errors > 0;
}
