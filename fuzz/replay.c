/* replay.c - runs a fuzzer's target over the files of a corpus, as a test of the normal suite.
 *
 * Each file goes in whole, and cut after each of its first bytes, so that a corpus also covers
 * inputs that end early. A target that fails aborts, which is the test's failure.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1024 * 1024, CUTS_MAX = 64 };

/* A block of exactly the input's size, so that a sanitizer sees a read behind it. Not mem_alloc:
 * the targets hold mem_live() against zero. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    ASSERT(copy);
    memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static bool replay_file(const char *path)
{
    static uint8_t room[INPUT_MAX];
    FILE *f = fopen(path, "rb");
    size_t n;

    if (!f)
        return errno == EISDIR;
    n = fread(room, 1, INPUT_MAX, f);
    (void)fclose(f);
    feed(room, n);
    for (size_t cut = 0; cut < size_min(n, CUTS_MAX); cut++)
        feed(room, cut);
    return true;
}

int main(int argc, char **argv)
{
    DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
    const struct dirent *entry;
    unsigned n = 0;

    if (!dir) {
        (void)fprintf(stderr, "no corpus: %s\n", argc > 1 ? argv[1] : "");
        return 1;
    }
    while ((entry = readdir(dir)) != NULL) {
        char path[PATH_MAX];

        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
        if (!replay_file(path))
            return 1;
        n++;
    }
    (void)closedir(dir);
    (void)printf("%u inputs\n", n);
    return n ? 0 : 1;
}
