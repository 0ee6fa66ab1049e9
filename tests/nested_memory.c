// SPDX-License-Identifier: GPL-2.0-only
/*
 * nested_memory - A nested guest writes and reads exporter memory that its host, the guest, never
 * touches. KVM maps the pages by shadowing the guest's nested tables (NPT or EPT), marks refcounted
 * ones as stock does and leaves the others alone. The same goes for pages that it maps ahead, and
 * after the guest changed the tables. When the driver revokes or moves the buffer, the nested guest
 * continues in the new pages.
 *
 * `nested_memory split` has dirty logging split a huge page of the nested guest.
 *
 * With npt=0 or ept=0 KVM does not offer nested paging. The nested guest then uses the guest's own
 * page tables, which KVM shadows for both.
 *
 * Contract: 3, 5 (in shadowed nested tables), 7. Stock refuses pages that look free.
 *
 * Seen to fail: the bit for refcounted pages never or always set by the fault or by sync_page();
 * never set by what maps ahead, or its reference kept; set for all pages of a split.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define PAGES	8u
#define PAGE	5u /* that the nested guest writes */
#define AHEAD	6u /* that KVM maps ahead if get_user_pages_fast() finds it */
#define CHANGED 1u /* whose entry the guest changes */
#define ROUNDS	3

#define LOGLEVEL "/proc/sys/kernel/printk" /* of the console; the rig's hosts boot with 5 */

#define VMCB GUEST_SCRATCH /* or VMCS */

#define PTE_RW 2u /* of an entry of any format */
#define PTE_NX (1ull << 63)
#define EPT_X  4u

static const struct pfnmap_create specs[] = {
	{ .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = PAGES },
	{ .kind = PFNMAP_COMPOUND, .order = 3, .pages = PAGES },
	{ .kind = PFNMAP_RESERVED, .pages = PAGES },
	{ .kind = PFNMAP_SINGLE, .pages = PAGES },
	{ .kind = PFNMAP_SHMEM, .pages = PAGES },
	{ .kind = PFNMAP_BAR, .pages = PAGES },
	{ .kind = PFNMAP_MIXED, .pages = PAGES },
};

/* Have the nested guest store a word, or load one with GUEST_L2_LOAD; neither if gpa is 0. */
static int nested(struct vcpu *v, uint64_t gpa, uint64_t value, uint32_t flags,
		  struct guest_outcome *out)
{
	struct guest_cmd cmd = {
		.op = GUEST_VMRUN,
		.flags = flags | (vcpu_can_nest_paging(v) ? GUEST_NPT : 0),
		.gpa = VMCB,
		.gpa2 = gpa,
		.value = value,
	};

	return guest_call(v, &cmd, out) ? -1 : out->result == GUEST_L2_DONE ? 0 : -1;
}

/* Map the buffer for the nested guest by 4 KiB entries, instead of the existing 2 MiB one. */
static void map_small(struct vcpu *v)
{
	uint64_t len = PAGES * KIT_PAGE;

	if (vcpu_can_nest_paging(v))
		VMM_MUST(vm_map_nested(v->vm, KIT_GPA, KIT_GPA, len, KIT_PAGE, 0));
	else
		VMM_MUST(vm_map(v->vm, VCPU_LONG, KIT_GPA, KIT_GPA, len, KIT_PAGE, 0));
}

static bool on_intel(void)
{
	return !access("/sys/module/kvm_intel", F_OK);
}

/* Have the guest make a page read-only, or not executable, in an entry of its tables. */
static void protect(struct vcpu *v, uint32_t page, bool read_only)
{
	bool nest = vcpu_can_nest_paging(v);
	uint64_t gpa = KIT_GPA + page * KIT_PAGE, entry, value;

	entry = VMM_MUST(nest ? vm_nested_entry(v->vm, gpa) : vm_entry(v->vm, VCPU_LONG, gpa));
	value = *(const uint64_t *)vm_hva(v->vm, entry);
	if (read_only)
		value &= ~(uint64_t)PTE_RW;
	else if (nest && on_intel())
		value &= ~(uint64_t)EPT_X;
	else
		value |= PTE_NX;
	VMM_MUST(kit_touch(v, KIT_WRITE, entry, value, NULL));
}

/* Those flags of a page that KVM sets. */
static uint32_t marks(const struct buf *b, uint32_t page)
{
	struct pfnmap_page *pages = buf_report(b);
	uint32_t flags = pages[page].flags & (PFNMAP_PAGE_DIRTY | PFNMAP_PAGE_REFERENCED);

	free(pages);
	return flags;
}

/* The reference count of a page of the VM. */
static int count_of(const struct vm *vm, uint64_t gpa)
{
	kit_settle();
	return kit_look_up(vm, RIG_LOOKUP_PFN, gpa).count;
}

/* Do KVM's own page tables have accessed and dirty bits? Without them it maps nothing ahead. */
static bool has_ad(void)
{
	return !on_intel() || !kit_tdp() || kit_param("kvm_intel", "eptad");
}

