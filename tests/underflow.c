// SPDX-License-Identifier: GPL-2.0-only
/*
 * underflow - CVE-2021-22543 stays impossible: however often KVM looks up, maps and releases
 * non-refcounted pages, by page faults, for its own mappings and for the kvmclock, their reference
 * counts are as allocated in the end.
 *
 * Contract: 2, 3, 4. Both variants pass, because the hole is closed in both: stock KVM refuses such
 * pages, patched KVM knows which references it holds. Patched KVM does not map any of the pages for
 * itself, unless allow_unsafe_mappings lets it map them all. An underflow would show in the pages'
 * counts, in chunks that the exporter cannot free, or as a "Bad page" in the kernel log.
 *
 * Seen to fail: a kvm_vcpu_unmap() that puts every page (unsafe); page faults that put every page;
 * a KVM that maps every page with a count for itself.
 */
#include <stdlib.h>

#include "tests/lib/kit.h"

#define ROUNDS 4
#define PAGES  64u

static const struct pfnmap_create kinds[] = {
	{ .kind = PFNMAP_NONCOMPOUND, .order = 1, .insert = PFNMAP_INSERT_AROUND, .pages = PAGES },
	{ .kind = PFNMAP_NONCOMPOUND, .order = 4, .insert = PFNMAP_INSERT_ONE, .pages = PAGES },
	{ .kind = PFNMAP_COMPOUND, .order = 2, .insert = PFNMAP_INSERT_ONE, .pages = PAGES },
	{ .kind = PFNMAP_SINGLE, .insert = PFNMAP_INSERT_ALL, .pages = PAGES },
};

/* How often a path was tried and worked, so that the test can report it. */
struct tally {
	unsigned int tried, worked;
};

static void call(struct vcpu *v, struct tally *t, const struct guest_cmd *cmd)
{
	t->tried++;
	t->worked += !guest_call(v, cmd, NULL);
}

/* Reach the page at gpa by page faults, by KVM's mapping of a VMCB and by the kvmclock cache. */
static void use_page(struct vcpu *v, uint64_t gpa, struct tally *fault, struct tally *direct)
{
	call(v, fault, &(struct guest_cmd){ .op = GUEST_READ, .gpa = gpa, .len = 8 });
	call(v, fault, &(struct guest_cmd){ .op = GUEST_FILL, .gpa = gpa, .len = 64 });
	call(v, direct, &(struct guest_cmd){ .op = GUEST_VMSAVE, .gpa = gpa });
	call(v, direct, &(struct guest_cmd){ .op = GUEST_VMRUN, .gpa = gpa });
	kit_set_clock(v, gpa | 1);
	guest_call(v, &(struct guest_cmd){ .op = GUEST_NOP }, NULL);
	kit_set_clock(v, 0);
}

static void test_kind(const struct pfnmap_create *spec, bool unsafe)
{
	uint32_t usable = 0, refcounted = 0, vmsave, vmrun;
	struct tally fault = { 0 }, direct = { 0 };
	const char *changes;
	struct buf b;

	buf_open(&b, spec);
	buf_map(&b, KIT_RW);
	for (uint32_t i = 0; i < PAGES; i++) {
		usable += page_usable(&b.start[i]);
		refcounted += page_refcounted(&b.start[i]);
	}
	for (int round = 0; round < ROUNDS; round++) {
		struct vm *vm = vm_create(0);
		struct vcpu *v = vcpu_create(vm, VCPU_LONG);

		VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
		/* A different quarter of the pages in each round. */
		for (uint32_t i = round % 4; i < PAGES; i += 4)
			use_page(v, KIT_GPA + (uint64_t)i * KIT_PAGE, &fault, &direct);
		/* Alternately the driver takes its entries away and the VMM deletes the memslot. */
		if (round % 2)
			buf_do(&b, PFNMAP_REVOKE, 0);
		else
			VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
		vcpu_destroy(v);
		vm_destroy(vm);
	}

	tap_is(fault.worked * PAGES, fault.tried * usable, "%s: %u of %u accesses succeed",
	       buf_name(&b), fault.worked, fault.tried);
	/* Before a VMRUN the guest itself writes to the VMCB. */
	if (unsafe) {
		vmsave = PAGES;
		vmrun = usable;
	} else {
		vmsave = vmrun = tap_kvm_patched() ? 0 : refcounted;
	}
	tap_is(direct.worked * PAGES * 2, direct.tried * (vmsave + vmrun),
	       "%s: KVM makes %u of %u mappings for itself", buf_name(&b), direct.worked,
	       direct.tried);
	changes = buf_changes(&b);
	tap_ok(!changes, "%s: all counts are as allocated: %s", buf_name(&b), changes ?: "yes");
	buf_do(&b, PFNMAP_FREE, PFNMAP_KEEP_OLD);
	tap_is(buf_check_old(&b).bad_counts, 0,
	       "%s: all counts are as allocated when the driver frees the pages", buf_name(&b));
	buf_close(&b);
}

int main(void)
{
	const char *param = getenv("KVM_ALLOW_UNSAFE_MAPPINGS");

	kit_start();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		test_kind(&kinds[i], param && *param == '1');
	return kit_finish();
}
