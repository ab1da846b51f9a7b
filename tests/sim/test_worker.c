/* test_worker.c - a whole worker in a kernel of our own, one seed after another.
 *
 *   8 clients  <--world-->  proxy (the product, unchanged)  <--world-->  upstream
 *
 * Each exchange has a plan for the client (behave, leave, dawdle, stop half way) and one for the
 * upstream (answer, refuse, cut, reset, fall silent, talk nonsense); the plan travels in the
 * prompt, so either end knows what must come out:
 *
 *   - an answer that is given as complete has every character that the upstream sent, once and in order
 *   - what was not completed upstream never looks complete: an error status, an error frame, or a cut
 *   - where nothing went wrong, the answer is a success
 *   - every request that was answered stands in the log exactly once
 *   - budgets have been charged what the log says that all of them took, tokens and money, to the last
 *   - afterwards nothing is open, held or waiting, and nothing is leaked
 *
 * In half of the seeds there are fewer places than clients: they wait, leave while they wait, or are
 * refused when their time is over. In a third of them a proxy brings the clients, and says so in a
 * PROXY header of either version: then the log has the addresses that it names.
 *
 * test_worker [first seed] [number of seeds] [-v]
 */
#include <inttypes.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "proxy/admit_int.h"
#include "wire/h1.h"
#include "wire/json.h"
#include "world.h"

enum {
    CLIENTS = 8,
    ROUNDS = 3,
    PORT = 8000,
    UPSTREAM_PORT = 9000,
    WORDS_MAX = 400,
    OPTION_SIZE = 64
};

enum plan {
    GOOD,
    OVERLOADED,
    DENIED,
    CUT,
    RESET,
    SILENT,
    STALLED,
    GARBAGE,
    ERROR_EVENT,
    NO_STOP,
    EARLY,
    PLANS
};

enum manner { BEHAVES, LEAVES, RESETS, DAWDLES, STOPS_SENDING, MANNERS };

static bool verbose;
static uint64_t current_seed;
static bool calm;         /* this seed has no faults in the world itself */
static bool proxied;      /* every connection begins with a PROXY header */
static bool crowded;      /* there are fewer places than clients, so that they wait, some in vain */
static unsigned n_waited; /* refused for want of a place, in all seeds */
static uint64_t logged_tokens, logged_micro_usd; /* of all requests of this seed */

NORETURN static void broken(const char *what, struct str detail)
{
    fprintf(stderr, "seed %" PRIu64 ": %s\n%.*s\n", current_seed, what,
            (int)size_min(detail.n, 4000), detail.p ? detail.p : "");
    abort();
}

/* --- what is said --------------------------------------------------------------------------- */

/* The answer to exchange id is a text that only it has. */
static void answer_word(uint64_t id, unsigned i, struct buf *out)
{
    buf_printf(out, "w%" PRIu64 ".%u ", id, i);
}

static unsigned answer_words(uint64_t id)
{
    return (unsigned)(id * 2654435761u % WORDS_MAX) + 1;
}

static void event(struct buf *out, const char *type, const char *rest)
{
    buf_printf(out, "event: %s\ndata: {\"type\":\"%s\"%s}\n\n", type, type, rest);
}

