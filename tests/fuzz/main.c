// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls a fuzzer for the files of the directories that are its arguments, where there is no
 * libFuzzer; prints their number.
 */
#include <dirent.h>

#include "tests/fuzz/fuzz.h"

static void call(const char *dir, const char *name)
{
	static uint8_t data[1 << 16];
	char path[4096];
	size_t size;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "re");
	MUST(f);
	size = fread(data, 1, sizeof(data), f);
	MUST(!ferror(f) && feof(f));
	fclose(f);
	/* On the heap, so that reading past the end is noticed. */
	uint8_t *copy = malloc(size);

	MUST(copy || !size);
	if (size)
		memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

int main(int argc, char **argv)
{
	int called = 0;

	for (int i = 1; i < argc; i++) {
		struct dirent *de;
		DIR *dir = opendir(argv[i]);

		MUST(dir);
		while ((de = readdir(dir)))
			if (de->d_name[0] != '.') {
				call(argv[i], de->d_name);
				called++;
			}
		closedir(dir);
	}
	printf("%d files\n", called);
	return called ? 0 : 1;
}
