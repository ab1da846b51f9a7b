/* token.c - see token.h.
 *
 *   read the token > load the configuration > judge it as a key, or as a JWT > say what came of it
 *                                                          |
 *                                   keyring.c, on a loop of its own until the provider has answered
 */
#include "proc/token.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proc/keys.h"
#include "proxy/keyring.h"

enum { TEXT_MAX = 1024 * 1024, TOKEN_MAX = 16 * 1024 };

struct verdict {
    const struct client *client; /* NULL: refused */
    int64_t expires_s;           /* of the token; 0: never */
    bool undecided;
    const char *why;
    enum jwt_result jwt;
    size_t published; /* keys of the identity provider */
};

static int complain(const char *what, const char *why)
{
    (void)fprintf(stderr, "ccproxy: %s%s%s\n", what, why ? ": " : "", why ? why : "");
    return TOKEN_UNDECIDED;
}

/* --- reading --- */

static bool is_blank(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n';
}

/* A token as it is pasted: with a line end, perhaps with the scheme of its header. */
static struct str trimmed(struct str s)
{
    while (s.n && is_blank(s.p[0]))
        s = str_skip(s, 1);
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return str_starts_nocase(s, STR("bearer ")) ? str_trim(str_skip(s, 7)) : s;
}

static bool read_token(struct str path, char room[TOKEN_MAX], struct str *ret)
{
    FILE *f = path.p ? fopen(path.p, "rb") : stdin;
    if (!f)
        return complain("the file of the token", strerror(errno)), false;
    size_t n = fread(room, 1, TOKEN_MAX, f);
    if (path.p)
        (void)fclose(f);
    *ret = trimmed(str_of(room, n));
    if (n == TOKEN_MAX || ret->n == 0)
        return complain("a key or token is expected, on standard input or with --file", NULL),
               false;
    return true;
}

/* --- judging --- */

static void judge_dates(struct verdict *v, int64_t now_s)
{
    if (client_is_current(v->client, now_s))
        return;
    v->why = now_s < v->client->not_before_s ? "its client's not_before has not come yet"
                                             : "its client has expired";
    v->client = NULL;
}

static void judge_key(const struct config *c, struct str token, int64_t now_s, struct arena *a,
                      struct verdict *v)
{
    const struct auth_fields fields = {
        .authorization = arena_join(a, STR("Bearer "), token),
    };
    struct sha256 hash = hash_sha256(token);
    if (auth_check(&c->clients, &fields, now_s, &v->client) == AUTH_OK)
        return;
    v->client = clients_find(&c->clients, &hash);
    if (v->client)
        judge_dates(v, now_s);
    else
        v->why = c->auth == AUTH_BY_TOKEN ? "it is not the token of CCPROXY_BEARER_TOKEN"
                                          : "no client has this key";
}

static const char *const reasons[] = {
    [JWT_MALFORMED] = "it is not three parts of base64url with JSON in them, or it is too long",
    [JWT_BAD_HEADER] = "its header has crit, b64, zip, cty, or a typ that is not JWT or at+jwt",
    [JWT_UNKNOWN_KEY] = "no key has its kid",
    [JWT_BAD_ALGORITHM] = "its alg is none, or not of CCPROXY_JWT_ALGORITHMS, or not for its key",
    [JWT_BAD_SIGNATURE] = "its signature is not that of the key",
    [JWT_BAD_CLAIMS] = "what was signed is no JSON object",
    [JWT_BAD_TIMES] = "exp is missing, or exp, nbf or iat is no date",
    [JWT_EXPIRED] = "its exp is past, by more than CCPROXY_JWT_LEEWAY",
    [JWT_NOT_YET] = "its nbf or iat is to come, by more than CCPROXY_JWT_LEEWAY",
    [JWT_TOO_LONG_LIVED] = "it lives longer than CCPROXY_JWT_LIFETIME",
    [JWT_BAD_ISSUER] = "its iss is not exactly CCPROXY_JWT_ISSUER, or CCPROXY_OIDC_ISSUER",
    [JWT_BAD_AUDIENCE] = "its aud does not name CCPROXY_JWT_AUDIENCE",
    [JWT_NO_SUBJECT] = "it has no sub that is a text",
    [JWT_BAD_SETTINGS] = "its claim of CCPROXY_JWT_CLAIM is not like the settings of a client",
};

/* What was found wrong before a key was looked for, or after its signature was found right, no other
 * key would change. */
static bool needs_keys(enum jwt_result r)
{
    return r == JWT_UNKNOWN_KEY || r == JWT_BAD_ALGORITHM || r == JWT_BAD_SIGNATURE;
}

static void judge_jwt(struct keyring *k, const struct config *c, struct str token, struct arena *a,
                      struct verdict *v)
{
    const int64_t now_s = (int64_t)(clock_wall_us() / 1000000);
    struct judgement j;
    v->jwt = keyring_judge(k, token, now_s, a, &j);
    v->published = keyring_published(k);
    v->client = j.client;
    v->expires_s = j.expires_s;
    if (v->jwt == JWT_OK) {
        judge_dates(v, now_s);
        return;
    }
    v->why = reasons[v->jwt];
    v->undecided = needs_keys(v->jwt) && (c->jwks_url.n || c->oidc_issuer.n) && v->published == 0;
}

