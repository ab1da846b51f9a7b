/* world.c - see world.h. Implements io/sys.h. Plain malloc, so that mem_live() counts only the product. */
#include "world.h"

#include <errno.h>
#include <netinet/tcp.h>

#include "base/clock.h"
#include "base/rand.h"
#include "io/sys.h"

enum { FDS = 512, FD_BASE = 1000, SERVICES = 8, IOV_SEEN = 64 };

struct segment {
    struct segment *next;
    uint64_t at_us;

    enum { SEG_DATA, SEG_FIN, SEG_RST } kind;

    size_t n, used;
    char bytes[];
};

struct vsock {
    enum { V_FREE, V_LISTENER, V_CONN, V_EPOLL } kind;

    int fd;             /* of the code under test; -1: an actor's end */
    struct vsock *peer; /* NULL once the other end is gone for good */
    struct sock_addr addr;

    /* Arrived, in order; and on the way here. */
    struct segment *in, **in_tail;
    uint64_t last_arrival_us;
    size_t in_bytes; /* both: what the writer's window counts */
    bool write_ended, reset, want_space, reset_on_close;

    enum { C_OPEN, C_CONNECTING, C_REFUSED } connect;

    const struct vsock_owner *owner;
    void *ctx;

    struct vsock *backlog; /* of a listener: ends not accepted yet */
    struct vsock *next_in_backlog;

    /* epoll */
    bool watched, edge;
    uint32_t interest, pending;
    epoll_data_t data;
    unsigned refs; /* scheduled calls that point here */
    bool closed;
};

struct event {
    uint64_t at_us, order;
    void (*fn)(void *arg);
    void *arg;
};

static struct {
    uint64_t now_us, seed, order;
    struct world_faults faults;
    struct vsock *fds[FDS];
    struct event *heap;
    size_t n, cap;

    struct {
        struct sock_addr at;
        void (*accept)(void *ctx, struct vsock *s);
        void *ctx;
    } services[SERVICES];

    size_t n_services, open;
} w;

/* --- chance and time ------------------------------------------------------------------------ */

uint64_t world_random(void) /* splitmix64 */
{
    uint64_t z = (w.seed += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint64_t world_below(uint64_t n)
{
    return world_random() % n;
}

bool world_chance(unsigned thousandths)
{
    return world_below(1000) < thousandths;
}

uint64_t world_now_us(void)
{
    return w.now_us;
}

static uint64_t wall_us(void)
{
    return 1763880000000000ull + w.now_us;
}

static void fill_random(void *p, size_t n)
{
    unsigned char *out = p;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)world_random();
}

static bool is_earlier(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void world_after(uint64_t delay_us, void (*fn)(void *arg), void *arg)
{
    if (w.n == w.cap) {
        w.cap = w.cap ? w.cap * 2 : 64;
        w.heap = realloc(w.heap, w.cap * sizeof(*w.heap));
        ASSERT(w.heap);
    }
    size_t i = w.n++;
    w.heap[i] = (struct event){w.now_us + delay_us, w.order++, fn, arg};
    while (i > 0 && is_earlier(&w.heap[i], &w.heap[(i - 1) / 2])) {
        struct event t = w.heap[i];
        w.heap[i] = w.heap[(i - 1) / 2];
        w.heap[(i - 1) / 2] = t;
        i = (i - 1) / 2;
    }
}

static struct event pop_event(void)
{
    struct event top = w.heap[0];
    w.heap[0] = w.heap[--w.n];
    for (size_t i = 0;;) {
        size_t least = i, l = 2 * i + 1, r = l + 1;
        if (l < w.n && is_earlier(&w.heap[l], &w.heap[least]))
            least = l;
        if (r < w.n && is_earlier(&w.heap[r], &w.heap[least]))
            least = r;
        if (least == i)
            return top;
        struct event t = w.heap[i];
        w.heap[i] = w.heap[least];
        w.heap[least] = t;
        i = least;
    }
}

bool world_is_quiet(void)
{
    return w.n == 0;
}

/* --- sockets -------------------------------------------------------------------------------- */

static struct vsock *new_sock(unsigned kind)
{
    struct vsock *s = calloc(1, sizeof(*s));
    ASSERT(s);
    s->kind = kind;
    s->fd = -1;
    s->in_tail = &s->in;
    return s;
}

static int give_fd(struct vsock *s)
{
    for (int i = 0; i < FDS; i++)
        if (!w.fds[i]) {
            w.fds[i] = s;
            s->fd = FD_BASE + i;
            w.open++;
            return s->fd;
        }
    errno = EMFILE;
    return -1;
}

static struct vsock *by_fd(int fd)
{
    ASSERT(fd >= FD_BASE && fd < FD_BASE + FDS && w.fds[fd - FD_BASE]);
    return w.fds[fd - FD_BASE];
}

static void free_if_unused(struct vsock *s)
{
    if (!s->closed || s->refs > 0)
        return;
    if (s->peer)
        s->peer->peer = NULL;
    while (s->in) {
        struct segment *g = s->in;
        s->in = g->next;
        free(g);
    }
    free(s);
}

/* After a scheduled call, which held s. */
static void release(struct vsock *s)
{
    s->refs--;
    free_if_unused(s);
}

static void notify(struct vsock *s, uint32_t events)
{
    if (s->fd >= 0) {
        if (s->watched)
            s->pending |= events & (s->interest | EPOLLHUP | EPOLLERR);
        return;
    }
    if (s->closed || !s->owner)
        return;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR))
        s->owner->on_data(s->ctx, s);
    else if (events & EPOLLOUT && s->owner->on_space)
        s->owner->on_space(s->ctx, s);
}

