// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmclock_race - One thread has KVM look up the kvmclock page over and over, while another has the
 * driver move the buffer around it, whose pages are PG_reserved and go back to the system: KVM does
 * not put a reference that it does not hold.
 *
 * Contract: 8. The lookup of such a page returns no reference. When stock KVM is done with the
 * lookup, it asks the struct page whether there is a reference to put. By then the owner may have
 * taken the page back, cleared PG_reserved and freed it. After some dozens of moves the kernel
 * reports "BUG: Bad page state" with a refcount of -1. That host cannot be used any further, so the
 * table boots a separate one, and the test ends at once, before anything trips over the damage.
 * Patched KVM goes by what the lookup said: thousands of moves, over half a minute, leave a clean
 * kernel log and all counts as allocated.
 *
 * The host has one processor (cpus=1 in the table), and the driver interrupts lookups at any moment
 * (see kit_preempt()). With two, which the emulator runs in turns, 300000 moves were not always
 * enough.
 *
 * Seen to fail: a gfn_to_pfn_cache that asks the struct page, after 49 moves of order 4 and 26 of
 * order 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define PATCHED_S 15	/* for each kind of page */
#define MIN_MOVES 3000u /* and until there are that many */
#define STOCK_S	  120	/* by then it must have happened, with the first kind */
#define MAX_US	  500
#define KMSG	  "/dev/kmsg"
#define REPORT	  "Bad page state"

/*
 * Blocks of order 4 go back to the buddy allocator at once, and Linux checks the blocks that it
 * takes from there; 6.1 does not check smaller ones. It is order 4 that shows stock KVM's failure.
 */
static const struct pfnmap_create specs[] = {
	{ .kind = PFNMAP_RESERVED, .order = 4, .pages = 16 },
	{ .kind = PFNMAP_RESERVED, .order = 0, .pages = 1 },
};

/* The vCPU's side. */
struct work {
	atomic_bool stop;
	atomic_uint updates;
	unsigned int failed;
	struct guest_outcome out;
};

static int run(struct vcpu *v, void *arg)
{
	struct work *w = arg;

	while (!w->stop) {
		kit_update_clocks(v->vm);
		w->failed += !!guest_call(v, &(struct guest_cmd){ .op = GUEST_NOP }, &w->out);
		w->updates++;
	}
	return 0;
}

/* Open the kernel log, at its end. */
static int open_kmsg(void)
{
	int fd = open(KMSG, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || lseek(fd, 0, SEEK_END) < 0)
		tap_bail("%s: %s", KMSG, strerror(errno));
	return fd;
}

/* Has the kernel reported a bad page? Each read returns one line. */
static bool reported(int kmsg)
{
	char line[1024];
	ssize_t n;

	while ((n = read(kmsg, line, sizeof(line) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		line[n > 0 ? n : 0] = '\0';
		if (strstr(line, REPORT))
			return true;
	}
	return false;
}

static time_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static bool test(const struct pfnmap_create *spec)
{
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, kit_mode());
	int kmsg = open_kmsg();
	unsigned int moves = 0;
	struct work w = { 0 };
	bool corrupt = false;
	time_t start, took;
	struct buf b;

	buf_open(&b, spec);
	buf_map(&b, KIT_RW);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	kit_set_clock(v, KIT_GPA | 1);
	vcpu_start(v, run, &w);
	kit_go_first(true);
	start = seconds();
	do {
		/* A different moment each time; meanwhile the vCPU's thread runs. */
		usleep(1 + rand() % MAX_US);
		buf_do(&b, PFNMAP_MOVE, 0);
		moves++;
		corrupt = reported(kmsg);
		took = seconds() - start;
	} while (!corrupt &&
		 (tap_kvm_patched() ? took < PATCHED_S || moves < MIN_MOVES : took < STOCK_S));
	kit_go_first(false);
	w.stop = true;
	vcpu_join(v);
	tap_diag("%s: %u moves and %u updates in %lld s", buf_name(&b), moves, w.updates,
		 (long long)took);

	if (!tap_kvm_patched()) {
		/* The host is damaged: check nothing more. */
		tap_ok(corrupt, "%s: the kernel reports a bad page", buf_name(&b));
		return true;
	}
	tap_ok(!corrupt, "%s: the kernel reports no bad page", buf_name(&b));
	tap_is(w.failed, 0, "%s: the guest runs each time: %s", buf_name(&b),
	       guest_describe(&w.out));
	buf_mark(&b);
	kit_set_clock(v, 0);
	vcpu_destroy(v);
	vm_destroy(vm);
	tap_ok(!buf_changes(&b), "%s: counts and flags are unchanged: %s", buf_name(&b),
	       buf_changes(&b) ?: "yes");
	for (uint32_t i = 0; i < b.spec.pages; i++)
		if (b.start[i].count != !(i % (1u << spec->order)))
			tap_ok(false, "%s: page %u has a count of %d", buf_name(&b), i,
			       b.start[i].count);
	buf_close(&b);
	close(kmsg);
	return false;
}

int main(void)
{
	kit_start();
	kit_preempt();
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
		if (test(&specs[i]))
			return tap_done();
	return kit_finish();
}
