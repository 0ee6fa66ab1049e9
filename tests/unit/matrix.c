// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that rig/matrix.c sums up results, lists what failed or was skipped, and refuses other
 * files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig/matrix.h"
#include "rig/util.h"
#include "tests/lib/tap.h"

static char dir[] = "/tmp/unit-matrix.XXXXXX", out[64], table[8192];

/* The path of a file with this text. */
static char *file(const char *name, const char *text)
{
	static char paths[8][64];
	static int n;
	char *path = paths[n++ % 8];
	FILE *f;

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	f = fopen(path, "we");
	if (!f || fputs(text, f) < 0 || fclose(f))
		tap_bail("cannot write %s", path);
	return path;
}

/* Store the matrix of these files in `table`. Returns as print_matrix(). */
static int matrix(char **paths)
{
	int ret, saved = dup(1);
	FILE *f;

	table[0] = '\0';
	fflush(stdout);
	if (!freopen("/dev/null", "we", stdout))
		tap_bail("cannot silence standard output");
	ret = print_matrix(out, paths);
	fflush(stdout);
	dup2(saved, 1);
	close(saved);
	f = fopen(out, "re");
	if (f) {
		table[fread(table, 1, sizeof(table) - 1, f)] = '\0';
		fclose(f);
		unlink(out);
	}
	return ret;
}

/* Does the table have these words in a line, with any number of blanks between them? */
static bool has_row(const char *row)
{
	char squeezed[sizeof(table)], *to = squeezed;

	for (const char *from = table; *from; from++)
		if (*from != ' ' || (to > squeezed && to[-1] != ' '))
			*to++ = *from;
	*to = '\0';
	return strstr(squeezed, row);
}

static void sums(void)
{
	char *amd = file("amd", "run 61500 6.1.0-1-amd64 AMD-V (QEMU)\n"
				"passed stock tdp 1000 one \n"
				"passed stock tdp 2600 two \n"
				"failed patched tdp 10 one not ok 1 - it works\n"
				"skipped patched shadow 0 one no room for it\n"
				"passed patched tdp_mmu0 3000 one \n"
				"passed - - 5 machine \n");
	char *intel = file("intel", "run 1000 6.12-x VT-x (Bochs)\n"
				    "passed patched shadow 7000 one \n"
				    "passed patched tdp 8000 one \n");

	tap_is(matrix((char *[]){ amd, intel, NULL }), 0, "results are read");
	tap_ok(has_row("| 6.1.0-1-amd64 | AMD-V (QEMU) | npt=1 | stock | 2 | 0 | 0 | 4 |"),
	       "tests of one kind are one row, with their time");
	tap_ok(has_row("| npt=1 | patched | 0 | 1 | 0 | 0 |"), "a failure counts");
	tap_ok(has_row("| npt=0 | patched | 0 | 0 | 1 | 0 |"), "a skip counts");
	tap_ok(has_row("| tdp_mmu=0 | patched | 1 | 0 | 0 | 3 |"),
	       "nested paging by the shadow MMU has its own row");
	tap_ok(has_row("| 6.1.0-1-amd64 | AMD-V (QEMU) | - | - | 1 | 0 | 0 | 0 |"),
	       "tests without KVM have a row");
	tap_ok(has_row("| 6.12-x | VT-x (Bochs) | ept=0 | patched | 1 | 0 | 0 | 7 |") &&
		       has_row("| 6.12-x | VT-x (Bochs) | ept=1 | patched | 1 | 0 | 0 | 8 |"),
	       "on VT-x the parameter has another name");
	tap_ok(strstr(table, "failed: one on 6.1.0-1-amd64") &&
		       strstr(table, "not ok 1 - it works"),
	       "a failure is named with its reason");
	tap_ok(strstr(table, "skipped: one") && strstr(table, "no room for it"), "so is a skip");
	tap_ok(strstr(table, "62 s in total"), "the time of a whole run is shown");
}

static void refuses(void)
{
	char *good = file("good", "run 1 k h\npassed - - 5 t \n");
	char *const bad[] = {
		file("empty", ""),
		file("other", "1 0 0\n"),
		file("word", "run 1 k h\npast - - 5 t \n"),
		file("number", "run 1 k h\npassed - - x t \n"),
		file("short", "run 1 k h\npassed - -\n"),
		(char *)"/nowhere/results",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		tap_is(matrix((char *[]){ good, bad[i], NULL }), 2, "refused: %s", bad[i]);
		tap_ok(!table[0], "and nothing is written");
	}
	snprintf(out, sizeof(out), "/nowhere/matrix.md");
	tap_is(matrix((char *[]){ good, NULL }), 2, "a file that cannot be written is an error");
}

int main(void)
{
	char command[64];

	if (!mkdtemp(dir))
		tap_bail("cannot make %s", dir);
	snprintf(out, sizeof(out), "%s/matrix.md", dir);
	sums();
	refuses();
	snprintf(command, sizeof(command), "rm -r %s", dir);
	tap_is(system(command), 0, "all is cleaned up");
	return tap_done();
}
