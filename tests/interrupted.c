// SPDX-License-Identifier: GPL-2.0-only
/*
 * interrupted - A signal that interrupts the driver's fault handler soon ends KVM_RUN with EINTR,
 * and when the driver serves faults again, the guest continues with the same instruction.
 *
 * The handlers of GPU drivers give up waiting when a signal is pending and return as if they had
 * inserted the entry: on the first attempt at a fault or, if they can release mmap_lock and have
 * the fault repeated, on the second one. The test covers both, with PFNMAP_HOLD_NOPAGE and
 * PFNMAP_HOLD_RETRY.
 *
 * KVM looks a page up once without waiting and, if that fails, once more. Usually it is the first
 * lookup that calls the driver's handler. To make the second one call it, the guest touches memory
 * whose missing page userfaultfd reports, which only the second lookup waits for, and during that
 * wait the test maps the buffer there.
 *
 * Contract: 9, 3, 7. Stock KVM fails KVM_RUN with EFAULT in the first case. In the second case it
 * repeats the lookup inside the kernel for as long as the signal is pending, that is until the
 * driver serves, so the test has it serve. A page that the loaded KVM cannot map fails with EFAULT
 * when the driver serves.
 *
 * Seen to fail: a lookup that takes an interrupted fault for a failed one, and one that repeats it;
 * on 6.1, only the first lookup heeding signals.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define SOON_MS	    3000 /* patched KVM must be back by then */
#define SPIN_MS	    100	 /* stock KVM must not be */
#define PATIENCE_MS 30000
#define CALM	    10 /* this many attempts at a fault are not a loop */

static const struct pfnmap_create specs[] = {
	{ .kind = PFNMAP_NONCOMPOUND, .order = 0, .pages = 8 },
	{ .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 8 },
	{ .kind = PFNMAP_COMPOUND, .order = 3, .pages = 8, .insert = PFNMAP_INSERT_AROUND },
	{ .kind = PFNMAP_RESERVED, .order = 0, .pages = 8 },
	{ .kind = PFNMAP_BAR, .pages = 8 },
};

/* One access in the vCPU's thread; other threads can see when it ends. */
struct access {
	enum kit_access access;
	uint64_t gpa;
	struct guest_outcome out;
	atomic_bool done;
};

static int run_access(struct vcpu *v, void *arg)
{
	struct access *a = arg;

	kit_touch(v, a->access, a->gpa, 7, &a->out);
	a->done = true;
	return 0;
}

static bool done_within(struct access *a, unsigned int ms)
{
	while (ms-- && !a->done)
		usleep(1000);
	return a->done;
}

static bool eintr(const struct guest_outcome *out)
{
	return out->end == GUEST_RUN_FAILED && out->err == EINTR;
}

/* Put the memslot over memory whose missing pages are reported, instead of the buffer. */
static int report_faults(struct vcpu *v, struct buf *b)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
	buf_unmap(b);
	b->map = vm_anon(b->size, KIT_PAGE);
	reg.range.start = (uintptr_t)b->map;
	reg.range.len = b->size;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		tap_bail("userfaultfd: %s", strerror(errno));
	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, b->size, b->map, 0));
	return fd;
}

/* Once a fault is reported, map the buffer there and wake the lookup that waits. */
static void replace_memory(struct buf *b, int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	if (poll(&poll_fd, 1, PATIENCE_MS) != 1)
		tap_bail("userfaultfd: no fault is reported");
	if (mmap(b->map, b->size, KIT_RW, MAP_SHARED | MAP_FIXED, b->fd, 0) != b->map)
		tap_bail("mmap of %s: %s", buf_name(b), strerror(errno));
	close(fd);
}

static void test_access(struct vcpu *v, struct buf *b, enum kit_access access, uint32_t page,
			enum pfnmap_hold hold, bool second_lookup)
{
	bool spins = !tap_kvm_patched() && hold == PFNMAP_HOLD_RETRY, usable;
	const char *how = hold == PFNMAP_HOLD_RETRY ? "second" : "first";
	uint64_t offset = (uint64_t)page * KIT_PAGE, code, faults;
	struct access a = { .access = access, .gpa = KIT_GPA + offset };
	struct guest_outcome *out = &a.out;
	int fd = -1;

