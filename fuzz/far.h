/* far.h - the other end of a connection that a target drives: it says its input, in pieces, between
 * turns of the loop, and hears whatever comes. */
#ifndef CCPROXY_FUZZ_FAR_H
#define CCPROXY_FUZZ_FAR_H

#include <sys/socket.h>

#include "base/str.h"
#include "io/loop.h"

enum { FAR_TURNS = 3 };

static inline void far_turns(struct loop *l, int far)
{
    static char heard[64 * 1024];

    for (int i = 0; i < FAR_TURNS; i++)
        loop_turn(l, 0);
    while (recv(far, heard, sizeof(heard), MSG_DONTWAIT) > 0)
        continue;
}

static inline void far_say(struct loop *l, int far, struct str bytes, size_t piece)
{
    while (bytes.n > 0) {
        struct str now = str_head(bytes, size_min(piece, bytes.n));
        ssize_t n = send(far, now.p, now.n, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n <= 0)
            return;
        bytes = str_skip(bytes, (size_t)n);
        far_turns(l, far);
    }
}

#endif
