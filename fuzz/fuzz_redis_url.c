/* fuzz_redis_url.c - addresses of Redis on arbitrary bytes: what is accepted is complete, and what
 * is refused has a reason. */
#include "base/mem.h"
#include "store/redis_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct redis_url u;
    const char *error = NULL;
    arena_init(&a);
    if (redis_url_parse(&a, str_of((const char *)data, size), &u, &error)) {
        ASSERT(u.server.host.n > 0 && u.db <= REDIS_DB_MAX);
        ASSERT((u.server.port == 0) == (u.server.scheme == URL_UNIX));
        ASSERT(!u.user.p || u.password.n > 0);
    } else {
        ASSERT(error && strlen(error) > 0);
    }
    arena_done(&a);
    ASSERT(mem_live() == 0);
    return 0;
}
