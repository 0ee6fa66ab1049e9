/* SPDX-License-Identifier: GPL-2.0-only */
/* Judges a test by its output, in the Test Anything Protocol. */
#ifndef RIG_TAP_H
#define RIG_TAP_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Lines for the user, such as the reasons for a failure. If there are too many, the last one says
 * so.
 */
struct notes {
	char *line[48];
	int n;
};

void note(struct notes *notes, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void notes_free(struct notes *notes);

struct tap {
	int plan; /* -1: none seen yet */
	int checks, passed, skipped;
	bool after_failure, bailed;
	struct notes failures, skips;
	char last[8][256]; /* the last lines of output, a ring */
	int lines;
};

void tap_start(struct tap *t);

/*
 * What a line is. A check that is skipped without a reason, or misnumbered, is a failure as well.
 */
enum tap_kind {
	TAP_OTHER,
	TAP_PASSED,
	TAP_FAILED,
	TAP_SKIPPED,
	TAP_SKIPPED_ALL, /* an empty plan: the program skips everything */
	TAP_REMARK,	 /* on the check before, which failed */
};

/* One line of output, without its line break and ending with a NUL byte. */
enum tap_kind tap_line(struct tap *t, const char *line, size_t len);

/* The description in the line of a check; any other line as it is. */
const char *tap_text(const char *line);

/* The reason behind "# SKIP", which may be empty; NULL if there is no such directive. */
const char *tap_skip_reason(const char *line);

/* The end of the output: adds what is wrong with the plan to the failures. */
void tap_end(struct tap *t);

/* The last lines of output, oldest first, as notes. */
void tap_last_lines(const struct tap *t, struct notes *notes);

void tap_free(struct tap *t);

#endif
