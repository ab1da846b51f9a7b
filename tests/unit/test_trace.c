/* test_trace.c - traceparent: the specification's examples, and every byte of one changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "obs/trace.h"

#define ID     "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static const struct {
    const char *text;
    bool known;
} cases[] = {
    {"00-" ID "-" PARENT "-01", true},
    {"00-" ID "-" PARENT "-00", true},
    {"00-" ID "-" PARENT "-ff", true},
    {"01-" ID "-" PARENT "-01", true},
    {"cc-" ID "-" PARENT "-01-what-the-future-will-be-like", true},
    {"", false},
    {"00", false},
    {"ff-" ID "-" PARENT "-01", false},
    {"00-" ID "-" PARENT "-01-", false},
    {"00-" ID "-" PARENT "-01-more", false},
    {"cc-" ID "-" PARENT "-01.more", false},
    {"00-" ID "-" PARENT "-1", false},
    {"00-00000000000000000000000000000000-" PARENT "-01", false},
    {"00-" ID "-0000000000000000-01", false},
    {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", false},
    {"0-" ID "-" PARENT "-01x", false},
    {" 00-" ID "-" PARENT "-01", false},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trace t;
        if (trace_read(str_c(cases[i].text), &t) != cases[i].known || t.known != cases[i].known)
            fail_msg("%s", cases[i].text);
    }
}

static void test_next_hop(void **state)
{
    struct trace a, b, next;
    char out[TRACEPARENT];
    (void)state;
    assert_true(trace_read(STR("00-" ID "-" PARENT "-01"), &a));
    assert_true(trace_read(STR("00-" ID "-" PARENT "-01"), &b));
    assert_memory_equal(a.id, ID, TRACE_ID);
    assert_memory_equal(a.parent, PARENT, TRACE_SPAN);
    assert_memory_not_equal(a.span, b.span, TRACE_SPAN);
    assert_true(trace_read(trace_write(&a, out), &next));
    assert_memory_equal(next.id, ID, TRACE_ID);
    assert_memory_equal(next.parent, a.span, TRACE_SPAN);
    assert_memory_equal(next.flags, "01", 2);
}

/* Any length, and any byte at any place: what is taken is hex and dashes where they belong. */
static void test_every_byte(void **state)
{
    static const char good[] = "00-" ID "-" PARENT "-01";
    (void)state;
    for (size_t n = 0; n < TRACEPARENT; n++) {
        struct trace t;
        assert_false(trace_read(str_of(good, n), &t));
    }
    for (size_t at = 0; at < TRACEPARENT; at++) {
        for (int c = 0; c < 256; c++) {
            char text[TRACEPARENT];
            struct trace t;
            memcpy(text, good, TRACEPARENT);
            text[at] = (char)c;
            bool dash = at == 2 || at == 35 || at == 52;
            bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
            assert_int_equal(trace_read(str_of(text, TRACEPARENT), &t), dash ? c == '-' : hex);
        }
    }
}

static void assert_begun(const struct trace *t, bool sampled)
{
    char text[TRACEPARENT];
    struct trace read;
    assert_true(t->known);
    assert_false(t->has_parent);
    assert_true(trace_read(trace_write(t, text), &read));
    assert_memory_equal(read.id, t->id, TRACE_ID);
    assert_memory_equal(read.parent, t->span, TRACE_SPAN);
    assert_int_equal(trace_is_sampled(t), sampled);
    assert_int_equal(trace_is_sampled(&read), sampled);
}

/* A trace of our own is one that others can read, sampled as often as it should be. */
static void test_begin(void **state)
{
    enum { TRIES = 20000 };

    struct trace t;
    int n = 0;
    (void)state;
    for (int i = 0; i < TRIES; i++) {
        trace_begin(250000, &t);
        n += trace_is_sampled(&t);
    }
    assert_in_range(n, TRIES / 4 - TRIES / 20, TRIES / 4 + TRIES / 20); /* 16 sigma */
    trace_begin(0, &t);
    assert_begun(&t, false);
    trace_begin(1000000, &t);
    assert_begun(&t, true);
    struct trace child = t;
    trace_child(&child);
    assert_memory_equal(child.id, t.id, TRACE_ID);
    assert_memory_not_equal(child.span, t.span, TRACE_SPAN);
}

/* The lowest bit of the flags alone. */
static void test_sampled(void **state)
{
    static const char digits[] = "0123456789abcdef";
    char text[] = "00-" ID "-" PARENT "-00";
    (void)state;
    for (size_t i = 0; i < 16; i++) {
        struct trace t;
        text[TRACEPARENT - 1] = digits[i];
        assert_true(trace_read(str_of(text, TRACEPARENT), &t));
        assert_int_equal(trace_is_sampled(&t), i & 1);
    }
    assert_false(trace_is_sampled(&(struct trace){.flags = {'0', '1'}}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),      cmocka_unit_test(test_next_hop),
        cmocka_unit_test(test_every_byte), cmocka_unit_test(test_begin),
        cmocka_unit_test(test_sampled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
