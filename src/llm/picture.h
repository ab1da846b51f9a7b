/* picture.h - how large a picture is, from the first bytes of its base64: what it costs depends on it, and
 * whether upstream takes it.
 */
#ifndef CCPROXY_LLM_PICTURE_H
#define CCPROXY_LLM_PICTURE_H

#include "base/str.h"

struct picture {
    uint32_t width, height;
};

/* PNG, JPEG, GIF and WebP. False when it is none of these, or does not say its size where it should. Only
 * what is looked at is decoded, whatever the size of the file. */
NODISCARD bool picture_read(struct str base64, struct picture *ret);

#endif
