// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the reader of lines from a pipe: however the bytes arrive, the lines together are these
 * bytes, and none is longer than the buffer.
 *
 * Seen to fail: with stream_line() skipping a byte after a line without a line break.
 */
#include <errno.h>

#include "tests/fuzz/fuzz.h"
#include "rig/stream.h"

/* Read the lines that are there, and compare them with the bytes. Returns how many it has seen. */
static size_t lines(struct stream *s, const uint8_t *data, size_t size, size_t seen)
{
	size_t len;
	char *line;

	while ((line = stream_line(s, &len, 0))) {
		MUST(seen + len <= size && len < sizeof(s->buf) && !line[len]);
		MUST(!memcmp(line, data + seen, len) && !memchr(line, '\n', len));
		seen += len;
		if (seen < size && data[seen] == '\n' && len < sizeof(s->buf) - 1)
			seen++;
	}
	return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t step = size ? 1 + data[0] * 64 : 1, sent = 0, seen = 0, len;
	static struct stream s;
	int fds[2];

	/* Few steps, which are slow. */
	if (step < size / 16)
		step = size / 16;
	/* No more than a pipe holds. */
	if (size > 60000)
		return 0;
	MUST(!pipe2(fds, O_CLOEXEC));
	memset(&s, 0, sizeof(s));
	s.fd = fds[0];
	while (sent < size) {
		len = size - sent < step ? size - sent : step;
		MUST(write(fds[1], data + sent, len) == (ssize_t)len);
		sent += len;
		seen = lines(&s, data, size, seen);
		MUST(errno == ETIMEDOUT && sent - seen < sizeof(s.buf));
	}
	close(fds[1]);
	seen = lines(&s, data, size, seen);
	MUST(!errno && seen == size);
	close(fds[0]);
	return 0;
}
