// SPDX-License-Identifier: GPL-2.0-only
/*
 * A debug kernel finds each kind of bug that rig/debug.config is to find. The module rig_bug makes
 * them; the table lists the reports, which must be in the kernel log, and a lost object must be
 * the only one that kmemleak knows.
 *
 * Seen to fail: a use after free that the compiler had removed.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/kmemleak.h"
#include "tests/lib/tap.h"

#define MAKE "/sys/module/rig_bug/parameters/make"

int main(void)
{
	/* lockdep gives up after its own report, and after that of KASAN. */
	static const char *const bugs[] = { "sleep", "locks", "object", "list", "freed", "leak" };
	size_t i;

	tap_plan(8);
	tap_ok(!kmemleak_count(), "nothing is lost");
	for (i = 0; i < sizeof(bugs) / sizeof(bugs[0]); i++) {
		int fd = open(MAKE, O_WRONLY | O_CLOEXEC);
		ssize_t len = (ssize_t)strlen(bugs[i]);

		tap_ok(fd >= 0 && write(fd, bugs[i], len) == len, "bug: %s", bugs[i]);
		if (fd >= 0)
			close(fd);
	}
	tap_ok(kmemleak_count() == 1, "one object is lost");
	return tap_done();
}
