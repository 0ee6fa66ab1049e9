/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * User interface of rig_hold: make a thread wait in the middle of the kernel, at a function that it
 * calls or returns from, while other threads go on.
 *
 * Each open file is one place. The thread waits on its CPU, with interrupts on, whatever locks it
 * holds. So nobody may run on the same CPU, and nobody may wait for a lock of the thread
 * before RIG_HOLD_GO. After RIG_HOLD_MAX_S the thread goes on by itself, and RIG_HOLD_GO fails.
 *
 * A call with interrupts off counts, but the thread waits in a later one. Calls from interrupts
 * don't count. Where a probe can neither use ftrace nor be a jump, as at some functions of a
 * kernel without ftrace, it is a breakpoint, and the thread waits with interrupts off.
 */
#ifndef RIG_HOLD_H
#define RIG_HOLD_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define RIG_HOLD_PATH  "/dev/rig_hold"
#define RIG_HOLD_NAME  64
#define RIG_HOLD_MAX_S 15	/* less than what the kernel takes for a stall */

struct rig_hold_place {
	char function[RIG_HOLD_NAME];	/* its name in /proc/kallsyms */
	char module[RIG_HOLD_NAME];	/* if not empty: only calls by this module, see below */
	__u32 at_return;		/* wait when it returns, not when it is called */
	__u32 reserved;
};

struct rig_hold_state {
	__u32 held;			/* the thread waits now */
	__u32 calls;			/* calls, or returns, since RIG_HOLD_ARM or _COUNT */
};

/*
 * Set the place of this file, once. EBUSY: it has one; ENOENT: no such function; EINVAL: the kernel
 * cannot probe it. Name no module if another file waits for the return from the same function: it
 * replaces the return address, which tells the caller.
 */
#define RIG_HOLD_SET	_IOW(0xbb, 0, struct rig_hold_place)

/*
 * From now on count the calls of a thread, and with RIG_HOLD_ARM make it wait in the first of them.
 * Argument, by value: the thread's ID. EBUSY: a thread waits; ENXIO: the file has no place.
 */
#define RIG_HOLD_ARM	_IO(0xbb, 1)
#define RIG_HOLD_COUNT	_IO(0xbb, 2)

#define RIG_HOLD_STATE	_IOR(0xbb, 3, struct rig_hold_state)

/*
 * Let the thread go, and never wait again. ESRCH: no thread waited; ETIME: it was let go because of
 * RIG_HOLD_MAX_S.
 */
#define RIG_HOLD_GO	_IO(0xbb, 4)

/*
 * Returns whether any thread holds mmu_lock of a VM. Argument, by value: the VM's descriptor.
 * EBADF: it is none; EINVAL: it is not that of a VM.
 */
#define RIG_HOLD_LOCKED	_IO(0xbb, 5)

#endif
