/* terminal.c - see terminal.h. What gives the terminal back uses only what a signal handler may. */
#include "proc/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { COLUMNS = 80, ROWS = 24 };

/* Another screen, no cursor, no lines that wrap; and back. */
#define ENTER "\x1b[?1049h\x1b[?25l\x1b[?7l"
#define LEAVE "\x1b[?7h\x1b[?25h\x1b[?1049l"

static struct termios as_it_was;
static volatile sig_atomic_t is_open;

bool terminal_is_there(void)
{
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

void terminal_write(struct str bytes)
{
    while (bytes.n > 0) {
        ssize_t n = write(STDOUT_FILENO, bytes.p, bytes.n);
        struct pollfd full = {.fd = STDOUT_FILENO, .events = POLLOUT};
        if (n < 0 && errno == EAGAIN && poll(&full, 1, -1) >= 0)
            continue;
        if (n < 0 && errno != EINTR)
            return;
        bytes = str_skip(bytes, n > 0 ? (size_t)n : 0);
    }
}

void terminal_close(void)
{
    if (!is_open)
        return;
    is_open = 0;
    terminal_write(STR(LEAVE));
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &as_it_was);
}

/* The handler is reset when it is called, so the signal does what it would have done. */
static void on_fatal(int number)
{
    terminal_close();
    (void)raise(number);
}

static void catch_fatal(void)
{
    static const int numbers[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSEGV, SIGSYS};
    struct sigaction action = {.sa_handler = on_fatal, .sa_flags = (int)SA_RESETHAND};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        (void)sigaction(numbers[i], &action, NULL);
}

bool terminal_open(void)
{
    static bool known;
    if (tcgetattr(STDIN_FILENO, &as_it_was) < 0)
        return false;
    if (!known && atexit(terminal_close) != 0)
        return false;
    known = true;
    catch_fatal();
    struct termios raw = as_it_was;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* ISIG stays: Ctrl-C and Ctrl-Z are signals */
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    is_open = 1;
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) < 0) {
        is_open = 0;
        return false;
    }
    terminal_write(STR(ENTER));
    return true;
}

void terminal_size(unsigned *ret_columns, unsigned *ret_rows)
{
    struct winsize size = {0};
    bool knows = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    *ret_columns = knows ? size.ws_col : COLUMNS;
    *ret_rows = knows ? size.ws_row : ROWS;
}
