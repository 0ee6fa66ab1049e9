// SPDX-License-Identifier: GPL-2.0-only
/*
 * vcpu.c - virtual CPUs: creation, initial state for each mode, running, threads.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/internal.h"

#define CR0_PE	 (1ull << 0)
#define CR0_MP	 (1ull << 1)
#define CR0_ET	 (1ull << 4)
#define CR0_NE	 (1ull << 5)
#define CR0_WP	 (1ull << 16)
#define CR0_PG	 (1ull << 31)
#define CR4_PAE	 (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define EFER_NX	 (1ull << 11)

#define RFLAGS_FIXED 2u
#define MAX_CPUID    256

/*
 * Nothing interrupts these guests. But the emulator Bochs fails to end a run of the guest for an
 * interrupt if interrupts are disabled both in KVM before the entry and in the guest.
 */
#define RFLAGS_IF (1u << 9)

/* CPUID and MSR bits by which KVM offers nested guests, and nested paging for them. */
#define CPUID_1_ECX_VMX	       (1u << 5)
#define CPUID_80000001_ECX_SVM (1u << 2)
#define CPUID_8000000A_EDX_NPT (1u << 0)
#define MSR_VMX_PROC_CTLS      0x482u /* allowed ones in the upper half */
#define PROC_CTLS_SECONDARY    (1ull << (32 + 31))
#define MSR_VMX_PROC_CTLS2     0x48bu
#define PROC_CTLS2_EPT	       (1ull << (32 + 1))
#define NO_GPA		       UINT64_MAX

static uint64_t get_msr(struct vcpu *v, uint32_t msr)
{
	struct kvm_msrs *msrs = calloc(1, sizeof(*msrs) + sizeof(msrs->entries[0]));
	uint64_t value;

	if (!msrs)
		vmm_die("out of memory");
	msrs->nmsrs = 1;
	msrs->entries[0].index = msr;
	if (VMM_MUST(vmm_ioctl(v->fd, KVM_GET_MSRS, msrs)) != 1)
		vmm_die("KVM_GET_MSRS: no MSR 0x%x", msr);
	value = msrs->entries[0].data;
	free(msrs);
	return value;
}

static void set_cpuid(struct vcpu *v)
{
	size_t size = sizeof(struct kvm_cpuid2) + MAX_CPUID * sizeof(struct kvm_cpuid_entry2);
	struct kvm_cpuid2 *cpuid = calloc(1, size);

	if (!cpuid)
		vmm_die("out of memory");
	cpuid->nent = MAX_CPUID;
	VMM_MUST(vmm_ioctl(v->vm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid));
	VMM_MUST(vmm_ioctl(v->fd, KVM_SET_CPUID2, cpuid));
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == 1 && e->ecx & CPUID_1_ECX_VMX)
			v->vm->nesting = GUEST_VMX;
		if (e->function == 0x80000001 && e->ecx & CPUID_80000001_ECX_SVM)
			v->vm->nesting = GUEST_SVM;
		if (e->function == 0x8000000a)
			v->nested_paging = e->edx & CPUID_8000000A_EDX_NPT;
	}
	free(cpuid);
	if (v->vm->nesting == GUEST_VMX)
		v->nested_paging = get_msr(v, MSR_VMX_PROC_CTLS) & PROC_CTLS_SECONDARY &&
				   get_msr(v, MSR_VMX_PROC_CTLS2) & PROC_CTLS2_EPT;
	v->block->nesting = v->vm->nesting;
}

bool vcpu_can_nest(const struct vcpu *v)
{
	return v->vm->nesting != GUEST_NO_NESTING;
}

bool vcpu_can_nest_paging(const struct vcpu *v)
{
	return vcpu_can_nest(v) && v->nested_paging;
}

struct vcpu *vcpu_create(struct vm *vm, enum vcpu_mode mode)
{
	struct vcpu *v = calloc(1, sizeof(*v));

