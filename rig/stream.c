// SPDX-License-Identifier: GPL-2.0-only
/* Lines from a pipe or socket within a deadline; stream.h describes the functions. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "rig/stream.h"

long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

void sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/* Read more bytes into the buffer: > 0, 0 at the end of the stream, or -1 with errno. */
static ssize_t fill(struct stream *s, long long deadline)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };
	long long wait;
	ssize_t n;

	for (;;) {
		wait = deadline == NEVER ? -1 : deadline - now_ms();
		n = poll(&pfd, 1, deadline != NEVER && wait < 0 ? 0 : wait);
		if (n > 0)
			n = read(s->fd, s->buf + s->used, sizeof(s->buf) - 1 - s->used);
		else if (!n)
			n = -1, errno = ETIMEDOUT;
		if (n >= 0 || errno != EINTR)
			return n;
	}
}

char *stream_line(struct stream *s, size_t *len, long long deadline)
{
	char *nl;
	ssize_t n;

	s->used -= s->eaten;
	memmove(s->buf, s->buf + s->eaten, s->used);
	s->eaten = 0;
	while (!(nl = memchr(s->buf, '\n', s->used)) && s->used < sizeof(s->buf) - 1) {
		n = fill(s, deadline);
		/* A socket whose other end is closed may report an error. */
		if (!n || (n < 0 && errno == ECONNRESET)) {
			errno = 0;
			if (!s->used)
				return NULL;
			break;
		}
		if (n < 0)
			return NULL;
		s->used += n;
	}
	*len = nl ? (size_t)(nl - s->buf) : s->used;
	s->buf[*len] = '\0';
	s->eaten = nl ? *len + 1 : *len;
	return s->buf;
}

int stream_send(struct stream *s, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = send(s->fd, buf, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		buf += n;
		len -= n;
	}
	return 0;
}
