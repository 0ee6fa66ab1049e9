// SPDX-License-Identifier: GPL-2.0-only
/* Guests that go on while their memory is changed under them; loop.h describes the functions. */
#include <errno.h>
#include <time.h>

#include "tests/lib/kit.h"
#include "tests/lib/loop.h"

#define PATIENCE_MS 30000

static void tick(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static int run(struct vcpu *v, void *arg)
{
	struct loop *l = arg;
	int ret = guest_call(v, &l->cmd, &l->out);

	for (;;) {
		if (l->out.end == GUEST_EXIT && l->out.exit_reason == KVM_EXIT_MMIO) {
			l->mmio++;
		} else if (kit_efault(&l->out)) {
			l->efault++;
			tick();
		} else if (ret != -EINTR) {
			return ret;
		}
		ret = guest_resume(v, &l->out);
	}
}

void loop_start(struct loop *l, struct vcpu *v, const struct guest_cmd *cmd)
{
	*l = (struct loop){ .v = v, .cmd = *cmd };
	l->cmd.flags |= GUEST_LOOP;
	/* So that what an earlier call left is no sign of life. */
	v->block->progress = 0;
	vcpu_start(v, run, l);
	for (int ms = 0; !guest_progress(v) && !l->mmio && !l->efault; ms++) {
		if (ms == PATIENCE_MS)
			tap_bail("the guest does not start");
		tick();
	}
}

void loop_wait(struct loop *l, uint32_t passes)
{
	if (guest_wait_progress(l->v, passes, PATIENCE_MS))
		tap_bail("the guest does not go on after %u passes, %u MMIO exits, %u EFAULTs",
			 guest_progress(l->v), l->mmio, l->efault);
}

bool loop_wait_more(const atomic_uint *counter)
{
	unsigned int start = *counter;

	for (int ms = 0; *counter == start && ms < PATIENCE_MS; ms++)
		tick();
	return *counter != start;
}

int loop_end(struct loop *l)
{
	guest_stop(l->v);
	return vcpu_join(l->v);
}