	if (!v)
		vmm_die("out of memory");
	if (vm->nr_vcpus >= GUEST_MAX_VCPUS)
		vmm_die("vcpu_create: more than %u vCPUs", GUEST_MAX_VCPUS);
	v->vm = vm;
	v->id = vm->nr_vcpus++;
	v->mode = mode;
	v->stats_fd = -1;
	v->fd = VMM_MUST(vmm_ioctl(vm->fd, KVM_CREATE_VCPU, v->id));
	v->run_size = VMM_MUST(vmm_ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	v->run = mmap(NULL, v->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED)
		vmm_die("mmap of struct kvm_run: %s", strerror(errno));
	v->block = (void *)((char *)vm->low + GUEST_BLOCKS + v->id * GUEST_BLOCK_SIZE);
	v->block->hsave = GUEST_HSAVE + v->id * 4096;
	set_cpuid(v);
	VMM_MUST(vcpu_get_sregs(v, &v->sregs));
	VMM_MUST(vcpu_reset(v));
	return v;
}

void vcpu_destroy(struct vcpu *v)
{
	if (v->stats_fd >= 0)
		close(v->stats_fd);
	munmap(v->run, v->run_size);
	close(v->fd);
	free(v);
}

int vcpu_get_regs(struct vcpu *v, struct kvm_regs *regs)
{
	return vmm_ioctl(v->fd, KVM_GET_REGS, regs);
}

int vcpu_set_regs(struct vcpu *v, const struct kvm_regs *regs)
{
	return vmm_ioctl(v->fd, KVM_SET_REGS, regs);
}

int vcpu_get_sregs(struct vcpu *v, struct kvm_sregs *sregs)
{
	return vmm_ioctl(v->fd, KVM_GET_SREGS, sregs);
}

int vcpu_set_sregs(struct vcpu *v, const struct kvm_sregs *sregs)
{
	return vmm_ioctl(v->fd, KVM_SET_SREGS, sregs);
}

/*
 * The system registers at the start of the guest program: KVM's initial ones, adapted to the mode.
 */
static struct kvm_sregs start_sregs(struct vcpu *v)
{
	struct kvm_segment data = { .limit = UINT32_MAX, .type = 3, .present = 1, .s = 1, .g = 1 };
	struct kvm_sregs s = v->sregs;

