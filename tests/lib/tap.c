// SPDX-License-Identifier: GPL-2.0-only
/* The Test Anything Protocol for test programs; tap.h describes the functions. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/tap.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int planned, checks, failed;

/* Print a formatted text as part of a line. */
static void put(const char *fmt, va_list ap)
{
	char text[1024], *p;

	vsnprintf(text, sizeof(text), fmt, ap);
	for (p = text; (p = strpbrk(p, "#\r\n")); p++)
		*p = *p == '#' ? '$' : ' ';
	fputs(text, stdout);
}

/* Flush each line, so that the output of a killed program is complete. */
static void end_line(void)
{
	putchar('\n');
	fflush(stdout);
}

void tap_plan(int n)
{
	if (n <= 0)
		tap_bail("tap_plan(%d): a plan has at least one check", n);
	planned = n;
	printf("1..%d", n);
	end_line();
}

static void check(bool cond, const char *fmt, va_list ap)
{
	failed += !cond;
	printf("%sok %d - ", cond ? "" : "not ", ++checks);
	put(fmt, ap);
	end_line();
}

bool tap_check(bool cond, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pthread_mutex_lock(&lock);
	check(cond, fmt, ap);
	if (!cond) {
		printf("# at %s:%d", file, line);
		end_line();
	}
	pthread_mutex_unlock(&lock);
	va_end(ap);
	return cond;
}

bool tap_check_is(long long got, long long want, const char *expr, const char *file, int line,
		  const char *fmt, ...)
{
	bool cond = got == want;
	va_list ap;

	va_start(ap, fmt);
	pthread_mutex_lock(&lock);
	check(cond, fmt, ap);
	if (!cond) {
		printf("# at %s:%d: %s is %lld (%#llx), not %lld (%#llx)", file, line, expr, got,
		       (unsigned long long)got, want, (unsigned long long)want);
		end_line();
	}
	pthread_mutex_unlock(&lock);
	va_end(ap);
	return cond;
}

void tap_skip(int n, const char *fmt, ...)
{
	va_list ap;

	if (!*fmt)
		tap_bail("a skip needs a reason");
	pthread_mutex_lock(&lock);
	while (n-- > 0) {
		printf("ok %d # SKIP ", ++checks);
		va_start(ap, fmt);
		put(fmt, ap);
		va_end(ap);
		end_line();
	}
	pthread_mutex_unlock(&lock);
}

void tap_skip_all(const char *fmt, ...)
{
	va_list ap;

	if (!*fmt)
		tap_bail("a skip needs a reason");
	if (planned || checks)
		tap_bail("tap_skip_all() after the first check");
	printf("1..0 # SKIP ");
	va_start(ap, fmt);
	put(fmt, ap);
	va_end(ap);
	end_line();
	exit(0);
}

void tap_diag(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pthread_mutex_lock(&lock);
	printf("# ");
	put(fmt, ap);
	end_line();
	pthread_mutex_unlock(&lock);
	va_end(ap);
}

void tap_bail(const char *fmt, ...)
{
	va_list ap;

	/* Do not lock: the program may bail out while another thread holds the lock. */
	printf("Bail out! ");
	va_start(ap, fmt);
	put(fmt, ap);
	va_end(ap);
	end_line();
	_Exit(1);
}

int tap_done(void)
{
	if (!checks)
		tap_bail("no check was made");
	if (!planned)
		printf("1..%d", checks);
	else if (planned != checks)
		printf("# planned %d checks, made %d", planned, checks);
	else
		return failed != 0;
	end_line();
	return failed || planned;
}

bool tap_kvm_patched(void)
{
	const char *kvm = getenv("KVM");

	if (kvm && !strcmp(kvm, "patched"))
		return true;
	if (kvm && !strcmp(kvm, "stock"))
		return false;
	tap_bail("KVM=stock or KVM=patched is not in the environment");
}
