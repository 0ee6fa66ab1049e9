/* SPDX-License-Identifier: GPL-2.0-only */
/* What every part of the rig command uses. */
#ifndef RIG_UTIL_H
#define RIG_UTIL_H

#include <stdbool.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Print "rig: " and a printf-style line on standard error and exit with status 2. */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Exit with a message when memory runs out. */
void *xrealloc(void *p, unsigned long size);
char *xstrdup(const char *s);

/* Read a decimal number from 1 to 999999, and nothing else; false if it is none. */
bool positive(const char *s, int *value);

/* Create a directory and its parents unless they exist. Returns 0, or -1 with errno. */
int make_dir(const char *path);

#endif
