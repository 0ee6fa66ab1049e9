// SPDX-License-Identifier: GPL-2.0-only
/* The words for verdicts, and the last line of a run; report.h describes them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rig/report.h"

const char *const verdict_names[NR_VERDICTS] = { "passed", "failed", "skipped" };
const char *const verdict_words[NR_VERDICTS] = { "ok", "FAIL", "SKIP" };

int report_counts(const char *logs, const char *name, const int *count)
{
	char path[400];
	int err;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.counts", logs, name);
	f = fopen(path, "we");
	err = !f || fprintf(f, "%d %d %d\n", count[PASSED], count[FAILED], count[SKIPPED]) < 0;
	if (f)
		err |= fclose(f);
	if (err)
		fprintf(stderr, "rig: %s: %s\n", path, strerror(errno));
	printf("%d passed, %d failed", count[PASSED], count[FAILED]);
	if (count[SKIPPED])
		printf(", %d skipped", count[SKIPPED]);
	printf("\n");
	return err ? 2 : count[FAILED] > 0;
}
