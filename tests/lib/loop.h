/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guests that keep running while their memory is changed: a GUEST_LOOP in its vCPU's own thread,
 * alone, or three of them on one buffer.
 */
#ifndef LOOP_H
#define LOOP_H

#include <stdatomic.h>

#include "tests/lib/kit.h"

struct loop {
	struct vcpu *v;
	struct guest_cmd cmd;
	bool strict;		  /* loop_start_strict() started it */
	atomic_uint mmio;	  /* accesses where no slot was, in exits of up to 8 bytes */
	atomic_uint efault;	  /* KVM_RUN failed with EFAULT and was tried again */
	struct guest_outcome out; /* how it ended */
};

/*
 * Start *cmd, made a GUEST_LOOP, which continues after MMIO exits, EFAULT and signals (a child's
 * end is one), and wait for its first sign of life: a pass, or an exit.
 */
void loop_start(struct loop *l, struct vcpu *v, const struct guest_cmd *cmd);

/* The same, but any exit ends the loop, and nothing is waited for. */
void loop_start_strict(struct loop *l, struct vcpu *v, const struct guest_cmd *cmd);

/* Wait for `passes` whole passes from now on; bails after 30 s, because memory is missing, say. */
void loop_wait(struct loop *l, uint32_t passes);

/* Wait until a counter of *l has grown by now; false after 30 s. */
bool loop_wait_more(const atomic_uint *counter);

/* Stop after the present pass; returns as guest_call(). */
int loop_end(struct loop *l);

/* Wait for the end that a strict loop finds by itself; returns as guest_call(). */
int loop_join(struct loop *l);

/*
 * Three strict loops on one buffer, which is the memslot KIT_SLOT at KIT_GPA: one verifies a
 * pattern in those pages of the first half that it can use, one adds 1 to a word of each page of
 * the second half, atomically, and one executes code in the first page. They run on all CPUs but
 * the first, to which the calling thread is bound from trio_start() on: an emulator that lets one
 * CPU run at a time switches soon only if one of them sleeps.
 */
struct trio {
	struct vm *vm;
	struct buf *b;
	struct loop verify, add, exec;
};

/* Create the VM and its vCPUs; destroy them. */
void trio_init(struct trio *t);
void trio_exit(struct trio *t);

/* Call test() with the same VM for each of n kinds of buffer and each way to insert PTEs. */
void trio_each(const struct pfnmap_create *specs, size_t n,
	       void (*test)(struct trio *t, const struct pfnmap_create *spec));

/* Fill b, a mapped buffer of at least 4 usable pages, make it the memslot, start the loops. */
void trio_start(struct trio *t, struct buf *b);

/* Wait until each loop has made a whole pass from now on; -ETIMEDOUT after 10 s. */
int trio_pass(struct trio *t);

/*
 * Stop the loops and delete the memslot. Returns NULL, or what was wrong: a loop did not end as
 * told, saw a value that nobody wrote, or added a number that got lost.
 */
const char *trio_stop(struct trio *t);

/*
 * The loops must end by themselves, with EFAULT; delete the memslot. Returns NULL, or which one
 * ended otherwise.
 */
const char *trio_fail(struct trio *t);

#endif
