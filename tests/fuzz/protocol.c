// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the protocol between the machine and the emulated host: words that are sent as a command
 * arrive as they were, any other command stays within its line, and a reply is understood or
 * refused.
 *
 * Seen to fail: with encode() leaving a "%" as it is.
 */
#include "rig/host.c" /* encode() and parse_reply() are static */

#include "tests/fuzz/fuzz.h"

const struct emulator emulator_qemu, emulator_bochs;

static void round_trip(const uint8_t *data, size_t size)
{
	const char *words[RIG_WORDS + 1] = { NULL };
	char command[RIG_COMMAND], *next, *at = command;
	int n = 0;
	size_t len;

	while (size && n < RIG_WORDS)
		words[n++] = fuzz_piece(&data, &size);
	memset(command, 0x55, sizeof(command));
	len = encode(words, command, sizeof(command));
	MUST(len <= sizeof(command));
	if (len) {
		MUST(memchr(command, '\n', sizeof(command)) == command + len - 1);
		command[len - 1] = '\0';
		for (int i = 0; i < n; i++) {
			next = strtok(at, " ");
			MUST(next);
			at = NULL;
			MUST(!strcmp(rig_decode(next), words[i]));
		}
		MUST(!n || !strtok(NULL, " "));
	}
	while (n)
		free((char *)words[--n]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	struct host_reply reply;
	size_t len = strlen(text);

	round_trip(data, size);
	memset(&reply, 0x55, sizeof(reply));
	if (parse_reply(text, &reply)) {
		MUST(reply.kind >= HOST_OK && reply.kind <= HOST_STUCK);
		MUST(memchr(reply.message, 0, sizeof(reply.message)));
		MUST(!reply.message[0] || strstr(text, reply.message));
		MUST(host_explain(&reply));
	}
	MUST(strlen(rig_decode(text)) <= len);
	free(text);
	return 0;
}
