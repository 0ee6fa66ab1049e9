// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that rig/stream.c returns lines as they arrive and keeps deadlines, and that protocol.h
 * decodes words.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rig/stream.h"
#include "tests/lib/tap.h"

static struct stream in, out;

static bool next(const char *want)
{
	size_t len = 12345;
	char *line = stream_line(&in, &len, now_ms() + 1000);

	return line && len == strlen(want) && !strcmp(line, want);
}

static void lines(void)
{
	static char big[3 * RIG_LINE];
	size_t len, sum = 0;
	char *line;

	tap_ok(!stream_send(&out, "one\n\ntwo\nthr", 12), "twelve bytes are sent");
	tap_ok(next("one") && next("") && next("two"), "three lines arrive");
	tap_ok(!stream_line(&in, &len, now_ms() + 20) && errno == ETIMEDOUT,
	       "half a line is not returned in time");
	tap_ok(!stream_line(&in, &len, now_ms() - 1000) && errno == ETIMEDOUT,
	       "nor after the deadline");
	tap_ok(!stream_send(&out, "ee\n", 3) && next("three"), "with its other half it is");

	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\n';
	tap_ok(!stream_send(&out, big, sizeof(big)), "a long line is sent");
	do {
		line = stream_line(&in, &len, now_ms() + 1000);
		sum += line ? len : 0;
	} while (line && len == sizeof(in.buf) - 1);
	tap_is(sum, sizeof(big) - 1, "it arrives in pieces, and nothing is lost");
}

static void end(void)
{
	size_t len;

	tap_ok(!stream_send(&out, "last", 4), "four bytes are sent");
	close(out.fd);
	tap_ok(next("last"), "the last line may lack its line break");
	tap_ok(!stream_line(&in, &len, NEVER) && !errno, "then the stream ends");
	tap_ok(!stream_line(&in, &len, NEVER) && !errno, "again");
	close(in.fd);
	in.fd = -1;
	tap_ok(!stream_line(&in, &len, now_ms() + 20), "a closed file has no line, either");
}

static void words(void)
{
	static const char *const pairs[][2] = {
		{ "plain", "plain" }, { "a%20b", "a b" }, { "%25", "%" }, { "%00", "" },
		{ "%", "%" },	      { "%2", "%2" },	  { "", "" },	  { "100%25%0a", "100%\n" },
	};
	char word[32];

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		strcpy(word, pairs[i][0]);
		tap_ok(!strcmp(rig_decode(word), pairs[i][1]), "\"%s\" is decoded", pairs[i][0]);
	}
}

int main(void)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds))
		tap_bail("socketpair: %s", strerror(errno));
	in.fd = fds[0];
	out.fd = fds[1];
	lines();
	end();
	words();
	return tap_done();
}
