/* top.c - see top.h. One connection, one question a second, one page an answer.
 *
 *   timer --> call --> answer --> json --> top_page --> terminal
 *     ^------------------ on_end, on_fail ----------------'
 *
 * It is an ordinary client of the server that it shows, with the gateway's own HTTP client.
 */
#include "proc/top.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "http/client.h"
#include "proc/terminal.h"

enum {
    EVERY_US = 1000 * 1000,
    PATIENCE_US = 5 * 1000 * 1000, /* for an answer */
    ANSWER_MAX = 16 * 1024 * 1024,
    PAGE_MAX = 1024 * 1024,
    HEAD_MAX = 16 * 1024,
    TROUBLE = 512,
    PLAIN_COLUMNS = 120,
};

static struct {
    struct config *config; /* NULL: it has faults, and --url makes up for it */
    struct buf url_text, head, answer, page;
    struct loop *loop;
    struct dns *dns;
    struct tls_ctx *tls;
    struct pool *pool;
    struct call *call;
    struct timer timer, patience;
    struct io_watch signals, keys;
    int status; /* of the answer */
    struct json doc;
    struct buf shown; /* the text that doc is of */
    struct top_view view;
    char trouble[TROUBLE];
    bool once;
} self;

/* --- the page ------------------------------------------------------------------------------- */

static void show(void)
{
    self.view.trouble = str_c(self.trouble);
    if (self.view.live)
        terminal_size(&self.view.columns, &self.view.rows);
    buf_clear(&self.page);
    top_page(&self.doc, &self.view, &self.page);
    terminal_write(buf_str(&self.page));
}

/* An answer has come, or will not come. */
static void finish(void)
{
    self.call = NULL;
    timer_stop(self.loop, &self.patience);
    if (self.once && self.trouble[0])
        (void)fprintf(stderr, "ccproxy: %s\n", self.trouble);
    else
        show();
    if (self.once)
        loop_stop(self.loop);
    else
        timer_after(self.loop, &self.timer, EVERY_US);
}

static void fail(const char *why)
{
    (void)snprintf(self.trouble, sizeof(self.trouble), "%.*s: %s", STR_FMT(self.view.from), why);
    finish();
}

/* --- asking --------------------------------------------------------------------------------- */

static void on_head(void *ctx, const struct h1_head *head)
{
    (void)ctx;
    self.status = head->status;
}

static void on_body(void *ctx, struct str bytes)
{
    (void)ctx;
    if (!buf_append(&self.answer, bytes))
        self.status = 0;
}

static bool take_answer(void)
{
    struct json fresh;
    json_init(&fresh);
    bool good = json_parse(&fresh, buf_str(&self.answer)) == JSON_OK &&
                json_is(json_root(&fresh), JSON_OBJECT);
    if (!good) {
        json_done(&fresh);
        return false;
    }
    json_done(&self.doc);
    buf_done(&self.shown);
    self.doc = fresh;
    self.shown = buf_take(&self.answer);
    return true;
}

static void on_end(void *ctx)
{
    char text[64];
    (void)ctx;
    self.trouble[0] = '\0';
    if (self.status == 200 && take_answer()) {
        finish();
        return;
    }
    (void)snprintf(text, sizeof(text), "answers %d, which is no statistics", self.status);
    fail(self.status == 401   ? "wants a key with the right stats: CCPROXY_TOP_KEY"
         : self.status == 403 ? "the key in CCPROXY_TOP_KEY lacks the right stats"
                              : text);
}

static void on_fail(void *ctx, enum call_failure why, const char *error)
{
    (void)ctx;
    (void)why;
    fail(error ? error : "no answer");
}

static void on_patience(struct timer *t)
{
    (void)t;
    call_cancel(self.call);
    fail("no answer for five seconds");
}

