/* spawn.h - making children, and saying how they ended.
 *
 * Parent and child are joined by a channel, a socket pair: the child says on it that it is ready,
 * and its end of file tells the child that the parent is no more.
 */
#ifndef CCPROXY_PROC_SPAWN_H
#define CCPROXY_PROC_SPAWN_H

#include "base/str.h"

enum { SPAWN_TEXT = 64 };

/* fork(2): -1 with errno, 0 in the child, the child's id in the parent. *ret_channel is the
 * caller's end. In the child nothing is open but 0 to 2, the channel and keep; signals are as in
 * the parent. */
pid_t spawn(const int *keep, size_t n_keep, int *ret_channel);

/* In the child: everything stands, and work begins. */
void spawn_ready(int channel);
/* In the child: nothing new is taken any more. */
void spawn_quiet(int channel);

/* In the parent: what the child has said last. */
enum spawn_word { SPAWN_ENDED, SPAWN_READY, SPAWN_QUIET };
enum spawn_word spawn_hear(int channel);
/* In the child: SIGTERM comes when the parent dies. After the last change of user. */
void spawn_follow_parent(void);

/* "exit status 1", "signal SIGSEGV". */
struct str spawn_end_text(int status, char out[SPAWN_TEXT]);

#endif
