// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the tool's output for people. Whatever text follows a label, lines have at most 100
 * columns unless a single word is longer, the words keep their order, none is lost, and no control
 * character is printed.
 *
 * Seen to fail: with print_wrapped() forgetting the blank between two words, or dropping a word.
 */
#include "tests/fuzz/fuzz.h"
#include "tool/text.h"

#define LABEL 13
#define WIDTH 100

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), *p, *line, *word, *next, *next_word;
	struct fuzz_output out;

	fuzz_catch(&out, &stdout);
	print_wrapped("label", text);
	fuzz_release(&out);
	printable(text);
	for (p = text; *p; p++)
		MUST((unsigned char)*p >= ' ' && *p != 0x7f);
	p = text;
	MUST(!strncmp(out.text, "label        ", LABEL));
	memset(out.text, ' ', 5);
	for (line = strtok_r(out.text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
		size_t len = strlen(line);

		MUST(len >= LABEL && strspn(line, " ") >= LABEL);
		MUST(len <= WIDTH || !strchr(line + LABEL, ' '));
		for (word = strtok_r(line, " ", &next_word); word;
		     word = strtok_r(NULL, " ", &next_word)) {
			p += strspn(p, " ");
			MUST(!strncmp(p, word, strlen(word)));
			p += strlen(word);
		}
	}
	MUST(!p[strspn(p, " ")]);
	free(out.text);
	free(text);
	return 0;
}
