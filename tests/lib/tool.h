/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Runs the tool, kvm-pfnmap, in the emulated host and checks its output.
 *
 * The program and its libraries are the machine's; everything that it examines is the emulated
 * host's. Needs the machine's files at /machine and the variable BUILD, the path of the build
 * directory on the machine.
 */
#ifndef TOOL_H
#define TOOL_H

#include <stdbool.h>
#include <sys/types.h>

struct tool {
	/* How to run it; all zero: as root, with everything in /dev. */
	uid_t uid;
	gid_t group;	      /* the only group of another user; 0: one without access */
	const char *node;     /* the only node in /dev/dri, "card1"; "": none */
	bool no_modules;      /* root without CAP_SYS_MODULE */
	bool ignore_chld;     /* with SIGCHLD ignored, as from a parent that does not wait */
	unsigned int kill_ms; /* kill it after this time */
	/* The outcome: */
	int status; /* exit status; -1: it was killed */
	char out[1 << 16], err[4096];
};

/* Run "kvm-pfnmap ARGUMENT..." to its end. */
#define tool_run(t, ...) tool_run_args(t, (const char *const[]){ "kvm-pfnmap", __VA_ARGS__, NULL })
void tool_run_args(struct tool *t, const char *const *args);

/*
 * One check, with a printf-style name: the tool ended with this status, and its output matches the
 * extended regular expression. The output is standard output, with blanks and line breaks squeezed
 * to single blanks; if that is empty, it is standard error, which must be one line.
 */
#define tool_ok(t, status, regex, ...) tool_check(t, status, regex, __FILE__, __LINE__, __VA_ARGS__)
void tool_check(const struct tool *t, int status, const char *regex, const char *file, int line,
		const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/*
 * Run a program of the machine in the same way, by its path there, with these arguments, the first
 * of which is its name. Returns its exit status.
 */
#define tool_machine(path, ...) tool_machine_args(path, (const char *const[]){ __VA_ARGS__, NULL })
int tool_machine_args(const char *path, const char *const *args);

/* Copy a file in the host; only its first size bytes unless size is 0. */
void tool_copy(const char *from, const char *to, mode_t mode, off_t size);

/* Create a directory in the host, and its parents, unless they exist. */
void tool_dirs(const char *path);

#endif
