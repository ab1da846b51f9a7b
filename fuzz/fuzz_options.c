/* fuzz_options.c - any bytes as the value of an option, and as what a peer says about waiting. */
#include "config/parse.h"
#include "policy/clients.h"
#include "proxy/endpoint.h"
#include "proxy/retry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A set of clients: refused with a reason, or every key in it leads to its client. */
static void fuzz_clients(struct str s)
{
    struct arena a;
    struct clients c;
    char error[CLIENTS_ERROR] = "";
    arena_init(&a);
    clients_init(&c, 0, &a);
    bool ok = clients_read(&c, s, &a, error) && clients_seal(&c, error);
    ASSERT(ok || error[0]);
    for (size_t i = 0; ok && i < c.keys.n; i++)
        ASSERT(clients_find(&c, &c.keys.list[i].hash) == c.keys.list[i].client);
    for (size_t i = 1; ok && i < c.certificates.n; i++)
        ASSERT(memcmp(&c.certificates.list[i - 1].hash, &c.certificates.list[i].hash,
                      sizeof(struct sha256)) < 0);
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_of((const char *)data, size), rest;
    int64_t n;
    bool b;
    const char *unsupported;
    ASSERT(!parse_duration(s, &n) || n >= 0);
    ASSERT(!parse_bytes(s, &n) || n >= 0);
    (void)(parse_bool(s, &b) && parse_is_clean(s));
    ASSERT(retry_after_us(s, s) >= -1);
    const struct endpoint *e = endpoint_find(s, &rest, &unsupported);
    ASSERT(!e || !rest.p || (rest.p >= s.p && rest.p + rest.n <= s.p + s.n));
    fuzz_clients(s);
    return 0;
}
