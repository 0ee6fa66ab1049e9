// SPDX-License-Identifier: GPL-2.0-only
/*
 * userfault - A guest that touches memory that is not there yet waits until user space provides the
 * page, and then continues: the lookup that must not wait fails, and the one that may wait does.
 *
 * Contract: 1 (what a failed lookup reports), 7. Both variants pass: page faults of refcounted
 * memory work as before.
 *
 * Seen to fail: a KVM without the second lookup, which waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define PAGES 4u
#define VALUE 0x1122334455667788ull

static int open_userfault(void *p, size_t size)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)p, size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		tap_bail("userfaultfd: %s", strerror(errno));
	return fd;
}

/* Wait for a fault in the page at p and provide it. */
static bool provide(int fd, char *p)
{
	static uint64_t content[KIT_PAGE / sizeof(uint64_t)] = { VALUE };
	struct uffdio_copy copy = {
		.dst = (uintptr_t)p,
		.src = (uintptr_t)content,
		.len = KIT_PAGE,
	};
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	struct uffd_msg msg;

	return poll(&poll_fd, 1, 10000) == 1 && read(fd, &msg, sizeof(msg)) == sizeof(msg) &&
	       msg.event == UFFD_EVENT_PAGEFAULT &&
	       msg.arg.pagefault.address / KIT_PAGE == (uintptr_t)p / KIT_PAGE &&
	       !ioctl(fd, UFFDIO_COPY, &copy);
}

int main(void)
{
	static const uint32_t ops[] = { GUEST_READ, GUEST_ADD };
	struct guest_outcome out;
	struct vcpu *v;
	struct vm *vm;
	char *p;
	int fd;

	kit_start();
	p = vm_anon(PAGES * KIT_PAGE, KIT_PAGE);
	fd = open_userfault(p, PAGES * KIT_PAGE);
	vm = vm_create(0);
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
		uint64_t word;

		guest_start(v, &cmd);
		tap_ok(provide(fd, p + i * KIT_PAGE), "page %u: the guest waits for it", i);
		guest_join(v, &out);
		memcpy(&word, p + i * KIT_PAGE, sizeof(word));
		tap_ok(out.end == GUEST_DONE && word == VALUE + add &&
			       out.result == (add ? (uint32_t)VALUE : VALUE),
		       "page %u: the guest %s: %s", i, add ? "adds to it" : "reads it",
		       guest_describe(&out));
	}
	vcpu_destroy(v);
	vm_destroy(vm);
	close(fd);
	return kit_finish();
}
