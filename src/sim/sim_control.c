/* sim_control.c - /_sim/...: scripting answers, and asking what happened. See sim_control.h. */
#include "sim/sim_control.h"

#include "sim/sim_record.h"
#include "sim/sim_script.h"

void control_post_script(struct sim *s, struct request *r, struct sim_call *c)
{
    size_t n = 0;
    if (json_parse(&s->doc, buf_str(&r->body)) != JSON_OK || !script_add(s->script, &s->doc, &n)) {
        struct sim_error e =
            sim_refusal(400, "invalid_request_error", STR("a script is {\"answers\":[{...},...]}"));
        sim_reply_error(s, r, &e);
        call_end(c, false);
        return;
    }
    buf_clear(&s->out);
    buf_printf(&s->out, "{\"queued\":%zu}", n);
    sim_reply_json(s, r, buf_str(&s->out));
    call_end(c, false);
}

void control_delete_script(struct sim *s, struct request *r, struct sim_call *c)
{
    script_clear(s->script);
    sim_reply_json(s, r, STR("{}"));
    call_end(c, false);
}

void control_get_requests(struct sim *s, struct request *r, struct sim_call *c)
{
    buf_clear(&s->out);
    log_write_json(s->log, &s->out);
    sim_reply_json(s, r, buf_str(&s->out));
    buf_clear(&s->out);
    buf_release(&s->out);
    call_end(c, false);
}

void control_delete_requests(struct sim *s, struct request *r, struct sim_call *c)
{
    log_clear(s->log);
    sim_reply_json(s, r, STR("{}"));
    call_end(c, false);
}

void control_get_state(struct sim *s, struct request *r, struct sim_call *c)
{
    size_t open = 0;
    list_each (node, &s->calls) {
        const struct sim_call *other = CONTAINER_OF(node, struct sim_call, node);
        bool control = other->route && other->route->kind == ROUTE_CONTROL;
        open += !control && (other->request || other->play);
    }
    buf_clear(&s->out);
    buf_printf(&s->out, "{\"open\":%zu,\"served\":%llu,\"aborted\":%llu,\"connections\":%zu}", open,
               (unsigned long long)s->served, (unsigned long long)s->aborted,
               server_connections(s->server));
    sim_reply_json(s, r, buf_str(&s->out));
    call_end(c, false);
}
