/* model_limits.c - see model_limits.h. */
#include "policy/model_limits.h"

static bool read_number(struct model_limit *m, struct jval key)
{
    const struct {
        struct str name;
        int64_t *at;
    } numbers[] = {
        {STR_INIT("rpm"), &m->rpm},
        {STR_INIT("tpm"), &m->tpm},
        {STR_INIT("concurrent_requests"), &m->concurrent},
    };

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (json_str_is(key, numbers[i].name))
            return json_i64(json_value(key), numbers[i].at) && *numbers[i].at >= 0;
    return false;
}

static bool read_one(struct jval name, struct arena *a, struct model_limit *ret)
{
    struct jval v = json_value(name);
    *ret = (struct model_limit){
        .model = arena_dup(a, json_str(name, a)), .rpm = -1, .tpm = -1, .concurrent = -1};
    json_each_member (key, v)
        if (!read_number(ret, key))
            return false;
    return json_is(v, JSON_OBJECT) && ret->model.n > 0;
}

bool model_limits_read(struct jval v, struct arena *a, struct model_limits *ret,
                       const char **ret_expected)
{
    *ret = (struct model_limits){.n = 0};
    *ret_expected = "an object of models, each with rpm, tpm or concurrent_requests, 0 or more";
    if (!json_is(v, JSON_OBJECT))
        return false;
    struct model_limit *list = arena_zalloc(a, size_max(json_count(v), 1) * sizeof(*list));
    ret->list = list;
    json_each_member (name, v)
        if (!read_one(name, a, &list[ret->n++]))
            return false;
    return true;
}

bool model_limits_parse(struct str json, struct arena *a, struct model_limits *ret,
                        const char **ret_expected)
{
    struct json doc;
    json_init(&doc);
    bool parsed = json_parse(&doc, json) == JSON_OK;
    bool ok = model_limits_read(parsed ? json_root(&doc) : JVAL_NONE, a, ret, ret_expected);
    json_done(&doc);
    return ok;
}
