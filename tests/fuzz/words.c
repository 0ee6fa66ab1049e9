// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the tool's readers of single lines: of "dkms status", of the lockdown file, of uname -r
 * and uname -v. The words that they find are in the line, and do not leave their buffers.
 *
 * Seen to fail: with a parse_dkms_line() that does not limit the length of the version.
 */
#include "tests/fuzz/fuzz.h"
#include "tool/parse.h"

#define NAME "kvm-pfnmap"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), *small = malloc(8), again[600];
	struct dkms_line line, second;

	MUST(small);
	if (parse_dkms_line(text, NAME, &line)) {
		MUST(!strncmp(text, NAME, strlen(NAME)));
		MUST(memchr(line.version, 0, sizeof(line.version)));
		MUST(memchr(line.release, 0, sizeof(line.release)));
		MUST(line.version[0] && strstr(text, line.version) && line.state[0]);
		MUST(strstr(text, line.release) && strstr(text, line.state));
		MUST(!strpbrk(line.version, ",:") && !strpbrk(line.release, ",:"));
		snprintf(again, sizeof(again), NAME "/%s, %s, x: %s", line.version, line.release,
			 line.state);
		MUST(parse_dkms_line(again, NAME, &second));
		MUST(!strcmp(line.version, second.version));
		MUST(!strcmp(line.release, second.release) && !strcmp(line.state, second.state));
	}
	if (bracketed_word(text, small, 8))
		MUST(strlen(small) < 8 && !strchr(small, ']') && strstr(text, small));
	debian_version(text, small, 8);
	MUST(strlen(small) < 8 && !strchr(small, ' ') && strstr(text, small));
	MUST(!small[0] || (small[0] >= '0' && small[0] <= '9'));
	if (release_at_least(text, 6, 13))
		MUST(release_at_least(text, 6, 12) && release_at_least(text, 5, 99));
	free(small);
	free(text);
	return 0;
}
