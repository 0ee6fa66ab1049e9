// SPDX-License-Identifier: GPL-2.0-only
/*
 * nested_vmcb - A guest runs a nested guest whose VMCB lies in memory of every kind: KVM maps the
 * VMCB for itself, without a notifier, only where no driver can take the memory back, or where
 * allow_unsafe_mappings permits it.
 *
 * Contract: 4; also 2 and, for refcounted pages, 7. Stock KVM maps a page that it gets a reference
 * to, and memory without a count that matters. Patched KVM maps nothing out of a VM_IO or VM_PFNMAP
 * mapping, because a reference does not keep a driver from using its page for something else; pages
 * in a VM_MIXEDMAP mapping and ordinary memory work as before. Page counts are equal at every step.
 *
 * Seen to fail: a lookup of kvm_vcpu_map() that allows non-refcounted pfns, or every page with a
 * count; on 6.1 one that does not check the VMA of what get_user_pages_fast() finds; a
 * kvm_vcpu_unmap() that puts every page (unsafe); a writable parameter.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define PARAMETER    "/sys/module/kvm/parameters/allow_unsafe_mappings"
#define SCRATCH_SLOT 2u
#define SCRATCH_GPA  0x10000000ull /* ordinary memory, where the nested guest stores a word */
#define ROUNDS	     3
#define VECTOR_GP    13u

/* Offsets in the VMCB, as in the AMD64 manual. */
#define VMCB_ASID     0x58
#define VMCB_EXITCODE 0x70

/* The result of a VMRUN or VMSAVE. */
enum fate {
	UNTRIED, /* not tested */
	WORKS,
	REFUSED, /* #GP for the guest, which can still use the page as memory */
	NO_PAGE, /* KVM_RUN fails with EFAULT: the guest cannot use the page at all */
};

enum kvm_kind { STOCK, PATCHED, UNSAFE };

static const struct place {
	const char *name;
	struct pfnmap_create spec;
	uint32_t page;
	enum fate fate[UNSAFE + 1]; /* of KVM's own mapping */
	bool gup_6_1; /* Linux 6.1's get_user_pages_fast() finds it, if it is mapped */
	bool anon;
} places[] = {
	/* clang-format off */
	{ "anonymous memory", { .pages = 8 }, 5, .fate = { WORKS, WORKS, WORKS }, .anon = true },
	{ "first page of a non-compound chunk",
	  { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 8 },
	  0, .fate = { WORKS, REFUSED, WORKS } },
	{ "tail page of a non-compound chunk",
	  { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 8 },
	  5, .fate = { REFUSED, REFUSED, WORKS } },
	{ "non-compound page of order 0", { .kind = PFNMAP_NONCOMPOUND, .pages = 8 },
	  5, .fate = { WORKS, REFUSED, WORKS } },
	{ "head of a compound page", { .kind = PFNMAP_COMPOUND, .order = 3, .pages = 8 },
	  0, .fate = { WORKS, REFUSED, WORKS } },
	{ "tail of a compound page", { .kind = PFNMAP_COMPOUND, .order = 3, .pages = 8 },
	  5, .fate = { REFUSED, REFUSED, WORKS } },
	{ "head of a compound page that a huge entry maps",
	  { .kind = PFNMAP_COMPOUND, .order = 9, .pages = 512, .insert = PFNMAP_INSERT_PMD },
	  0, .fate = { WORKS, REFUSED, WORKS }, .gup_6_1 = true },
	{ "tail of a compound page that a huge entry maps",
	  { .kind = PFNMAP_COMPOUND, .order = 9, .pages = 512, .insert = PFNMAP_INSERT_PMD },
	  5, .fate = { REFUSED, REFUSED, WORKS }, .gup_6_1 = true },
	{ "single page", { .kind = PFNMAP_SINGLE, .pages = 8 },
	  5, .fate = { WORKS, REFUSED, WORKS } },
	{ "page of shmem", { .kind = PFNMAP_SHMEM, .pages = 8 },
	  5, .fate = { WORKS, REFUSED, WORKS } },
	{ "page in a VM_MIXEDMAP mapping", { .kind = PFNMAP_MIXED, .pages = 8 },
	  5, .fate = { WORKS, WORKS, WORKS } },
	{ "reserved page", { .kind = PFNMAP_RESERVED, .pages = 8 },
	  5, .fate = { WORKS, REFUSED, WORKS } },
	/* Stock KVM would accept it, but warns once about its count of 0. */
	{ "reserved page with a count of 0", { .kind = PFNMAP_RESERVED, .order = 3, .pages = 8 },
	  5, .fate = { UNTRIED, REFUSED, WORKS } },
	{ "memory without struct page", { .kind = PFNMAP_BAR, .pages = 8 },
	  5, .fate = { WORKS, REFUSED, WORKS } },
	/* clang-format on */
};

static const char *const fate_names[] = {
	[WORKS] = "works",
	[REFUSED] = "raises a GP fault",
	[NO_PAGE] = "ends KVM_RUN with EFAULT",
};

