// SPDX-License-Identifier: GPL-2.0-only
/* Errors, memory and directories; util.h describes the functions. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "rig/util.h"

void die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "rig: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

void *xrealloc(void *p, unsigned long size)
{
	void *new = realloc(p, size);

	if (!new)
		die("out of memory");
	return new;
}

char *xstrdup(const char *s)
{
	return strcpy(xrealloc(NULL, strlen(s) + 1), s);
}

bool positive(const char *s, int *value)
{
	size_t len = strspn(s, "0123456789");

	*value = len && len < 7 && !s[len] ? atoi(s) : 0;
	return *value > 0;
}

int make_dir(const char *path)
{
	char part[PATH_MAX], *p;

	snprintf(part, sizeof(part), "%s", path);
	for (p = part + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		if (mkdir(part, 0755) && errno != EEXIST)
			return -1;
		*p = '/';
	}
	return mkdir(part, 0755) && errno != EEXIST ? -1 : 0;
}
