// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the comparison of Debian versions, which must be an order: of three versions, each equals
 * itself, turning a pair around turns the result around, and what is less than less is less. A "~"
 * makes a version earlier, a letter later.
 *
 * Seen to fail: with compare_numbers() skipping leading zeros of one of the two only.
 */
#include "tests/fuzz/fuzz.h"
#include "tool/parse.h"

static int sign(int n)
{
	return (n > 0) - (n < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *v[3], longer[128];

	for (int i = 0; i < 3; i++) {
		v[i] = fuzz_piece(&data, &size);
		MUST(!compare_versions(v[i], v[i]));
		/* It looks at 127 characters. */
		if (strlen(v[i]) > 120)
			continue;
		snprintf(longer, sizeof(longer), "%s~", v[i]);
		MUST(compare_versions(longer, v[i]) < 0);
		snprintf(longer, sizeof(longer), "%sa", v[i]);
		MUST(compare_versions(longer, v[i]) > 0);
	}
	for (int i = 0; i < 3; i++) {
		const char *a = v[i], *b = v[(i + 1) % 3], *c = v[(i + 2) % 3];
		int ab = sign(compare_versions(a, b)), bc = sign(compare_versions(b, c));

		MUST(sign(compare_versions(b, a)) == -ab);
		MUST(ab != bc || sign(compare_versions(a, c)) == ab);
		MUST(ab || sign(compare_versions(a, c)) == bc);
	}
	/* Rarely, since it compiles regular expressions. */
	if (strlen(v[0]) % 64 == 22)
		MUST(kernel_support(supported_kernels, v[0], v[1]) != SUPPORT_NOT_NEEDED);
	for (int i = 0; i < 3; i++)
		free(v[i]);
	return 0;
}