/* The provider is asked by the keyring itself, which gives up by itself, too. */
static bool ask_and_judge(const struct config *c, struct str token, struct arena *a,
                          struct verdict *v)
{
    const struct tls_options options = {
        .ca_file = c->ca_file.p,
        .cert_file = c->client_cert.p,
        .key_file = c->client_key.p,
    };
    char error[256];
    struct tls_ctx *tls = tls_ctx_new(&options, error, sizeof(error));
    if (!tls)
        return complain("TLS", error), false;
    struct loop *l = loop_new();
    struct dns *dns = dns_new(l, c->dns_servers.p);
    struct shelf *shelf = keyring_shelf_new();
    keyring_adopt(shelf, c);
    struct keyring *k = keyring_new(l, dns, tls, c, shelf);
    while (!keyring_settled(k))
        loop_turn(l, UINT64_MAX);
    judge_jwt(k, c, token, a, v);
    keyring_free(k);
    loop_turn(l, 0); /* what has died in this turn is freed at its end */
    dns_free(dns);
    loop_free(l);
    tls_ctx_free(tls);
    shelf_free(shelf);
    return true;
}

/* --- saying --- */

static void write_list(struct buf *out, const struct client *c)
{
    for (size_t i = 0; i < c->n_models; i++)
        buf_printf(out, "%s%.*s", i ? ", " : "", STR_FMT(c->models[i]));
    if (c->n_models == 0)
        buf_lit(out, "any");
}

static void write_time(struct buf *out, int64_t s)
{
    char text[CLOCK_TEXT];
    if (s)
        buf_append(out, clock_rfc3339((uint64_t)s * 1000000, text));
    else
        buf_lit(out, "never");
}

static void write_client(struct buf *out, const struct verdict *v)
{
    const struct client *c = v->client;
    bool first = !v->expires_s || (c->expires_s && c->expires_s < v->expires_s);
    buf_printf(out, "let in\n  client   %.*s\n  rights   ", STR_FMT(c->name));
    keys_write_rights(out, c->rights);
    buf_lit(out, "\n  models   ");
    write_list(out, c);
    buf_lit(out, "\n  limits  ");
    keys_write_limits(out, c);
    buf_lit(out, "\n  expires  ");
    write_time(out, first ? c->expires_s : v->expires_s);
    buf_lit(out, "\n");
}

/* The text comes from whoever made the token: a terminal gets nothing of it but plain characters. */
static void write_plain(struct buf *out, const char *name, struct str text)
{
    buf_printf(out, "  %s  ", name);
    for (size_t i = 0; i < text.n; i++)
        buf_append(out, text.p[i] >= ' ' && text.p[i] <= '~' ? str_of(text.p + i, 1)
                        : is_blank(text.p[i])                ? STR(" ")
                                                             : STR("?"));
    buf_lit(out, "\n");
}

static void write_claims(struct buf *out, struct str token, enum jwt_result r, struct arena *a)
{
    struct str header, payload;
    if (!jwt_peek(token, a, &header, &payload))
        return;
    write_plain(out, "header ", header);
    write_plain(out, "claims ", payload);
    buf_append(out, jwt_is_signed(r) ? STR("  its signature is right\n")
                                     : STR("  its signature was not verified: "
                                           "anybody may have written that\n"));
}

static void write_keys(struct buf *out, const struct config *c, const struct verdict *v)
{
    size_t own = c->jwt_keys ? c->jwt_keys->n : 0;
    buf_printf(out, "  keys     %zu in the configuration", own);
    if (c->jwks_url.n || c->oidc_issuer.n)
        buf_printf(out, ", %zu from the identity provider, asked just now", v->published);
    buf_lit(out, "\n");
}

static int say(const struct config *c, const struct verdict *v, struct str token, struct arena *a)
{
    struct buf out;
    buf_init(&out, TEXT_MAX);
    if (v->client)
        write_client(&out, v);
    else
        buf_printf(&out, "%s: %s\n",
                   v->undecided ? "not to be told, the identity provider gave no keys" : "refused",
                   v->why);
    buf_printf(&out, "  method   %.*s\n", STR_FMT(c->auth_method));
    if (c->auth == AUTH_BY_JWT)
        write_keys(&out, c, v);
    if (c->auth == AUTH_BY_JWT && !v->client)
        write_claims(&out, token, v->jwt, a);
    printf("%.*s", STR_FMT(buf_str(&out)));
    buf_done(&out);
    if (v->client)
        return TOKEN_LET_IN;
    return v->undecided ? TOKEN_UNDECIDED : TOKEN_REFUSED;
}

static int verify_by(const struct config *c, struct str token)
{
    struct verdict v = {.client = NULL};
    struct arena a;
    int status = TOKEN_UNDECIDED;
    arena_init(&a);
    if (c->auth != AUTH_BY_JWT)
        judge_key(c, token, (int64_t)(clock_wall_us() / 1000000), &a, &v);
    if (c->auth != AUTH_BY_JWT || ask_and_judge(c, token, &a, &v))
        status = say(c, &v, token, &a);
    arena_done(&a);
    return status;
}

int token_verify(const struct cli *cli)
{
    static char room[TOKEN_MAX];
    struct str token;
    struct buf problems;
    if (!read_token(cli->file, room, &token))
        return TOKEN_UNDECIDED;
    log_init(LOG_WARN, LOG_TEXT, "token");
    clock_refresh();
    buf_init(&problems, TEXT_MAX);
    struct config *c = config_load(environ, &problems);
    (void)fprintf(stderr, "%.*s", STR_FMT(buf_str(&problems)));
    buf_done(&problems);
    int status = c ? verify_by(c, token) : TOKEN_UNDECIDED;
    config_free(c);
    mem_wipe(room, sizeof(room));
    return status;
}
