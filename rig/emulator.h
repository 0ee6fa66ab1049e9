/* SPDX-License-Identifier: GPL-2.0-only */
/* What host.c asks of the emulators that it drives, QEMU (qemu.c) and Bochs (bochs.c). */
#ifndef RIG_EMULATOR_H
#define RIG_EMULATOR_H

#include <stddef.h>
#include <sys/types.h>

#include "rig/host.h"

/* A started emulator: the process, and sockets to the host's PID 1 and to the emulator itself. */
struct emulation {
	pid_t pid;
	int channel;
	int qmp; /* -1: it has none */
};

struct emulator {
	const char *log; /* where in the directory for logs its own messages are */
	int boot_s;	 /* how long a host may take to boot, */
	int patience_s;	 /* to obey a short command, */
	int stop_s;	 /* and to power off */
	int mark_ms;	 /* how long a line of the kernel log may take to appear in console.log */
	bool has_9p;

	/* Returns 0, or -1 with one line in error about the options that it does not have. */
	int (*check)(const struct host_opts *opts, char *error, size_t size);

	/* Fill in e. Returns 0, or -1 with one line in error and nothing left running. */
	int (*start)(const struct host_opts *opts, struct emulation *e, char *error, size_t size);

	/*
	 * The emulator ended, or stopped working, and the host did not say why: look for the reason
	 * in what it left. Returns false when there is none.
	 */
	bool (*explain)(const struct host_opts *opts, char *why, size_t size);
};

extern const struct emulator emulator_qemu, emulator_bochs;

/*
 * fork() for an emulator, which dies with the calling thread and whose messages go to its log. With
 * a terminal it keeps that for input and output.
 */
pid_t emulator_fork(const struct emulator *emulator, const struct host_opts *opts);

/* In its process: run it. */
void emulator_exec(const char *const *argv, const char *package) __attribute__((noreturn));

#endif
