/* sim_stream.c - an answer as bytes; see sim_stream.h.
 *
 *   message_start
 *   per block: content_block_start, (ping once), deltas, (signature), content_block_stop
 *   message_delta, message_stop
 *
 * Deltas end at white space (text) or anywhere between two characters (JSON), as the service's do.
 */
#include "sim/sim_stream.h"

#include "base/mem.h"
#include "wire/jsonw.h"

enum {
    DELTA_WORDS = 4,
    DELTA_MAX = 64, /* bytes, for text without spaces */
    JSON_PIECE = 12,
};

/* ---- usage ---- */

static void put_cache_counts(const struct sim_usage *u, struct buf *out)
{
    const struct cache_usage *c = &u->cache;
    buf_lit(out, "\"input_tokens\":");
    buf_append_u64(out, (uint64_t)u->input);
    buf_lit(out, ",\"cache_creation_input_tokens\":");
    buf_append_u64(out, (uint64_t)(c->write_5m + c->write_1h));
    buf_lit(out, ",\"cache_read_input_tokens\":");
    buf_append_u64(out, (uint64_t)c->read);
}

static void put_output(const struct sim_usage *u, int64_t output, bool last, struct buf *out)
{
    buf_lit(out, ",\"output_tokens\":");
    buf_append_u64(out, (uint64_t)output);
    if (last && u->thinking > 0) {
        buf_lit(out, ",\"output_tokens_details\":{\"thinking_tokens\":");
        buf_append_u64(out, (uint64_t)u->thinking);
        buf_lit(out, "}");
    } else {
        buf_lit(out, ",\"output_tokens_details\":null");
    }
    buf_lit(out, ",\"server_tool_use\":null");
}

/* The whole usage object; output_tokens is a placeholder at the start of a stream. */
static void put_usage(const struct sim_usage *u, int64_t output, bool last, struct buf *out)
{
    buf_lit(out, "{");
    put_cache_counts(u, out);
    buf_lit(out, ",\"cache_creation\":{\"ephemeral_5m_input_tokens\":");
    buf_append_u64(out, (uint64_t)u->cache.write_5m);
    buf_lit(out, ",\"ephemeral_1h_input_tokens\":");
    buf_append_u64(out, (uint64_t)u->cache.write_1h);
    buf_lit(out, "}");
    put_output(u, output, last, out);
    buf_lit(out, ",\"service_tier\":\"standard\",\"inference_geo\":\"global\","
                 "\"speed\":\"standard\"}");
}

/* ---- blocks ---- */

static void put_string(struct buf *out, struct str s)
{
    buf_lit(out, "\"");
    (void)jsonw_escape(out, s);
    buf_lit(out, "\"");
}

static void put_tool_head(const struct sim_block *b, struct buf *out)
{
    buf_lit(out, "{\"type\":\"tool_use\",\"id\":\"");
    buf_append(out, b->id);
    buf_lit(out, "\",\"name\":");
    put_string(out, b->name);
    buf_lit(out, ",\"input\":");
}

static void put_block(const struct sim_block *b, struct buf *out)
{
    switch (b->type) {
    case SIM_TEXT:
        buf_lit(out, "{\"type\":\"text\",\"text\":\"");
        (void)jsonw_escape(out, b->text);
        (void)jsonw_escape(out, b->tail);
        buf_lit(out, "\",\"citations\":null}");
        return;
    case SIM_THINKING:
        buf_lit(out, "{\"type\":\"thinking\",\"thinking\":");
        put_string(out, b->text);
        buf_lit(out, ",\"signature\":\"");
        buf_append(out, b->signature);
        buf_lit(out, "\"}");
        return;
    case SIM_TOOL:
        put_tool_head(b, out);
        buf_append(out, b->text);
        buf_lit(out, ",\"caller\":{\"type\":\"direct\"}}");
        return;
    }
}

