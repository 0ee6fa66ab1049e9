// SPDX-License-Identifier: GPL-2.0-only
/*
 * refuse - When the driver's fault handler returns SIGBUS, KVM_RUN fails with EFAULT and nothing
 * else happens; when the driver serves faults again, the guest continues with the same instruction.
 *
 * Contract: 3, 7. Both variants pass, each on the pages that it can map: a guest does not get what
 * the host cannot have.
 *
 * Seen to fail: an MMU notifier that does not zap; a fault that keeps its reference.
 */
#include "tests/lib/kit.h"

static const struct pfnmap_create specs[] = {
	{ .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 32 },
	{ .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 32, .flags = PFNMAP_CREATE_MKWRITE },
	{ .kind = PFNMAP_COMPOUND, .order = 3, .pages = 32 },
	{ .kind = PFNMAP_RESERVED, .order = 0, .pages = 32 },
	{ .kind = PFNMAP_SINGLE, .pages = 32 },
	{ .kind = PFNMAP_SHMEM, .pages = 32 },
	{ .kind = PFNMAP_BAR, .pages = 32 },
	{ .kind = PFNMAP_MIXED, .pages = 32 },
};

static void test_access(struct vcpu *v, struct buf *b, enum kit_access access, uint64_t offset)
{
	uint64_t code, gpa = KIT_GPA + offset;
	struct guest_outcome out;

	vcpu_code(v, &code, 0x4321);
	buf_set_word(b, offset, code);

	buf_do(b, PFNMAP_REFUSE, 1);
	kit_touch(v, access, gpa, 7, &out);
	tap_ok(out.end == GUEST_DONE, "%s: a mapped page stays mapped: %s: %s", buf_name(b),
	       kit_access_names[access], guest_describe(&out));
	buf_set_word(b, offset, code);

	buf_do(b, PFNMAP_REVOKE, 0);
	kit_touch(v, access, gpa, 7, &out);
	tap_ok(kit_efault(&out), "%s: %s fails with EFAULT: %s", buf_name(b),
	       kit_access_names[access], guest_describe(&out));
	tap_ok(guest_resume(v, &out) && kit_efault(&out), "%s: the resumed access fails again",
	       buf_name(b));
	tap_ok(buf_word(b, offset) == code, "%s: the content is unchanged", buf_name(b));

	buf_do(b, PFNMAP_REFUSE, 0);
	guest_resume(v, &out);
	tap_ok(out.end == GUEST_DONE && buf_word(b, offset) == (access == KIT_WRITE ? 7 : code) &&
		       (access != KIT_READ || out.result == code) &&
		       (access != KIT_EXEC || out.result == 0x4321),
	       "%s: the access completes once the driver serves: %s", buf_name(b),
	       guest_describe(&out));
}

static void test(struct vcpu *v, const struct pfnmap_create *spec)
{
	struct buf b;

	buf_open(&b, spec);
	buf_map(&b, KIT_RW);
	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	for (enum kit_access access = 0; access < KIT_NR_ACCESSES; access++) {
		uint64_t offset = (access * buf_stride(&b)) % b.size + 16;

		kit_touch(v, KIT_WRITE, KIT_GPA + offset, 1, NULL);
		test_access(v, &b, access, offset);
	}
	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
	buf_end(&b, "counts and flags are unchanged");
}

int main(void)
{
	struct vcpu *v;
	struct vm *vm;

	kit_start();
	vm = vm_create(0);
	v = vcpu_create(vm, kit_mode());
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		for (uint32_t insert = 0; insert < PFNMAP_INSERT_PMD; insert++) {
			struct pfnmap_create spec = specs[i];

			spec.insert = insert;
			test(v, &spec);
		}
	}
	vcpu_destroy(v);
	vm_destroy(vm);
	return kit_finish();
}
