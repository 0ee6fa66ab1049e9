// SPDX-License-Identifier: GPL-2.0-only
/*
 * huge - 2 MiB pages: refcounted ones are mapped, split by dirty logging and joined again with
 * the content right; a driver's huge PFN mapping works as far as it does on stock, but of the
 * pages that come out of the split only the refcounted ones are marked.
 *
 * Contract: 3, 5 (at 2 MiB, kept through a split), 6, 7.
 *
 * Not tested is a huge mapping of memory without struct page: get_user_pages_fast() of Linux 6.1
 * takes any huge entry for pages and the host dies, whichever KVM asks. Nor is the first page of a
 * PG_reserved chunk: stock KVM takes a reference to it that way and never puts it.
 *
 * Seen to fail: no write protection when logging begins; a fault that keeps its reference;
 * a split that drops the bit for refcounted pages, or hands it to all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/kit.h"

#define PAGES (KIT_HUGE / KIT_PAGE)

static bool tdp_mmu(void)
{
	return kit_npt() && kit_param("kvm", "tdp_mmu");
}

/* The guest writes a pattern into the slot; the host finds it at p. */
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

/* Refcounted memory of one huge page, through its life under a guest; both variants. */
static void test_refcounted(struct vcpu *v, char *p, const char *name)
{
	uint64_t log[PAGES / 64], want[PAGES / 64] = { [1] = 1ull << 7 };
	struct vm *vm = v->vm;

	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, KIT_HUGE, p, 0));
	tap_ok(writes(v, p, 1), "%s: the guest writes it", name);
	tap_is(vm_stat(vm, "pages_2m"), 1, "%s: it is mapped as one page", name);

	VMM_MUST(vm_slot_flags(vm, KIT_SLOT, KVM_MEM_LOG_DIRTY_PAGES));
	/* The shadow MMU write-protects and splits with the next write. */
	tap_is(vm_stat(vm, "pages_2m"), !tdp_mmu(), "%s: what logging leaves of that", name);
	VMM_MUST(vm_dirty_get(vm, KIT_SLOT, log));
	VMM_MUST(kit_touch(v, KIT_WRITE, KIT_GPA + 71 * KIT_PAGE, 5, NULL));
	VMM_MUST(vm_dirty_get(vm, KIT_SLOT, log));
	tap_ok(!memcmp(log, want, sizeof(log)), "%s: one write logs one small page", name);
	tap_ok(writes(v, p, 2), "%s: the guest writes the small pages", name);
	tap_is(vm_stat(vm, "pages_2m"), 0, "%s: no huge page is left", name);

	VMM_MUST(vm_slot_flags(vm, KIT_SLOT, 0));
	tap_ok(writes(v, p, 3), "%s: the guest writes it after logging", name);
	tap_is(vm_stat(vm, "pages_2m"), 1, "%s: as one page again", name);
	VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
	tap_is(vm_stat(vm, "pages_2m"), 0, "%s: gone", name);
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

static void reserve_hugetlb(const char *pages)
{
	int fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, pages, strlen(pages)) < 0)
		tap_bail("/proc/sys/vm/nr_hugepages: %s", strerror(errno));
	close(fd);
}

static void test_hugetlb(struct vcpu *v)
{
	char *p;

	reserve_hugetlb("1");
	p = mmap(NULL, KIT_HUGE, KIT_RW, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p == MAP_FAILED) {
		tap_skip(1, "hugetlb: mmap: %s", strerror(errno));
	} else {
		test_refcounted(v, p, "hugetlb");
		munmap(p, KIT_HUGE);
	}
	reserve_hugetlb("0");
}

/*
 * Huge PFN mappings. KVM of 6.1 finds a pfn by get_user_pages_fast(), which takes the huge entry
 * if it is there already and if it can get a reference, or by follow_pte(), which refuses it.
 */
static const struct row {
	const char *name;
	enum pfnmap_kind kind;
	bool present;  /* the host has touched it before */
	uint32_t page; /* that the guest touches */
	bool works;    /* else EFAULT */
} rows[] = {
	/* clang-format off */
	{ "entry absent, first page",	PFNMAP_NONCOMPOUND, false, 0, false },
	{ "first page",			PFNMAP_NONCOMPOUND, true,  0, true },
	{ "other page",			PFNMAP_NONCOMPOUND, true,  5, false },
	{ "entry absent, first page",	PFNMAP_COMPOUND,    false, 0, false },
	{ "first page",			PFNMAP_COMPOUND,    true,  0, true },
	{ "other page",			PFNMAP_COMPOUND,    true,  5, true },
	{ "other page",			PFNMAP_RESERVED,    true,  5, false },
	/* clang-format on */
};

/* PG_referenced of the first page, which each mark changes if the page is on no LRU list. */
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
		.order = 9,
		.pages = PAGES,
	};
	struct guest_outcome out;
	struct vm *vm = v->vm;
	const char *why;
	struct buf b;
	bool one_count = row->kind == PFNMAP_NONCOMPOUND;
	/* The shadow MMU looks for the small pages anew, and there get_user_pages_fast() fails. */
	bool keeps = tdp_mmu() || !one_count;
	/* Stock marks all the small pages that the TDP MMU makes of a huge one. */
	bool wrong = !tap_kvm_patched() && row->works && one_count && tdp_mmu();

	buf_open(&b, &spec);
	buf_map(&b, KIT_RW);
	if (row->present)
		*(volatile char *)b.map = 0;
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	kit_touch(v, KIT_WRITE, KIT_GPA + row->page * KIT_PAGE, 3, &out);
	tap_ok(row->works ? out.end == GUEST_DONE : kit_efault(&out), "%s, %s: %s", buf_name(&b),
	       row->name, row->works ? "works" : "EFAULT");
	tap_is(vm_stat(vm, "pages_2m"), row->works, "%s, %s: huge pages", buf_name(&b), row->name);
	if (row->works) {
		tap_ok(writes(v, b.map, 4), "%s, %s: content", buf_name(&b), row->name);
		VMM_MUST(vm_slot_flags(vm, KIT_SLOT, KVM_MEM_LOG_DIRTY_PAGES));
		tap_ok(writes(v, b.map, 5) == keeps, "%s, %s: %s", buf_name(&b), row->name,
		       keeps ? "content after the split" : "lost with the huge page");
		tap_is(vm_stat(vm, "pages_2m"), 0, "%s, %s: it is split", buf_name(&b), row->name);
	}
	VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
	/* Once less, and it would be. */
	if (row->works && one_count)
		tap_is(referenced(&b), false, "%s, %s: marked as often as by stock", buf_name(&b),
		       row->name);
	why = buf_changes(&b);
	if (!tap_ok(!why != wrong, "%s, %s: %s", buf_name(&b), row->name,
		    wrong ? "stock marks other pages" : "as before"))
		tap_diag("%s", why ? why : "no change");
	buf_close(&b);
}

int main(void)
{
	struct vcpu *v;
	struct vm *vm;

	kit_start();
	vm = vm_create(0);
	v = vcpu_create(vm, VCPU_LONG);
	test_thp(v);
	test_hugetlb(v);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		test_pfn(v, &rows[i]);
	vcpu_destroy(v);
	vm_destroy(vm);
	return kit_finish();
}
