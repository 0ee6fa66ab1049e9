// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the judge of the kernel log: it counts the lines that complain, however they are spelt
 * otherwise and whatever surrounds them, hands each of these out, and copies every line, with "?"
 * for zero bytes, except its own marks.
 *
 * Seen to fail: with host_log() ending a line at a zero byte, as it did; with lines left out of the
 * copy.
 */
#include "rig/host.c" /* to have a console without an emulator */

#include "tests/fuzz/fuzz.h"

const struct emulator emulator_qemu, emulator_bochs;

static int told;

/* It tells lines of the log, in their order: ctx is where the next may begin. */
static void tell(void *ctx, char tag, const char *text, size_t len)
{
	const char **rest = ctx, *line;

	MUST(tag == RIG_NOTE && strlen(text) == len);
	do {
		line = *rest;
		MUST(*line);
		*rest = strchr(line, '\n') + 1;
	} while ((size_t)(*rest - line) != len + 1 || strncmp(line, text, len));
	told++;
}

/* What the copy must be. */
static char *lines(const uint8_t *data, size_t size)
{
	size_t room;
	char *text;
	FILE *f = open_memstream(&text, &room);

	MUST(f);
	while (size) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size, used = len;

		while (used && (data[used - 1] == '\r' || !data[used - 1]))
			used--;
		if (!memmem(data, used, "] rig: log mark ", 16)) {
			for (size_t i = 0; i < used; i++)
				fputc(data[i] ? data[i] : '?', f);
			fputc('\n', f);
		}
		data += len + !!end;
		size -= len + !!end;
	}
	MUST(!fclose(f));
	return text;
}

/* A second opinion, without the lines that the judge excuses. */
static int certain(const uint8_t *data, size_t size)
{
	static const char *const words[] = { "WARNING:", "BUG:", "Oops", "Bad page", "UBSAN" };
	int n = 0;

	while (size) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;
		bool found = false;

		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			found |= memmem(data, len, words[i], strlen(words[i])) != NULL;
		n += found && !memmem(data, len, "rig: log mark ", 14) &&
		     !memmem(data, len, "Call Trace:", 11) && !memmem(data, len, "expected", 8);
		data += len + !!end;
		size -= len + !!end;
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct host h = { .emulator = &emulator_qemu };
	static struct host_expect expect;
	static bool compiled;
	char path[64], *copy, *want = lines(data, size);
	const char *rest = want;
	size_t copied;
	int complaints, fd = fuzz_file(data, size, path, sizeof(path));
	FILE *f;

	if (!compiled)
		MUST(!regcomp(&expect.re, "expected", REG_EXTENDED | REG_NOSUB));
	compiled = true;
	h.console = fopen(path, "re");
	f = open_memstream(&copy, &copied);
	MUST(h.console && f);
	told = 0;
	expect.seen = false;
	complaints = host_log(&h, &expect, 1, f, tell, &rest);
	fclose(f);
	MUST(complaints == told && complaints >= certain(data, size));
	MUST(copied == strlen(want) && !strcmp(copy, want));
	MUST(!expect.seen || memmem(data, size, "expected", 8));
	free(copy);
	free(want);
	fclose(h.console);
	close(fd);
	return 0;
}
