// SPDX-License-Identifier: GPL-2.0-only
/*
 * nested_memory - a nested guest with nested paging writes exporter memory that its host, the
 * guest, never touches: what KVM maps for it by shadowing the guest's nested tables is marked as
 * stock marks it if it is refcounted, and left alone if not; also what KVM maps ahead, and after
 * the guest changed the tables.
 *
 * Contract: 3, 5 (in shadowed nested tables), 7. Stock refuses pages that look free.
 *
 * Seen to fail: the bit for refcounted pages never set, or always, by the fault or by sync_page();
 * never by what maps ahead.
 */
#include <stdlib.h>

#include "tests/kit.h"

#define PAGES	8u
#define PAGE	5u /* that the nested guest writes */
#define AHEAD	6u /* that KVM maps ahead if get_user_pages_fast() finds it */
#define CHANGED 1u /* whose entry the guest changes */

#define TABLE GUEST_SCRATCH /* nested table of 4 KiB entries */
#define VMCB  (GUEST_SCRATCH + KIT_PAGE)

/* Of a nested page table entry. */
#define PTE_RW	  2u
#define PTE_LEAF  0x67u /* present, writable, user, accessed, dirty */
#define PTE_TABLE 0x07u
#define PTE_ADDR  0x000ffffffffff000ull
#define PTE_NX	  (1ull << 63)

static const struct pfnmap_create specs[] = {
	{ .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = PAGES },
	{ .kind = PFNMAP_COMPOUND, .order = 3, .pages = PAGES },
	{ .kind = PFNMAP_RESERVED, .pages = PAGES },
	{ .kind = PFNMAP_SINGLE, .pages = PAGES },
	{ .kind = PFNMAP_SHMEM, .pages = PAGES },
	{ .kind = PFNMAP_BAR, .pages = PAGES },
	{ .kind = PFNMAP_MIXED, .pages = PAGES },
};

/* Map the buffer to the nested guest by 4 KiB entries, instead of the 2 MiB one that there is. */
static void map_small(struct vcpu *v)
{
	const struct guest_block *block;
	uint64_t *table;

	/* With this flag libvmm sets up the nested tables, whatever the command. */
	VMM_MUST(guest_call(v, &(struct guest_cmd){ .op = GUEST_NOP, .flags = GUEST_NPT }, NULL));
	block = vm_hva(v->vm, GUEST_BLOCKS);
	table = vm_hva(v->vm, block->ncr3);
	for (unsigned int shift = 39; shift > 21; shift -= 9)
		table = vm_hva(v->vm, table[KIT_GPA >> shift & 511] & PTE_ADDR);
	table[KIT_GPA >> 21 & 511] = TABLE | PTE_TABLE;
	table = vm_hva(v->vm, TABLE);
	for (uint32_t i = 0; i < PAGES; i++)
		table[i] = (KIT_GPA + i * KIT_PAGE) | PTE_LEAF;
}

/* The nested guest stores a word, or nothing if gpa is 0. */
static int nested(struct vcpu *v, uint64_t gpa, uint64_t value, struct guest_outcome *out)
{
	struct guest_cmd cmd = {
		.op = GUEST_VMRUN,
		.flags = GUEST_NPT,
		.gpa = VMCB,
		.gpa2 = gpa,
		.value = value,
	};

	return guest_call(v, &cmd, out) ? -1 : out->result == GUEST_L2_VMMCALL ? 0 : -1;
}

/* The flags of a page that KVM sets. */
static uint32_t marks(const struct buf *b, uint32_t page)
{
	struct pfnmap_page *pages = buf_report(b);
	uint32_t flags = pages[page].flags & (PFNMAP_PAGE_DIRTY | PFNMAP_PAGE_REFERENCED);

	free(pages);
	return flags;
}

static void test(const struct pfnmap_create *spec, bool small)
{
	uint64_t offset = PAGE * KIT_PAGE + 8, gpa = KIT_GPA + offset;
	const char *leaf = small ? "4 KiB" : "2 MiB", *why;
	bool counted = spec->kind == PFNMAP_MIXED;
	/* get_user_pages_fast() of 6.12 does not take small pages without a mapping. */
	bool ahead = counted && !kit_kernel(6, 12);
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);
	struct guest_outcome out;
	uint32_t expected = 0;
	struct buf b;

	buf_open(&b, spec);
	buf_map(&b, KIT_RW);
	/* KVM maps ahead what the host has mapped writable; its entries count in these pages. */
	for (uint32_t i = 0; counted && i < PAGES; i++)
		*(volatile char *)(b.map + i * KIT_PAGE) = 0;
	buf_mark(&b);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	if (small)
		map_small(v);

	if (page_usable(&b.start[PAGE])) {
		tap_ok(!nested(v, gpa, 1, &out) && buf_word(&b, offset) == 1,
		       "%s, %s: a nested guest writes: %s", buf_name(&b), leaf,
		       guest_describe(&out));
	} else {
		nested(v, gpa, 1, &out);
		tap_ok(kit_efault(&out), "%s, %s: EFAULT: %s", buf_name(&b), leaf,
		       guest_describe(&out));
	}
	if (small) {
		uint64_t entry = (KIT_GPA + CHANGED * KIT_PAGE) | (PTE_LEAF & ~PTE_RW);
		uint64_t page_entry = (KIT_GPA + PAGE * KIT_PAGE) | PTE_LEAF | PTE_NX;

		/*
		 * KVM lets the guest write its table and looks through all of it afterwards, for
		 * changes of permissions in 6.12.
		 */
		VMM_MUST(kit_touch(v, KIT_WRITE, TABLE + 8 * CHANGED, entry, NULL));
		VMM_MUST(kit_touch(v, KIT_WRITE, TABLE + 8 * PAGE, page_entry, NULL));
		tap_ok(!nested(v, 0, 0, &out), "%s, %s: it goes on: %s", buf_name(&b), leaf,
		       guest_describe(&out));
		tap_ok(!page_usable(&b.start[PAGE]) ||
			       (!nested(v, gpa, 2, &out) && buf_word(&b, offset) == 2),
		       "%s, %s: it writes again: %s", buf_name(&b), leaf, guest_describe(&out));
	}
	VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
	/*
	 * Each mark of an accessed page changes PG_referenced: the fault, the look at the table,
	 * the zap, and that of get_user_pages().
	 */
	if (page_refcounted(&b.start[PAGE]))
		expected = PFNMAP_PAGE_DIRTY | (small != counted ? PFNMAP_PAGE_REFERENCED : 0);
	tap_is(marks(&b, PAGE), expected, "%s, %s: marked accessed and dirty as often as by stock",
	       buf_name(&b), leaf);
	tap_is(marks(&b, AHEAD) & PFNMAP_PAGE_DIRTY, ahead ? PFNMAP_PAGE_DIRTY : 0,
	       "%s, %s: what is mapped ahead, too", buf_name(&b), leaf);
	why = buf_changes(&b);
	if (!tap_ok(!why, "%s, %s: nothing else", buf_name(&b), leaf))
		tap_diag("%s", why);
	vcpu_destroy(v);
	vm_destroy(vm);
	buf_close(&b);
}

int main(void)
{
	kit_start();
	kit_count_marks();
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
		for (int small = 0; small < 2; small++)
			test(&specs[i], small);
	return kit_finish();
}
