// SPDX-License-Identifier: GPL-2.0-only
/*
 * vapic_moved - A driver takes back the virtual-APIC page of a nested guest while that guest runs
 * on Intel: the page is not written afterwards, because KVM never mapped it.
 *
 * Contract: 4. KVM maps the page at VMLAUNCH and keeps the mapping until the nested guest ends,
 * without a notifier, and the processor itself writes to the page. Here the nested guest stores to
 * an address without a memslot, and user space, which must carry out the store, has the driver move
 * the buffer before the nested guest continues and loads CR8. With stock KVM the old page is
 * written every time, although KVM holds a reference wherever it can get one. Patched KVM refuses
 * VMLAUNCH. Where no driver can take the page away, in ordinary memory and in a VM_MIXEDMAP
 * mapping, the nested guest continues and its CR8 is in the page.
 *
 * Seen to fail: a KVM that maps every page with a count for itself; for each kind of page the old
 * one is written in 3 of 3 rounds.
 */
#include <string.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define ROUNDS	    3
#define VMCS	    GUEST_SCRATCH
#define HOLE	    0x30000000ull /* no memslot */
#define VIRTUAL_TPR 0x80	  /* in the virtual-APIC page */

/* As in the Intel manual. */
#define ERROR_CONTROL_FIELD 7u

static const struct place {
	const char *name;
	struct pfnmap_create spec;
	uint32_t page;
	enum { MOVED, STAYS, ANON } what;
} places[] = {
	/* clang-format off */
	{ "single page", { .kind = PFNMAP_SINGLE, .pages = 8 }, 5, MOVED },
	{ "first page of a non-compound chunk",
	  { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 8 }, 0, MOVED },
	{ "head of a compound page", { .kind = PFNMAP_COMPOUND, .order = 3, .pages = 8 }, 0, MOVED },
	{ "page of shmem", { .kind = PFNMAP_SHMEM, .pages = 8 }, 5, MOVED },
	{ "page in a VM_MIXEDMAP mapping", { .kind = PFNMAP_MIXED, .pages = 8 }, 5, STAYS },
	{ "anonymous memory", { .pages = 8 }, 5, ANON },
	/* clang-format on */
};

/* Must user space carry out the nested guest's store? */
static bool at_store(const struct vcpu *v, const struct guest_outcome *out, uint64_t value)
{
	return out->end == GUEST_EXIT && out->exit_reason == KVM_EXIT_MMIO && out->mmio_write &&
	       out->mmio_addr == HOLE && !memcmp(v->run->mmio.data, &value, sizeof(value));
}

static void test(const struct place *p, uint32_t paging)
{
	bool refused = tap_kvm_patched() && p->what == MOVED;
	const char *with = paging ? "with EPT" : "without EPT";
	uint64_t tpr = (uint64_t)p->page * KIT_PAGE + VIRTUAL_TPR;
	/* Without a local APIC KVM intercepts CR8 and does not write it to memory. */
	struct vm *vm = vm_create(VM_IRQCHIP);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);
	int stopped = 0, done = 0, written = 0, kept = 0;
	struct pfnmap_old old = { 0 };
	struct guest_outcome out;
	struct buf b;

	if (p->what == ANON)
		buf_open_anon(&b, p->spec.pages);
	else
		buf_open(&b, &p->spec);
	buf_map(&b, KIT_RW);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	for (int i = 1; i <= ROUNDS; i++) {
		uint64_t changed = old.changed;
		bool runs;

		buf_set_word(&b, tpr, 0);
		guest_call(v,
			   &(struct guest_cmd){
				   .op = GUEST_VMRUN,
				   .flags = GUEST_VIRTUAL_APIC | paging,
				   .gpa = VMCS,
				   .gpa2 = HOLE,
				   .gpa3 = KIT_GPA + (uint64_t)p->page * KIT_PAGE,
				   .value = i,
			   },
			   &out);
		runs = at_store(v, &out, i);
		stopped += runs;
		if (p->what == MOVED)
			buf_do(&b, PFNMAP_MOVE, PFNMAP_KEEP_OLD);
		if (runs)
			guest_resume(v, &out);
		if (refused)
			done += out.end == GUEST_DONE &&
				out.result == GUEST_L2_VMFAIL + ERROR_CONTROL_FIELD;
		else
			done += out.end == GUEST_DONE && out.result == GUEST_L2_DONE;
		kept += (uint8_t)buf_word(&b, tpr) == i << 4;
		if (p->what == MOVED) {
			old = buf_check_old(&b);
			written += old.changed > changed;
		}
	}
	tap_is(stopped, refused ? 0 : ROUNDS, "%s, %s: %s", p->name, with,
	       refused ? "the nested guest never runs" :
			 "the nested guest's store exits to user space");
	tap_is(done, ROUNDS, "%s, %s: %s: %s", p->name, with,
	       refused ? "VMLAUNCH is refused" : "the nested guest finishes", guest_describe(&out));
	if (p->what == MOVED) {
		tap_is(written, refused ? 0 : ROUNDS, "%s, %s: old pages are %s", p->name, with,
		       refused ? "not written" : "written, each time");
		tap_is(kept, 0, "%s, %s: new pages are not written", p->name, with);
	} else {
		tap_is(kept, ROUNDS, "%s, %s: its CR8 is in the page", p->name, with);
	}
	vcpu_destroy(v);
	vm_destroy(vm);
	if (p->what == MOVED)
		tap_is(buf_check_old(&b).bad_counts, 0, "%s, %s: counts are as allocated", p->name,
		       with);
	buf_close(&b);
}

int main(void)
{
	if (access("/sys/module/kvm_intel", F_OK))
		tap_skip_all(
			"virtual-APIC pages exist on Intel only; vmcb_moved is the test for AMD");
	kit_start();
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		test(&places[i], 0);
		test(&places[i], GUEST_NPT);
	}
	return kit_finish();
}