/* What has arrived by now at the front of the queue. */
static bool has_arrived(const struct vsock *s)
{
    return s->in && s->in->at_us <= w.now_us;
}

static void arrive(void *arg)
{
    struct vsock *s = arg;
    if (!s->closed && has_arrived(s)) {
        uint32_t events = EPOLLIN;
        for (const struct segment *g = s->in; g && g->at_us <= w.now_us; g = g->next) {
            if (g->kind == SEG_FIN)
                events |= EPOLLRDHUP;
            if (g->kind == SEG_RST)
                events |= EPOLLERR | EPOLLHUP;
        }
        notify(s, events);
    }
    release(s);
}

static void push_segment(struct vsock *to, unsigned kind, const void *bytes, size_t n)
{
    struct segment *g = malloc(sizeof(*g) + n);
    ASSERT(g);
    *g = (struct segment){.kind = kind, .n = n};
    if (n)
        memcpy(g->bytes, bytes, n);
    uint64_t latency = w.faults.latency_us ? world_below(w.faults.latency_us + 1) : 0;
    g->at_us = w.now_us + latency;
    if (g->at_us < to->last_arrival_us)
        g->at_us = to->last_arrival_us;
    to->last_arrival_us = g->at_us;
    *to->in_tail = g;
    to->in_tail = &g->next;
    to->in_bytes += n;
    to->refs++;
    world_after(g->at_us - w.now_us, arrive, to);
}

static ssize_t take(struct vsock *s, void *p, size_t n)
{
    struct segment *g = s->in;
    if (!has_arrived(s)) {
        errno = EAGAIN;
        return -1;
    }
    if (g->kind == SEG_RST) {
        s->reset = true;
        errno = ECONNRESET;
        return -1;
    }
    if (g->kind == SEG_FIN)
        return 0;
    size_t have = size_min(n, g->n - g->used);
    memcpy(p, g->bytes + g->used, have);
    g->used += have;
    s->in_bytes -= have;
    if (g->used == g->n) {
        s->in = g->next;
        if (!s->in)
            s->in_tail = &s->in;
        free(g);
    }
    if (s->peer && s->peer->want_space) {
        s->peer->want_space = false;
        notify(s->peer, EPOLLOUT);
    }
    return (ssize_t)have;
}