	s.cr0 = CR0_ET;
	s.cs = data;
	s.cs.type = 11;
	if (v->mode == VCPU_REAL) {
		s.idt.base = 0;
		s.idt.limit = GUEST_VECTORS * 4 - 1;
	} else {
		s.cr0 |= CR0_PE | CR0_MP | CR0_NE | CR0_WP | CR0_PG;
		s.cr3 = vm_page_root(v->vm, v->mode);
		s.cr4 = CR4_PAE;
		s.efer = EFER_NX;
		s.gdt.base = GUEST_GDT;
		s.gdt.limit = GUEST_CS64 + 7;
		data.selector = GUEST_DS;
		data.db = 1;
		if (v->mode == VCPU_PAE) {
			s.cs.selector = GUEST_CS32;
			s.cs.db = 1;
			s.idt.base = GUEST_IDT32;
			s.idt.limit = GUEST_VECTORS * 8 - 1;
		} else {
			s.efer |= EFER_LME | EFER_LMA;
			s.cs.selector = GUEST_CS64;
			s.cs.l = 1;
			s.idt.base = GUEST_IDT64;
			s.idt.limit = GUEST_VECTORS * 16 - 1;
		}
	}
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	return s;
}

/*
 * Leave the nested guest and VMX operation; on Intel, CR4.VMXE cannot be cleared before that. On
 * AMD, setting the system registers is enough: clearing EFER.SVME ends the nested guest.
 */
static int leave_nested(struct vcpu *v)
{
	struct kvm_nested_state none = {
		.format = KVM_STATE_NESTED_FORMAT_VMX,
		.size = sizeof(none),
		.hdr.vmx = { .vmxon_pa = NO_GPA, .vmcs12_pa = NO_GPA },
	};

	return v->vm->nesting == GUEST_VMX ? vmm_ioctl(v->fd, KVM_SET_NESTED_STATE, &none) : 0;
}

int vcpu_reset(struct vcpu *v)
{
	static const uint64_t text[] = {
		[VCPU_REAL] = GUEST_TEXT16,
		[VCPU_PAE] = GUEST_TEXT32,
		[VCPU_LONG] = GUEST_TEXT64,
	};
	uint64_t block = GUEST_BLOCKS + v->id * GUEST_BLOCK_SIZE;
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_sregs sregs = start_sregs(v);
	struct kvm_vcpu_events events = { 0 };
	struct kvm_regs regs = {
		.rip = text[v->mode] + GUEST_ENTRY,
		.rsp = GUEST_STACKS + (v->id + 1) * GUEST_STACK_SIZE,
		.rdi = block,
		.rflags = RFLAGS_FIXED | RFLAGS_IF,
	};
	bool shutdown = v->run->exit_reason == KVM_EXIT_SHUTDOWN;
	int ret;

	/* Let KVM finish a port or MMIO access now, or it would do so after the reset. */
	do {
		v->run->immediate_exit = 1;
		ret = vcpu_run(v);
	} while (!ret);
	v->run->immediate_exit = 0;

	ret = leave_nested(v);
	if (ret)
		return ret;
	/*
	 * On AMD, KVM clears the VMCB at a SHUTDOWN, including the root of the nested page tables.
	 * In real mode, only a change of CR0 restores it.
	 */
	if (shutdown) {
		sregs.cr0 ^= CR0_NE;
		ret = vcpu_set_sregs(v, &sregs);
		if (ret)
			return ret;
		sregs.cr0 ^= CR0_NE;
	}
	/* The system registers come first, because they end a nested guest. */
	ret = vcpu_set_sregs(v, &sregs);
	if (!ret)
		ret = vmm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &events);
	if (!ret)
		ret = vmm_ioctl(v->fd, KVM_SET_MP_STATE, &runnable);
	if (!ret)
		ret = vcpu_set_regs(v, &regs);
	v->idle = !ret;
	return ret;
}

int vcpu_run(struct vcpu *v)
{
	int ret;

	v->idle = false;
	ret = vmm_ioctl(v->fd, KVM_RUN, 0);
	if (ret == -EINTR)
		v->run->immediate_exit = 0;
	return ret;
}

static void *thread_main(void *arg)
{
	struct vcpu *v = arg;

	v->ret = v->fn(v, v->arg);
	return NULL;
}

void vcpu_start(struct vcpu *v, int (*fn)(struct vcpu *v, void *arg), void *arg)
{
	int err;

	if (v->active)
		vmm_die("vcpu_start: the thread of vCPU %u has not been joined", v->id);
	v->fn = fn;
	v->arg = arg;
	v->active = true;
	err = pthread_create(&v->thread, NULL, thread_main, v);
	if (err)
		vmm_die("pthread_create: %s", strerror(err));
}

int vcpu_join(struct vcpu *v)
{
	int err = pthread_join(v->thread, NULL);

	if (err)
		vmm_die("pthread_join: %s", strerror(err));
	v->active = false;
	v->run->immediate_exit = 0; /* a kick that came too late */
	return v->ret;
}

void vcpu_kick(struct vcpu *v)
{
	v->run->immediate_exit = 1;
	pthread_kill(v->thread, SIGUSR1);
}

void vcpu_code(const struct vcpu *v, void *code, uint32_t imm)
{
	/* In real mode, 0x66 makes these 32-bit instructions. */
	uint8_t *p = code, *end = p + VCPU_CODE_SIZE;

	if (v->mode == VCPU_REAL)
		*p++ = 0x66;
	*p++ = 0xb8; /* mov $imm, %eax */
	memcpy(p, &imm, sizeof(imm));
	p += sizeof(imm);
	if (v->mode == VCPU_REAL)
		*p++ = 0x66;
	*p++ = 0xc3; /* ret */
	memset(p, 0x90, end - p);
}
