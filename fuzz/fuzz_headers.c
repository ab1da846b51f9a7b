/* fuzz_headers.c - what a request's head says of who sends it, from arbitrary bytes: trusted proxies in the
 * first line, a head in the rest.
 *
 *   credentials    whoever is let in has shown the one key there is, in each field that has any
 *   addresses      nobody but a trusted proxy says where a request comes from
 *   ids            what is kept of a request id or trace can stand in a header, and is read again as it was
 */
#include "base/mem.h"
#include "obs/trace.h"
#include "policy/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW = 1800000000, HEAD_MAX = 4096 };

static const struct str key = STR_INIT("sk-the-only-key");

/* Told from the fields as they stand there, without the code that is tested. */
static bool shows_the_key(const struct h1_head *head)
{
    size_t n_right = 0, n_wrong = 0;
    for (size_t i = 0; i < head->n_fields; i++) {
        struct str name = head->fields[i].name, value = head->fields[i].value;
        bool bearer = str_eq_nocase(name, STR("authorization"));
        if (!bearer && !str_eq_nocase(name, STR("x-api-key")) &&
            !str_eq_nocase(name, STR("api-key")))
            continue;
        if (bearer)
            value =
                str_starts_nocase(value, STR("bearer ")) ? str_trim(str_skip(value, 7)) : STR("");
        n_right += str_eq(value, key);
        n_wrong += value.n > 0 && !str_eq(value, key);
    }
    return n_right > 0 && n_wrong == 0;
}

static void check_credentials(const struct h1_head *head, struct arena *a)
{
    struct clients clients;
    char error[CLIENTS_ERROR];
    const struct client *who = NULL;
    struct sha256 hash = hash_sha256(key);
    clients_init(&clients, 1, a);
    bool ok = clients_add(&clients, STR("ann"), &hash, a, error) && clients_seal(&clients, error);
    ASSERT(ok);
    const struct auth_fields fields = auth_fields_of(head);
    enum auth_result r = auth_check(&clients, &fields, NOW, &who);
    ASSERT((r == AUTH_OK) == shows_the_key(head) && (r == AUTH_OK) == (who != NULL));
}

static void check_address(const struct h1_head *head, struct str trusted, struct arena *a)
{
    struct address peer, from, again;
    struct address_blocks blocks;
    struct str bad, list = h1_field_list(head, STR("x-forwarded-for"), a);
    char text[ADDRESS_TEXT];
    bool known = address_parse(STR("192.0.2.1"), &peer);
    ASSERT(known && h1_is_field_value(list));
    if (!address_blocks_parse(trusted, a, &blocks, &bad))
        return;
    from = address_of_client(&blocks, &peer, list);
    bool ok = address_parse(address_text(&from, text), &again);
    ASSERT(ok && memcmp(from.bytes, again.bytes, ADDRESS_BYTES) == 0);
    ASSERT(address_is_in(&blocks, &peer) || memcmp(from.bytes, peer.bytes, ADDRESS_BYTES) == 0);
}

static void check_ids(const struct h1_head *head)
{
    struct trace t, again;
    char text[TRACEPARENT];
    struct str id = head->known[H1_X_REQUEST_ID];
    ASSERT(!trace_takes_request_id(id) || (h1_is_field_value(id) && id.n <= REQUEST_ID_MAX));
    if (!trace_read(h1_field(head, STR("traceparent")), &t))
        return;
    struct str written = trace_write(&t, text);
    ASSERT(h1_is_field_value(written) && trace_read(written, &again));
    ASSERT(memcmp(t.id, again.id, TRACE_ID) == 0 && memcmp(t.span, again.parent, TRACE_SPAN) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct h1_head head;
    struct str rest = str_of((const char *)data, size), trusted;
    size_t used = 0, scanned = 0;
    enum h1_error error;
    struct arena a;
    (void)str_split(&rest, '\n', &trusted);
    arena_init(&a);
    if (h1_parse_request(rest, HEAD_MAX, &scanned, &head, &used, &error) == H1_DONE) {
        check_credentials(&head, &a);
        check_address(&head, trusted, &a);
        check_ids(&head);
    }
    arena_done(&a);
    ASSERT(mem_live() == 0);
    return 0;
}