/* The whole stream, and how far each plan lets it get. */
static void write_answer(uint64_t id, enum plan plan, struct buf *out)
{
    event(out, "message_start",
          ",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":"
          "\"claude-sonnet-5-5\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,"
          "\"usage\":"
          "{\"input_tokens\":7,\"output_tokens\":1}}");
    event(out, "content_block_start",
          ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
    unsigned words = answer_words(id);
    for (unsigned i = 0; i < words; i++) {
        char rest[128];
        struct buf word;
        buf_init(&word, 64);
        answer_word(id, i, &word);
        snprintf(rest, sizeof(rest),
                 ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"%.*s\"}",
                 STR_FMT(buf_str(&word)));
        buf_done(&word);
        event(out, "content_block_delta", rest);
        if (world_chance(50))
            event(out, "ping", "");
        if (plan == ERROR_EVENT && i == words / 2) {
            event(out, "error",
                  ",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}");
            return;
        }
    }
    event(out, "content_block_stop", ",\"index\":0");
    event(out, "message_delta",
          ",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":"
          "{\"output_tokens\":9}");
    if (plan != NO_STOP)
        event(out, "message_stop", "");
}

/* --- the upstream --------------------------------------------------------------------------- */

struct up {
    struct vsock *sock;
    struct buf in, out;

    enum { UP_READING, UP_ANSWERING, UP_MUTE } state;

    enum { AFTER_KEEP, AFTER_CLOSE, AFTER_RESET, AFTER_MUTE } after;

    bool scheduled, dead, wants_whole;
    unsigned refs;
};

static void up_free(struct up *u)
{
    if (!u->dead || u->refs > 0)
        return;
    buf_done(&u->in);
    buf_done(&u->out);
    free(u);
}

static void up_die(struct up *u, bool with_reset)
{
    if (u->dead)
        return;
    u->dead = true;
    if (with_reset)
        vsock_reset(u->sock);
    else
        vsock_close(u->sock);
    up_free(u);
}

static void up_idle_close(void *arg)
{
    struct up *u = arg;
    u->refs--;
    if (!u->dead && u->state == UP_READING && buf_len(&u->in) == 0)
        up_die(u, false);
    else
        up_free(u);
}

static void up_write(void *arg);

static void up_schedule(struct up *u)
{
    if (u->scheduled || u->dead)
        return;
    u->scheduled = true;
    u->refs++;
    world_after(world_below(20000), up_write, u);
}

static void up_finish(struct up *u)
{
    switch (u->after) {
    case AFTER_KEEP:
        u->state = UP_READING;
        if (!calm && world_chance(300)) { /* a request may already be on its way */
            u->refs++;
            world_after(world_below(20000000), up_idle_close, u);
        }
        return;
    case AFTER_CLOSE: up_die(u, false); return;
    case AFTER_RESET: up_die(u, true); return;
    case AFTER_MUTE: u->state = UP_MUTE; return;
    }
}

static void up_write(void *arg)
{
    struct up *u = arg;
    u->refs--;
    u->scheduled = false;
    if (u->dead) {
        up_free(u);
        return;
    }
    size_t piece = 1 + world_below(world_chance(300) ? 40 : 4000);
    piece = size_min(piece, buf_len(&u->out));
    size_t took = vsock_write(u->sock, str_head(buf_str(&u->out), piece));
    buf_consume(&u->out, took);
    if (buf_len(&u->out) == 0)
        up_finish(u);
    else
        up_schedule(u);
}

static void chunked(struct buf *body, struct buf *out)
{
    while (buf_len(body) > 0) {
        size_t n = size_min(1 + world_below(3000), buf_len(body));
        h1_write_chunk(out, str_head(buf_str(body), n));
        buf_consume(body, n);
    }
    buf_lit(out, "0\r\n\r\n");
}

static void put_error(struct up *u, int status, const char *type)
{
    char body[200];
    int n = snprintf(body, sizeof(body),
                     "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"no\"}}", type);
    buf_printf(&u->out,
               "HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s",
               status, n, body);
}

static void cut_answer(struct up *u, enum plan plan)
{
    if (plan == CUT || plan == RESET || plan == STALLED) {
        size_t keep = world_below(buf_len(&u->out) - 5 - 60); /* never the last event */
        u->out.end = u->out.start + keep;
        u->after = plan == CUT ? AFTER_CLOSE : plan == RESET ? AFTER_RESET : AFTER_MUTE;
    }
}

static void put_stream(struct up *u, uint64_t id, enum plan plan)
{
    struct buf body;
    buf_init(&body, 1 << 20);
    write_answer(id, plan, &body);
    buf_lit(&u->out, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                     "transfer-encoding: chunked\r\n\r\n");
    chunked(&body, &u->out);
    buf_done(&body);
    cut_answer(u, plan);
}

/* The same answer in one piece, for requests that ask for it so. */
static void put_message(struct up *u, uint64_t id, enum plan plan)
{
    struct buf body;
    buf_init(&body, 1 << 20);
    buf_lit(&body, "{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"model\":"
                   "\"claude-sonnet-5-5\",\"content\":[{\"type\":\"text\",\"text\":\"");
    for (unsigned i = 0; i < answer_words(id); i++)
        answer_word(id, i, &body);
    buf_lit(&body, "\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":"
                   "{\"input_tokens\":7,\"output_tokens\":9}}");
    buf_printf(&u->out,
               "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n",
               buf_len(&body));
    buf_append(&u->out, buf_str(&body));
    buf_done(&body);
    cut_answer(u, plan);
}

static void up_answer(struct up *u, uint64_t id, enum plan plan)
{
    u->state = UP_ANSWERING;
    u->after = AFTER_KEEP;
    switch (plan) {
    case OVERLOADED: put_error(u, 529, "overloaded_error"); break;
    case DENIED: put_error(u, 400, "invalid_request_error"); break;
    case EARLY:
        put_error(u, 400, "invalid_request_error");
        u->after = AFTER_CLOSE;
        break;
    case SILENT: u->after = AFTER_MUTE; break;
    case GARBAGE: buf_lit(&u->out, "SSH-2.0-OpenSSH_9.2\r\n\r\nhello"); break;
    case GOOD:
    case CUT:
    case RESET:
    case STALLED:
    case ERROR_EVENT:
    case NO_STOP:
    case PLANS:
        if (u->wants_whole && plan != ERROR_EVENT && plan != NO_STOP)
            put_message(u, id, plan);
        else
            put_stream(u, id, plan);
        break;
    }
    if (buf_len(&u->out) == 0)
        up_finish(u);
    else
        up_schedule(u);
}

/* "ID=12 PLAN=3;" stands in the prompt. */
static bool read_plan(struct str s, uint64_t *ret_id, enum plan *ret_plan)
{
    size_t at = str_find_str(s, STR("ID="));
    if (at == s.n || str_find(str_skip(s, at), ';') == s.n - at)
        return false;
    unsigned plan;
    if (sscanf(s.p + at, "ID=%" SCNu64 " PLAN=%u;", ret_id, &plan) != 2)
        return false;
    *ret_plan = plan;
    return true;
}

static void up_on_data(void *ctx, struct vsock *s)
{
    struct up *u = ctx;
    char block[4096];
    ssize_t n;
    while ((n = vsock_read(s, block, sizeof(block))) > 0)
        buf_append(&u->in, str_of(block, (size_t)n));
    if (n == 0 || n == -2) {
        up_die(u, n == -2);
        return;
    }
    struct str in = buf_str(&u->in);
    uint64_t id;
    enum plan plan;
    if (u->state != UP_READING || !read_plan(in, &id, &plan))
        return;
    u->wants_whole = str_find_str(in, STR("\"stream\":false")) < in.n;
    if (plan == EARLY) {
        buf_clear(&u->in);
        up_answer(u, id, plan);
        return;
    }
    size_t head = str_find_str(in, STR("\r\n\r\n")) + 4;
    size_t length_at = str_find_str(in, STR("ontent-"));
    while (length_at < in.n && !str_starts_nocase(str_skip(in, length_at), STR("ontent-length:")))
        length_at += 1 + str_find_str(str_skip(in, length_at + 1), STR("ontent-"));
    if (length_at >= in.n)
        broken("the upstream got no content-length", in);
    size_t length = strtoul(in.p + length_at + 14, NULL, 10);
    if (in.n < head + length)
        return;
    buf_consume(&u->in, head + length);
    up_answer(u, id, plan);
}

static void up_on_space(void *ctx, struct vsock *s)
{
    (void)s;
    struct up *u = ctx;
    if (u->state == UP_ANSWERING && buf_len(&u->out) > 0)
        up_schedule(u);
}

static const struct vsock_owner up_owner = {.on_data = up_on_data, .on_space = up_on_space};

static void up_accept(void *ctx, struct vsock *s)
{
    (void)ctx;
    struct up *u = calloc(1, sizeof(*u));
    ASSERT(u);
    u->sock = s;
    buf_init(&u->in, 1 << 22);
    buf_init(&u->out, 1 << 22);
    vsock_set_owner(s, &up_owner, u);
}

/* --- clients -------------------------------------------------------------------------------- */

struct peer {
    unsigned number, round;
    struct vsock *sock;
    uint64_t id;
    enum plan plan;
    enum manner manner;
    bool stream, sending_scheduled, reading_scheduled, over;
    struct buf out, in;
    unsigned refs;
};

static struct peer clients[CLIENTS];
static unsigned n_over;
static uint64_t next_id;

struct ledger { /* what the log says of each request */
    unsigned lines, answered;
};

static struct ledger ledger[CLIENTS * ROUNDS + 1];

static void client_next(struct peer *c);

static void client_drop(struct peer *c, bool with_reset)
{
    if (!c->sock)
        return;
    if (with_reset)
        vsock_reset(c->sock);
    else
        vsock_close(c->sock);
    c->sock = NULL;
}

static void client_round_over(struct peer *c)
{
    client_drop(c, false);
    c->round++;
    client_next(c);
}

static void check_text(const struct peer *c, struct str body)
{
    struct buf want;
    buf_init(&want, 1 << 20);
    for (unsigned i = 0; i < answer_words(c->id); i++)
        answer_word(c->id, i, &want);
    struct buf got;
    buf_init(&got, 1 << 20);
    struct str rest = body;
    for (;;) { /* every "content":"..." in order, joined */
        size_t at = str_find_str(rest, STR("\"content\":\""));
        if (at == rest.n)
            break;
        rest = str_skip(rest, at + 11);
        size_t end = str_find(rest, '"');
        buf_append(&got, str_head(rest, end));
    }
    if (!str_eq(buf_str(&want), buf_str(&got)))
        broken("the text differs from what the upstream sent", body);
    buf_done(&want);
    buf_done(&got);
}

static void check_answer(const struct peer *c, int status, struct str body)
{
    bool done = str_find_str(body, STR("[DONE]")) < body.n;
    bool error = str_find_str(body, STR("\"error\":{")) < body.n;
    bool success = status == 200 && !error;
    ledger[c->id].answered += c->manner != STOPS_SENDING; /* its head may not have come */
    if (success && c->stream != done)
        broken(done ? "[DONE] in an answer that does not stream" : "a stream without [DONE]", body);
    if (error && done)
        broken("[DONE] after an error", body);
    if (success && c->plan != GOOD)
        broken("an answer that was not completed looks complete", body);
    if (success)
        check_text(c, body);
    else if (!error)
        broken("neither an answer nor an error", body);
    n_waited += status == 429;
    if (status == 429 && !crowded)
        broken("refused for want of a place, though there are enough", body);
    if (calm && c->plan == GOOD && c->manner != STOPS_SENDING && !success && status != 429)
        broken("nothing was wrong, and yet it failed", body);
}

/* True when the whole response is in; *ret_body is decoded. */
static bool read_response(struct peer *c, int *ret_status, struct buf *ret_body)
{
    static struct h1_head head;
    struct str in = buf_str(&c->in);
    size_t scanned = 0, used;
    enum h1_error error;
    enum h1_result r = h1_parse_response(in, 65536, false, &scanned, &head, &used, &error);
    if (r == H1_BAD)
        broken("the response head is malformed", in);
    if (r == H1_MORE)
        return false;
    *ret_status = head.status;
    in = str_skip(in, used);
    if (head.framing == H1_SIZED) {
        if (in.n < head.content_length)
            return false;
        buf_append(ret_body, str_head(in, (size_t)head.content_length));
        return true;
    }
    if (head.framing != H1_CHUNKED)
        broken("a response without framing", in);
    struct h1_chunked chunks;
    h1_chunked_init(&chunks);
    while (in.n > 0) {
        struct str data;
        r = h1_chunked_next(&chunks, in, &used, &data);
        if (r == H1_BAD)
            broken("the response's chunks are malformed", in);
        buf_append(ret_body, data);
        if (r == H1_DONE)
            return true;
        in = str_skip(in, used);
    }
    return false;
}

static void client_check(struct peer *c, bool closed)
{
    struct buf body;
    buf_init(&body, 1 << 22);
    int status;
    bool whole = read_response(c, &status, &body);
    if (whole)
        check_answer(c, status, buf_str(&body));
    else if (closed && calm && c->manner != STOPS_SENDING)
        broken("the connection was closed without an answer", buf_str(&c->in));
    buf_done(&body);
    if (whole || closed)
        client_round_over(c);
}

static void client_read(void *arg)
{
    struct peer *c = arg;
    c->refs--;
    c->reading_scheduled = false;
    if (!c->sock)
        return;
    char block[2048];
    size_t max = c->manner == DAWDLES ? 1 + world_below(500) : sizeof(block);
    ssize_t n = vsock_read(c->sock, block, max);
    if (n > 0)
        buf_append(&c->in, str_of(block, (size_t)n));
    if (n >= 0 || n == -2) {
        if (n > 0) {
            c->reading_scheduled = true;
            c->refs++;
            world_after(c->manner == DAWDLES ? world_below(50000) : 0, client_read, c);
            if (c->manner == DAWDLES)
                return; /* looks at what it has when nothing more is there */
        }
        client_check(c, n <= 0);
        return;
    }
    client_check(c, false);
}

static void client_on_data(void *ctx, struct vsock *s)
{
    (void)s;
    struct peer *c = ctx;
    if (c->reading_scheduled)
        return;
    c->reading_scheduled = true;
    c->refs++;
    world_after(c->manner == DAWDLES ? world_below(500000) : 0, client_read, c);
}

static void client_write(void *arg)
{
    struct peer *c = arg;
    c->refs--;
    c->sending_scheduled = false;
    if (!c->sock || buf_len(&c->out) == 0)
        return;
    size_t piece = size_min(1 + world_below(world_chance(200) ? 30 : 20000), buf_len(&c->out));
    buf_consume(&c->out, vsock_write(c->sock, str_head(buf_str(&c->out), piece)));
    if (buf_len(&c->out) == 0)
        return;
    c->sending_scheduled = true;
    c->refs++;
    world_after(world_below(3000), client_write, c);
}

static void client_on_open(void *ctx, struct vsock *s)
{
    (void)s;
    struct peer *c = ctx;
    c->sending_scheduled = true;
    c->refs++;
    world_after(world_below(1000), client_write, c);
}

static const struct vsock_owner client_owner = {.on_open = client_on_open,
                                                .on_data = client_on_data};

struct departure {
    struct peer *c;
    unsigned round;
};

static void client_depart(void *arg)
{
    struct departure *d = arg;
    struct peer *c = d->c;
    if (c->round == d->round && c->sock) {
        client_drop(c, c->manner == RESETS);
        client_round_over(c);
    }
    free(d);
}

/* Behind the proxy each request is another client's: 192.0.2.1 and so on. */
static void write_header(struct peer *c)
{
    static const char v2[] =
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\xf\xc0\0\2\0\xc6\x33\x64\7\1\2\3\4\4\0\0";

    enum { HOST_AT = 19 };

    char header[sizeof(v2)];
    if (world_chance(500)) {
        buf_printf(&c->out, "PROXY TCP4 192.0.2.%" PRIu64 " 198.51.100.7 258 772\r\n", c->id);
        return;
    }
    memcpy(header, v2, sizeof(v2));
    header[HOST_AT] = (char)c->id;
    buf_append(&c->out, str_of(header, sizeof(v2) - 1));
}

static void write_request(struct peer *c)
{
    struct buf body;
    buf_init(&body, 1 << 20);
    buf_printf(&body,
               "{\"model\":\"gpt-4o\",\"stream\":%s,%s\"messages\":[{\"role\":\"user\",\"content\":"
               "\"ID=%" PRIu64 " PLAN=%u; ",
               c->stream ? "true" : "false", world_chance(400) ? "\"max_tokens\":900," : "", c->id,
               (unsigned)c->plan);
    for (uint64_t n = world_below(world_chance(100) ? 100000 : 1000); n > 0; n--)
        buf_lit(&body, "x");
    buf_lit(&body, "\"}]}");
    if (proxied)
        write_header(c);
    buf_printf(&c->out,
               "POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\nAuthorization: Bearer "
               "sk-sim-12345678\r\nX-Request-Id: sim-%" PRIu64 "\r\n",
               c->id);
    if (world_chance(300)) {
        buf_lit(&c->out, "Transfer-Encoding: chunked\r\n\r\n");
        chunked(&body, &c->out);
    } else {
        buf_printf(&c->out, "Content-Length: %zu\r\n\r\n%.*s", buf_len(&body),
                   STR_FMT(buf_str(&body)));
    }
    buf_done(&body);
    if (c->manner == STOPS_SENDING)
        c->out.end = c->out.start + world_below(buf_len(&c->out));
}

static struct sock_addr local_addr(uint16_t port)
{
    struct sock_addr a;
    bool ok = sock_addr_ip(STR("127.0.0.1"), port, &a);
    ASSERT(ok);
    return a;
}

static void client_next(struct peer *c)
{
    if (c->round == ROUNDS) {
        c->over = true;
        n_over++;
        return;
    }
    c->id = ++next_id;
    c->plan = world_chance(400) ? GOOD : (enum plan)world_below(PLANS);
    c->manner = world_chance(500) ? BEHAVES : (enum manner)world_below(MANNERS);
    c->stream = world_chance(600);
    buf_clear(&c->out);
    buf_clear(&c->in);
    write_request(c);
    struct sock_addr to = local_addr(PORT);
    c->sock = world_connect(&to, &client_owner, c);
    ASSERT(c->sock);
    if (c->manner == LEAVES || c->manner == RESETS) {
        struct departure *d = malloc(sizeof(*d));
        ASSERT(d);
        *d = (struct departure){c, c->round};
        world_after(world_below(world_chance(500) ? 30000 : 3000000), client_depart, d);
    }
}

/* --- one run -------------------------------------------------------------------------------- */

static uint64_t number_in(struct str line, const char *key)
{
    size_t at = str_find_str(line, str_c(key));
    return at < line.n ? strtoull(line.p + at + strlen(key), NULL, 10) : 0;
}

static void on_log(struct str line)
{
    if (verbose)
        fprintf(stderr, "%.*s", STR_FMT(line));
    if (str_find_str(line, STR("\"event\":\"request\"")) == line.n)
        return;
    size_t at = str_find_str(line, STR("\"id\":\"sim-"));
    if (at == line.n)
        return;
    unsigned long id = strtoul(line.p + at + 10, NULL, 10);
    if (id == 0 || id > CLIENTS * ROUNDS)
        broken("the log names a request that nobody made", line);
    ledger[id].lines++;
    char address[64];
    snprintf(address, sizeof(address), "\"address\":\"%s%lu\"", proxied ? "192.0.2." : "127.0.0.",
             proxied ? id : 1);
    if (str_find_str(line, str_c(address)) == line.n)
        broken("a request comes from the wrong address", line);
    logged_tokens += number_in(line, "\"prompt_tokens\":") + number_in(line, "\"output_tokens\":");
    logged_micro_usd += number_in(line, "\"cost_micro_usd\":");
}

static struct world_faults choose_faults(void)
{
    calm = world_chance(500);
    return (struct world_faults){
        .short_io = world_chance(700) ? (unsigned)world_below(600) : 0,
        .again = world_chance(500) ? (unsigned)world_below(200) : 0,
        .spurious = world_chance(300) ? (unsigned)world_below(50) : 0,
        .refuse = calm ? 0 : (unsigned)world_below(200),
        .reset = calm ? 0 : (unsigned)world_below(20),
        .latency_us = (unsigned)world_below(30000),
        .window = world_chance(500) ? 65536 : 500 + (unsigned)world_below(5000),
    };
}

static void set_option(char *env, const char *name, uint64_t n, const char *unit)
{
    snprintf(env, OPTION_SIZE, "%s=%" PRIu64 "%s", name, n, unit);
}

static struct config *make_config(void)
{
    static char places[OPTION_SIZE], node[OPTION_SIZE], patience[OPTION_SIZE], room[OPTION_SIZE];
    crowded = world_chance(500);
    set_option(places, "CCPROXY_CONCURRENT_REQUESTS", crowded ? 1 + world_below(4) : 1000, "");
    set_option(node, "CCPROXY_NODE_CONCURRENT", crowded ? world_below(4) : 0, "");
    set_option(patience, "CCPROXY_QUEUE_TIMEOUT", world_below(world_chance(500) ? 1000 : 60000),
               "ms");
    set_option(room, "CCPROXY_QUEUE_MAX", world_chance(500) ? 1000 : world_below(5), "");
    proxied = world_chance(333);
    char *env[] = {(char[]){"ANTHROPIC_API_KEY=sk-ant-one,sk-ant-two"},
                   (char[]){"ANTHROPIC_BASE_URL=http://127.0.0.1:9000"},
                   (char[]){"CCPROXY_API_KEYS=sim:sk-sim-12345678"},
                   (char[]){"CCPROXY_REFRESH_MODELS=false"},
                   (char[]){"CCPROXY_RATE_LIMIT_RPM=0"},
                   (char[]){"CCPROXY_RATE_LIMIT_TPM=0"},
                   (char[]){"CCPROXY_TOKENS_PER_DAY=1000000000"},
                   (char[]){"CCPROXY_USD_PER_DAY=1000"},
                   (char[]){"CCPROXY_USD_PER_MONTH=1000"},
                   places,
                   node,
                   patience,
                   room,
                   (char[]){"CCPROXY_SILENCE_TIMEOUT=30s"},
                   (char[]){"CCPROXY_FIRST_BYTE_TIMEOUT=20s"},
                   (char[]){"CCPROXY_WRITE_TIMEOUT=600s"},
                   proxied ? (char[]){"CCPROXY_PROXY_PROTOCOL_FROM=127.0.0.1"} : NULL,
                   NULL};
    struct buf problems;
    buf_init(&problems, 65536);
    struct config *c = config_load(env, &problems);
    if (!c)
        broken("the configuration was refused", buf_str(&problems));
    buf_done(&problems);
    return c;
}

static void run_proxy(struct loop *l, struct proxy *p)
{
    uint64_t until = world_now_us() + 7200ull * 1000000;
    while (n_over < CLIENTS && world_now_us() < until)
        loop_turn(l, 10 * 1000000);
    if (n_over < CLIENTS)
        broken("a client still waits after two hours", STR_NONE);
    proxy_drain(p);
    while (!proxy_is_idle(p) && world_now_us() < until)
        loop_turn(l, 10 * 1000000);
    if (!proxy_is_idle(p))
        broken("the proxy does not drain", STR_NONE);
}

static void check_ledger(void)
{
    for (unsigned i = 1; i <= CLIENTS * ROUNDS; i++) {
        if (ledger[i].lines > 1)
            broken("a request ended twice", STR_NONE);
        if (ledger[i].answered > ledger[i].lines)
            broken("an answered request is not in the log", STR_NONE);
    }
}

/* Settled once, whatever the ending: in a world whose day does not end. */
static void check_budget(struct limits *l, enum which which, uint64_t limit, uint64_t logged)
{
    const struct limit_clock clock = {.now_us = clock_us(), .wall_us = clock_wall_us()};
    struct limit_result r;
    struct limit_item look = {.kind = admit_rows[which].kind,
                              .key = limit_key(limit_id(STR("sim")), which),
                              .limit = limit};
    (void)limits_take(l, &look, 1, &clock, 0, &r);
    if (limit - r.remaining != logged)
        broken("a budget was not charged what the log says", str_c(admit_rows[which].name));
}

static void check_budgets(struct limits *l)
{
    const uint64_t money = UINT64_C(1000) * ADMIT_MICRO;
    check_budget(l, DAY_TOKENS, 1000 * ADMIT_MICRO, logged_tokens);
    check_budget(l, DAY_USD, money, logged_micro_usd);
    check_budget(l, MONTH_USD, money, logged_micro_usd);
    ASSERT(limits_held(l) == 0); /* whatever happened, everything was given back */
}

static void reset_actors(void)
{
    logged_tokens = logged_micro_usd = 0;
    memset(ledger, 0, sizeof(ledger));
    n_over = 0;
    next_id = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct peer){.number = i};
        buf_init(&clients[i].out, 1 << 22);
        buf_init(&clients[i].in, 1 << 22);
    }
}

