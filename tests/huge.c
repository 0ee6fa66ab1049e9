// SPDX-License-Identifier: GPL-2.0-only
/*
 * huge - KVM maps 2 MiB of refcounted memory as one page, splits it for dirty logging and joins it
 * again, and the content stays right. A driver's huge PFN mapping works for the pages that KVM also
 * takes from 4 KiB entries or, on Linux 6.1, as far as it does with stock KVM. Of the pages that a
 * split leaves, KVM marks only the refcounted ones.
 *
 * Contract: 3, 5 (at 2 MiB, kept through a split), 6, 7.
 *
 * Linux 6.1 cannot be tested with a huge mapping of memory without struct pages: its
 * get_user_pages_fast() takes any huge entry for ordinary pages, and the host dies with either KVM.
 * Nor can it be tested with the first page of a PG_reserved chunk whose entry is present: stock KVM
 * gets a reference to that page and never puts it.
 *
 * Seen to fail: no write protection when logging begins; a fault that keeps its reference; a split
 * that drops the bit for refcounted pages, or gives it to all.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/kit.h"

#define PAGES (KIT_HUGE / KIT_PAGE)

/* Have the guest write a pattern to the memslot; true if the host finds it at p. */
static bool writes(struct vcpu *v, const char *p, uint64_t value)
{
	struct guest_cmd cmd = {
		.op = GUEST_PATTERN,
		.gpa = KIT_GPA,
		.len = KIT_HUGE,
		.stride = KIT_PAGE / 4,
		.value = value,
	};
	uint64_t word;

	if (guest_call(v, &cmd, NULL))
		return false;
	for (uint64_t off = 0; off < KIT_HUGE; off += cmd.stride) {
		memcpy(&word, p + off, sizeof(word));
		if (word != guest_pattern(value, off))
			return false;
	}
	return true;
}

/* Take refcounted memory of one huge page through its life under a guest, on both variants. */
static void test_refcounted(struct vcpu *v, char *p, const char *name)
{
	uint64_t log[PAGES / 64], want[PAGES / 64] = { [1] = 1ull << 7 };
	struct vm *vm = v->vm;

	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, KIT_HUGE, p, 0));
	tap_ok(writes(v, p, 1), "%s: the guest writes the page", name);
	tap_is(vm_stat(vm, "pages_2m"), 1, "%s: KVM maps the memory as one page", name);

	VMM_MUST(vm_slot_flags(vm, KIT_SLOT, KVM_MEM_LOG_DIRTY_PAGES));
	/* The shadow MMU only write-protects, and splits on the next write. */
	tap_is(vm_stat(vm, "pages_2m"), !kit_tdp_mmu(),
	       "%s: the TDP MMU alone splits the page when logging begins", name);
	VMM_MUST(vm_dirty_get(vm, KIT_SLOT, log));
	VMM_MUST(kit_touch(v, KIT_WRITE, KIT_GPA + 71 * KIT_PAGE, 5, NULL));
	VMM_MUST(vm_dirty_get(vm, KIT_SLOT, log));
	tap_ok(!memcmp(log, want, sizeof(log)), "%s: one write logs one small page", name);
	tap_ok(writes(v, p, 2), "%s: the guest writes the small pages", name);
	tap_is(vm_stat(vm, "pages_2m"), 0, "%s: no huge page is left", name);

	VMM_MUST(vm_slot_flags(vm, KIT_SLOT, 0));
	tap_ok(writes(v, p, 3), "%s: the guest writes the page after logging", name);
	tap_is(vm_stat(vm, "pages_2m"), 1, "%s: KVM maps the memory as one page again", name);
	VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
	tap_is(vm_stat(vm, "pages_2m"), 0, "%s: no page is left when the memslot is deleted", name);
}

static void test_thp(struct vcpu *v)
{
	char *p = vm_anon(KIT_HUGE, KIT_HUGE);

	if (madvise(p, KIT_HUGE, MADV_HUGEPAGE))
		tap_bail("madvise: %s", strerror(errno));
	memset(p, 1, KIT_HUGE);
	test_refcounted(v, p, "THP");
	munmap(p, KIT_HUGE);
}

