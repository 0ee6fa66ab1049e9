/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Running kvm-pfnmap, the tool, in the emulated host, and reading what it says.
 *
 * The tool is this machine's program with this machine's libraries; all that it looks at is the
 * emulated host's. Needs the machine's files at /machine and, in the environment, BUILD, the
 * machine's path of the build directory.
 */
#ifndef TOOL_H
#define TOOL_H

#include <stdbool.h>
#include <sys/types.h>

struct tool {
	/* How to run it; all zero is root, with all that there is in /dev. */
	uid_t uid;
	gid_t group;	      /* the only one of another user; 0: none that is of use */
	const char *node;     /* all that /dev/dri is to have, "card1"; "": nothing */
	bool no_modules;      /* root without CAP_SYS_MODULE */
	bool ignore_chld;     /* as a program that does not wait for its children starts others */
	unsigned int kill_ms; /* SIGKILL after so long */
	/* What came of it: */
	int status; /* exit status; -1: it was killed */
	char out[1 << 16], err[4096];
};

/* Run "kvm-pfnmap ARGUMENT..." to its end. */
#define tool_run(t, ...) tool_run_args(t, (const char *const[]){ "kvm-pfnmap", __VA_ARGS__, NULL })
void tool_run_args(struct tool *t, const char *const *args);

/*
 * One check that it ended with this status and said what matches the extended regular expression,
 * named by a printf-style text. It looks at standard output, with each run of blanks and line
 * breaks as one blank; or, where there is none, at standard error, which must be one line then.
 */
#define tool_ok(t, status, regex, ...) tool_check(t, status, regex, __FILE__, __LINE__, __VA_ARGS__)
void tool_check(const struct tool *t, int status, const char *regex, const char *file, int line,
		const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/*
 * Run a program of this machine in the same way, by its path there, with these arguments, of which
 * the first is its name. Returns its exit status.
 */
#define tool_machine(path, ...) tool_machine_args(path, (const char *const[]){ __VA_ARGS__, NULL })
int tool_machine_args(const char *path, const char *const *args);

/* Copy a file of the host's, or its first size bytes unless that is 0. */
void tool_copy(const char *from, const char *to, mode_t mode, off_t size);

/* Make a directory of the host with all above it, as far as they are not there. */
void tool_dirs(const char *path);

#endif
