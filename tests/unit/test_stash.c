/* test_stash.c - what comes back, to whom, for how long; what becomes of it when it is full or shared
 * by processes that write at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rand.h"
#include "llm/stash.h"

enum { NOW = 1700000000, DAY = 24 * 60 * 60 };

static struct stash_key key_of(const char *owner, const char *call)
{
    return (struct stash_key){str_c(owner), str_c(call)};
}

static void assert_holds(struct stash *s, const char *owner, const char *call, int64_t now,
                         const char *expected)
{
    struct arena a;
    struct stash_key key = key_of(owner, call);
    arena_init(&a);
    struct str got = stash_get(s, &key, now, &a);
    if (expected) {
        assert_non_null(got.p);
        assert_int_equal(got.n, strlen(expected));
        assert_memory_equal(got.p, expected, got.n);
    } else {
        assert_null(got.p);
    }
    arena_done(&a);
}

static void put(struct stash *s, const char *owner, const char *call, const char *value)
{
    struct stash_key key = key_of(owner, call);
    assert_true(stash_put(s, &key, str_c(value), NOW));
}

static void test_basics(void **state)
{
    (void)state;
    struct stash *s = stash_new(STASH_MIN);
    assert_holds(s, "ann", "toolu_1", NOW, NULL);
    put(s, "ann", "toolu_1", "one");
    put(s, "ann", "toolu_2", "");
    assert_holds(s, "ann", "toolu_1", NOW, "one");
    assert_holds(s, "ann", "toolu_2", NOW, "");
    put(s, "ann", "toolu_1", "two");
    assert_holds(s, "ann", "toolu_1", NOW, "two"); /* the newest */
    stash_free(s);
}

static void test_owners_are_apart(void **state)
{
    (void)state;
    struct stash *s = stash_new(STASH_MIN);
    put(s, "ann", "toolu_1", "secret");
    assert_holds(s, "bob", "toolu_1", NOW, NULL);
    assert_holds(s, "ann", "oolu_1", NOW, NULL);
    assert_holds(s, "annt", "oolu_1", NOW, NULL);
    assert_holds(s, "", "anntoolu_1", NOW, NULL);
    stash_free(s);
}

/* How often a text stands in memory that processes share; *ret_bytes: how much of that there is. */
static size_t seen_in_shared_memory(struct str text, size_t *ret_bytes)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], mode[8];
    unsigned long from, to;
    size_t seen = 0;
    assert_non_null(maps);
    *ret_bytes = 0;
    while (fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || strcmp(mode, "rw-s") != 0)
            continue;
        *ret_bytes += to - from;
        seen += memmem((void *)from, to - from, text.p, text.n) != NULL; /* NOLINT: an address */
    }
    assert_int_equal(fclose(maps), 0);
    return seen;
}

static void test_nothing_can_be_read(void **state)
{
    (void)state;
    size_t bytes;
    struct stash *s = stash_new(STASH_MIN);
    put(s, "ann-of-accounting", "toolu_Distinct", "what she was told in confidence");
    assert_int_equal(seen_in_shared_memory(STR("ann-of-accounting"), &bytes), 0);
    assert_int_equal(seen_in_shared_memory(STR("toolu_Distinct"), &bytes), 0);
    assert_int_equal(seen_in_shared_memory(STR("in confidence"), &bytes), 0);
    assert_in_range(bytes, STASH_MIN, SIZE_MAX);
    assert_holds(s, "ann-of-accounting", "toolu_Distinct", NOW, "what she was told in confidence");
    stash_free(s);
}

static void test_expires(void **state)
{
    (void)state;
    struct stash *s = stash_new(STASH_MIN);
    put(s, "ann", "toolu_1", "one");
    assert_holds(s, "ann", "toolu_1", NOW + DAY, "one");
    assert_holds(s, "ann", "toolu_1", NOW + DAY + 1, NULL);
    stash_free(s);
}

static void test_too_large(void **state)
{
    (void)state;
    static char big[STASH_MIN / 8];
    struct stash *s = stash_new(STASH_MIN);
    struct stash_key key = key_of("ann", "toolu_1");
    assert_false(stash_put(s, &key, str_of(big, sizeof(big)), NOW));
    assert_true(stash_put(s, &key, str_of(big, sizeof(big) - 64), NOW));
    stash_free(s);
}

/* Whatever it is filled with: the newest entries are there, the oldest are gone, none is wrong. */
static void test_turns_over(void **state)
{
    (void)state;
    struct stash *s = stash_new(STASH_MIN);
    static char value[3000];
    struct arena a;
    size_t found = 0, N = 400;
    arena_init(&a);
    for (size_t i = 0; i < N; i++) {
        struct stash_key key = {STR("ann"), arena_printf(&a, "toolu_%zu", i)};
        size_t n = (size_t)rand_below(sizeof(value));
        memset(value, 'a' + (int)(i % 26), n);
        assert_true(stash_put(s, &key, str_of(value, n), NOW));
    }
    for (size_t i = 0; i < N; i++) {
        struct stash_key key = {STR("ann"), arena_printf(&a, "toolu_%zu", i)};
        struct str got = stash_get(s, &key, NOW, &a);
        for (size_t k = 0; k < got.n; k++)
            assert_int_equal(got.p[k], 'a' + (int)(i % 26));
        found += got.p != NULL;
        if (i == 0)
            assert_null(got.p);
        if (i == N - 1)
            assert_non_null(got.p);
    }
    assert_in_range(found, 10, 80); /* about 1500 bytes each */
    arena_done(&a);
    stash_free(s);
}

/* Four processes write over each other in a small stash while reading: every hit is whole. */
static void test_processes(void **state)
{
    (void)state;

    enum { WORKERS = 4, ROUNDS = 4000, KEYS = 50 };

    struct stash *s = stash_new(STASH_MIN);
    pid_t workers[WORKERS];
    for (int w = 0; w < WORKERS; w++) {
        workers[w] = fork();
        assert_true(workers[w] >= 0);
        if (workers[w] > 0)
            continue;
        rand_reseed();
        for (int i = 0; i < ROUNDS; i++) {
            static char value[2000];
            struct arena a;
            arena_init(&a);
            int k = (int)rand_below(KEYS);
            struct stash_key key = {STR("ann"), arena_printf(&a, "toolu_%d", k)};
            size_t n = 1 + (size_t)rand_below(sizeof(value));
            memset(value, 'A' + k, n);
            if (!stash_put(s, &key, str_of(value, n), NOW))
                _exit(1);
            struct str got = stash_get(s, &key, NOW, &a);
            for (size_t at = 0; at < got.n; at++)
                if (got.p[at] != 'A' + k)
                    _exit(2);
            arena_done(&a);
        }
        _exit(0);
    }
    for (int w = 0; w < WORKERS; w++) {
        int status = 0;
        assert_int_equal(waitpid(workers[w], &status, 0), workers[w]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    put(s, "ann", "after", "all");
    assert_holds(s, "ann", "after", NOW, "all");
    stash_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basics),
        cmocka_unit_test(test_owners_are_apart),
        cmocka_unit_test(test_expires),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_turns_over),
        cmocka_unit_test(test_processes),
        cmocka_unit_test(test_nothing_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
