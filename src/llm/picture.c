/* picture.c - see picture.h.
 *
 *   PNG    IHDR is first         89 'PNG' ... [16] width [20] height, big-endian
 *   GIF    screen descriptor     'GIF8' ...   [6] width [8] height, little-endian
 *   WebP   by its first chunk    'RIFF' ... 'WEBP' then 'VP8X', 'VP8L' or 'VP8 '
 *   JPEG   segments              ff d8, then ff MARKER LENGTH ..., to the one that says the frame
 */
#include "llm/picture.h"

#include "base/text.h"

enum { HEAD = 30, SEGMENT = 12, SEGMENTS_MAX = 64 };

/* n bytes of what the base64 means, from there on: four characters are three bytes. */
static bool decode_at(struct str base64, size_t at, void *out, size_t n)
{
    enum { MOST = HEAD + 2 };

    uint8_t bytes[MOST];
    size_t skip = at % 3;
    struct str rest = str_skip(base64, size_min(at / 3 * 4, base64.n));
    ASSERT(skip + n <= MOST);
    if (text_base64_decode(rest, bytes, skip + n) != (ssize_t)(skip + n))
        return false;
    memcpy(out, bytes + skip, n);
    return true;
}

static uint32_t big(const uint8_t *p, size_t n)
{
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static uint32_t little(const uint8_t *p, size_t n)
{
    uint32_t v = 0;
    for (size_t i = n; i > 0; i--)
        v = v << 8 | p[i - 1];
    return v;
}

/* RFC 9649: the extended, the lossless and the lossy form. */
static bool read_webp(const uint8_t *p, struct picture *ret)
{
    const uint8_t *chunk = p + 12, *data = p + 20;
    if (memcmp(chunk, "VP8X", 4) == 0) {
        *ret = (struct picture){little(data + 4, 3) + 1, little(data + 7, 3) + 1};
        return true;
    }
    if (memcmp(chunk, "VP8L", 4) == 0) {
        uint32_t bits = little(data + 1, 4);
        *ret = (struct picture){(bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1};
        return data[0] == 0x2f;
    }
    *ret = (struct picture){little(data + 6, 2) & 0x3fff, little(data + 8, 2) & 0x3fff};
    return memcmp(chunk, "VP8 ", 4) == 0 && memcmp(data + 3, "\x9d\x01\x2a", 3) == 0;
}

/* ITU T.81: SOF0 to SOF15 but for the three that are tables. */
static bool is_frame(uint8_t marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static bool read_jpeg(struct str base64, struct picture *ret)
{
    uint8_t p[SEGMENT];
    size_t at = 2;
    for (size_t i = 0; i < SEGMENTS_MAX && decode_at(base64, at, p, SEGMENT) && p[0] == 0xff; i++) {
        if (p[1] == 0xff) {
            at++; /* padding */
            continue;
        }
        if (is_frame(p[1])) {
            *ret = (struct picture){big(p + 7, 2), big(p + 5, 2)};
            return true;
        }
        at += 2 + size_max(big(p + 2, 2), 2);
    }
    return false;
}

bool picture_read(struct str base64, struct picture *ret)
{
    uint8_t p[HEAD];
    bool known = true;
    *ret = (struct picture){.width = 0};
    if (!decode_at(base64, 0, p, HEAD))
        return false;
    if (memcmp(p, "\x89PNG", 4) == 0)
        *ret = (struct picture){big(p + 16, 4), big(p + 20, 4)};
    else if (memcmp(p, "GIF8", 4) == 0)
        *ret = (struct picture){little(p + 6, 2), little(p + 8, 2)};
    else if (memcmp(p, "RIFF", 4) == 0 && memcmp(p + 8, "WEBP", 4) == 0)
        known = read_webp(p, ret);
    else
        known = p[0] == 0xff && p[1] == 0xd8 && read_jpeg(base64, ret);
    return known && ret->width > 0 && ret->height > 0;
}
