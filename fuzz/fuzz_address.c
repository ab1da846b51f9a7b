/* fuzz_address.c - addresses on arbitrary bytes: a list of blocks in the first line, X-Forwarded-For in the rest.
 *
 * What is read comes back as it was, and no hop is taken from behind one that is not trusted.
 */
#include "base/mem.h"
#include "policy/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct address *a)
{
    char text[ADDRESS_TEXT];
    struct address again;
    bool ok = address_parse(address_text(a, text), &again);
    ASSERT(ok && memcmp(a->bytes, again.bytes, ADDRESS_BYTES) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = str_of((const char *)data, size), list, bad, forwarded = input;
    struct address peer, client;
    struct address_blocks blocks;
    struct arena a;
    arena_init(&a);
    (void)str_split(&forwarded, '\n', &list);
    if (address_parse(list, &client))
        check_text(&client);
    bool known = address_parse(STR("192.0.2.1"), &peer);
    ASSERT(known);
    if (address_blocks_parse(list, &a, &blocks, &bad)) {
        client = address_of_client(&blocks, &peer, forwarded);
        check_text(&client);
        ASSERT(address_is_in(&blocks, &peer) ||
               memcmp(client.bytes, peer.bytes, ADDRESS_BYTES) == 0);
    }
    arena_done(&a);
    ASSERT(mem_live() == 0);
    return 0;
}
