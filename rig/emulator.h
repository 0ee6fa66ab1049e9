/* SPDX-License-Identifier: GPL-2.0-only */
/* The interface of the emulators, QEMU (qemu.c) and Bochs (bochs.c), to host.c. */
#ifndef RIG_EMULATOR_H
#define RIG_EMULATOR_H

#include <stddef.h>
#include <sys/types.h>

#include "rig/host.h"

/* A started emulator: its process, and sockets to the host's PID 1 and to the emulator. */
struct emulation {
	pid_t pid;
	int channel;
	int qmp; /* -1: there is none */
};

struct emulator {
	const char *log; /* the file for its messages in the directory for logs */
	int boot_s;	 /* the time limits: to boot, */
	int patience_s;	 /* to execute a short command, */
	int stop_s;	 /* to power off, */
	int mark_ms;	 /* and for a line of the kernel log to appear in console.log */
	bool has_9p;

	/* Check the options. Returns 0, or -1 with one line in error about one that it lacks. */
	int (*check)(const struct host_opts *opts, char *error, size_t size);

	/* Start it and fill in e. Returns 0, or -1 with one line in error and nothing running. */
	int (*start)(const struct host_opts *opts, struct emulation *e, char *error, size_t size);

	/*
	 * Find out from its files why the emulator ended or stopped working. Returns false when
	 * they do not tell.
	 */
	bool (*explain)(const struct host_opts *opts, char *why, size_t size);
};

extern const struct emulator emulator_qemu, emulator_bochs;

/*
 * fork() for an emulator, which dies with the calling thread and whose messages go to its log. With
 * the option terminal it keeps standard input and output.
 */
pid_t emulator_fork(const struct emulator *emulator, const struct host_opts *opts);

/* Run it, in that process. The package is for the error message. */
void emulator_exec(const char *const *argv, const char *package) __attribute__((noreturn));

#endif
