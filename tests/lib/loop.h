/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guests that go on while their memory is changed under them: a GUEST_LOOP in the vCPU's own
 * thread that takes MMIO exits, EFAULT and signals (a child's end is one) for what they are and
 * runs on.
 */
#ifndef LOOP_H
#define LOOP_H

#include <stdatomic.h>

#include "vmm/vmm.h"

struct loop {
	struct vcpu *v;
	struct guest_cmd cmd;
	atomic_uint mmio;	  /* accesses where no slot was, in exits of up to 8 bytes */
	atomic_uint efault;	  /* KVM_RUN failed with EFAULT and was tried again */
	struct guest_outcome out; /* how it ended */
};

/* Start *cmd, made a GUEST_LOOP, and wait for its first sign of life: a pass, or an exit. */
void loop_start(struct loop *l, struct vcpu *v, const struct guest_cmd *cmd);

/* Wait for `passes` whole passes from now on; bails after 30 s, say because memory is missing. */
void loop_wait(struct loop *l, uint32_t passes);

/* Wait until a counter of *l has grown by now; false after 30 s. */
bool loop_wait_more(const atomic_uint *counter);

/* Stop after the present pass; returns as guest_call(). */
int loop_end(struct loop *l);

#endif
