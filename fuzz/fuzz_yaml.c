/* fuzz_yaml.c - any bytes as a configuration file: refused with a reason, or a clean list of items.
 */
#include "base/mem.h"
#include "config/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct yaml_file file;
    arena_init(&a);
    bool ok = yaml_read(str_of((const char *)data, size), &a, &file);
    ASSERT(ok || file.error[0] != '\0');
    for (size_t i = 0; ok && i < file.n; i++) {
        ASSERT(file.items[i].line > 0);
        ASSERT(file.items[i].kind == YAML_VALUE || file.items[i].parts || !file.items[i].n_parts);
    }
    arena_done(&a);
    ASSERT(mem_live() == 0);
    return 0;
}
