/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hosts as the command line describes them: their files, their logs and the options to start them.
 */
#ifndef RIG_LAUNCH_H
#define RIG_LAUNCH_H

#include <stdio.h>

#include "rig/host.h"
#include "rig/table.h"

#define MAX_PARAMS 32

/* The options that the subcommands share. */
struct settings {
	char build[256];    /* the build directory */
	const char *wanted; /* a release, or how one begins; "": any */
	char release[80];   /* the one that find_release() chose */
	char kernel[512], initramfs[512];
	const char *other_initramfs; /* instead of the release's own, or NULL */
	struct host_conf conf;
	const char *params[MAX_PARAMS + 1]; /* module.param=value, NULL-terminated */
	int n_params;
	unsigned int kvm;    /* a set of variants; 0: the subcommand's default */
	unsigned int paging; /* likewise */
	bool debug;	     /* the kernel is a debug kernel */
	int timeout_s;	     /* 0: the subcommand's default */
};

/* Set the build directory: the one that this program is in. Exits when that fails. */
void find_build(struct settings *s);

/* Choose the newest release that is built and that the settings want; exits when there is none. */
void find_release(struct settings *s);

/* Create build/logs/NAME-DATE-TIME and point the link build/logs/NAME to it; exits on errors. */
void make_logdir(const struct settings *s, const char *name, char *dir, size_t size);

/* The options of one host_start(). It must live as long as the host. */
struct launch {
	struct host_opts opts;
	const char *extra[2 * HOST_EXTRA + 1];
	FILE *progress;
};

/*
 * Fill in the options for a host with this configuration and an existing directory for its logs. A
 * slow boot is reported on the stream.
 */
void launch_prepare(struct launch *l, const struct settings *s, const struct host_conf *conf,
		    const char *logdir, FILE *progress);

#endif
