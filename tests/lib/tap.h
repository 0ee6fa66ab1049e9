/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a test program says, in the Test Anything Protocol, on standard output.
 *
 * A program announces or ends with a plan and prints one line per check; the runner fails a program
 * that prints no plan, that keeps another number of checks than planned, or whose exit status is
 * not 0. A typical program:
 *
 *	int main(void)
 *	{
 *		tap_plan(2);
 *		tap_ok(fd >= 0, "the device opens");
 *		tap_is(read_it(), 42, "it reads as 42");
 *		return tap_done();
 *	}
 *
 * All functions may be called from any thread. Descriptions are printf formats of one line; a '#'
 * or a line break in them is replaced, since it would mean something to the reader of the output.
 */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>

/*
 * Announce n > 0 checks. Without it, tap_done() prints the plan, so that an early exit() still
 * fails.
 */
void tap_plan(int n);

/* One check; a failed one says where it stands. Returns cond. */
#define tap_ok(cond, ...) tap_check(!!(cond), __FILE__, __LINE__, __VA_ARGS__)
bool tap_check(bool cond, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * One check that got == want, as integers (long long); a failed one shows both. Returns the
 * outcome.
 */
#define tap_is(got, want, ...) tap_check_is(got, want, #got, __FILE__, __LINE__, __VA_ARGS__)
bool tap_check_is(long long got, long long want, const char *expr, const char *file, int line,
		  const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* Count n checks as skipped, for the given reason, which must not be empty. */
void tap_skip(int n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Nothing can be checked, for the given reason: end the program with status 0 before any check. */
void tap_skip_all(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* A remark; the runner shows those that follow a failed check. */
void tap_diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Going on makes no sense: end the program as failed, whatever passed so far. */
void tap_bail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/*
 * Print the plan if tap_plan() did not. Returns the exit status for main(): 0, or 1 on failed
 * checks.
 */
int tap_done(void);

/* Which KVM is loaded, as the runner says in the environment (KVM=); bails if it does not. */
bool tap_kvm_patched(void);

#endif
