// SPDX-License-Identifier: GPL-2.0-only
/*
 * nested_vmcs - A guest on Intel runs a nested guest whose VMCS, and the pages that it points to,
 * lie in memory of every kind. KVM maps three of these pages for itself, without a notifier, only
 * where no driver can take the memory back, or where allow_unsafe_mappings permits it:
 *
 *	virtual-APIC page   without it VMLAUNCH fails with "invalid control field"
 *	APIC-access page    without it KVM_RUN ends with KVM_EXIT_INTERNAL_ERROR
 *	MSR bitmap	    without it KVM reads the page, through the VMM's mapping, at each MSR
 *			    access of the nested guest, and the guest sees no difference
 *
 * KVM reads and writes the VMCS itself only through the VMM's mapping, so the VMCS can be in any
 * page that the guest can use.
 *
 * Contract: 4; also 2 and, for refcounted pages, 7. Stock KVM maps a page that it gets a reference
 * to, and memory without a count that matters. Patched KVM maps nothing out of a VM_IO or VM_PFNMAP
 * mapping, because a reference does not keep a driver from using its page for something else; pages
 * in a VM_MIXEDMAP mapping and ordinary memory work as before. Page counts are equal at every step.
 *
 * Seen to fail: a KVM that maps every page with a count for itself; stock KVM with the expectations
 * of patched; a VM without a local APIC, where KVM never uses the virtual-APIC page.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define ROUNDS	    3
#define VMCS	    GUEST_SCRATCH	       /* in ordinary memory */
#define WORD	    (GUEST_SCRATCH + KIT_PAGE) /* the word that the nested guest stores */
#define VIRTUAL_TPR 0x80		       /* in the virtual-APIC page */

/* As in the Intel manual. */
#define REASON_RDMSR	    31u
#define REASON_APIC_ACCESS  44u
#define ERROR_CONTROL_FIELD 7u

enum kvm_kind { STOCK, PATCHED, UNSAFE };
enum fate { UNTRIED, MAPPED, REFUSED };

static const struct place {
	const char *name;
	struct pfnmap_create spec;
	uint32_t page;
	enum fate fate[UNSAFE + 1];
	bool gup_6_1; /* Linux 6.1's get_user_pages_fast() finds it, if it is mapped */
	bool anon;
} places[] = {
	/* clang-format off */
	{ "anonymous memory", { .pages = 8 }, 5, .fate = { MAPPED, MAPPED, MAPPED }, .anon = true },
	{ "first page of a non-compound chunk",
	  { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 8 },
	  0, .fate = { MAPPED, REFUSED, MAPPED } },
	{ "tail page of a non-compound chunk",
	  { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 8 },
	  5, .fate = { REFUSED, REFUSED, MAPPED } },
	{ "tail of a compound page", { .kind = PFNMAP_COMPOUND, .order = 3, .pages = 8 },
	  5, .fate = { REFUSED, REFUSED, MAPPED } },
	{ "tail of a compound page that a huge entry maps",
	  { .kind = PFNMAP_COMPOUND, .order = 9, .pages = 512, .insert = PFNMAP_INSERT_PMD },
	  5, .fate = { REFUSED, REFUSED, MAPPED }, .gup_6_1 = true },
	{ "single page", { .kind = PFNMAP_SINGLE, .pages = 8 },
	  5, .fate = { MAPPED, REFUSED, MAPPED } },
	{ "page of shmem", { .kind = PFNMAP_SHMEM, .pages = 8 },
	  5, .fate = { MAPPED, REFUSED, MAPPED } },
	{ "page in a VM_MIXEDMAP mapping", { .kind = PFNMAP_MIXED, .pages = 8 },
	  5, .fate = { MAPPED, MAPPED, MAPPED } },
	{ "reserved page", { .kind = PFNMAP_RESERVED, .pages = 8 },
	  5, .fate = { MAPPED, REFUSED, MAPPED } },
	/* Stock KVM would accept it, but warns once about its count of 0. */
	{ "reserved page with a count of 0", { .kind = PFNMAP_RESERVED, .order = 3, .pages = 8 },
	  5, .fate = { UNTRIED, REFUSED, MAPPED } },
	{ "memory without struct page", { .kind = PFNMAP_BAR, .pages = 8 },
	  5, .fate = { MAPPED, REFUSED, MAPPED } },
	/* clang-format on */
};

/* The result of a GUEST_VMRUN. */
enum end { OTHER, DONE, AT_RDMSR, AT_APIC, VMFAIL, INTERNAL_ERROR, NO_PAGE };

static const char *const end_names[] = {
	[DONE] = "runs",
	[AT_RDMSR] = "is stopped at its RDMSR",
	[AT_APIC] = "is stopped at its APIC access",
	[VMFAIL] = "is refused by VMLAUNCH",
	[INTERNAL_ERROR] = "ends KVM_RUN with an internal error",
	[NO_PAGE] = "ends KVM_RUN with EFAULT",
};