	usable = page_usable(&b->start[page]);
	vcpu_code(v, &code, 0x4321);
	buf_set_word(b, offset, code);
	if (second_lookup)
		fd = report_faults(v, b);
	else
		buf_do(b, PFNMAP_REVOKE, 0);
	buf_do(b, PFNMAP_HOLD, hold);

	faults = buf_stats(b).faults;
	vcpu_start(v, run_access, &a);
	if (second_lookup)
		replace_memory(b, fd);
	for (int i = 0; i < SOON_MS && buf_stats(b).faults == faults; i++)
		usleep(1000);
	usleep(2000);
	tap_ok(buf_stats(b).faults == faults + 1 && !a.done,
	       "%s: page %u: %s waits for the driver%s", buf_name(b), page,
	       kit_access_names[access], second_lookup ? " in the second lookup" : "");

	faults = buf_stats(b).faults;
	vcpu_kick(v);
	if (spins) {
		done_within(&a, SPIN_MS);
		faults = buf_stats(b).faults - faults;
		tap_ok(!a.done && faults > CALM,
		       "%s: page %u: interrupted in the %s attempt, KVM keeps trying, %llu times",
		       buf_name(b), page, how, (unsigned long long)faults);
		buf_do(b, PFNMAP_HOLD, PFNMAP_HOLD_OFF);
		vcpu_join(v);
		tap_ok(usable ? eintr(out) : kit_efault(out),
		       "%s: page %u: the access ends once the driver serves: %s", buf_name(b), page,
		       guest_describe(out));
	} else {
		done_within(&a, SOON_MS);
		faults = buf_stats(b).faults - faults;
		tap_ok(a.done && faults <= CALM,
		       "%s: page %u: interrupted in the %s attempt, KVM gives up after %llu more",
		       buf_name(b), page, how, (unsigned long long)faults);
		buf_do(b, PFNMAP_HOLD, PFNMAP_HOLD_OFF);
		vcpu_join(v);
		tap_ok(tap_kvm_patched() ? eintr(out) : kit_efault(out),
		       "%s: page %u: the access ends with %s", buf_name(b), page,
		       guest_describe(out));
	}
	tap_ok(buf_word(b, offset) == code, "%s: page %u: the content is unchanged", buf_name(b),
	       page);

	/* Drop a kick that did not end KVM_RUN. */
	v->run->immediate_exit = 0;
	if (out->end == GUEST_RUN_FAILED)
		guest_resume(v, out);
	if (!usable) {
		tap_ok(kit_efault(out), "%s: page %u: KVM refuses the page: %s", buf_name(b), page,
		       guest_describe(out));
		return;
	}
	tap_ok(out->end == GUEST_DONE && buf_word(b, offset) == (access == KIT_WRITE ? 7 : code) &&
		       (access != KIT_READ || out->result == code) &&
		       (access != KIT_EXEC || out->result == 0x4321),
	       "%s: page %u: the access completes: %s", buf_name(b), page, guest_describe(out));
}

static void test(struct vcpu *v, const struct pfnmap_create *spec)
{
	struct buf b;

	buf_open(&b, spec);
	buf_map(&b, KIT_RW);
	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	for (enum kit_access access = 0; access < KIT_NR_ACCESSES; access++) {
		for (uint32_t page = 0; page < b.spec.pages; page += 5) {
			test_access(v, &b, access, page, PFNMAP_HOLD_NOPAGE, false);
			test_access(v, &b, access, page, PFNMAP_HOLD_RETRY, false);
		}
		test_access(v, &b, access, 0, PFNMAP_HOLD_NOPAGE, true);
		test_access(v, &b, access, 0, PFNMAP_HOLD_RETRY, true);
	}
	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
	buf_end(&b, "counts and flags are unchanged");
}

int main(void)
{
	struct vm *vm;
	struct vcpu *v;

	kit_start();
	vm = vm_create(0);
	v = vcpu_create(vm, kit_mode());
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
		test(v, &specs[i]);
	vcpu_destroy(v);
	vm_destroy(vm);
	return kit_finish();
}
