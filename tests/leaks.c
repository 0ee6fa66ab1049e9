// SPDX-License-Identifier: GPL-2.0-only
/*
 * A debug kernel has nothing to complain about: the tests before this one lost no memory. lockdep
 * and the checks of objects are still at work, so that their silence means something.
 */
#include <stdio.h>
#include <string.h>

#include "tests/lib/kmemleak.h"
#include "tests/lib/tap.h"

/* The number behind the name in a file of "name : number" lines; -1 if there is none. */
static int number(const char *path, const char *name)
{
	FILE *f = fopen(path, "re");
	char line[256];
	int value = -1;

	while (f && value < 0 && fgets(line, sizeof(line), f)) {
		const char *at = line + strspn(line, " ");

		if (!strncmp(at, name, strlen(name)))
			sscanf(at + strlen(name), "%*[: ]%d", &value);
	}
	if (f)
		fclose(f);
	return value;
}

int main(void)
{
	tap_plan(3);
	tap_ok(!kmemleak_count(), "no memory is lost");
	tap_ok(number("/proc/lockdep_stats", "debug_locks") == 1, "lockdep has not given up");
	tap_ok(number("/sys/kernel/debug/debug_objects/stats", "warnings") == 0,
	       "no object was freed or set up while it was in use");
	return tap_done();
}
