// SPDX-License-Identifier: GPL-2.0-only
/*
 * vm.c - virtual machines: creation, memslots, dirty logs, capabilities, statistics.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/internal.h"

#define PAGE	   4096u
#define KVM_DEVICE "/dev/kvm"

/* KVM_X86_SW_PROTECTED_VM of Linux 6.8 */
#define PROTECTED_TYPE 1

/* Three pages that KVM needs for real mode on Intel processors without unrestricted guests. */
#define TSS_ADDR 0xfffbd000ul

static void on_kick(int sig)
{
	(void)sig;
}

static int open_kvm(void)
{
	int fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);

	return fd < 0 ? vmm_fail(errno, "open " KVM_DEVICE) : fd;
}

void *vm_anon(size_t size, size_t align)
{
	/* Map more than necessary, and trim it to the alignment. */
	char *p = mmap(NULL, size + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	size_t head;

	if (p == MAP_FAILED)
		vmm_die("mmap of %zu bytes: %s", size + align, strerror(errno));
	head = -(uintptr_t)p & (align - 1);
	if (head)
		munmap(p, head);
	munmap(p + head + size, align - head);
	return p + head;
}

static void load(struct vm *vm, uint32_t gpa, const char *image, const char *end)
{
	if (end - image > (ptrdiff_t)GUEST_TEXT_SIZE)
		vmm_die("guest program for 0x%x is larger than GUEST_TEXT_SIZE", gpa);
	memcpy((char *)vm->low + gpa, image, end - image);
}

static void write_gdt(struct vm *vm)
{
	uint64_t *gdt = (uint64_t *)((char *)vm->low + GUEST_GDT);

	/* base 0, limit 4 GiB, present, accessed */
	gdt[GUEST_CS32 / 8] = 0x00cf9b000000ffff;
	gdt[GUEST_DS / 8] = 0x00cf93000000ffff;
	gdt[GUEST_CS64 / 8] = 0x00af9b000000ffff;
}

/* Point the exception gates to the stubs at the start of each image of the guest program. */
static void write_vectors(struct vm *vm)
{
	uint64_t *idt32 = (uint64_t *)((char *)vm->low + GUEST_IDT32);
	uint64_t *idt64 = (uint64_t *)((char *)vm->low + GUEST_IDT64);
	uint32_t *ivt = vm->low;

	for (uint32_t i = 0; i < GUEST_VECTORS; i++) {
		uint32_t stub = i * GUEST_STUB_SIZE;
		uint64_t gate = 0x8e00ull << 32; /* present, interrupt gate */

		ivt[i] = GUEST_TEXT16 + stub;
		idt32[i] = gate | GUEST_CS32 << 16 | (GUEST_TEXT32 + stub);
		idt64[2 * i] = gate | GUEST_CS64 << 16 | (GUEST_TEXT64 + stub);
	}
}

struct vm *vm_create(unsigned int flags)
{
	struct sigaction sa = { .sa_handler = on_kick };
	struct vm *vm = calloc(1, sizeof(*vm));
	int version;

	if (!vm)
		vmm_die("out of memory");
	sigaction(SIGUSR1, &sa, NULL);

	vm->kvm = VMM_MUST(open_kvm());
	version = VMM_MUST(vmm_ioctl(vm->kvm, KVM_GET_API_VERSION, 0));
	if (version != KVM_API_VERSION)
		vmm_die("KVM_GET_API_VERSION: %d, not %d", version, KVM_API_VERSION);
	vm->fd = VMM_MUST(
		vmm_ioctl(vm->kvm, KVM_CREATE_VM, flags & VM_PROTECTED ? PROTECTED_TYPE : 0));
	vm->stats_fd = -1;
	VMM_MUST(vmm_ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDR));
	if (flags & VM_IRQCHIP)
		VMM_MUST(vmm_ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0));

	vm->low = vm_anon(GUEST_LOW_SIZE, PAGE);
	vm->next_table = GUEST_TABLES;
	write_gdt(vm);
	write_vectors(vm);
	load(vm, GUEST_TEXT16, vmm_guest16, vmm_guest16_end);
	load(vm, GUEST_TEXT32, vmm_guest32, vmm_guest32_end);
	load(vm, GUEST_TEXT64, vmm_guest64, vmm_guest64_end);
	VMM_MUST(vm_slot_set(vm, 0, 0, GUEST_LOW_SIZE, vm->low, 0));
	return vm;
}

void vm_destroy(struct vm *vm)
{
	if (vm->stats_fd >= 0)
		close(vm->stats_fd);
	close(vm->fd);
	close(vm->kvm);
	munmap(vm->low, GUEST_LOW_SIZE);
	free(vm);
}

