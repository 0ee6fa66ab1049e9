/* SPDX-License-Identifier: GPL-2.0-only */
/* Verdicts about tests, and how they are counted. */
#ifndef RIG_REPORT_H
#define RIG_REPORT_H

enum verdict { PASSED, FAILED, SKIPPED, NR_VERDICTS };

/* "passed", "failed", "skipped": in files of results. */
extern const char *const verdict_names[NR_VERDICTS];

/* "ok", "FAIL", "SKIP": the first column, of 5 characters, of printed results. */
extern const char *const verdict_words[NR_VERDICTS];

/*
 * Write LOGS/NAME.counts, "PASSED FAILED SKIPPED", and print the same as the last line of a run.
 * Returns the exit status: 0, 1 if a test failed, 2 if the file cannot be written.
 */
int report_counts(const char *logs, const char *name, const int *count);

#endif
