// SPDX-License-Identifier: GPL-2.0-only
/* Reads the debugfs file of kmemleak; kmemleak.h describes the function. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/kit.h"
#include "tests/lib/kmemleak.h"

#define LEAKS KIT_DEBUGFS "/kmemleak"

/* An object counts once it is five seconds old and a scan finds it unchanged since the last one. */
#define OLD_S 6

static void scan(void)
{
	int fd = open(LEAKS, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "scan", 4) != 4)
		tap_bail("%s: %s", LEAKS, strerror(errno));
	close(fd);
}

int kmemleak_count(void)
{
	char line[256];
	int leaks = 0;
	FILE *f;

	kit_mount_debugfs();
	sleep(OLD_S);
	scan();
	scan();
	f = fopen(LEAKS, "re");
	if (!f)
		tap_bail("%s: %s", LEAKS, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		leaks += !strncmp(line, "unreferenced object", 19);
		tap_diag("%.*s", (int)strcspn(line, "\n"), line);
	}
	fclose(f);
	return leaks;
}
