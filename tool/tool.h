/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tool.h - the commands of kvm-pfnmap, their options and exit codes.
 */
#ifndef TOOL_H
#define TOOL_H

#include <stdbool.h>

#include "tool/parse.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The Makefile defines TOOL_VERSION_ without quotes. */
#define TOOL_STRING(s) #s
#define TOOL_EXPAND(s) TOOL_STRING(s)
#define TOOL_VERSION   TOOL_EXPAND(TOOL_VERSION_)

enum exit_code {
	EXIT_OK,
	EXIT_REFUSED, /* KVM refuses the memory; the modules could not be swapped */
	EXIT_USAGE,
	EXIT_NO_ACCESS, /* no KVM, or no permission */
	EXIT_NO_BUFFER, /* no such device or file, or no buffer that can be mapped */
	EXIT_BROKEN,	/* the probe hangs, loses data or fails otherwise */
};

struct options {
	bool json;
	const char *dirname; /* root of lib/modules, as for modprobe; NULL: / */
	/* probe */
	bool all;
	const char *drm;
	struct file_spec *file;
	unsigned int timeout_s;
};

int cmd_probe(const struct options *opts);
int cmd_status(const struct options *opts);
int cmd_reload(const struct options *opts);

#endif