static enum fate fate_of(const struct guest_outcome *out)
{
	if (out->end == GUEST_DONE)
		return WORKS;
	if (out->end == GUEST_EXCEPTION && out->vector == VECTOR_GP)
		return REFUSED;
	return kit_efault(out) ? NO_PAGE : UNTRIED;
}

static void run_nested(struct vcpu *v, const struct place *p, const struct buf *b,
		       uint64_t *scratch, uint32_t flags, enum fate want)
{
	uint64_t at = (uint64_t)p->page * KIT_PAGE;
	struct guest_cmd cmd = {
		.op = GUEST_VMRUN,
		.flags = flags,
		.gpa = KIT_GPA + at,
		.gpa2 = SCRATCH_GPA,
	};
	const char *npt = flags & GUEST_NPT ? "with NPT" : "without NPT";
	struct guest_outcome out;
	int ok = 0;

	for (int i = 1; i <= ROUNDS; i++) {
		*scratch = 0;
		if (want != NO_PAGE)
			buf_set_word(b, at + VMCB_EXITCODE, 0);
		cmd.value = i;
		guest_call(v, &cmd, &out);
		if (fate_of(&out) != want)
			break;
		/* Check that the nested guest ran, what it stored, and what KVM wrote. */
		if (want == WORKS)
			ok += out.result == GUEST_L2_DONE && *scratch == cmd.value &&
			      buf_word(b, at + VMCB_EXITCODE) == GUEST_L2_DONE;
		else if (want == REFUSED)
			ok += !*scratch && (uint32_t)buf_word(b, at + VMCB_ASID) == 1 &&
			      !buf_word(b, at + VMCB_EXITCODE);
		else
			ok += !*scratch && !buf_word(b, at + VMCB_ASID);
	}
	tap_ok(ok == ROUNDS, "%s: a nested guest %s %s: %s", p->name, npt, fate_names[want],
	       guest_describe(&out));
}

static bool gup_finds(const struct place *p)
{
	return p->gup_6_1 && !kit_kernel(6, 12);
}

static void test_place(const struct place *p, enum kvm_kind kind)
{
	enum fate want = kind == STOCK && gup_finds(p) ? WORKS : p->fate[kind], run_want = want;
	struct guest_cmd save = {
		.op = GUEST_VMSAVE,
		.gpa = KIT_GPA + (uint64_t)p->page * KIT_PAGE,
	};
	uint64_t *scratch = vm_anon(KIT_PAGE, KIT_PAGE);
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);
	struct guest_outcome out;
	struct buf b;

	if (p->anon)
		buf_open_anon(&b, p->spec.pages);
	else
		buf_open(&b, &p->spec);
	buf_map(&b, KIT_RW);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	VMM_MUST(vm_slot_set(vm, SCRATCH_SLOT, SCRATCH_GPA, KIT_PAGE, scratch, 0));
	memset(b.map, 0, b.size);
	/* PFNMAP_MIXED pages count their mappings: compare with the state from here. */
	if (p->spec.kind == PFNMAP_MIXED)
		buf_mark(&b);

	/* The guest itself writes the VMCB first. */
	if (!p->anon && !gup_finds(p) && !page_usable(&b.start[p->page]))
		run_want = NO_PAGE;
	run_nested(v, p, &b, scratch, 0, run_want);
	if (vcpu_can_nest_paging(v))
		run_nested(v, p, &b, scratch, GUEST_NPT, run_want);
	/* VMSAVE is an access by KVM alone; the guest need not touch the page before. */
	guest_call(v, &save, &out);
	tap_ok(fate_of(&out) == want, "%s: VMSAVE %s: %s", p->name, fate_names[want],
	       guest_describe(&out));
	tap_ok(!buf_changes(&b), "%s: counts and flags are unchanged: %s", p->name,
	       buf_changes(&b) ?: "yes");

	vcpu_destroy(v);
	vm_destroy(vm);
	tap_ok(!buf_changes(&b), "%s: counts and flags are unchanged without the VM: %s", p->name,
	       buf_changes(&b) ?: "yes");
	buf_close(&b);
	munmap(scratch, KIT_PAGE);
}

/* The parameter has the value of load time and keeps it. */
static void test_parameter(bool unsafe)
{
	int fd = open(PARAMETER, O_WRONLY);

	tap_ok(fd < 0 && errno == EACCES, "the parameter cannot be written: %s",
	       fd < 0 ? strerror(errno) : "it can");
	if (fd >= 0)
		close(fd);
	tap_is(kit_param("kvm", "allow_unsafe_mappings"), unsafe,
	       "the parameter has the value of load time");
}

int main(void)
{
	const char *param = getenv("KVM_ALLOW_UNSAFE_MAPPINGS");
	enum kvm_kind kind = !tap_kvm_patched() ? STOCK : param && *param == '1' ? UNSAFE : PATCHED;

	if (!access("/sys/module/kvm_intel", F_OK))
		tap_skip_all("VMCBs exist on AMD only; nested_vmcs is the test for Intel");
	kit_start();
	if (kind == STOCK)
		tap_ok(access(PARAMETER, F_OK), "stock KVM does not have the parameter");
	else
		test_parameter(kind == UNSAFE);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (places[i].fate[kind] != UNTRIED)
			test_place(&places[i], kind);
	return kit_finish();
}
