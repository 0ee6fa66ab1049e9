// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the sum of results: a file that contains no results is refused in one line that names it;
 * otherwise each line counts once in the table, under its verdict, each run, failure and skip has a
 * remark, and standard output equals the file.
 *
 * Seen to fail: with times of any length, whose sum overflowed; with a line that is longer than a
 * buffer taken for two, as it was; without a remark for skips.
 */
#include <ctype.h>

#include "tests/fuzz/fuzz.h"
#include "rig/matrix.h"

/* Count the lines after the first by the verdict with which they begin. */
static void count_lines(int fd, int count[3])
{
	static const char *const verdicts[] = { "passed", "failed", "skipped" };
	FILE *f = fdopen(dup(fd), "r");
	char *line = NULL;
	size_t room = 0;

	MUST(f);
	rewind(f);
	MUST(getline(&line, &room, f) > 0);
	while (getline(&line, &room, f) > 0) {
		const char *word = line;
		int i = 0;

		while (isspace((unsigned char)*word))
			word++;
		while (strncmp(word, verdicts[i], strlen(verdicts[i]))) {
			i++;
			MUST(i < 3);
		}
		count[i]++;
	}
	free(line);
	fclose(f);
}

/* Add up the rows of the table; returns what follows it. */
static const char *add_rows(const char *text, int count[3])
{
	for (int row = 0; *text != '\n'; row++) {
		const char *end = strchr(text, '\n'), *p = end - 1;

		/* Only the last columns, three counts and seconds, contain no bars. */
		for (int bars = 0; bars < 4; bars++)
			while (*--p != '|')
				MUST(p > text);
		for (int i = 0; row >= 2 && i < 3; i++) {
			count[i] += atoi(p + 1);
			p = strchr(p + 1, '|');
		}
		text = end + 1;
	}
	return text + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *half = memchr(data, 0, size);
	size_t first = half ? (size_t)(half - data) : size;
	char path[2][64], out[64], begin[80], copy[8192], *results[] = { path[0], path[1], NULL };
	int fd[2], out_fd, ret, lines[3] = { 0 }, counts[3] = { 0 }, remarks = 0;
	struct fuzz_output err, text;

	fd[0] = fuzz_file(data, first, path[0], sizeof(path[0]));
	fd[1] = fuzz_file(half ? half + 1 : data, half ? size - first - 1 : size, path[1],
			  sizeof(path[1]));
	out_fd = fuzz_file(NULL, 0, out, sizeof(out));
	fuzz_catch(&err, &stderr);
	fuzz_catch(&text, &stdout);
	ret = print_matrix(out, results);
	fuzz_release(&text);
	fuzz_release(&err);
	if (ret) {
		MUST(ret == 2 && !text.len);
		snprintf(begin, sizeof(begin), "rig: %s: ", path[0]);
		if (!fuzz_one_line(&err, begin)) {
			snprintf(begin, sizeof(begin), "rig: %s: ", path[1]);
			MUST(fuzz_one_line(&err, begin));
		}
	} else {
		MUST(!err.len && !strncmp(text.text, "| kernel", 8));
		MUST(text.len < sizeof(copy));
		MUST(pread(out_fd, copy, sizeof(copy), 0) == (ssize_t)text.len);
		MUST(!memcmp(copy, text.text, text.len));
		count_lines(fd[0], lines);
		count_lines(fd[1], lines);
		for (const char *p = add_rows(text.text, counts); *p; p = strchr(p, '\n') + 1)
			remarks++;
		MUST(!memcmp(lines, counts, sizeof(lines)));
		MUST(remarks == 2 + counts[1] + counts[2]);
	}
	free(err.text);
	free(text.text);
	close(fd[0]);
	close(fd[1]);
	close(out_fd);
	return 0;
}
