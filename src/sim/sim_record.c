/* sim_record.c - a log of requests in memory; see sim_record.h. */
#include "sim/sim_record.h"

#include "base/list.h"
#include "base/mem.h"
#include "base/text.h"
#include "wire/json.h"
#include "wire/jsonw.h"

enum { RECORDS_MAX = 4096, HEAD_JSON_MAX = 256 * 1024 };

struct sim_record {
    struct list node;
    unsigned holders;
    char peer[SOCK_TEXT];
    uint64_t connection;
    uint64_t sent;
    bool gone;
    struct buf head; /* members of its JSON object: method, path, headers */
    struct buf body; /* as it came */
};

struct sim_log {
    struct list records;
    size_t n;
    uint64_t connections;
};

struct sim_log *log_new(void)
{
    struct sim_log *l = mem_zalloc(sizeof(*l));
    list_init(&l->records);
    return l;
}

void log_free(struct sim_log *l)
{
    if (!l)
        return;
    log_clear(l);
    mem_free(l);
}

void record_release(struct sim_record *r)
{
    if (!r || --r->holders > 0)
        return;
    buf_done(&r->head);
    buf_done(&r->body);
    mem_free(r);
}

static void drop_oldest(struct sim_log *l)
{
    struct list *node = list_pop(&l->records);
    l->n--;
    record_release(CONTAINER_OF(node, struct sim_record, node));
}

void log_clear(struct sim_log *l)
{
    while (l->n > 0)
        drop_oldest(l);
}

void record_sent(struct sim_record *r, size_t n)
{
    if (r)
        r->sent += n;
}

void record_gone(struct sim_record *r)
{
    if (r)
        r->gone = true;
}

/* Connections are told apart by the client's address and port, newest first. */
static uint64_t connection_of(struct sim_log *l, struct str peer)
{
    for (struct list *at = l->records.prev; at != &l->records; at = at->prev) {
        const struct sim_record *r = CONTAINER_OF(at, struct sim_record, node);
        if (str_eq(str_c(r->peer), peer))
            return r->connection;
    }
    return ++l->connections;
}

/* All values of the field at i, joined; absent when an earlier field has the name. */
static void write_field(struct jsonw *w, const struct h1_head *head, size_t i)
{
    struct str name = head->fields[i].name;
    for (size_t k = 0; k < i; k++) {
        if (str_eq_nocase(head->fields[k].name, name))
            return;
    }
    char lower[128];
    size_t n = size_min(name.n, sizeof(lower));
    for (size_t k = 0; k < n; k++)
        lower[k] = name.p[k] >= 'A' && name.p[k] <= 'Z' ? (char)(name.p[k] + 32) : name.p[k];
    jsonw_key(w, str_of(lower, n));
    jsonw_str_open(w);
    for (size_t k = i; k < head->n_fields; k++) {
        if (!str_eq_nocase(head->fields[k].name, name))
            continue;
        if (k > i)
            jsonw_str_part(w, STR(", "));
        jsonw_str_part_escaped(w, head->fields[k].value);
    }
    jsonw_str_close(w);
}

static void write_head(struct buf *out, const struct h1_head *head)
{
    struct jsonw w;
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_field_str(&w, "method", head->method_text);
    jsonw_field_str(&w, "path", head->target);
    jsonw_key(&w, STR("headers"));
    jsonw_object(&w);
    for (size_t i = 0; i < head->n_fields; i++)
        write_field(&w, head, i);
    jsonw_object_end(&w);
    jsonw_object_end(&w);
}

struct sim_record *log_add(struct sim_log *l, const struct request *r)
{
    struct sim_record *rec = mem_zalloc(sizeof(*rec));
    char peer[SOCK_TEXT];
    struct str text = sock_addr_text(&r->peer, peer);
    rec->connection = connection_of(l, text);
    memcpy(rec->peer, text.p, size_min(text.n, sizeof(rec->peer) - 1));
    rec->holders = 2;
    buf_init(&rec->head, HEAD_JSON_MAX);
    write_head(&rec->head, r->head);
    buf_init(&rec->body, 1);
    list_push(&l->records, &rec->node);
    if (++l->n > RECORDS_MAX)
        drop_oldest(l);
    return rec;
}

void record_body(struct sim_record *r, struct str body)
{
    if (!r)
        return;
    buf_done(&r->body);
    buf_init(&r->body, size_max(body.n, 1));
    buf_append(&r->body, body);
}

static void write_body(struct buf *out, struct str body)
{
    struct json doc;
    json_init(&doc);
    struct arena a;
    arena_init(&a);
    if (body.n == 0) {
        buf_lit(out, "\"body\":null");
    } else if (json_parse(&doc, body) == JSON_OK) {
        buf_lit(out, "\"body\":");
        buf_append(out, body);
    } else {
        buf_lit(out, "\"body_base64\":\"");
        buf_append(out, text_base64_encode(&a, body.p, body.n));
        buf_lit(out, "\"");
    }
    arena_done(&a);
    json_done(&doc);
}

static void write_record(const struct sim_record *r, struct buf *out)
{
    struct str head = buf_str(&r->head);
    buf_append(out, str_head(head, head.n - 1)); /* without its closing brace */
    buf_lit(out, ",");
    write_body(out, buf_str(&r->body));
    buf_lit(out, ",\"connection_id\":");
    buf_append_u64(out, r->connection);
    buf_printf(out, ",\"client_closed_early\":%s,\"bytes_sent\":", r->gone ? "true" : "false");
    buf_append_u64(out, r->sent);
    buf_lit(out, "}");
}

void log_write_json(const struct sim_log *l, struct buf *out)
{
    bool first = true;
    buf_lit(out, "[");
    list_each (it, &l->records) {
        if (!first)
            buf_lit(out, ",");
        first = false;
        write_record(CONTAINER_OF(it, struct sim_record, node), out);
    }
    buf_lit(out, "]");
}
