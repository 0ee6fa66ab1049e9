// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the tool's writer of JSON with any tree of any strings: the strict reader of the unit test
 * accepts the document.
 *
 * Seen to fail: with utf8_length() accepting surrogates.
 */
#define main unit_main
#include "tests/unit/json.c" /* the reader, and start() */
#undef main

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char open[8], key[16], *value;
	struct json *j = start();
	int depth = 0, n = 0;

	json_open(j, NULL, open[depth++] = '{');
	while (size && n < MAX_KEYS - 1) {
		uint8_t what = *data;
		const char *name = open[depth - 1] == '{' ? key : NULL;

		data++, size--;
		snprintf(key, sizeof(key), "key %d", n++);
		value = fuzz_piece(&data, &size);
		if (what % 8 == 0 && depth < 8)
			json_open(j, name, open[depth++] = '{');
		else if (what % 8 == 1 && depth < 8)
			json_open(j, name, open[depth++] = '[');
		else if (what % 8 == 2 && depth > 1)
			json_close(j, open[--depth] == '{' ? '}' : ']');
		else if (what % 8 == 3)
			json_count(j, name, (long long)strlen(value) - 4);
		else if (what % 8 == 4)
			json_bool(j, name, value[0]);
		else
			json_string(j, name, what % 8 == 6 ? NULL : value);
		free(value);
	}
	while (depth)
		json_close(j, open[--depth] == '{' ? '}' : ']');
	json_finish(j);
	fclose(j->out);
	MUST(is_json(text, text_len));
	free(text);
	return 0;
}
