/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Debian's QEMU as a VMM in the emulated host: starting it, its monitor, and its guest, which runs
 * Debian's kernel with tests/guest/ivshmem.c as PID 1.
 *
 * Needs the machine's files at /machine and the variable BUILD, the path of the build directory on
 * the machine. Calls that cannot fail in a healthy host bail out; the others return their outcome.
 * The output of QEMU and of the guest becomes remarks of the test. A typical test:
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

#define QEMU_PAGES 512u /* in the buffer */

/* The ids of the device with the buffer and of its backend. */
#define QEMU_DEVICE  "ivshmem"
#define QEMU_BACKEND "buffer"

struct qemu {
	pid_t pid;
	int console, monitor; /* sockets */
	bool ended;	      /* by itself, with status as of waitpid() */
	int status;
	char error[128]; /* its message about a failed KVM_RUN, or empty */
};

/* The guest's report. */
struct did {
	size_t size;  /* bytes in the device; 0: there is no device */
	size_t done;  /* bytes read back */
	size_t wrong; /* words read back wrongly */
};

/* Create the named buffer: QEMU_PAGES in chunks of 2^order pages without __GFP_COMP. */
void qemu_buf(struct buf *b, unsigned int order);

/* Of every stride-th page, count those with the pattern that the guest writes for this seed. */
unsigned int qemu_written(const struct buf *b, unsigned int stride, unsigned long seed);

/*
 * Start QEMU with the buffer as an ivshmem device and wait until the guest's PID 1 listens. If the
 * guest hangs at boot, it is started a second time. Returns whether PID 1 listens.
 */
bool qemu_boot(struct qemu *q);

/* Wait until PID 1 listens (again): false if that takes too long, QEMU ends, or KVM_RUN fails. */
bool qemu_up(struct qemu *q);

/* Send PID 1 a line (a printf format), without waiting for anything. */
void qemu_tell(struct qemu *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same, and wait for the answer. False as for qemu_up(), with *did zero. */
bool qemu_ask(struct qemu *q, struct did *did, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Wait until QEMU ends by itself, after a power-off. Returns whether it did, with status 0. */
bool qemu_end(struct qemu *q);

/* Kill QEMU if it still runs, and free everything in q. May be called again. */
void qemu_kill(struct qemu *q);

/*
 * Send the monitor a command in JSON and wait for the reply. Returns whether it succeeded. reply,
 * if not NULL, gets the line, cut off at size bytes.
 */
bool qemu_monitor(struct qemu *q, char *reply, size_t size, const char *json);

/* The same command with the file descriptor fd, for getfd. */
bool qemu_monitor_fd(struct qemu *q, int fd, const char *json);

/* Wait for an event of the monitor after the last reply. */
bool qemu_event(struct qemu *q, const char *name);

#endif
