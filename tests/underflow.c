// SPDX-License-Identifier: GPL-2.0-only
/*
 * CVE-2021-22543 stays impossible: however often KVM looks up, maps and releases pages that nobody
 * refcounts, by every path there is, their reference counts are those of the allocation at the end.
 *
 * Contract: 2, 3, 4. Stock and patched KVM must both pass, for the hole is closed in both: in stock
 * KVM by refusing such pages, in the patched one by knowing which reference is whose. Of its own
 * mappings patched KVM makes none here, unless allow_unsafe_mappings lets it make them all. An
 * underflow would show in the pages' counts, in chunks that the exporter cannot free, or as a "Bad
 * page" in the kernel log.
 *
 * Seen to fail: with kvm_vcpu_unmap() putting every page (unsafe), and with page faults putting
 * every page; with KVM mapping for itself what has a count.
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

/* What the paths came to, so that the test says what it tested. */
struct tally {
	unsigned int tried, worked;
};

static void call(struct vcpu *v, struct tally *t, const struct guest_cmd *cmd)
{
	t->tried++;
	t->worked += !guest_call(v, cmd, NULL);
}

/* Every path to the page at gpa: page faults, KVM's mapping of a VMCB, the kvmclock cache. */
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
		/* All pages in four rounds, so that neighbours are not there by fault-around. */
		for (uint32_t i = round % 4; i < PAGES; i += 4)
			use_page(v, KIT_GPA + (uint64_t)i * KIT_PAGE, &fault, &direct);
		/* Now the driver takes the mappings away, now the slot. */
		if (round % 2)
			buf_do(&b, PFNMAP_REVOKE, 0);
		else
			VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
		vcpu_destroy(v);
		vm_destroy(vm);
	}

	tap_is(fault.worked * PAGES, fault.tried * usable, "%s: %u of %u accesses find their page",
	       buf_name(&b), fault.worked, fault.tried);
	/* Before a VMRUN the guest itself writes the VMCB. */
	if (unsafe) {
		vmsave = PAGES;
		vmrun = usable;
	} else {
		vmsave = vmrun = tap_kvm_patched() ? 0 : refcounted;
	}
	tap_is(direct.worked * PAGES * 2, direct.tried * (vmsave + vmrun),
	       "%s: %u of %u of KVM's own mappings come about", buf_name(&b), direct.worked,
	       direct.tried);
	changes = buf_changes(&b);
	tap_ok(!changes, "%s: all counts are as allocated: %s", buf_name(&b), changes ?: "yes");
	buf_do(&b, PFNMAP_FREE, PFNMAP_KEEP_OLD);
	tap_is(buf_check_old(&b).bad_counts, 0, "%s: and so when the driver frees the pages",
	       buf_name(&b));
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
