/* top.h - `ccproxy top`: a running server, live in the terminal, through its GET /stats. */
#ifndef CCPROXY_PROC_TOP_H
#define CCPROXY_PROC_TOP_H

#include "proc/cli.h"
#include "wire/json.h"

/* Until q, Ctrl-C or SIGTERM; with --once, or where there is no terminal, one page and the end.
 * The exit status: 1 when the server could not be read. */
int top_command(const struct cli *cli);

/* --- top_page.c: pure --- */

enum top_window { TOP_1M, TOP_5M, TOP_1H, TOP_TOTAL, TOP_WINDOWS };

struct top_view {
    struct str from; /* the server's address */
    enum top_window window;
    unsigned columns, rows; /* 0 rows: as many as there are */
    bool live;              /* colours and movements of the cursor; else plain text */
    struct str trouble;     /* why the statistics are not the latest; absent: they are */
};

/* The page of an answer of /stats; nothing in it is trusted to be there, or to be printable. A doc
 * without nodes has not come yet. */
void top_page(const struct json *stats, const struct top_view *view, struct buf *out);

#endif
