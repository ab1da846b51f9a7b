/* fuzz_keys.c - keys of clients from a configuration of arbitrary bytes: CCPROXY_API_KEYS in the first line,
 * CCPROXY_CLIENTS in the rest.
 *
 * It is refused with a reason, or every key in it lets in the client that it was written for, and none
 * that is too short to be one; no hash is a key.
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/config.h"
#include "policy/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW = 1800000000, TEXT_MAX = 64 * 1024, KEY_MIN = 8 };

static const struct client *let_in(const struct config *c, struct str key)
{
    const struct auth_fields fields = {.x_api_key = key};
    const struct client *who = NULL;
    enum auth_result r = auth_check(&c->clients, &fields, NOW, &who);
    ASSERT((r == AUTH_OK) == (who != NULL));
    return who;
}

static void check_key(const struct config *c, struct str part)
{
    size_t colon = str_find(part, ':');
    bool named = colon < part.n;
    struct str key = named ? str_trim(str_skip(part, colon + 1)) : part;
    struct sha256 hash = hash_sha256(key);
    const struct client *owner = clients_find(&c->clients, &hash), *who = let_in(c, key);
    ASSERT(owner && key.n >= KEY_MIN);
    ASSERT(client_is_current(owner, NOW) ? who == owner : !who);
    ASSERT(!named || str_eq(owner->name, str_trim(str_head(part, colon))));
    char text[2 * sizeof(hash.bytes)];
    text_hex(hash.bytes, sizeof(hash.bytes), text);
    ASSERT(!let_in(c, str_of(text, sizeof(text))));
}

static void check(const struct config *c)
{
    struct str rest = c->api_keys, part;
    while (str_split(&rest, ',', &part))
        check_key(c, str_trim(part));
    for (size_t i = 0; i < c->clients.keys.n; i++)
        ASSERT(clients_find(&c->clients, &c->clients.keys.list[i].hash) ==
               c->clients.keys.list[i].client);
    for (size_t i = 0; i < c->clients.n; i++)
        ASSERT(client_is_name(c->clients.list[i].name));
    ASSERT(!let_in(c, STR("")) && !let_in(c, STR("sk-of-nobody-here")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char upstream[] = "ANTHROPIC_API_KEY=sk-ant-fuzz", keys[TEXT_MAX], clients[TEXT_MAX];
    char *env[] = {upstream, keys, clients, NULL};
    struct str rest = str_of((const char *)data, size), line;
    struct buf problems;
    if (memchr(data, 0, size) || size > TEXT_MAX / 2)
        return 0; /* an environment has no such bytes */
    (void)str_split(&rest, '\n', &line);
    (void)snprintf(keys, sizeof(keys), "CCPROXY_API_KEYS=%.*s", STR_FMT(line));
    (void)snprintf(clients, sizeof(clients), "CCPROXY_CLIENTS=%.*s", (int)rest.n,
                   rest.p ? rest.p : "");
    buf_init(&problems, TEXT_MAX * 16);
    struct config *c = config_load(env, &problems);
    ASSERT(c || buf_len(&problems) > 0);
    if (c && !c->demo)
        check(c);
    config_free(c);
    buf_done(&problems);
    ASSERT(mem_live() == 0);
    return 0;
}
