/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the rig command share. */
#ifndef RIG_RIG_H
#define RIG_RIG_H

#include <stdbool.h>

#include "rig/host.h"
#include "rig/table.h"

#define MAX_PARAMS    32
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The options that all subcommands share. */
struct settings {
	char build[256];  /* the build directory */
	char release[80]; /* of the kernel that runs */
	char kernel[512], initramfs[512];
	struct host_conf conf;
	const char *params[MAX_PARAMS + 1]; /* module.param=value, NULL-terminated */
	int n_params;
	unsigned int kvm;    /* variants asked for; 0: the subcommand's default */
	unsigned int paging; /* likewise */
	int timeout_s;	     /* 0: the subcommand's default */
};

/* What one host_start() needs beside the settings; the arrays must live as long as the host. */
struct launch {
	struct host_opts opts;
	const char *extra[2 * HOST_EXTRA + 1];
};

/* Fill in the options for a host with this configuration and an existing directory for its logs. */
void launch_prepare(struct launch *l, const struct settings *s, const struct host_conf *conf,
		    const char *logdir);

/* Make build/logs/NAME-DATE-TIME and a link build/logs/NAME to it; exits when that fails. */
void make_logdir(const struct settings *s, const char *name, char *dir, size_t size);

/* make_logdir()'s mkdir: parents included, existing is fine. Returns 0 or -1 with errno. */
int make_dir(const char *path);

/* What "rig test" is to do; the lists only and group are comma-separated, or NULL for all. */
struct test_run {
	const char *table, *only, *group;
	const char *name; /* of the logs and the file of counts */
	bool list;	  /* only print which these are */
	int workers;	  /* hosts at a time; 0: two, if there is more than one processor */
};

/* The parameters of KVM, of whichever vendor, that make it use shadow paging; NULL-terminated. */
extern const char *const shadow_params[];

/*
 * "rig matrix": sum up the results of several runs, build/logs/NAME.results, as a table of kernel,
 * host and paging; on standard output and in the file out. Returns the exit status: 0, or 2 when a
 * file cannot be read or written.
 */
int print_matrix(const char *out, char **results);

/* Run the tests. Returns the exit status: 0, 1 when a test failed, 2 when nothing could be run. */
int run_tests(const struct settings *s, const struct test_run *run);

#endif
