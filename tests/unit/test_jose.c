/* test_jose.c - published tokens and key sets (tests/data/jose.txt): each is judged as it should be,
 * and no byte of one whose signature is right can be another or be missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "policy/jwt.h"

enum { FILE_MAX = 256 * 1024, NOW = 1300000000, TOKEN_MAX = 4096 };

static char text[FILE_MAX];
static struct jwt_keys keys;
static size_t n_valid, n_invalid, n_sets;

static void new_keys(void)
{
    jwt_keys_done(&keys);
    jwt_keys_init(&keys);
    n_sets++;
}

static void read_secret(struct str line)
{
    char bytes[128], error[VERIFY_ERROR];
    ssize_t n = text_base64_decode(line, bytes, sizeof(bytes));
    assert_true(n >= 0);
    struct verify_key *k = verify_key_secret(str_of(bytes, (size_t)n), error);
    assert_true(!k || jwt_keys_add(&keys, STR_NONE, k, UINT32_MAX));
}

static bool is_signed(struct str token)
{
    static const struct jwt_rules any;
    struct jwt_claims claims;
    struct arena a;
    arena_init(&a);
    enum jwt_result r = jwt_verify(&keys, &any, token, NOW, &a, &claims);
    arena_done(&a);
    return jwt_is_signed(r);
}

/* Every prefix, and every byte replaced by others: nothing but the token itself. */
static void check_only_itself(struct str name, struct str token)
{
    static const char others[] = "AaZz09-_.=+/ \n\"{";
    char room[TOKEN_MAX];
    assert_true(token.n < sizeof(room));
    memcpy(room, token.p, token.n);
    for (size_t at = 0; at < token.n; at++) {
        if (is_signed(str_of(room, at)))
            fail_msg("%.*s: its first %zu bytes are taken", STR_FMT(name), at);
        for (size_t i = 0; i < sizeof(others); i++) {
            room[at] = others[i]; /* the last one is NUL */
            if (others[i] != token.p[at] && is_signed(str_of(room, token.n)))
                fail_msg("%.*s: taken with another byte %zu", STR_FMT(name), at);
        }
        room[at] = token.p[at];
    }
}

static void check(struct str line, bool valid)
{
    size_t space = str_find(line, ' ');
    struct str name = str_head(line, space), token = str_skip(line, size_min(space + 1, line.n));
    if (is_signed(token) != valid)
        fail_msg("%.*s is %s", STR_FMT(name), valid ? "refused" : "taken");
    *(valid ? &n_valid : &n_invalid) += 1;
    if (valid && keys.keys[0].algs & (ALG_HS256 | ALG_ES256 | ALG_EDDSA))
        check_only_itself(name, token); /* the others are as good, and slow */
}

static void take_line(struct str line)
{
    size_t space = str_find(line, ' ');
    struct str word = str_head(line, space), rest = str_skip(line, size_min(space + 1, line.n));
    int64_t n;
    if (line.n == 0 || line.p[0] == '#')
        return;
    if (str_eq(word, STR("valid")) || str_eq(word, STR("invalid"))) {
        check(rest, word.p[0] == 'v');
    } else if (str_eq(word, STR("keys"))) {
        assert_true(str_to_i64(rest, &n));
        assert_int_equal(keys.n, n);
    } else {
        new_keys();
        if (str_eq(word, STR("secret")))
            read_secret(rest);
        else if (!jwt_keys_read(&keys, rest))
            assert_int_equal(keys.n, 0);
    }
}

static void test_vectors(void **state)
{
    (void)state;
    FILE *f = fopen("tests/data/jose.txt", "rb");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof(text), f);
    (void)fclose(f);
    assert_true(n > 0 && n < sizeof(text));
    struct str rest = str_of(text, n), line;
    jwt_keys_init(&keys);
    while (str_split(&rest, '\n', &line))
        take_line(line);
    jwt_keys_done(&keys);
    assert_int_equal(n_valid, 26);
    assert_int_equal(n_invalid, 124);
    assert_int_equal(mem_live(), 0);
    print_message("%zu keys and sets, %zu tokens taken, %zu refused\n", n_sets, n_valid, n_invalid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