int vm_cap(struct vm *vm, unsigned int cap)
{
	int kvm, ret;

	if (vm)
		return vmm_ioctl(vm->fd, KVM_CHECK_EXTENSION, cap);
	kvm = open_kvm();
	if (kvm < 0)
		return kvm;
	ret = vmm_ioctl(kvm, KVM_CHECK_EXTENSION, cap);
	close(kvm);
	return ret;
}

int vm_enable_cap(struct vm *vm, unsigned int cap, uint64_t arg)
{
	struct kvm_enable_cap enable = { .cap = cap, .args[0] = arg };

	return vmm_ioctl(vm->fd, KVM_ENABLE_CAP, &enable);
}

int vm_slot_set(struct vm *vm, unsigned int slot, uint64_t gpa, uint64_t size, void *hva,
		uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};
	int ret;

	if (slot >= VM_MAX_SLOTS)
		return vmm_fail(EINVAL, "slot %u of %u", slot, VM_MAX_SLOTS);
	ret = vmm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
	if (!ret)
		vm->slots[slot] = (struct vm_slot){ gpa, size, hva, flags };
	return ret;
}

static struct vm_slot *find_slot(struct vm *vm, unsigned int slot)
{
	if (slot < VM_MAX_SLOTS && vm->slots[slot].size)
		return &vm->slots[slot];
	vmm_fail(ENOENT, "slot %u", slot);
	return NULL;
}

int vm_slot_delete(struct vm *vm, unsigned int slot)
{
	struct vm_slot *s = find_slot(vm, slot);

	return s ? vm_slot_set(vm, slot, s->gpa, 0, s->hva, 0) : -ENOENT;
}

int vm_slot_move(struct vm *vm, unsigned int slot, uint64_t gpa)
{
	struct vm_slot *s = find_slot(vm, slot);

	return s ? vm_slot_set(vm, slot, gpa, s->size, s->hva, s->flags) : -ENOENT;
}

int vm_slot_flags(struct vm *vm, unsigned int slot, uint32_t flags)
{
	struct vm_slot *s = find_slot(vm, slot);

	return s ? vm_slot_set(vm, slot, s->gpa, s->size, s->hva, flags) : -ENOENT;
}

void *vm_hva(struct vm *vm, uint64_t gpa)
{
	for (unsigned int i = 0; i < VM_MAX_SLOTS; i++) {
		const struct vm_slot *s = &vm->slots[i];

		if (gpa >= s->gpa && gpa - s->gpa < s->size)
			return (char *)s->hva + (gpa - s->gpa);
	}
	return NULL;
}

int vm_dirty_get(struct vm *vm, unsigned int slot, uint64_t *bitmap)
{
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bitmap };

	return vmm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
}

int vm_dirty_clear(struct vm *vm, unsigned int slot, uint64_t first, uint32_t pages,
		   uint64_t *bitmap)
{
	struct kvm_clear_dirty_log log = {
		.slot = slot,
		.num_pages = pages,
		.first_page = first,
		.dirty_bitmap = bitmap,
	};

	return vmm_ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &log);
}

static int read_at(int fd, void *buf, size_t size, uint64_t offset)
{
	ssize_t n = pread(fd, buf, size, offset);

	return n == (ssize_t)size ? 0 : vmm_fail(n < 0 ? errno : EIO, "read of KVM statistics");
}

static int64_t find_stat(int fd, const char *name)
{
	struct kvm_stats_header head;
	struct kvm_stats_desc *desc;
	int64_t value;
	size_t size;
	int ret = read_at(fd, &head, sizeof(head), 0);

	if (ret)
		return ret;
	size = sizeof(*desc) + head.name_size;
	desc = malloc(size);
	if (!desc)
		return vmm_fail(ENOMEM, "KVM statistics");
	value = vmm_fail(ENOENT, "KVM statistic %s", name);
	for (uint32_t i = 0; i < head.num_desc; i++) {
		ret = read_at(fd, desc, size, head.desc_offset + i * size);
		if (!ret && strncmp(desc->name, name, head.name_size))
			continue;
		if (!ret)
			ret = read_at(fd, &value, sizeof(value), head.data_offset + desc->offset);
		if (ret)
			value = ret;
		break;
	}
	free(desc);
	return value;
}

static int64_t get_stat(int fd, int *stats_fd, const char *name)
{
	if (*stats_fd < 0) {
		int ret = vmm_ioctl(fd, KVM_GET_STATS_FD, 0);

		if (ret < 0)
			return ret;
		*stats_fd = ret;
	}
	return find_stat(*stats_fd, name);
}

int64_t vm_stat(struct vm *vm, const char *name)
{
	return get_stat(vm->fd, &vm->stats_fd, name);
}

int64_t vcpu_stat(struct vcpu *v, const char *name)
{
	return get_stat(v->fd, &v->stats_fd, name);
}
