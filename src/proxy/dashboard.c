/* dashboard.c - see dashboard.h. */
#include "proxy/dashboard.h"

#include "dashboard_files.h"
#include "proxy/exchange.h"

static void reply_file(struct exchange *x, struct str type, struct str file)
{
    x->is_page = true;
    reply_whole(x, 200, type, file);
}

void dashboard_html(struct exchange *x)
{
    reply_file(x, STR("text/html; charset=utf-8"), str_of(page_html, sizeof(page_html)));
}

void dashboard_css(struct exchange *x)
{
    reply_file(x, STR("text/css; charset=utf-8"), str_of(style_css, sizeof(style_css)));
}

void dashboard_js(struct exchange *x)
{
    reply_file(x, STR("text/javascript; charset=utf-8"), str_of(script_js, sizeof(script_js)));
}
