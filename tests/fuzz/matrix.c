// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzes the sum of results: a file that is none is refused in one line that names it; otherwise
 * the table accounts for each line, on standard output as in the file.
 *
 * Seen to fail: with times of any length, whose sum overflowed.
 */
#include "tests/fuzz/fuzz.h"
#include "rig/matrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *half = memchr(data, 0, size ? size : 0);
	size_t first = half ? (size_t)(half - data) : size;
	char path[2][64], out[64], begin[80], *results[] = { path[0], path[1], NULL };
	int fd[2], out_fd, ret;
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
		MUST(lseek(out_fd, 0, SEEK_END) == (off_t)text.len);
	}
	free(err.text);
	free(text.text);
	close(fd[0]);
	close(fd[1]);
	close(out_fd);
	return 0;
}