/* As in content_block_start: nothing in it yet. */
static void put_block_start(const struct sim_block *b, struct buf *out)
{
    switch (b->type) {
    case SIM_TEXT: buf_lit(out, "{\"type\":\"text\",\"text\":\"\",\"citations\":null}"); return;
    case SIM_THINKING:
        buf_lit(out, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
        return;
    case SIM_TOOL:
        put_tool_head(b, out);
        buf_lit(out, "{},\"caller\":{\"type\":\"direct\"}}");
        return;
    }
}

static void put_stop(const struct sim_answer *an, struct buf *out)
{
    buf_lit(out, "\"stop_reason\":\"");
    buf_append(out, str_c(an->stop_reason));
    buf_lit(out, "\",\"stop_sequence\":");
    if (an->stop_sequence.p)
        put_string(out, an->stop_sequence);
    else
        buf_lit(out, "null");
    buf_lit(out, ",\"stop_details\":null,\"container\":null");
}

static void put_message_head(const struct sim_answer *an, struct buf *out)
{
    buf_lit(out, "{\"id\":\"");
    buf_append(out, an->id);
    buf_lit(out, "\",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
    put_string(out, an->model);
    buf_lit(out, ",\"content\":[");
}

void sim_stream_message(const struct sim_answer *an, struct buf *out)
{
    put_message_head(an, out);
    for (size_t i = 0; i < an->n_blocks; i++) {
        if (i)
            buf_lit(out, ",");
        put_block(&an->blocks[i], out);
    }
    buf_lit(out, "],");
    put_stop(an, out);
    buf_lit(out, ",\"diagnostics\":null,\"usage\":");
    put_usage(&an->usage, an->usage.output, true, out);
    buf_lit(out, "}");
}

/* ---- events ---- */

static void put_start(const struct sim_answer *an, struct buf *out)
{
    buf_lit(out, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":");
    put_message_head(an, out);
    buf_lit(out, "],\"stop_reason\":null,\"stop_sequence\":null,\"stop_details\":null,"
                 "\"container\":null,\"diagnostics\":null,\"usage\":");
    put_usage(&an->usage, 1, false, out);
    buf_lit(out, "}}\n\n");
}

static void put_delta_head(size_t block, struct buf *out)
{
    buf_lit(out, "event: content_block_delta\n"
                 "data: {\"type\":\"content_block_delta\",\"index\":");
    buf_append_u64(out, block);
    buf_lit(out, ",\"delta\":");
}

static void put_delta(size_t block, struct str head, struct str text, struct buf *out)
{
    put_delta_head(block, out);
    buf_append(out, head);
    (void)jsonw_escape(out, text);
    buf_lit(out, "\"}}\n\n");
}

/* s without a character that is cut in two at its end; s is not all there is. */
static struct str whole_characters(struct str s, struct str all)
{
    size_t n = s.n;
    while (n < all.n && n > 0 && ((unsigned char)all.p[n] & 0xc0) == 0x80)
        n--;
    return n > 0 ? str_head(all, n) : s;
}

static struct str text_piece(struct str rest)
{
    size_t words;
    struct str piece = sim_words(rest, DELTA_WORDS, &words);
    if (words < DELTA_WORDS)
        piece = rest;
    if (piece.n <= DELTA_MAX)
        return piece;
    return whole_characters(str_head(rest, DELTA_MAX), rest);
}

static struct str rest_of(const struct sim_block *b, size_t offset)
{
    if (offset < b->text.n)
        return str_skip(b->text, offset);
    return str_skip(b->tail, offset - b->text.n);
}

/* One delta of the block; false when it has none left. */
static bool next_delta(const struct sim_answer *an, struct sim_cursor *c, struct buf *out)
{
    const struct sim_block *b = &an->blocks[c->block];
    struct str rest = rest_of(b, c->offset), piece = STR("");
    if (b->type == SIM_TOOL && !c->first_delta) {
        c->first_delta = true;
        put_delta(c->block, STR("{\"type\":\"input_json_delta\",\"partial_json\":\""), piece, out);
        return true;
    }
    if (rest.n == 0)
        return false;
    switch (b->type) {
    case SIM_TEXT:
        piece = text_piece(rest);
        put_delta(c->block, STR("{\"type\":\"text_delta\",\"text\":\""), piece, out);
        break;
    case SIM_THINKING:
        piece = text_piece(rest);
        put_delta(c->block, STR("{\"type\":\"thinking_delta\",\"thinking\":\""), piece, out);
        break;
    case SIM_TOOL:
        piece = whole_characters(str_head(rest, size_min(rest.n, JSON_PIECE)), rest);
        put_delta(c->block, STR("{\"type\":\"input_json_delta\",\"partial_json\":\""), piece, out);
        break;
    }
    c->offset += piece.n;
    return true;
}

static void put_last_delta(const struct sim_answer *an, struct buf *out)
{
    buf_lit(out, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{");
    put_stop(an, out);
    buf_lit(out, "},\"usage\":{");
    put_cache_counts(&an->usage, out);
    put_output(&an->usage, an->usage.output, true, out);
    buf_lit(out, "}}\n\n");
}

static void start_block(const struct sim_answer *an, struct sim_cursor *c, struct buf *out)
{
    c->offset = 0;
    c->first_delta = false;
    buf_lit(out, "event: content_block_start\n"
                 "data: {\"type\":\"content_block_start\",\"index\":");
    buf_append_u64(out, c->block);
    buf_lit(out, ",\"content_block\":");
    put_block_start(&an->blocks[c->block], out);
    buf_lit(out, "}\n\n");
    c->at = c->block == 0 ? CURSOR_PING : CURSOR_DELTA;
}

static void stop_block(const struct sim_answer *an, struct sim_cursor *c, struct buf *out)
{
    buf_lit(out, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
    buf_append_u64(out, c->block);
    buf_lit(out, "}\n\n");
    c->block++;
    c->at = c->block < an->n_blocks ? CURSOR_BLOCK : CURSOR_DELTA_LAST;
}

static void put_signature(const struct sim_answer *an, struct sim_cursor *c, struct buf *out)
{
    put_delta(c->block, STR("{\"type\":\"signature_delta\",\"signature\":\""),
              an->blocks[c->block].signature, out);
    c->at = CURSOR_BLOCK_STOP;
}

bool sim_stream_next(const struct sim_answer *an, struct sim_cursor *c, struct buf *out)
{
    switch (c->at) {
    case CURSOR_START:
        put_start(an, out);
        c->at = an->n_blocks ? CURSOR_BLOCK : CURSOR_DELTA_LAST;
        return true;
    case CURSOR_BLOCK: start_block(an, c, out); return true;
    case CURSOR_PING:
        buf_lit(out, "event: ping\ndata: {\"type\":\"ping\"}\n\n");
        c->at = CURSOR_DELTA;
        return true;
    case CURSOR_DELTA:
        if (next_delta(an, c, out))
            return true;
        if (an->blocks[c->block].type == SIM_THINKING)
            put_signature(an, c, out);
        else
            stop_block(an, c, out);
        return true;
    case CURSOR_BLOCK_STOP: stop_block(an, c, out); return true;
    case CURSOR_DELTA_LAST:
        put_last_delta(an, out);
        c->at = CURSOR_STOP;
        return true;
    case CURSOR_STOP:
        buf_lit(out, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
        c->at = CURSOR_END;
        return true;
    case CURSOR_END: return false;
    }
    UNREACHABLE();
}

/* ---- packing ---- */

static struct str take(char **at, struct str s)
{
    if (!s.p)
        return s;
    if (s.n)
        memcpy(*at, s.p, s.n);
    struct str out = str_of(*at, s.n);
    *at += s.n;
    return out;
}

struct sim_answer *sim_stream_pack(const struct sim_answer *an)
{
    size_t n = sizeof(*an) + an->id.n + an->model.n + an->stop_sequence.n;
    for (size_t i = 0; i < an->n_blocks; i++) {
        const struct sim_block *b = &an->blocks[i];
        n += b->text.n + b->id.n + b->name.n + b->signature.n;
    }
    struct sim_answer *copy = mem_alloc(n);
    char *at = (char *)(copy + 1);
    *copy = *an;
    copy->id = take(&at, an->id);
    copy->model = take(&at, an->model);
    copy->stop_sequence = take(&at, an->stop_sequence);
    for (size_t i = 0; i < an->n_blocks; i++) {
        struct sim_block *b = &copy->blocks[i];
        b->text = take(&at, b->text);
        b->id = take(&at, b->id);
        b->name = take(&at, b->name);
        b->signature = take(&at, b->signature);
    }
    return copy;
}