/* Bytes that s may still send before its peer has read some. */
static size_t window_left(const struct vsock *s)
{
    size_t used = s->peer ? s->peer->in_bytes : 0;
    return used < w.faults.window ? w.faults.window - used : 0;
}

static ssize_t put(struct vsock *s, const char *p, size_t n)
{
    if (s->reset || !s->peer || s->peer->closed) {
        errno = s->reset ? ECONNRESET : EPIPE;
        return -1;
    }
    size_t can = size_min(n, window_left(s));
    if (can == 0) {
        s->want_space = true;
        errno = EAGAIN;
        return -1;
    }
    if (world_chance(w.faults.reset)) {
        push_segment(s->peer, SEG_RST, NULL, 0);
        push_segment(s, SEG_RST, NULL, 0);
        s->reset = true;
        return (ssize_t)can;
    }
    if (world_chance(w.faults.short_io))
        can = 1 + world_below(can);
    push_segment(s->peer, SEG_DATA, p, can);
    if (can < n)
        s->want_space = true;
    return (ssize_t)can;
}

static void end_write(struct vsock *s)
{
    if (s->write_ended || !s->peer)
        return;
    s->write_ended = true;
    push_segment(s->peer, SEG_FIN, NULL, 0);
}

static void close_end(struct vsock *s, bool with_reset)
{
    bool unread = has_arrived(s) && s->in->kind == SEG_DATA;
    if (s->peer && (with_reset || unread)) /* like TCP: closing on unread data resets */
        push_segment(s->peer, SEG_RST, NULL, 0);
    else
        end_write(s);
    s->closed = true;
    free_if_unused(s);
}

/* --- for actors ----------------------------------------------------------------------------- */

void vsock_set_owner(struct vsock *s, const struct vsock_owner *owner, void *ctx)
{
    s->owner = owner;
    s->ctx = ctx;
}

ssize_t vsock_read(struct vsock *s, void *p, size_t n)
{
    ssize_t got = take(s, p, n);
    if (got >= 0)
        return got;
    return errno == EAGAIN ? -1 : -2;
}

size_t vsock_write(struct vsock *s, struct str bytes)
{
    ssize_t put_n = put(s, bytes.p, bytes.n);
    return put_n < 0 ? 0 : (size_t)put_n;
}

void vsock_end_write(struct vsock *s)
{
    end_write(s);
}

void vsock_close(struct vsock *s)
{
    s->owner = NULL;
    close_end(s, false);
}

void vsock_reset(struct vsock *s)
{
    s->owner = NULL;
    close_end(s, true);
}

static bool same_addr(const struct sock_addr *a, const struct sock_addr *b)
{
    return sock_addr_port(a) == sock_addr_port(b) && a->sa.sa_family == b->sa.sa_family;
}

static struct vsock *make_pair(void)
{
    struct vsock *a = new_sock(V_CONN), *b = new_sock(V_CONN);
    a->peer = b;
    b->peer = a;
    return a;
}

int world_listen(const struct sock_addr *at)
{
    struct vsock *s = new_sock(V_LISTENER);
    s->addr = *at;
    return give_fd(s);
}

static void open_later(void *arg)
{
    struct vsock *s = arg;
    if (!s->closed && s->owner && s->owner->on_open)
        s->owner->on_open(s->ctx, s);
    release(s);
}

struct vsock *world_connect(const struct sock_addr *to, const struct vsock_owner *owner, void *ctx)
{
    for (int i = 0; i < FDS; i++) {
        struct vsock *l = w.fds[i];
        if (!l || l->kind != V_LISTENER || !same_addr(&l->addr, to))
            continue;
        struct vsock *mine = make_pair(), *theirs = mine->peer;
        vsock_set_owner(mine, owner, ctx);
        struct vsock **tail = &l->backlog;
        while (*tail)
            tail = &(*tail)->next_in_backlog;
        *tail = theirs;
        notify(l, EPOLLIN);
        mine->refs++;
        world_after(0, open_later, mine);
        return mine;
    }
    return NULL;
}

