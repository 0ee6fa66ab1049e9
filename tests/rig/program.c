// SPDX-License-Identifier: GPL-2.0-only
/* Proves that a program gets the arguments, variables and files that the rig promises. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/tap.h"

/* The arguments and ODD are those of tests/amd.table. */
static const char *const want[] = { "rig_program", "two words", "", "100%", "tab\tbed", "last" };

static int open_files(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int processes(void)
{
	char path[300], line[16];
	struct dirent *de;
	int n = 0;
	DIR *proc;

	proc = opendir("/proc");
	while (proc && (de = readdir(proc))) {
		if (atoi(de->d_name) <= 0)
			continue;
		/* Kernel threads have no executable. */
		snprintf(path, sizeof(path), "/proc/%s/exe", de->d_name);
		n += readlink(path, line, sizeof(line)) > 0;
	}
	if (proc)
		closedir(proc);
	return n;
}

int main(int argc, char **argv)
{
	const int n = sizeof(want) / sizeof(want[0]);
	const char *odd = getenv("ODD"), *kvm = getenv("KVM");
	struct stat in, null;
	char c;
	int i;

	tap_is(argc, n, "number of arguments");
	for (i = 0; i < n; i++)
		tap_ok(i < argc && !strcmp(argv[i], want[i]), "argument %d is \"%s\"", i, want[i]);
	tap_ok(odd && !strcmp(odd, "a b"), "a variable from the table arrives");
	tap_ok(kvm && !strcmp(kvm, "none"), "KVM=none");
	tap_ok(access("/sys/module/kvm", F_OK), "no KVM module is loaded");
	tap_is(getppid(), 1, "the parent is PID 1");
	tap_ok(getsid(0) == getpid() && getpgrp() == getpid(),
	       "it has its own session and process group");
	tap_ok(!fstat(0, &in) && !stat("/dev/null", &null) && in.st_rdev == null.st_rdev,
	       "standard input is /dev/null");
	tap_is(read(0, &c, 1), 0, "standard input is at its end");
	tap_is(open_files(), 3, "no other file is open");
	tap_is(processes(), 2, "no other process runs");
	return tap_done();
}