static void test_hugetlb(struct vcpu *v)
{
	char *p;

	kit_huge_pages(1);
	p = mmap(NULL, KIT_HUGE, KIT_RW, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p == MAP_FAILED)
		tap_bail("mmap of a hugetlb page: %s", strerror(errno));
	test_refcounted(v, p, "hugetlb");
	munmap(p, KIT_HUGE);
	kit_huge_pages(0);
}

/*
 * Huge PFN mappings. Linux 6.1 finds a pfn with get_user_pages_fast(), which takes the huge entry
 * if the entry is present and the page gives a reference, or with follow_pte(), which refuses the
 * entry. get_user_pages_fast() of 6.12 leaves the entry to follow_pfnmap_start(), which understands
 * it, so that it is as good as 512 small ones.
 */
enum on_6_1 { FAILS, WORKS, UNTESTED };

static const struct row {
	const char *name;
	enum pfnmap_kind kind;
	bool present;  /* the host has touched the buffer */
	uint32_t page; /* that the guest touches */
	enum on_6_1 on_6_1;
} rows[] = {
	/* clang-format off */
	{ "entry absent, first page",	PFNMAP_NONCOMPOUND, false, 0, FAILS },
	{ "entry absent, other page",	PFNMAP_NONCOMPOUND, false, 5, FAILS },
	{ "first page",			PFNMAP_NONCOMPOUND, true,  0, WORKS },
	{ "other page",			PFNMAP_NONCOMPOUND, true,  5, FAILS },
	{ "entry absent, first page",	PFNMAP_COMPOUND,    false, 0, FAILS },
	{ "first page",			PFNMAP_COMPOUND,    true,  0, WORKS },
	{ "other page",			PFNMAP_COMPOUND,    true,  5, WORKS },
	{ "first page",			PFNMAP_RESERVED,    true,  0, UNTESTED },
	{ "other page",			PFNMAP_RESERVED,    true,  5, FAILS },
	{ "first page",			PFNMAP_BAR,	    true,  0, UNTESTED },
	{ "other page",			PFNMAP_BAR,	    true,  5, UNTESTED },
	/* clang-format on */
};

/* PG_referenced of the first page. Each mark flips it, as long as the page is not on the LRU. */
static bool referenced(const struct buf *b)
{
	struct pfnmap_page *pages = buf_report(b);
	bool is = pages->flags & PFNMAP_PAGE_REFERENCED;

	free(pages);
	return is;
}

