// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the judge of a test's output: every check counts once, and a program passes only if it
 * ended well, planned its checks, and numbered them.
 *
 * Seen to fail: with tap_end() accepting fewer checks than planned.
 */
#include "rig/judge.c" /* judge_line() and judge_end() are static */

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int status = size ? data[0] % 3 * 256 : 0, checks = 0, skips = 0;
	struct judge j = { .program = "program" };
	struct fuzz_output out;
	const uint8_t *end;

	tap_start(&j.tap);
	fuzz_catch(&out, &stdout);
	while (size) {
		end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;
		char *line = fuzz_text(data, len);

		checks += !strncmp(line, "ok ", 3) || !strncmp(line, "not ok ", 7);
		skips += tap_skip_reason(line) != NULL;
		judge_line(&j, line, strlen(line));
		free(line);
		data += len + !!end;
		size -= len + !!end;
	}
	judge_end(&j, status);
	fuzz_release(&out);

	MUST(j.tap.checks == checks && j.tap.passed <= checks);
	MUST(j.count[PASSED] <= j.tap.passed && j.count[SKIPPED] <= skips);
	if (!j.count[FAILED]) {
		MUST(!status && !j.tap.failures.n && !j.tap.bailed);
		MUST(j.tap.plan == checks && (checks || j.count[SKIPPED] == 1));
		MUST(j.count[PASSED] + j.count[SKIPPED] == checks + !checks);
	}
	free(out.text);
	tap_free(&j.tap);
	return 0;
}