static enum end end_of(const struct guest_outcome *out)
{
	if (kit_efault(out))
		return NO_PAGE;
	if (out->end == GUEST_EXIT && out->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		return INTERNAL_ERROR;
	if (out->end != GUEST_DONE)
		return OTHER;
	switch (out->result) {
	case GUEST_L2_DONE:
		return DONE;
	case REASON_RDMSR:
		return AT_RDMSR;
	case REASON_APIC_ACCESS:
		return AT_APIC;
	case GUEST_L2_VMFAIL + ERROR_CONTROL_FIELD:
		return VMFAIL;
	default:
		return OTHER;
	}
}

/* What a nested guest uses the page of the buffer for: one of the flags, or 0 for the VMCS. */
struct role {
	const char *name;
	uint32_t flag;
	enum end want;
};

static void run(struct vcpu *v, const struct place *p, const struct buf *b, const struct role *r,
		uint32_t paging)
{
	uint64_t at = (uint64_t)p->page * KIT_PAGE;
	struct guest_cmd cmd = {
		.op = GUEST_VMRUN,
		.flags = r->flag | paging,
		.gpa = r->flag ? VMCS : KIT_GPA + at,
		.gpa2 = r->flag == GUEST_APIC_ACCESS ? KIT_GPA + at + 8 : WORD,
		.gpa3 = KIT_GPA + at,
	};
	uint64_t *word = vm_hva(v->vm, WORD);
	struct guest_outcome out;
	int ok = 0;

	for (int i = 1; i <= ROUNDS; i++) {
		bool runs = r->want == DONE || r->want == AT_RDMSR;

		*word = 0;
		cmd.value = i;
		guest_call(v, &cmd, &out);
		if (end_of(&out) != r->want || *word != (runs ? cmd.value : 0))
			break;
		/* The processor writes the CR8 of the nested guest to this page. */
		if (r->want == DONE && r->flag == GUEST_VIRTUAL_APIC &&
		    (uint8_t)buf_word(b, at + VIRTUAL_TPR) != cmd.value << 4)
			break;
		ok++;
	}
	tap_ok(ok == ROUNDS, "%s, %s, %s EPT: a nested guest %s: %s", p->name, r->name,
	       paging ? "with" : "without", end_names[r->want], guest_describe(&out));
}

static void fill(const struct buf *b, uint32_t page, uint64_t value)
{
	for (uint32_t off = 0; off < KIT_PAGE; off += 8)
		buf_set_word(b, (uint64_t)page * KIT_PAGE + off, value);
}

static void test_place(const struct place *p, enum kvm_kind kind)
{
	bool gup = p->gup_6_1 && !kit_kernel(6, 12);
	bool mapped = p->fate[kind] == MAPPED || (kind == STOCK && gup);
	/* Without a local APIC KVM intercepts CR8 and does not write it to memory. */
	struct vm *vm = vm_create(VM_IRQCHIP);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);
	struct buf b;

	if (p->anon)
		buf_open_anon(&b, p->spec.pages);
	else
		buf_open(&b, &p->spec);
	buf_map(&b, KIT_RW);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	memset(b.map, 0, b.size);
	/* PFNMAP_MIXED pages count their mappings: compare with the state from here. */
	if (p->spec.kind == PFNMAP_MIXED)
		buf_mark(&b);
	for (uint32_t paging = 0; paging <= GUEST_NPT; paging += GUEST_NPT) {
		bool usable = p->anon || gup || page_usable(&b.start[p->page]);
		/* The nested guest's own access needs a mapping in KVM's tables. */
		enum end at_apic = usable ? AT_APIC : NO_PAGE;
		struct role roles[] = {
			{ "VMCS", 0, usable ? DONE : NO_PAGE },
			{ "virtual APIC", GUEST_VIRTUAL_APIC, mapped ? DONE : VMFAIL },
			{ "APIC access", GUEST_APIC_ACCESS, mapped ? at_apic : INTERNAL_ERROR },
		};
		struct role bitmap = { "MSR bitmap of zeroes", GUEST_MSR_BITMAP, DONE };

		if (paging && !vcpu_can_nest_paging(v))
			break;
		for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
			run(v, p, &b, &roles[i], paging);
		fill(&b, p->page, 0);
		run(v, p, &b, &bitmap, paging);
		bitmap = (struct role){ "MSR bitmap of ones", GUEST_MSR_BITMAP, AT_RDMSR };
		fill(&b, p->page, UINT64_MAX);
		run(v, p, &b, &bitmap, paging);
		tap_ok(!buf_changes(&b), "%s: counts and flags are unchanged: %s", p->name,
		       buf_changes(&b) ?: "yes");
	}
	vcpu_destroy(v);
	vm_destroy(vm);
	tap_ok(!buf_changes(&b), "%s: counts and flags are unchanged without the VM: %s", p->name,
	       buf_changes(&b) ?: "yes");
	buf_close(&b);
}

int main(void)
{
	const char *param = getenv("KVM_ALLOW_UNSAFE_MAPPINGS");
	enum kvm_kind kind = !tap_kvm_patched() ? STOCK : param && *param == '1' ? UNSAFE : PATCHED;

	if (access("/sys/module/kvm_intel", F_OK))
		tap_skip_all("VMCSs exist on Intel only; nested_vmcb is the test for AMD");
	kit_start();
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (places[i].fate[kind] != UNTRIED && !buf_missing(&places[i].spec))
			test_place(&places[i], kind);
	return kit_finish();
}
