/* SPDX-License-Identifier: GPL-2.0-only */
/* "rig test": the test runner. */
#ifndef RIG_RUNNER_H
#define RIG_RUNNER_H

#include "rig/launch.h"

/* What to run; the lists only and group are comma-separated, or NULL for all. */
struct test_run {
	const char *table, *only, *group;
	const char *name; /* of the logs, the counts and the results */
	bool list;	  /* only print the tests */
	bool quick;	  /* leave out stock KVM without the TDP MMU */
	bool stop;	  /* at the first test that fails; needs workers to be 1 */
	int workers;	  /* hosts at a time, at most 4; 0: one more than there are processors */
};

/* Run the tests. Returns the exit status: 0, 1 when a test failed, 2 when nothing could be run. */
int run_tests(struct settings *s, const struct test_run *run);

#endif
