/* fuzz_chat_valid.h - one comparison of translation and upstream's rules, for the fuzzer and the
 * driver over seeds. */
#ifndef CCPROXY_FUZZ_CHAT_VALID_H
#define CCPROXY_FUZZ_CHAT_VALID_H

#include "../tests/property/chat_gen.h"
#include "llm/models.h"

enum valid_result {
    VALID_TAKEN,   /* accepted, and upstream would take it */
    VALID_REFUSED, /* refused by us */
    VALID_BROKEN,  /* accepted, and upstream would refuse it: *ret_why */
};

/* settings: bit 0 auto_cache, bit 1 fast_mode, bit 2 the newer API version. ret_body and ret_why live in scratch. */
enum valid_result valid_check(const struct models *models, unsigned settings, struct str request,
                              struct arena *scratch, struct str *ret_body, struct str *ret_why);

#endif