static void test_marks(const struct pfnmap_create *spec, bool small)
{
	uint64_t offset = PAGE * KIT_PAGE + 8, gpa = KIT_GPA + offset;
	const char *leaf = small ? "4 KiB" : "2 MiB", *why;
	bool counted = spec->kind == PFNMAP_MIXED;
	/* get_user_pages_fast() of 6.12 does not take small pages without an address_space. */
	bool ahead = counted && has_ad() && !kit_kernel(6, 12);
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);
	struct guest_outcome out;
	uint32_t expected = 0, look_at = UINT32_MAX;
	struct buf b;

	buf_open(&b, spec);
	buf_map(&b, KIT_RW);
	/* KVM maps ahead what the host has mapped writable. These pages count that mapping. */
	for (uint32_t i = 0; counted && i < PAGES; i++)
		*(volatile char *)(b.map + i * KIT_PAGE) = 0;
	buf_mark(&b);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	if (small)
		map_small(v);

	if (page_usable(&b.start[PAGE])) {
		tap_ok(!nested(v, gpa, 1, 0, &out) && buf_word(&b, offset) == 1,
		       "%s, %s: a nested guest writes: %s", buf_name(&b), leaf,
		       guest_describe(&out));
	} else {
		nested(v, gpa, 1, 0, &out);
		tap_ok(kit_efault(&out), "%s, %s: the nested guest's write fails with EFAULT: %s",
		       buf_name(&b), leaf, guest_describe(&out));
	}
	if (small) {
		/*
		 * KVM lets the guest write its table and looks through all of the table afterwards;
		 * 6.12 looks for changed permissions.
		 */
		protect(v, CHANGED, true);
		protect(v, PAGE, false);
		tap_ok(!nested(v, 0, 0, 0, &out), "%s, %s: the nested guest continues: %s",
		       buf_name(&b), leaf, guest_describe(&out));
		tap_ok(!page_usable(&b.start[PAGE]) ||
			       (!nested(v, gpa, 2, 0, &out) && buf_word(&b, offset) == 2),
		       "%s, %s: the nested guest writes again: %s", buf_name(&b), leaf,
		       guest_describe(&out));
	}
	VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
	/*
	 * Each accessed mark flips PG_referenced: that of the fault, of the look at the table, of
	 * the zap, and of get_user_pages(). For a page on the LRU the result also depends on when
	 * the page got there; without accessed bits, on how KVM does without.
	 */
	if (b.start[PAGE].flags & PFNMAP_PAGE_LRU || !has_ad())
		look_at = PFNMAP_PAGE_DIRTY;
	if (page_refcounted(&b.start[PAGE]))
		expected = PFNMAP_PAGE_DIRTY | (small != counted ? PFNMAP_PAGE_REFERENCED : 0);
	tap_is(marks(&b, PAGE) & look_at, expected & look_at,
	       "%s, %s: KVM marks the page accessed and dirty as often as stock does", buf_name(&b),
	       leaf);
	tap_is(marks(&b, AHEAD) & PFNMAP_PAGE_DIRTY, ahead ? PFNMAP_PAGE_DIRTY : 0,
	       "%s, %s: KVM marks the next page only if it maps it ahead", buf_name(&b), leaf);
	why = buf_changes(&b);
	if (!tap_ok(!why, "%s, %s: nothing else changes", buf_name(&b), leaf))
		tap_diag("%s", why);
	vcpu_destroy(v);
	vm_destroy(vm);
	buf_close(&b);
}

/* The same for anonymous memory, which get_user_pages_fast() finds in every kernel. */
static void test_ahead(void)
{
	char *map = vm_anon(PAGES * KIT_PAGE, KIT_PAGE), *ahead = map + AHEAD * KIT_PAGE;
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);
	struct guest_outcome out;
	int count;

	if (madvise(map, PAGES * KIT_PAGE, MADV_NOHUGEPAGE))
		tap_bail("madvise: %s", strerror(errno));
	memset(map, 1, PAGES * KIT_PAGE);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, PAGES * KIT_PAGE, map, 0));
	map_small(v);
	count = count_of(vm, KIT_GPA + AHEAD * KIT_PAGE);
	tap_ok(kit_flags(ahead)[0] != 'D', "anonymous: the next page is not dirty before");
	tap_ok(!nested(v, KIT_GPA + PAGE * KIT_PAGE, 1, 0, &out),
	       "anonymous: a nested guest writes: %s", guest_describe(&out));
	tap_is(count_of(vm, KIT_GPA + AHEAD * KIT_PAGE), count,
	       "anonymous: KVM keeps no reference to the next page");
	VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
	kit_settle();
	tap_is(kit_flags(ahead)[0] == 'D', has_ad(),
	       "anonymous: KVM marks the next page only if it maps it ahead");
	vcpu_destroy(v);
	vm_destroy(vm);
	munmap(map, PAGES * KIT_PAGE);
}

/*
 * With the TDP MMU, dirty logging splits the huge SPTEs of nested guests ahead, too. Only the first
 * page of the chunk has a count. Stock marks the others, and warns of each. That would keep the
 * serial console busy for longer than a CPU may stall, so nothing is printed there meanwhile.
 */