static void ask(struct timer *t)
{
    static const struct call_handler handler = {
        .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail};
    (void)t;
    buf_done(&self.answer);
    buf_init(&self.answer, ANSWER_MAX);
    self.call = call_start(self.pool, buf_str(&self.head), NULL, &handler, NULL);
    timer_after(self.loop, &self.patience, PATIENCE_US);
}

/* --- keys and signals ----------------------------------------------------------------------- */

static void on_keys(struct io_watch *w, unsigned events)
{
    char typed[64];
    (void)events;
    ssize_t n = read(w->fd, typed, sizeof(typed));
    if (n <= 0)
        loop_unwatch(self.loop, w); /* a terminal that is gone sends SIGHUP, too */
    for (ssize_t i = 0; i < n; i++) {
        if (typed[i] == 'q' || typed[i] == 'Q')
            loop_stop(self.loop);
        if (typed[i] == 'w' || typed[i] == '\t') {
            self.view.window = (self.view.window + 1) % TOP_WINDOWS;
            show();
        }
    }
}

/* Ctrl-Z: the shell gets its terminal, and gives it back with SIGCONT. */
static void stand_aside(void)
{
    terminal_close();
    (void)raise(SIGSTOP);
    if (!terminal_open())
        loop_stop(self.loop);
    else
        show();
}

