/* demo.c - see demo.h. The key is made anew at each start, so that no two demos share one. */
#include "proc/demo.h"

#include <unistd.h>

#include "base/rand.h"
#include "proc/simulate.h"
#include "proc/spawn.h"

#define KEY_PREFIX "sk-ccproxy-demo-"

enum { KEY_RANDOM = 32 };

_Static_assert(sizeof(KEY_PREFIX) + KEY_RANDOM <= DEMO_KEY, "the key fits");

bool demo_open(struct demo *d, char error[LISTENERS_ERROR])
{
    const struct str prefix = STR(KEY_PREFIX);

    *d = (struct demo){.channel = -1};
    memcpy(d->key, prefix.p, prefix.n);
    rand_alnum(d->key + prefix.n, KEY_RANDOM);
    return listeners_open(&d->listeners, STR("127.0.0.1"), 0, 1, false, error);
}

bool demo_start(struct demo *d)
{
    int channel;
    pid_t pid = spawn(d->listeners.fds, d->listeners.n, &channel);

    if (pid < 0)
        return false;
    if (pid == 0)
        exit(simulate_child(d->listeners.fds[0], channel));
    if (d->channel >= 0)
        (void)close(d->channel);
    d->pid = pid;
    d->channel = channel;
    return true;
}

void demo_apply(const struct demo *d, struct config *c)
{
    config_use_demo(c, sock_addr_port(&d->listeners.addr), str_c(d->key));
}

/* How curl reaches the gateway from this machine: its options and its address. */
static struct str target(const struct sock_addr *a, char out[SOCK_TEXT + 64])
{
    char text[SOCK_TEXT];
    int n;

    if (a->sa.sa_family == AF_UNIX)
        n = snprintf(out, SOCK_TEXT + 64, "--unix-socket %s http://localhost", a->un.sun_path);
    else if (a->sa.sa_family == AF_INET && a->in4.sin_addr.s_addr == INADDR_ANY)
        n = snprintf(out, SOCK_TEXT + 64, "http://127.0.0.1:%u", sock_addr_port(a));
    else if (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr))
        n = snprintf(out, SOCK_TEXT + 64, "http://[::1]:%u", sock_addr_port(a));
    else
        n = snprintf(out, SOCK_TEXT + 64, "http://%.*s", STR_FMT(sock_addr_text(a, text)));
    return str_of(out, (size_t)n);
}

void demo_say(const struct demo *d, const struct sock_addr *gateway)
{
    char out[SOCK_TEXT + 64];

    (void)printf(
        "\n"
        "  ================================================================\n"
        "   THIS IS THE DEMO. A built-in simulator answers, not Claude;\n"
        "   nothing leaves this machine and nothing costs anything.\n"
        "   For Claude itself set ANTHROPIC_API_KEY and CCPROXY_API_KEYS.\n"
        "  ================================================================\n"
        "\n"
        "  Try it:\n"
        "\n"
        "curl -N %.*s/v1/chat/completions \\\n"
        "  -H 'Authorization: Bearer %s' \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        "  -d '{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}'\n"
        "\n",
        STR_FMT(target(gateway, out)), d->key);
    (void)fflush(stdout);
}
