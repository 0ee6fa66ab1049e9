// SPDX-License-Identifier: GPL-2.0-only
/*
 * Misbehaves as its argument says; tests/rig/misbehave.table has all ways. Proves nothing itself.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/tap.h"

static void put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		tap_bail("%s cannot be written", path);
	close(fd);
}

static void leave_child(void)
{
	if (!fork()) {
		setsid();
		pause();
	}
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";

	if (!strcmp(how, "no-plan")) {
		puts("ok 1 - a check");
		return 0;
	}
	if (!strcmp(how, "silent"))
		return 0;
	if (!strcmp(how, "skip-all"))
		tap_skip_all("for the sake of it");
	if (!strcmp(how, "skip-no-reason")) {
		puts("1..1\nok 1 # SKIP");
		return 0;
	}
	if (!strcmp(how, "renumbered")) {
		puts("1..2\nok 1 - a check\nok 1 - again");
		return 0;
	}
	tap_plan(!strcmp(how, "short") ? 2 : 1);
	if (!strcmp(how, "bail"))
		tap_bail("enough");
	tap_ok(strcmp(how, "fail"), "the only check");
	if (!strcmp(how, "status"))
		return 3;
	if (!strcmp(how, "crash"))
		raise(SIGSEGV);
	if (!strcmp(how, "hang")) {
		leave_child();
		pause();
	}
	if (!strcmp(how, "leave"))
		leave_child();
	if (!strcmp(how, "warn"))
		put_file("/dev/kmsg", "<4>WARNING: CPU: 0 PID: 1 at made/up.c:1 rig_misbehave\n");
	if (!strcmp(how, "panic"))
		put_file("/proc/sysrq-trigger", "c");
	return tap_done();
}