void world_serve(const struct sock_addr *at, void (*accept)(void *ctx, struct vsock *s), void *ctx)
{
    ASSERT(w.n_services < SERVICES);
    w.services[w.n_services].at = *at;
    w.services[w.n_services].accept = accept;
    w.services[w.n_services++].ctx = ctx;
}

/* --- sys.h ---------------------------------------------------------------------------------- */

int sys_epoll_create(void)
{
    return give_fd(new_sock(V_EPOLL));
}

static uint32_t level_events(const struct vsock *s)
{
    if (s->kind == V_LISTENER)
        return s->backlog ? EPOLLIN : 0;
    uint32_t events = has_arrived(s) ? EPOLLIN : 0;
    if (s->connect == C_OPEN && window_left(s) > 0)
        events |= EPOLLOUT;
    return events;
}

int sys_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
    (void)epfd;
    struct vsock *s = by_fd(fd);
    s->watched = op != EPOLL_CTL_DEL;
    s->pending = 0;
    if (!s->watched)
        return 0;
    s->interest = ev->events;
    s->edge = (ev->events & (uint32_t)EPOLLET) != 0;
    s->data = ev->data;
    s->pending = level_events(s) & s->interest;
    return 0;
}

static int gather(struct epoll_event *evs, int max)
{
    int n = 0;
    int first = (int)world_below(FDS); /* any order */
    for (int i = 0; i < FDS && n < max; i++) {
        struct vsock *s = w.fds[(first + i) % FDS];
        if (!s || !s->watched)
            continue;
        if (!s->edge)
            s->pending = level_events(s) & s->interest;
        if (s->edge && s->kind == V_CONN && s->connect == C_OPEN && world_chance(w.faults.spurious))
            s->pending |= (EPOLLIN | EPOLLOUT) & s->interest;
        if (!s->pending)
            continue;
        evs[n++] = (struct epoll_event){.events = s->pending, .data = s->data};
        s->pending = 0;
    }
    return n;
}

int sys_epoll_wait(int epfd, struct epoll_event *evs, int max, int timeout_ms)
{
    (void)epfd;
    uint64_t until = timeout_ms < 0 ? UINT64_MAX : w.now_us + (uint64_t)timeout_ms * 1000;
    for (;;) {
        while (w.n > 0 && w.heap[0].at_us <= w.now_us) {
            struct event e = pop_event();
            e.fn(e.arg);
        }
        int n = gather(evs, max);
        if (n > 0)
            return n;
        uint64_t next = w.n > 0 ? w.heap[0].at_us : UINT64_MAX;
        if (next > until || next == UINT64_MAX) {
            if (until != UINT64_MAX)
                w.now_us = until;
            return 0;
        }
        w.now_us = next;
    }
}

int sys_socket(int family, int type)
{
    (void)family;
    (void)type;
    return give_fd(new_sock(V_CONN));
}

static void connected(void *arg)
{
    struct vsock *s = arg;
    if (!s->closed) {
        if (s->connect == C_CONNECTING)
            s->connect = C_OPEN;
        notify(s, s->connect == C_REFUSED ? EPOLLERR | EPOLLHUP | EPOLLOUT : EPOLLOUT);
    }
    release(s);
}

int sys_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    struct vsock *s = by_fd(fd);
    struct sock_addr to = {.len = len};
    memcpy(&to.storage, addr, len);
    s->connect = C_REFUSED;
    for (size_t i = 0; i < w.n_services && !world_chance(w.faults.refuse); i++) {
        if (!same_addr(&w.services[i].at, &to))
            continue;
        s->connect = C_CONNECTING;
        struct vsock *far = new_sock(V_CONN);
        s->peer = far;
        far->peer = s;
        w.services[i].accept(w.services[i].ctx, far);
        break;
    }
    s->refs++;
    world_after(world_below(w.faults.latency_us + 1), connected, s);
    errno = EINPROGRESS;
    return -1;
}