static void run(uint64_t seed)
{
    current_seed = seed;
    struct world_faults none = {.window = 65536};
    world_start(seed, &none);
    struct world_faults faults = choose_faults();
    uint64_t world_seed = world_random();
    size_t live = mem_live();
    world_start(world_seed, &faults);
    reset_actors();

    struct config *c = make_config();
    struct loop *l = loop_new();
    struct shared shared;
    shared_init(&shared, c);
    char error[256];
    struct proxy *p = proxy_new(l, c, &shared, shared_join(&shared), error, sizeof(error));
    ASSERT(p);
    struct sock_addr at = local_addr(PORT), up = local_addr(UPSTREAM_PORT);
    world_serve(&up, up_accept, NULL);
    int fd = world_listen(&at);
    bool listening = proxy_listen(p, fd, 0);
    ASSERT(listening);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_next(&clients[i]);

    run_proxy(l, p);
    proxy_free(p);
    loop_turn(l, 0);
    loop_free(l);
    check_budgets(shared.limits);
    shared_done(&shared);
    config_free(c);
    world_end();
    check_ledger();
    for (unsigned i = 0; i < CLIENTS; i++) {
        buf_done(&clients[i].out);
        buf_done(&clients[i].in);
    }
    if (mem_live() != live)
        broken("memory is leaked", STR_NONE);
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000;
    verbose = argc > 3;
    log_init(LOG_DEBUG, LOG_JSON, "sim");
    log_set_sink(on_log);
    for (uint64_t seed = first; seed < first + count; seed++)
        run(seed);
    printf("sim: %" PRIu64 " seeds from %" PRIu64 ", %u waited in vain\n", count, first, n_waited);
    return 0;
}
