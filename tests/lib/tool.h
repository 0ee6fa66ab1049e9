/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Runs kvm-pfnmap, the tool, in the emulated host and checks its output.
 *
 * The program and its libraries are the machine's; everything it examines is the emulated host's.
 * Needs the machine's files at /machine and, in the environment, BUILD, the path of the build
 * directory on the machine.
 */
#ifndef TOOL_H
#define TOOL_H

#include <stdbool.h>
#include <sys/types.h>

struct tool {
	/* How to run it; all zero means as root, with all of /dev. */
	uid_t uid;
	gid_t group;	      /* the only group of another user; 0: none that helps */
	const char *node;     /* the only node in /dev/dri, such as "card1"; "": none */
	bool no_modules;      /* root without CAP_SYS_MODULE */
	bool ignore_chld;     /* start it with SIGCHLD ignored */
	unsigned int kill_ms; /* send SIGKILL after this time */
	/* The result: */
	int status; /* exit status; -1: it was killed */
	char out[1 << 16], err[4096];
};

/* Run "kvm-pfnmap ARGUMENT..." and wait for it. */
#define tool_run(t, ...) tool_run_args(t, (const char *const[]){ "kvm-pfnmap", __VA_ARGS__, NULL })
void tool_run_args(struct tool *t, const char *const *args);

/*
 * Check the exit status, and that the output matches the extended regular expression; the check's
 * name is a printf-style text. The output is standard output, with each run of blanks and line
 * breaks replaced by one blank; if it is empty, it is standard error, which must then be one line.
 */
#define tool_ok(t, status, regex, ...) tool_check(t, status, regex, __FILE__, __LINE__, __VA_ARGS__)
void tool_check(const struct tool *t, int status, const char *regex, const char *file, int line,
		const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/*
 * Run another program of the machine in the same way, given its path there and its arguments, the
 * first of which is its name. Returns its exit status.
 */
#define tool_machine(path, ...) tool_machine_args(path, (const char *const[]){ __VA_ARGS__, NULL })
int tool_machine_args(const char *path, const char *const *args);

/* Copy a file in the host, or only its first size bytes unless that is 0. */
void tool_copy(const char *from, const char *to, mode_t mode, off_t size);

/* Create a directory in the host, with its parents, as mkdir -p does. */
void tool_dirs(const char *path);

#endif
