/* SPDX-License-Identifier: GPL-2.0-only */
/* Lines from a pipe or socket within a deadline, and the clock for deadlines. */
#ifndef RIG_STREAM_H
#define RIG_STREAM_H

#include <stddef.h>

#include "rig/protocol.h"

/* No deadline. */
#define NEVER (-1LL)

struct stream {
	int fd;
	char buf[2 * RIG_LINE];
	size_t used, eaten;
};

/* CLOCK_MONOTONIC in milliseconds. */
long long now_ms(void);

void sleep_ms(long ms);

/*
 * The next line, ending with a NUL byte instead of a line break; valid until the next call. A line
 * longer than the buffer comes in pieces, and the last line may lack its line break. NULL at the
 * end of the stream (errno 0), after the deadline in now_ms() time (ETIMEDOUT), or with another
 * errno.
 */
char *stream_line(struct stream *s, size_t *len, long long deadline);

/* Send all of buf over a socket. Returns 0, or -1 with errno. */
int stream_send(struct stream *s, const char *buf, size_t len);

#endif
