// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the judge of the kernel log: it counts the lines that complain, however they are spelt
 * otherwise and whatever surrounds them, and hands out every line.
 *
 * Seen to fail: with host_log() ending a line at a zero byte, as it did.
 */
#include "rig/host.c" /* to have a console without an emulator */

#include "tests/fuzz/fuzz.h"

const struct emulator emulator_qemu, emulator_bochs;

static int told;

static void tell(void *ctx, char tag, const char *text, size_t len)
{
	(void)ctx;
	MUST(tag == RIG_NOTE && strlen(text) == len);
	told++;
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
	char path[64], *copy;
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
	complaints = host_log(&h, &expect, 1, f, tell, NULL);
	fclose(f);
	MUST(complaints == told && complaints >= certain(data, size));
	/* Each line has a line break in the copy. */
	MUST(copied <= size + 1);
	MUST(!expect.seen || memmem(data, size, "expected", 8));
	free(copy);
	fclose(h.console);
	close(fd);
	return 0;
}