static void test_pfn(struct vcpu *v, const struct row *row)
{
	struct pfnmap_create spec = {
		.kind = row->kind,
		.insert = PFNMAP_INSERT_PMD,
		.order = row->kind == PFNMAP_BAR ? 0 : 9,
		.pages = PAGES,
	};
	bool works, keeps, wrong, one_count = row->kind == PFNMAP_NONCOMPOUND;
	struct guest_outcome out;
	struct vm *vm = v->vm;
	const char *why;
	struct buf b;

	if (!kit_kernel(6, 12) && row->on_6_1 == UNTESTED) {
		tap_skip(1, "%s, %s: Linux 6.1 takes the memory for ordinary pages",
			 buf_name(&(struct buf){ .spec = spec }), row->name);
		return;
	}
	buf_open(&b, &spec);
	/* The shadow MMU looks up each of the small pages again. */
	if (kit_kernel(6, 12)) {
		works = page_usable(&b.start[row->page]);
		keeps = kit_tdp_mmu() || page_usable(&b.start[PAGES - 1]);
	} else {
		works = row->on_6_1 == WORKS;
		keeps = kit_tdp_mmu() || !one_count;
	}
	/* Stock marks all the small pages that the TDP MMU splits a huge one into. */
	wrong = !tap_kvm_patched() && works && one_count && kit_tdp_mmu();

	buf_map(&b, KIT_RW);
	if (row->present)
		*(volatile char *)b.map = 0;
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	kit_touch(v, KIT_WRITE, KIT_GPA + row->page * KIT_PAGE, 3, &out);
	tap_ok(works ? out.end == GUEST_DONE : kit_efault(&out), "%s, %s: the guest's write %s",
	       buf_name(&b), row->name, works ? "succeeds" : "fails with EFAULT");
	tap_is(vm_stat(vm, "pages_2m"), works, "%s, %s: number of huge pages", buf_name(&b),
	       row->name);
	if (works) {
		tap_ok(writes(v, b.map, 4), "%s, %s: the guest writes all pages", buf_name(&b),
		       row->name);
		VMM_MUST(vm_slot_flags(vm, KIT_SLOT, KVM_MEM_LOG_DIRTY_PAGES));
		tap_ok(writes(v, b.map, 5) == keeps, "%s, %s: %s", buf_name(&b), row->name,
		       keeps ? "the guest writes all pages after the split" :
			       "some pages are refused after the split");
		tap_is(vm_stat(vm, "pages_2m"), 0, "%s, %s: no huge page is left", buf_name(&b),
		       row->name);
	}
	VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
	/*
	 * The fault, the split and the zap each mark the first page if it is the one that was
	 * looked up, and so does 6.1's get_user_pages_fast(). The shadow MMU has one more fault and
	 * zap.
	 */
	if (works && one_count)
		tap_is(referenced(&b), kit_kernel(6, 12) && kit_tdp_mmu() && !row->page,
		       "%s, %s: KVM marks the page as often as stock does", buf_name(&b),
		       row->name);
	why = buf_changes(&b);
	if (!tap_ok(!why != wrong, "%s, %s: %s", buf_name(&b), row->name,
		    wrong ? "stock marks other pages" : "counts and flags are unchanged"))
		tap_diag("%s", why ? why : "no change");
	buf_close(&b);
}

/* The same pages in a mapping whose alignment does not allow huge entries. */
static void test_small(struct vcpu *v, enum pfnmap_kind kind)
{
	struct pfnmap_create spec = {
		.kind = kind,
		.insert = PFNMAP_INSERT_PMD,
		.order = 9,
		.pages = PAGES,
	};
	char *room = vm_anon(2 * KIT_HUGE, KIT_HUGE);
	bool works[] = { true, false }; /* the first page, another one */
	struct guest_outcome out;
	const char *why;
	struct buf b;

	buf_open(&b, &spec);
	b.map = mmap(room + KIT_PAGE, b.size, KIT_RW, MAP_SHARED | MAP_FIXED, b.fd, 0);
	if (b.map == MAP_FAILED)
		tap_bail("mmap of %s: %s", buf_name(&b), strerror(errno));
	works[1] = page_usable(&b.start[5]);
	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	for (uint32_t i = 0; i < ARRAY_SIZE(works); i++) {
		kit_touch(v, KIT_WRITE, KIT_GPA + 5 * i * KIT_PAGE, 3, &out);
		tap_ok(works[i] ? out.end == GUEST_DONE : kit_efault(&out),
		       "%s, misaligned, page %u: the guest's write %s", buf_name(&b), 5 * i,
		       works[i] ? "succeeds" : "fails with EFAULT");
	}
	tap_is(vm_stat(v->vm, "pages_2m"), 0, "%s, misaligned: KVM maps small pages", buf_name(&b));
	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
	munmap(room, 2 * KIT_HUGE);
	b.map = NULL;
	why = buf_changes(&b);
	if (!tap_ok(!why, "%s, misaligned: counts and flags are unchanged", buf_name(&b)))
		tap_diag("%s", why);
	buf_close(&b);
}

int main(void)
{
	struct vcpu *v;
	struct vm *vm;

	kit_start();
	kit_count_marks();
	vm = vm_create(0);
	v = vcpu_create(vm, kit_mode());
	test_thp(v);
	test_hugetlb(v);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		test_pfn(v, &rows[i]);
	test_small(v, PFNMAP_NONCOMPOUND);
	test_small(v, PFNMAP_RESERVED);
	vcpu_destroy(v);
	vm_destroy(vm);
	return kit_finish();
}
