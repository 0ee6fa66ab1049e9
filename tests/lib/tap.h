/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The output of a test program, in the Test Anything Protocol, on standard output.
 *
 * A program begins or ends with a plan and prints one line per check. It fails if it prints no
 * plan, makes a different number of checks, or has an exit status other than 0. A typical program:
 *
 *	int main(void)
 *	{
 *		tap_plan(2);
 *		tap_ok(fd >= 0, "the device opens");
 *		tap_is(read_it(), 42, "it reads as 42");
 *		return tap_done();
 *	}
 *
 * All functions may be called from any thread. Descriptions are printf formats for one line; a '#'
 * or a line break in them is replaced, since the protocol gives these a meaning.
 */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>

/*
 * Announce n > 0 checks. Otherwise tap_done() prints the plan, so that a program that exits early
 * fails, too.
 */
void tap_plan(int n);

/* One check. If it fails, it prints its place in the source. Returns cond. */
#define tap_ok(cond, ...) tap_check(!!(cond), __FILE__, __LINE__, __VA_ARGS__)
bool tap_check(bool cond, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * One check that got == want, as integers (long long). If it fails, it prints both. Returns the
 * outcome.
 */
#define tap_is(got, want, ...) tap_check_is(got, want, #got, __FILE__, __LINE__, __VA_ARGS__)
bool tap_check_is(long long got, long long want, const char *expr, const char *file, int line,
		  const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* Count n checks as skipped, for the given reason, which must not be empty. */
void tap_skip(int n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Skip all checks for the given reason: end the program with status 0 before its first check. */
void tap_skip_all(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* A remark. Those after a failed check are shown with it. */
void tap_diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* End the program as failed, whatever passed so far. */
void tap_bail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Print the plan if tap_plan() did not. Returns the exit status: 0, or 1 if a check failed. */
int tap_done(void);

/* Is patched KVM loaded? The runner sets KVM in the environment; bails if it did not. */
bool tap_kvm_patched(void);

#endif