static void on_signals(struct io_watch *w, unsigned events)
{
    struct signalfd_siginfo info;
    (void)events;
    while (read(w->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        switch (info.ssi_signo) {
        case SIGWINCH:
            if (self.view.live)
                show();
            break;
        case SIGTSTP: stand_aside(); break;
        default: loop_stop(self.loop); break;
        }
    }
}

static bool watch_terminal(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigaddset(&set, numbers[i]);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    self.signals = (struct io_watch){.fn = on_signals, .name = "signals"};
    self.signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    self.keys = (struct io_watch){.fd = STDIN_FILENO, .fn = on_keys, .name = "keys"};
    return self.signals.fd >= 0 && loop_watch_level(self.loop, &self.signals) &&
           loop_watch_level(self.loop, &self.keys) && terminal_open();
}

/* --- where to ask --------------------------------------------------------------------------- */

/* How much stands between us and what we want at a listener. */
static unsigned obstacles(const struct listen *l)
{
    return (l->serves & SERVES_OPERATORS ? 0 : 4U) + (l->tls ? 2U : 0) + (l->proxies ? 1U : 0);
}

/* Where the configuration has operators come in, without TLS and PROXY headers if there is such a
 * place. */
static const struct listen *operators_door(void)
{
    const struct listen *best = &self.config->listen[0];
    for (size_t i = 1; i < self.config->n_listen; i++)
        if (obstacles(&self.config->listen[i]) < obstacles(best))
            best = &self.config->listen[i];
    return best;
}

/* The address that the configuration makes a server listen on, from this machine. */
static void put_own_url(struct buf *out)
{
    const struct listen *l = operators_door();
    struct str host = l->host;
    if (str_starts(host, STR("unix:"))) {
        buf_append(out, host);
        return;
    }
    bool any4 = str_eq(host, STR("0.0.0.0")), any6 = str_eq(host, STR("::"));
    bool six = str_find(host, ':') < host.n;
    struct str to = any4 ? STR("127.0.0.1") : any6 ? STR("::1") : host;
    buf_printf(out, six ? "%s://[%.*s]:%u" : "%s://%.*s:%u", l->tls ? "https" : "http", STR_FMT(to),
               (unsigned)l->port);
}

static void put_head(const struct url *u)
{
    struct str key = self.config ? self.config->top_key : STR_NONE;
    bool is_unix = u->scheme == URL_UNIX;
    buf_printf(&self.head,
               "GET %.*s/stats HTTP/1.1\r\nHost: ", STR_FMT(is_unix ? STR("") : u->path));
    if (is_unix)
        buf_lit(&self.head, "localhost");
    else
        buf_printf(&self.head, u->is_ipv6 ? "[%.*s]:%u" : "%.*s:%u", STR_FMT(u->host),
                   (unsigned)u->port);
    buf_lit(&self.head, "\r\nAccept: application/json\r\n");
    if (key.n)
        buf_printf(&self.head, "Authorization: Bearer %.*s\r\n", STR_FMT(key));
    buf_lit(&self.head, "\r\n");
}

static int complain(const char *what, struct str value)
{
    (void)fprintf(stderr, "ccproxy: %s%.*s\n", what, STR_FMT(value));
    return 1;
}

/* 0, or the exit status. */
static int find_server(const struct cli *cli, struct url *ret)
{
    struct buf problems;
    buf_init(&problems, PAGE_MAX);
    self.config = config_load(environ, &problems);
    if (!self.config && !cli->url.n)
        (void)fprintf(stderr, "%.*s", STR_FMT(buf_str(&problems)));
    buf_done(&problems);
    if (!self.config && !cli->url.n)
        return 1;
    if (cli->url.n)
        buf_append(&self.url_text, cli->url);
    else
        put_own_url(&self.url_text);
    self.view.from = buf_str(&self.url_text);
    if (!url_parse(self.view.from, ret))
        return complain("--url is not an address like http://127.0.0.1:8000: ", self.view.from);
    if (self.config && !h1_is_field_value(self.config->top_key))
        return complain("CCPROXY_TOP_KEY cannot be sent: it has odd characters", STR(""));
    put_head(ret);
    return 0;
}

static int set_up(const struct url *u)
{
    char error[256];
    struct pool_options options = {
        .target = {.url = *u},
        .connect_timeout_us = PATIENCE_US,
        .idle_timeout_us = PATIENCE_US,
        .idle_max = 1,
        .head_max = HEAD_MAX,
    };
    const struct tls_options tls = {.ca_file = self.config ? self.config->ca_file.p : NULL};
    if (u->scheme == URL_HTTPS) {
        self.tls = tls_ctx_new(&tls, error, sizeof(error));
        if (!self.tls)
            return complain(error, STR(""));
    }
    options.target.tls = self.tls;
    self.loop = loop_new();
    self.dns = dns_new(self.loop, self.config ? self.config->dns_servers.p : NULL);
    self.pool = pool_new(self.loop, self.dns, &options);
    timer_init(&self.timer, "ask", ask);
    timer_init(&self.patience, "patience", on_patience);
    timer_after(self.loop, &self.timer, 0);
    return 0;
}

static void give_back(void)
{
    terminal_close();
    if (self.call)
        call_cancel(self.call);
    if (self.pool)
        pool_free(self.pool);
    if (self.dns)
        dns_free(self.dns);
    if (self.loop)
        loop_free(self.loop);
    tls_ctx_free(self.tls);
    json_done(&self.doc);
    buf_done(&self.shown);
    buf_done(&self.answer);
    buf_done(&self.page);
    buf_done(&self.head);
    buf_done(&self.url_text);
    config_free(self.config);
}

/* What the HTTP client has to say is in the page. */
static void say_nothing(struct str line)
{
    (void)line;
}

static void init(const struct cli *cli)
{
    self.once = cli->once || !terminal_is_there();
    self.view = (struct top_view){.columns = PLAIN_COLUMNS, .live = !self.once};
    log_set_sink(say_nothing);
    clock_refresh();
    json_init(&self.doc);
    buf_init(&self.url_text, HEAD_MAX);
    buf_init(&self.head, HEAD_MAX);
    buf_init(&self.answer, ANSWER_MAX);
    buf_init(&self.shown, ANSWER_MAX);
    buf_init(&self.page, PAGE_MAX);
}

int top_command(const struct cli *cli)
{
    struct url url;
    init(cli);
    int status = find_server(cli, &url);
    if (status == 0)
        status = set_up(&url);
    if (status == 0 && !self.once && !watch_terminal())
        status = complain("the terminal cannot be used", STR(""));
    if (status == 0) {
        loop_run(self.loop);
        status = self.once && self.trouble[0];
    }
    give_back();
    return status;
}
