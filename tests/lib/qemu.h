/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Debian's QEMU as a VMM in the emulated host: its start, its monitor, and the guest with Debian's
 * kernel in it, whose PID 1 is tests/guest/ivshmem.c.
 *
 * Needs the machine's files at /machine and, in the environment, BUILD, the machine's path of the
 * build directory. Calls that cannot fail in a healthy host bail out with a line; for the others
 * what came of them is returned, and all that QEMU and the guest print becomes remarks of the test.
 * A typical test:
 *
 *	kit_start();
 *	qemu_buf(&b, 3);
 *	if (qemu_boot(&q) && qemu_ask(&q, &did, "write 1 7"))
 *		...
 *	qemu_kill(&q);
 *	tap_ok(!buf_changes(&b), "...");
 *	buf_close(&b);
 *	return kit_finish();
 */
#ifndef QEMU_H
#define QEMU_H

#include <sys/types.h>

#include "tests/guest/ivshmem.h"
#include "tests/lib/kit.h"

#define QEMU_PAGES 512u /* of the buffer */

/* The device with the buffer and its backend, as qemu_boot() and tests name them. */
#define QEMU_DEVICE  "ivshmem"
#define QEMU_BACKEND "buffer"

struct qemu {
	pid_t pid;
	int console, monitor; /* sockets */
	bool ended;	      /* by itself, with status as of waitpid() */
	int status;
	char error[128]; /* its own line about a failed KVM_RUN, or empty */
};

/* What the guest says that it did. */
struct did {
	size_t size;  /* bytes of the device, 0: there is none */
	size_t done;  /* bytes read back */
	size_t wrong; /* words read back wrongly */
};

/* Create the buffer with the name, QEMU_PAGES in chunks of 2^order pages without __GFP_COMP. */
void qemu_buf(struct buf *b, unsigned int order);

/* How many pages, of every stride-th, hold what the guest writes by this seed. */
unsigned int qemu_written(const struct buf *b, unsigned int stride, unsigned long seed);

/*
 * Start QEMU with the buffer as an ivshmem device and wait until the guest's PID 1 listens. A guest
 * that hangs at boot is started once more. Returns whether it listens.
 */
bool qemu_boot(struct qemu *q);

/* Wait until PID 1 listens (again): false when time is up, QEMU ended, or KVM_RUN failed. */
bool qemu_up(struct qemu *q);

/* Send PID 1 a line (a printf format), without waiting for anything. */
void qemu_tell(struct qemu *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same, and wait for the answer. False as for qemu_up(), *did is zero then. */
bool qemu_ask(struct qemu *q, struct did *did, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Wait until QEMU ends by itself, after a power-off: whether it did, with status 0. */
bool qemu_end(struct qemu *q);

/* SIGKILL, if it is still there; q has nothing to free then. May be called again. */
void qemu_kill(struct qemu *q);

/*
 * Send the monitor a command in JSON and wait for the reply. Returns whether it is a success;
 * reply, unless NULL, becomes the line, cut off at size bytes.
 */
bool qemu_monitor(struct qemu *q, char *reply, size_t size, const char *json);

/* The same command with the file descriptor fd, for getfd. */
bool qemu_monitor_fd(struct qemu *q, int fd, const char *json);

/* Wait for an event of the monitor, that comes later than the last reply. */
bool qemu_event(struct qemu *q, const char *name);

#endif
