/* keys.c - see keys.h.
 *
 *   ccp_ 34 random characters, 6 characters of their hash      44 in all, about 200 random bits
 *
 * Whatever searches texts for leaked secrets can tell such a key from noise by its end. A key is
 * shown once and never stored; the gateway knows its hash.
 */
#include "proc/keys.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/text.h"
#include "config/config.h"

enum { PREFIX = 4, RANDOM = 34, CHECK = 6, KEY_LEN = PREFIX + RANDOM + CHECK, HASH_TEXT = 7 + 64 };

static void make_key(char out[KEY_LEN])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    memcpy(out, "ccp_", PREFIX);
    rand_alnum(out + PREFIX, RANDOM);
    struct sha256 hash = hash_sha256(str_of(out, PREFIX + RANDOM));
    for (size_t i = 0; i < CHECK; i++)
        out[PREFIX + RANDOM + i] = digits[hash.bytes[i] % 62];
}

static struct str hash_text(struct str key, char out[HASH_TEXT])
{
    struct sha256 hash = hash_sha256(key);
    memcpy(out, "sha256:", 7);
    text_hex(hash.bytes, sizeof(hash.bytes), out + 7);
    return str_of(out, HASH_TEXT);
}

static int complain(const char *what)
{
    (void)fprintf(stderr, "ccproxy: %s\n", what);
    return 1;
}

static bool are_rights(struct str rest)
{
    struct str part;
    while (str_split(&rest, ',', &part))
        if (!right_of(str_trim(part)))
            return false;
    return true;
}

int keys_mint(const struct cli *cli)
{
    char key[KEY_LEN], text[HASH_TEXT];
    uint64_t unused;
    if (!client_is_name(cli->name))
        return complain("--name is needed: 1 to 64 letters, digits, '.', '_', '-' or '@'");
    if (cli->rights.n && !are_rights(cli->rights))
        return complain("--rights is not a list of chat, models, stats, metrics and admin");
    if (cli->expires.n && !clock_parse_rfc3339(cli->expires, &unused))
        return complain("--expires is not a time like 2027-01-31T00:00:00Z");
    make_key(key);
    struct str hash = hash_text(str_of(key, KEY_LEN), text);
    printf(
        "%.*s\n\n"
        "This key is shown once. For the gateway, in the YAML file that CCPROXY_CONFIG names:\n\n"
        "clients:\n  %.*s:\n    hash: %.*s\n",
        KEY_LEN, key, STR_FMT(cli->name), STR_FMT(hash));
    if (cli->rights.n)
        printf("    rights: [%.*s]\n", STR_FMT(cli->rights));
    if (cli->expires.n)
        printf("    expires: \"%.*s\"\n", STR_FMT(cli->expires));
    printf("\nThen send SIGHUP to ccproxy.\n");
    mem_wipe(key, sizeof(key));
    return 0;
}

int keys_hash(void)
{
    char line[4096], text[HASH_TEXT];
    size_t n = fread(line, 1, sizeof(line), stdin);
    struct str key = str_trim(str_of(line, n));
    if (key.n && (key.p[key.n - 1] == '\n' || key.p[key.n - 1] == '\r'))
        key.n--;
    if (key.n == 0 || n == sizeof(line))
        return complain("a key is expected on standard input");
    printf("%.*s\n", STR_FMT(hash_text(key, text)));
    mem_wipe(line, sizeof(line));
    return 0;
}

static void print_limit(struct buf *out, const char *name, int64_t n, int64_t unit)
{
    if (n >= 0 && unit == 1)
        buf_printf(out, " %s=%lld", name, (long long)n);
    else if (n >= 0)
        buf_printf(out, " %s=%.2f", name, (double)n / (double)unit);
}

void keys_write_rights(struct buf *out, uint32_t rights)
{
    const char *between = "";
    for (uint32_t right = 1; right <= RIGHT_ADMIN; right <<= 1) {
        if (!(rights & right))
            continue;
        buf_printf(out, "%s%s", between, right_name(right));
        between = ",";
    }
}

void keys_write_limits(struct buf *out, const struct client *c)
{
    print_limit(out, "rpm", c->limits.rpm, 1);
    print_limit(out, "tpm", c->limits.tpm, 1);
    print_limit(out, "concurrent", c->limits.concurrent, 1);
    print_limit(out, "tokens/day", c->limits.tokens_per_day, 1);
    print_limit(out, "usd/day", c->limits.usd_per_day, 1000000);
    print_limit(out, "usd/month", c->limits.usd_per_month, 1000000);
}

static size_t count_of(const struct client_keys *keys, const struct client *c)
{
    size_t n = 0;
    for (size_t i = 0; i < keys->n; i++)
        n += keys->list[i].client == c;
    return n;
}

static void print_client(struct buf *out, const struct clients *all, const struct client *c)
{
    buf_printf(out, "%-24.*s %4zu %5zu  ", STR_FMT(c->name), count_of(&all->keys, c),
               count_of(&all->certificates, c));
    keys_write_rights(out, c->rights);
    if (c->n_models)
        buf_printf(out, " models=%zu", c->n_models);
    if (c->addresses.n)
        buf_printf(out, " addresses=%zu", c->addresses.n);
    keys_write_limits(out, c);
    if (!client_is_current(c, (int64_t)(clock_wall_us() / 1000000)))
        buf_printf(out, " NOT VALID NOW");
    buf_lit(out, "\n");
}

int keys_list(void)
{
    enum { OUT_MAX = 16 * 1024 * 1024 };

    struct buf out;
    buf_init(&out, OUT_MAX);
    struct config *c = config_load(environ, &out);
    if (!c) {
        (void)fprintf(stderr, "%.*s", STR_FMT(buf_str(&out)));
        buf_done(&out);
        return 1;
    }
    buf_clear(&out);
    clock_refresh();
    buf_printf(&out, "%-24s %4s %5s  %s\n", "client", "keys", "certs", "rights and limits");
    for (size_t i = 0; i < c->clients.n; i++)
        print_client(&out, &c->clients, &c->clients.list[i]);
    printf("%.*s", STR_FMT(buf_str(&out)));
    buf_done(&out);
    config_free(c);
    return 0;
}
