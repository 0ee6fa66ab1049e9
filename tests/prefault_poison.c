// SPDX-License-Identifier: GPL-2.0-only
/*
 * prefault_poison - KVM_PRE_FAULT_MEMORY ends at a poisoned page, with EHWPOISON or with the rest
 * of the range left to do, even in a thread that blocks SIGBUS.
 *
 * Contract: 9. Stock KVM sends SIGBUS and tries again, until another signal arrives. Shadow paging
 * and Linux 6.1 do not have the call.
 *
 * Seen to fail: stock KVM with the expectations of patched.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define PAGES	 8u
#define POISONED 5u
#define LIMIT_MS 30000 /* for what should take no time */
#define SPIN_MS	 100   /* of processor time, after which the call hangs */

struct job {
	struct kvm_pre_fault_memory range;
	int ret;
	bool signalled; /* a SIGBUS about the poisoned page arrived */
	atomic_bool done;
};

static int run_job(struct vcpu *v, void *arg)
{
	struct job *job = arg;
	struct timespec now = { 0 };
	siginfo_t info;
	sigset_t bus;

	sigemptyset(&bus);
	sigaddset(&bus, SIGBUS);
	pthread_sigmask(SIG_BLOCK, &bus, NULL);
	job->ret = kit_prefault(v, &job->range);
	while (sigtimedwait(&bus, &info, &now) == SIGBUS)
		job->signalled |= info.si_code == BUS_MCEERR_AR;
	job->done = true;
	return 0;
}

/* From page `first` on: the call returns ret and has done this many pages. */
static void test(struct vcpu *v, uint32_t first, int ret, uint32_t pages)
{
	struct job job = { .range = { .gpa = KIT_GPA + first * KIT_PAGE,
				      .size = (PAGES - first) * KIT_PAGE } };

	vcpu_start(v, run_job, &job);
	if (tap_kvm_patched()) {
		for (int i = 0; i < LIMIT_MS && !job.done; i++)
			usleep(1000);
		tap_ok(job.done, "from page %u: the call ends without a signal", first);
	} else {
		for (int i = 0; i < LIMIT_MS && !job.done && kit_cpu_ms(v) < SPIN_MS; i++)
			usleep(1000);
		tap_ok(!job.done, "from page %u: the call does not end by itself", first);
	}
	if (!job.done)
		vcpu_kick(v);
	vcpu_join(v);
	v->run->immediate_exit = 0;
	tap_is(job.ret, ret, "from page %u: the result is: %s", first, strerror(-job.ret));
	tap_is(job.range.gpa, KIT_GPA + (first + pages) * KIT_PAGE,
	       "from page %u: the call stops at the right page", first);
	tap_ok(job.signalled, "from page %u: SIGBUS reports the poisoned page", first);
}

static void on_bus(int sig)
{
	(void)sig;
}

int main(void)
{
	struct vcpu *v;
	struct vm *vm;
	char *mem;

	kit_start();
	if (!kit_prefaults())
		tap_skip_all("Linux 6.1 and shadow paging do not have KVM_PRE_FAULT_MEMORY");
	vm = vm_create(0);
	v = vcpu_create(vm, VCPU_LONG);
	mem = vm_anon(PAGES * KIT_PAGE, KIT_PAGE);
	madvise(mem, PAGES * KIT_PAGE, MADV_NOHUGEPAGE);
	memset(mem, 1, PAGES * KIT_PAGE);
	/* The kernel also signals the process that poisons a page. */
	signal(SIGBUS, on_bus);
	if (madvise(mem + POISONED * KIT_PAGE, KIT_PAGE, MADV_HWPOISON))
		tap_bail("MADV_HWPOISON: %s", strerror(errno));
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, PAGES * KIT_PAGE, mem, 0));
	test(v, POISONED, tap_kvm_patched() ? -EHWPOISON : -EINTR, 0);
	test(v, 0, 0, POISONED);
	vcpu_destroy(v);
	vm_destroy(vm);
	munmap(mem, PAGES * KIT_PAGE);
	return kit_finish();
}
