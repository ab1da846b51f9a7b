/* test_picture.c - sizes of pictures as their formats say them, and of nothing else. */
#include "llm/picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/text.h"

#define ZEROS "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

static const struct {
    const char *name;
    struct str bytes;
    uint32_t width, height; /* 0: unknown */
} cases[] = {
    {"png", STR_INIT("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x23\x28\0\0\0\x01" ZEROS), 9000, 1},
    {"png, huge", STR_INIT("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xff\xff\xff\x80\0\0\0" ZEROS),
     0xffffffff, 0x80000000},
    {"png of nothing", STR_INIT("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\0\0\0\0\x01" ZEROS), 0, 0},
    {"gif", STR_INIT("GIF89a\x40\x01\xc8\0" ZEROS), 320, 200},
    {"webp, extended", STR_INIT("RIFF\0\0\0\0WEBPVP8X\n\0\0\0\0\0\0\0\x3f\x1f\0\x01\0\0" ZEROS),
     8000, 2},
    {"webp, lossless", STR_INIT("RIFF\0\0\0\0WEBPVP8L\n\0\0\0\x2f\x63\x40\x18\0" ZEROS), 100, 98},
    {"webp, lossy",
     STR_INIT("RIFF\0\0\0\0WEBPVP8 \n\0\0\0\0\0\0\x9d\x01\x2a\x20\x03\x58\x02" ZEROS), 800, 600},
    {"webp, other",
     STR_INIT("RIFF\0\0\0\0WEBPVP9 \n\0\0\0\0\0\0\x9d\x01\x2a\x20\x03\x58\x02" ZEROS), 0, 0},
    {"jpeg",
     STR_INIT("\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xff\xc4\0\x04xx"
              "\xff\xc2\0\x11\x08\x01\xe0\x02\x80" ZEROS),
     640, 480},
    {"jpeg without a frame", STR_INIT("\xff\xd8\xff\xe0\0\x10JFIF\0" ZEROS ZEROS), 0, 0},
    {"jpeg whose segments have no length", STR_INIT("\xff\xd8\xff\xe0\0\0\xff\xe0\0\0" ZEROS ZEROS),
     0, 0},
    {"jpeg, cut", STR_INIT("\xff\xd8\xff\xe0\xff\xff" ZEROS ZEROS), 0, 0},
    {"bmp", STR_INIT("BM" ZEROS ZEROS), 0, 0},
    {"nothing", STR_INIT(""), 0, 0},
};

static void test_sizes(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str base64 = text_base64_encode(&a, cases[i].bytes.p, cases[i].bytes.n);
        struct picture p;
        bool known = picture_read(base64, &p);
        if (known != (cases[i].width > 0) ||
            (known && (p.width != cases[i].width || p.height != cases[i].height)))
            fail_msg("%s: %d %ux%u", cases[i].name, known, p.width, p.height);
    }
    arena_done(&a);
    assert_int_equal(mem_live(), 0);
}

/* Cut anywhere it is unknown or the same, and nothing behind it is read. */
static void test_cut_short(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str base64 = text_base64_encode(&a, cases[i].bytes.p, cases[i].bytes.n);
        for (size_t n = 1; n < base64.n; n++) {
            struct picture p;
            char *copy = mem_alloc(n);
            memcpy(copy, base64.p, n);
            if (picture_read(str_of(copy, n), &p))
                assert_true(p.width == cases[i].width && p.height == cases[i].height);
            mem_free(copy);
        }
    }
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
