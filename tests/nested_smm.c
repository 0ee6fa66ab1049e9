// SPDX-License-Identifier: GPL-2.0-only
/*
 * nested_smm - A system management interrupt reaches a nested guest on AMD. KVM leaves the nested
 * guest, which takes the host save area, runs the handler, and enters the nested guest again, which
 * takes the VMCB, too. With the host save area in ordinary memory, all goes on; in a driver's
 * buffer, KVM refuses it unless allow_unsafe_mappings=1, and the VM ends.
 *
 * Contract: 4, 9 ("Errors"). Stock KVM maps what is refcounted, and otherwise fails in the same
 * way.
 *
 * Seen to fail: SMRAM that the guest does not have.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/kit.h"

#define PAGES	   4u
#define PAGE	   1u
#define MMIO	   0x50000000ull
#define SMRAM	   (KIT_GPA + KIT_HUGE)
#define SMRAM_SLOT (1u << 16 | KIT_SLOT) /* in the address space of system management mode */
#define SMRAM_SIZE 0x10000u
#define SMM_ENTRY  0x8000u
#define SMM_WORD   0x8800u
#define MSR_SMBASE 0x9e

/* 16-bit code */
static const unsigned char handler[] = {
	0x2e, 0x66, 0xff, 0x06, SMM_WORD & 0xff, SMM_WORD >> 8, /* incl %cs:SMM_WORD */
	0x0f, 0xaa,						/* rsm */
};

static char *smram;

/* Have a nested guest stop at a store to MMIO, and send it the interrupt. */
static void interrupt(struct vcpu *v, struct guest_outcome *out)
{
	struct guest_cmd run = { .op = GUEST_VMRUN, .gpa = GUEST_SCRATCH, .gpa2 = MMIO, .value = 1 };

	kit_set_msr(v, MSR_SMBASE, SMRAM);
	guest_call(v, &run, out);
	if (out->end != GUEST_EXIT || out->exit_reason != KVM_EXIT_MMIO || out->mmio_addr != MMIO)
		tap_bail("the nested guest does not reach its store: %s", guest_describe(out));
	VMM_MUST(vmm_ioctl(v->fd, KVM_SMI, 0));
	guest_resume(v, out);
}

static uint32_t handled(void)
{
	uint32_t times;

	memcpy(&times, smram + SMM_WORD, sizeof(times));
	return times;
}

static bool maps(const struct pfnmap_page *page)
{
	const char *param = getenv("KVM_ALLOW_UNSAFE_MAPPINGS");

	if (tap_kvm_patched())
		return param && *param == '1';
	return page_refcounted(page);
}

static void test(const struct pfnmap_create *spec)
{
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);
	struct guest_outcome out;
	const char *name = "ordinary memory";
	struct kvm_userspace_memory_region region = {
		.slot = SMRAM_SLOT,
		.guest_phys_addr = SMRAM,
		.memory_size = SMRAM_SIZE,
		.userspace_addr = (uintptr_t)smram,
	};
	bool works = true;
	struct buf b;

	memset(smram, 0, SMRAM_SIZE);
	memcpy(smram + SMM_ENTRY, handler, sizeof(handler));
	VMM_MUST(vmm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region));
	if (spec) {
		buf_open(&b, spec);
		buf_map(&b, KIT_RW);
		VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
		v->block->hsave = KIT_GPA + PAGE * KIT_PAGE;
		works = maps(&b.start[PAGE]);
		name = buf_name(&b);
	}
	interrupt(v, &out);
	if (works) {
		tap_ok(out.end == GUEST_DONE && out.result == GUEST_L2_DONE,
		       "host save area in %s: the nested guest goes on: %s", name,
		       guest_describe(&out));
		tap_is(handled(), 1, "host save area in %s: the handler ran", name);
	} else if (kit_kernel(6, 12)) {
		tap_ok(out.end == GUEST_RUN_FAILED && out.err == EIO && !handled(),
		       "host save area in %s: the VM ends: %s", name, guest_describe(&out));
	} else {
		tap_ok(out.end == GUEST_EXIT && out.exit_reason == KVM_EXIT_SHUTDOWN &&
			       handled() == 1,
		       "host save area in %s: the VM ends after the handler: %s", name,
		       guest_describe(&out));
	}
	vcpu_destroy(v);
	vm_destroy(vm);
	if (spec)
		buf_end(&b, "counts and flags are unchanged");
}

int main(void)
{
	kit_start();
	smram = vm_anon(SMRAM_SIZE, KIT_PAGE);
	test(NULL);
	test(&(struct pfnmap_create){ .kind = PFNMAP_SINGLE, .pages = PAGES });
	test(&(struct pfnmap_create){ .kind = PFNMAP_NONCOMPOUND, .order = 2, .pages = PAGES });
	return kit_finish();
}
