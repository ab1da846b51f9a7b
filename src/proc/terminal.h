/* terminal.h - the terminal as a page that is drawn again and again, given back as it was.
 *
 *   terminal_open --> raw keys, another screen, no cursor --> terminal_close
 *                                   \-- exit(), an assertion, a fatal signal --^
 */
#ifndef CCPROXY_PROC_TERMINAL_H
#define CCPROXY_PROC_TERMINAL_H

#include "base/str.h"

/* Whether standard input and output are both one. */
bool terminal_is_there(void);
NODISCARD bool terminal_open(void);
void terminal_close(void); /* harmless when it is not open */
/* At least 1 each; 80 and 24 when the terminal does not know. */
void terminal_size(unsigned *ret_columns, unsigned *ret_rows);
/* To standard output, whole. */
void terminal_write(struct str bytes);

#endif
