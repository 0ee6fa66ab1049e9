// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the tool's readers of sizes and of PATH[:OFFSET:SIZE]: what they accept has only the
 * characters of such a number, is within the documented limits, and means the same when it is
 * printed and read again.
 *
 * Seen to fail: with a parse_size() that does not look for an overflow of the shift.
 */
#include "tests/fuzz/fuzz.h"
#include "tool/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), again[4200];
	struct file_spec spec, second;
	uint64_t value, other;
	const char *wrong;

	if (parse_size(text, &value)) {
		MUST(text[0] >= '0' && text[0] <= '9');
		MUST(value >= strtoull(text, NULL, 0));
		MUST(!text[strspn(text, "0123456789abcdefABCDEFxXkKmMgG")]);
		snprintf(again, sizeof(again), "%llu", (unsigned long long)value);
		MUST(parse_size(again, &other) && other == value);
		snprintf(again, sizeof(again), "0x%llxK", (unsigned long long)value / 1024);
		MUST(parse_size(again, &other) && other == value / 1024 * 1024);
	}
	wrong = parse_file_spec(text, &spec);
	if (wrong) {
		MUST(*wrong && !strchr(wrong, '\n'));
	} else {
		MUST(spec.path[0] && memchr(spec.path, 0, sizeof(spec.path)));
		MUST(!strncmp(text, spec.path, strlen(spec.path)));
		if (spec.whole) {
			MUST(!strcmp(text, spec.path));
		} else {
			MUST(spec.size && spec.size <= 1u << 30 && !(spec.size % 4096));
			MUST(!(spec.offset % 4096) && spec.offset <= INT64_MAX - spec.size);
			snprintf(again, sizeof(again), "%s:%llu:%llu", spec.path,
				 (unsigned long long)spec.offset, (unsigned long long)spec.size);
			MUST(!parse_file_spec(again, &second) && !strcmp(second.path, spec.path));
			MUST(second.offset == spec.offset && second.size == spec.size);
		}
	}
	free(text);
	return 0;
}
