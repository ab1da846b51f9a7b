/* fuzz_chat.c - any bytes as a Chat Completions request; see decode.h. */
#include "decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_decode(&dialect_chat, str_of((const char *)data, size));
    return 0;
}
