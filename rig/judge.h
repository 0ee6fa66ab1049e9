/* SPDX-License-Identifier: GPL-2.0-only */
/* "rig tap": programs of this machine that print TAP. */
#ifndef RIG_JUDGE_H
#define RIG_JUDGE_H

/*
 * Run programs one after the other and print one line per check. Their output goes to
 * LOGS/NAME.log, the counts of passed, failed and skipped checks to LOGS/NAME.counts. A program
 * that breaks the protocol or ends badly counts as one more failed check. Returns the exit status:
 * 0, 1 when a check failed, 2 when nothing could be run.
 */
int judge_programs(const char *logs, const char *name, char **programs);

#endif
