// SPDX-License-Identifier: GPL-2.0-only
/*
 * userfault - A guest that touches memory that is not there yet waits until user space provides the
 * page, and then continues: the lookup that must not wait fails, and the one that may wait does.
 * With the argument "async", KVM emulates the interrupt controller, so it can halt the vCPU, have a
 * thread of its own wait, and map the page before the guest tries again.
 *
 * Contract: 1 (what a failed lookup reports), 6, 7. Both variants pass: page faults of refcounted
 * memory work as before.
 *
 * Seen to fail: a KVM without the second lookup, which waits; one that does not map a page that it
 * waited for (async).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define PAGES 4u
#define VALUE 0x1122334455667788ull

static int open_userfault(void *p, size_t size)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_THREAD_ID };
	struct uffdio_register reg = {
		.range = { (uintptr_t)p, size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		tap_bail("userfaultfd: %s", strerror(errno));
	return fd;
}

/*
 * Wait for a fault in the page at p and provide it. Returns the thread that faulted, 0 if it is one
 * of the kernel's, or -1.
 */
static int provide(int fd, char *p)
{
	static uint64_t content[KIT_PAGE / sizeof(uint64_t)] = { VALUE };
	struct uffdio_copy copy = {
		.dst = (uintptr_t)p,
		.src = (uintptr_t)content,
		.len = KIT_PAGE,
	};
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	struct uffd_msg msg;
	char path[64];
	int thread;

	if (poll(&poll_fd, 1, 10000) != 1 || read(fd, &msg, sizeof(msg)) != sizeof(msg) ||
	    msg.event != UFFD_EVENT_PAGEFAULT ||
	    msg.arg.pagefault.address / KIT_PAGE != (uintptr_t)p / KIT_PAGE)
		return -1;
	/* Before the page is there: the guest's thread ends with its call. */
	snprintf(path, sizeof(path), "/proc/self/task/%u", msg.arg.pagefault.feat.ptid);
	thread = access(path, F_OK) ? 0 : (int)msg.arg.pagefault.feat.ptid;
	return ioctl(fd, UFFDIO_COPY, &copy) ? -1 : thread;
}

int main(int argc, char **argv)
{
	static const uint32_t ops[] = { GUEST_READ, GUEST_ADD };
	bool async = argc > 1 && !strcmp(argv[1], "async");
	struct guest_outcome out;
	struct vcpu *v;
	struct vm *vm;
	char *p;
	int fd;

	kit_start();
	p = vm_anon(PAGES * KIT_PAGE, KIT_PAGE);
	fd = open_userfault(p, PAGES * KIT_PAGE);
	vm = vm_create(async ? VM_IRQCHIP : 0);
	v = vcpu_create(vm, kit_mode());
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, PAGES * KIT_PAGE, p, 0));
	for (uint32_t i = 0; i < PAGES; i++) {
		bool add = i % ARRAY_SIZE(ops);
		struct guest_cmd cmd = {
			.op = ops[add],
			.gpa = KIT_GPA + i * KIT_PAGE,
			.len = 8,
			.value = 1,
		};
		int64_t faults = VMM_MUST(vcpu_stat(v, "pf_taken"));
		uint64_t word;
		int thread;

		guest_start(v, &cmd);
		thread = provide(fd, p + i * KIT_PAGE);
		tap_ok(async ? !thread : thread > 0, "page %u: %s waits for it", i,
		       async ? "a thread of KVM" : "the guest");
		guest_join(v, &out);
		memcpy(&word, p + i * KIT_PAGE, sizeof(word));
		tap_ok(out.end == GUEST_DONE && word == VALUE + add &&
			       out.result == (add ? (uint32_t)VALUE : VALUE),
		       "page %u: the guest %s: %s", i, add ? "adds to it" : "reads it",
		       guest_describe(&out));
		/* By now all else is mapped, and a read sets no dirty bit of the guest's. */
		if (i == 2)
			tap_is(VMM_MUST(vcpu_stat(v, "pf_taken")) - faults, 1,
			       "page %u: the guest faults once", i);
	}
	vcpu_destroy(v);
	vm_destroy(vm);
	close(fd);
	return kit_finish();
}
