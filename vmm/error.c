// SPDX-License-Identifier: GPL-2.0-only
/*
 * error.c - libvmm's error reporting: one line per thread, which names the ioctl and the error.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/internal.h"

static __thread char line[256] = "no error";

const char *vmm_error(void)
{
	return line;
}

void vmm_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("vmm: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(2);
}

int vmm_fail(int err, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (len >= 0 && (size_t)len < sizeof(line))
		snprintf(line + len, sizeof(line) - len, ": %s", strerror(err));
	return -err;
}

int vmm_ioctl_named(int fd, unsigned long request, const char *name, void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? vmm_fail(errno, "%s", name) : ret;
}
