// SPDX-License-Identifier: GPL-2.0-only
/*
 * private - A guest uses private memory, which only a file that guest_memfd made has: it does not
 * see the VMM's memory behind the same memslot, gets a new page after the file has lost one, and
 * sees the VMM's memory when the range is shared again.
 *
 * Contract: 7. Both variants pass. KVM of Linux 6.8 and later has this, for VMs of a type that
 * distributions do not enable.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define SIZE 0x10000u

/* Missing from the headers of Debian 12. */
#ifndef KVM_CREATE_GUEST_MEMFD
#define KVM_CAP_VM_TYPES	     235
#define KVM_MEM_GUEST_MEMFD	     4u
#define KVM_MEMORY_ATTRIBUTE_PRIVATE 8ull
#define KVM_SET_USER_MEMORY_REGION2  _IOW(KVMIO, 0x49, struct kvm_userspace_memory_region2)
#define KVM_SET_MEMORY_ATTRIBUTES    _IOW(KVMIO, 0xd2, struct kvm_memory_attributes)
#define KVM_CREATE_GUEST_MEMFD	     _IOWR(KVMIO, 0xd4, struct kvm_create_guest_memfd)
struct kvm_userspace_memory_region2 {
	__u32 slot;
	__u32 flags;
	__u64 guest_phys_addr;
	__u64 memory_size;
	__u64 userspace_addr;
	__u64 guest_memfd_offset;
	__u32 guest_memfd;
	__u32 pad1;
	__u64 pad2[14];
};
struct kvm_memory_attributes {
	__u64 address;
	__u64 size;
	__u64 attributes;
	__u64 flags;
};
struct kvm_create_guest_memfd {
	__u64 size;
	__u64 flags;
	__u64 reserved[6];
};
#endif

static void set_private(struct vm *vm, bool private)
{
	struct kvm_memory_attributes range = {
		.address = KIT_GPA,
		.size = SIZE,
		.attributes = private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};

	VMM_MUST(vmm_ioctl(vm->fd, KVM_SET_MEMORY_ATTRIBUTES, &range));
}

static uint64_t reads(struct vcpu *v)
{
	struct guest_outcome out;

	if (kit_touch(v, KIT_READ, KIT_GPA, 0, &out))
		tap_diag("%s", guest_describe(&out));
	return out.result;
}

static void test(void)
{
	struct kvm_create_guest_memfd create = { .size = SIZE };
	struct kvm_userspace_memory_region2 region = {
		.slot = KIT_SLOT,
		.flags = KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = KIT_GPA,
		.memory_size = SIZE,
	};
	uint64_t *shared = vm_anon(SIZE, KIT_PAGE);
	struct vm *vm = vm_create(VM_PROTECTED);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);
	int fd = VMM_MUST(vmm_ioctl(vm->fd, KVM_CREATE_GUEST_MEMFD, &create));
	struct guest_outcome out;

	*shared = 1;
	region.guest_memfd = fd;
	region.userspace_addr = (uintptr_t)shared;
	VMM_MUST(vmm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, &region));
	set_private(vm, true);
	tap_is(reads(v), 0, "the guest reads a new private page");
	tap_ok(!kit_touch(v, KIT_WRITE, KIT_GPA, 2, &out), "it writes the page: %s",
	       guest_describe(&out));
	tap_is(reads(v), 2, "it reads what it wrote");
	tap_is(*shared, 1, "the VMM's memory is left alone");
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, KIT_PAGE))
		tap_bail("fallocate: %s", strerror(errno));
	tap_is(reads(v), 0, "the file loses the page, and the guest gets a new one");
	set_private(vm, false);
	tap_is(reads(v), 1, "the range is shared, and the guest reads the VMM's memory");
	vcpu_destroy(v);
	vm_destroy(vm);
	close(fd);
	munmap(shared, SIZE);
}

int main(void)
{
	kit_start();
	if (vm_cap(NULL, KVM_CAP_VM_TYPES) & 1 << 1)
		test();
	else
		tap_skip(1, "this KVM has no private memory");
	return kit_finish();
}