int sys_accept(int fd, struct sockaddr_storage *ret_addr, socklen_t *len)
{
    struct vsock *l = by_fd(fd), *s = l->backlog;
    if (!s) {
        errno = EAGAIN;
        return -1;
    }
    int got = give_fd(s);
    if (got < 0)
        return -1;
    l->backlog = s->next_in_backlog;
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    memcpy(ret_addr, &peer, sizeof(peer));
    *len = sizeof(peer);
    return got;
}

/* A refusal to work now that the caller must not confuse with an end: an event follows. */
static bool feign_again(struct vsock *s, uint32_t event)
{
    if (!world_chance(w.faults.again))
        return false;
    if (s->watched)
        s->pending |= event & s->interest;
    errno = EAGAIN;
    return true;
}

ssize_t sys_recv(int fd, void *p, size_t n)
{
    struct vsock *s = by_fd(fd);
    if (feign_again(s, EPOLLIN))
        return -1;
    size_t asked = n;
    if (n > 1 && world_chance(w.faults.short_io))
        n = 1 + world_below(n);
    ssize_t got = take(s, p, n);
    if (got >= 0 && (size_t)got < asked && has_arrived(s) && s->watched)
        s->pending |= EPOLLIN & s->interest; /* as if the rest had just come: an edge of its own */
    return got;
}

ssize_t sys_peek(int fd, void *p, size_t n)
{
    struct vsock *s = by_fd(fd);
    if (feign_again(s, EPOLLIN))
        return -1;
    size_t have = 0;
    for (const struct segment *g = s->in; g && g->at_us <= w.now_us && g->kind == SEG_DATA;
         g = g->next) {
        size_t some = size_min(n - have, g->n - g->used);
        memcpy((char *)p + have, g->bytes + g->used, some);
        have += some;
    }
    return have ? (ssize_t)have : take(s, p, n); /* nothing, an end or a reset */
}

ssize_t sys_writev(int fd, const struct iovec *iov, int n)
{
    struct vsock *s = by_fd(fd);
    if (feign_again(s, EPOLLOUT))
        return -1;
    ssize_t total = 0;
    for (int i = 0; i < n && i < IOV_SEEN; i++) {
        if (iov[i].iov_len == 0)
            continue;
        ssize_t took = put(s, iov[i].iov_base, iov[i].iov_len);
        if (took < 0)
            return total ? total : -1;
        total += took;
        if ((size_t)took < iov[i].iov_len)
            break;
    }
    return total;
}

int sys_shutdown_write(int fd)
{
    end_write(by_fd(fd));
    return 0;
}

int sys_close(int fd)
{
    struct vsock *s = by_fd(fd);
    w.fds[fd - FD_BASE] = NULL;
    w.open--;
    s->fd = -1;
    s->watched = false;
    while (s->backlog) {
        struct vsock *b = s->backlog;
        s->backlog = b->next_in_backlog;
        close_end(b, true);
    }
    close_end(s, s->reset_on_close);
    return 0;
}

int sys_socket_error(int fd)
{
    return by_fd(fd)->connect == C_REFUSED ? ECONNREFUSED : 0;
}

int sys_set_option(int fd, int level, int option, int value)
{
    (void)fd;
    (void)level;
    (void)option;
    (void)value;
    return 0;
}

void sys_set_reset_on_close(int fd)
{
    by_fd(fd)->reset_on_close = true;
}

/* --- life ----------------------------------------------------------------------------------- */

size_t world_open_fds(void)
{
    return w.open;
}

void world_start(uint64_t seed, const struct world_faults *faults)
{
    memset(&w, 0, sizeof(w));
    w.seed = seed;
    w.now_us = 1000000;
    w.faults = *faults;
    clock_set_source(world_now_us, wall_us);
    rand_set_source(fill_random);
    clock_refresh();
}

void world_end(void)
{
    while (w.n > 0) { /* what is still in flight arrives at closed ends */
        struct event e = pop_event();
        if (e.at_us > w.now_us)
            w.now_us = e.at_us;
        e.fn(e.arg);
    }
    ASSERT(w.open == 0);
    free(w.heap);
    clock_set_source(NULL, NULL);
    rand_set_source(NULL);
}