static void test_split(void)
{
	struct pfnmap_create spec = {
		.kind = PFNMAP_NONCOMPOUND,
		.insert = PFNMAP_INSERT_PMD,
		.order = 9,
		.pages = KIT_HUGE / KIT_PAGE,
	};
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);
	struct guest_outcome out;
	const char *why;
	struct buf b;

	buf_open(&b, &spec);
	buf_map(&b, KIT_RW);
	/* Linux 6.1 takes the entry only if it is there. */
	*(volatile char *)b.map = 0;
	buf_mark(&b);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	tap_ok(!nested(v, KIT_GPA, 1, 0, &out) && buf_word(&b, 0) == 1,
	       "%s: a nested guest writes: %s", buf_name(&b), guest_describe(&out));
	tap_is(vm_stat(vm, "pages_2m"), 1, "%s: KVM maps the memory as one page", buf_name(&b));
	VMM_MUST(vm_slot_flags(vm, KIT_SLOT, KVM_MEM_LOG_DIRTY_PAGES));
	tap_is(vm_stat(vm, "pages_2m"), 0, "%s: KVM splits it when logging begins", buf_name(&b));
	if (!tap_kvm_patched())
		kit_put(LOGLEVEL, "1");
	VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
	if (!tap_kvm_patched())
		kit_put(LOGLEVEL, "5");
	why = buf_changes(&b);
	if (!tap_ok(!why == tap_kvm_patched(), "%s: %s", buf_name(&b),
		    tap_kvm_patched() ? "no page without a count is marked" :
					"stock marks all pages"))
		tap_diag("%s", why ? why : "no change");
	vcpu_destroy(v);
	vm_destroy(vm);
	buf_close(&b);
}

/* Have the nested guest store and load a value; true if the driver sees it, too. */
static bool goes_on(struct vcpu *v, const struct buf *b, uint64_t offset, uint64_t value,
		    struct guest_outcome *out)
{
	return !nested(v, KIT_GPA + offset, value, 0, out) && buf_word(b, offset) == value &&
	       !nested(v, KIT_GPA + offset, 0, GUEST_L2_LOAD, out) && out->result2 == value;
}

static void test_zap(const struct pfnmap_create *spec, bool small)
{
	const char *leaf = small ? "4 KiB" : "2 MiB";
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);
	uint64_t offset = 8, value = 1;
	struct guest_outcome out;
	struct pfnmap_old old;
	struct buf b;
	bool ok;

	buf_open(&b, spec);
	if (page_usable(&b.start[PAGE]))
		offset += PAGE * KIT_PAGE;
	buf_map(&b, KIT_RW);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	if (small)
		map_small(v);

	ok = goes_on(v, &b, offset, value, &out);
	for (int i = 0; i < ROUNDS && ok; i++) {
		buf_do(&b, PFNMAP_REVOKE, 0);
		ok = goes_on(v, &b, offset, ++value, &out);
	}
	tap_ok(ok, "%s, %s: a nested guest survives %d revocations: %s", buf_name(&b), leaf, ROUNDS,
	       guest_describe(&out));
	for (int i = 0; i < ROUNDS && ok; i++) {
		buf_do(&b, PFNMAP_MOVE, PFNMAP_KEEP_OLD);
		/* Load first: the guest must see the moved value, not the poison. */
		ok = !nested(v, KIT_GPA + offset, 0, GUEST_L2_LOAD, &out) && out.result2 == value &&
		     goes_on(v, &b, offset, value + 1, &out);
		value++;
	}
	tap_ok(ok, "%s, %s: a nested guest survives %d moves: %s", buf_name(&b), leaf, ROUNDS,
	       guest_describe(&out));
	vcpu_destroy(v);
	vm_destroy(vm);
	buf_unmap(&b);
	old = buf_check_old(&b);
	tap_is(old.pages, ROUNDS * PAGES, "%s, %s: the exporter keeps the old pages", buf_name(&b),
	       leaf);
	tap_is(old.changed, 0, "%s, %s: no late write lands in the old pages", buf_name(&b), leaf);
	tap_is(old.bad_counts, 0, "%s, %s: the old pages' counts are as allocated", buf_name(&b),
	       leaf);
	buf_close(&b);
}

/* Check which tables the nested guest runs by; skip the test if KVM cannot nest guests. */
static void look(void)
{
	struct vm *vm = vm_create(0);
	struct vcpu *v = vcpu_create(vm, VCPU_LONG);

	if (!vcpu_can_nest(v))
		tap_skip_all("KVM was loaded with nested=0");
	tap_is(vcpu_can_nest_paging(v), kit_tdp(),
	       "KVM offers nested paging if it uses nested paging itself");
	vcpu_destroy(v);
	vm_destroy(vm);
}

int main(int argc, char **argv)
{
	kit_start();
	kit_count_marks();
	look();
	if (argc == 2 && !strcmp(argv[1], "split")) {
		test_split();
		return kit_finish();
	}
	test_ahead();
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		if (buf_missing(&specs[i]))
			continue;
		for (int small = 0; small < 2; small++) {
			test_marks(&specs[i], small);
			test_zap(&specs[i], small);
		}
	}
	return kit_finish();
}
