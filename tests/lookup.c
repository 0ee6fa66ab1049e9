// SPDX-License-Identifier: GPL-2.0-only
/*
 * lookup - A module that calls gfn_to_pfn() and gfn_to_page(), as kvmgt does, gets refcounted pages
 * only, each with a reference that kvm_release_*() puts, and nothing in a VM_IO or VM_PFNMAP VMA.
 *
 * Contract: 2, 8. Patched KVM does not even call the driver for such a VMA.
 *
 * The functions of page fault handlers, gfn_to_pfn_prot() and those that take a memslot, find what
 * stock finds on any KVM, since the MMU notifier protects what they map. The atomic one calls no
 * driver and finds no page of a VM_IO or VM_PFNMAP VMA. __gfn_to_pfn_memslot() does not wait for
 * memory that is not there yet.
 *
 *	patched	 refuses all pages of a VM_IO or VM_PFNMAP VMA
 *	unsafe	 (allow_unsafe_mappings=1) finds what stock finds
 *	stock	 finds refcounted pages; with gfn_to_pfn() also PG_reserved pages and pfns without a
 *		 struct page, to which it takes no reference
 *
 * None of them finds a tail page. The module is rig/module/rig_lookup.c.
 *
 * Seen to fail: a gfn_to_pfn() that accepts non-refcounted pfns; lookups without
 * refcounted_page_only (unsafe), which find tail pages and put references that nobody took; a
 * __gfn_to_pfn_memslot() that does not say that it would have to wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/kit.h"

static const char *const calls[RIG_LOOKUP_NR_CALLS] = {
	[RIG_LOOKUP_PFN] = "gfn_to_pfn",
	[RIG_LOOKUP_PFN_DIRTY] = "gfn_to_pfn, dirty",
	[RIG_LOOKUP_PAGE] = "gfn_to_page",
	[RIG_LOOKUP_PROT] = "gfn_to_pfn_prot",
	[RIG_LOOKUP_SLOT] = "gfn_to_pfn_memslot",
	[RIG_LOOKUP_SLOT_ATOMIC] = "gfn_to_pfn_memslot_atomic",
	[RIG_LOOKUP_SLOT_ASYNC] = "__gfn_to_pfn_memslot",
};

/* One page of each buffer; "none" is what even stock KVM refuses. */
static const struct place {
	const char *name;
	struct pfnmap_create spec;
	uint32_t page;
	enum { NONE, PFN_ONLY, REFCOUNTED } found;
} places[] = {
	/* clang-format off */
	{ "single page", { .kind = PFNMAP_SINGLE, .pages = 4 }, 1, REFCOUNTED },
	{ "page cache page", { .kind = PFNMAP_SHMEM, .pages = 4 }, 1, REFCOUNTED },
	{ "first page of a non-compound chunk",
	  { .kind = PFNMAP_NONCOMPOUND, .order = 2, .pages = 8 }, 4, REFCOUNTED },
	{ "tail page of a non-compound chunk",
	  { .kind = PFNMAP_NONCOMPOUND, .order = 2, .pages = 8 }, 5, NONE },
	{ "head of a compound page",
	  { .kind = PFNMAP_COMPOUND, .order = 2, .pages = 8 }, 4, REFCOUNTED },
	{ "tail of a compound page",
	  { .kind = PFNMAP_COMPOUND, .order = 2, .pages = 8 }, 5, NONE },
	{ "reserved page", { .kind = PFNMAP_RESERVED, .pages = 4 }, 1, PFN_ONLY },
	{ "device memory without struct page", { .kind = PFNMAP_BAR, .pages = 4 }, 1, PFN_ONLY },
	{ "page of a VM_MIXEDMAP VMA", { .kind = PFNMAP_MIXED, .pages = 4 }, 1, REFCOUNTED },
	/* clang-format on */
};

static bool closed; /* KVM refuses VM_IO and VM_PFNMAP VMAs */

/* Functions of page fault handlers, whose pages the MMU notifier protects. */
static bool of_handlers(enum rig_lookup_call call)
{
	return call >= RIG_LOOKUP_PROT;
}

static bool calls_driver(const struct place *p, enum rig_lookup_call call)
{
	if (call == RIG_LOOKUP_SLOT_ATOMIC)
		return false;
	return p->spec.kind == PFNMAP_MIXED || of_handlers(call) || !closed;
}

/* The fast lookup of 6.12 leaves small pages that belong to no file to the slow one. */
static bool finds_fast(const struct place *p)
{
	return p->spec.kind == PFNMAP_MIXED && !kit_kernel(6, 12);
}

static bool finds(const struct place *p, enum rig_lookup_call call, bool touched)
{
	if (call == RIG_LOOKUP_SLOT_ATOMIC)
		return finds_fast(p) && touched;
	return calls_driver(p, call) &&
	       (p->found == REFCOUNTED || (p->found == PFN_ONLY && call != RIG_LOOKUP_PAGE));
}

/* gfn_to_pfn_prot() asks the fast lookup whether it may also write to an ordinary page. */
static bool tells_writable(const struct place *p, enum rig_lookup_call call)
{
	if (call == RIG_LOOKUP_PROT)
		return p->spec.kind != PFNMAP_MIXED || finds_fast(p);
	return call == RIG_LOOKUP_SLOT_ASYNC;
}

static void test_place(const struct place *p, enum rig_lookup_call call)
{
	bool mixed = p->spec.kind == PFNMAP_MIXED;
	struct vm *vm = vm_create(0);
	struct pfnmap_page *page;
	struct buf b;

	buf_open(&b, &p->spec);
	buf_map(&b, KIT_RW);
	page = &b.start[p->page];
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));

	/* First without a page table entry, then with one. */
	for (int touched = 0; touched < 2; touched++) {
		const char *what = touched ? ", touched before" : "";
		uint64_t faults = buf_stats(&b).faults;
		bool called = !touched && calls_driver(p, call);
		bool expected = finds(p, call, touched);
		bool writable = expected && tells_writable(p, call);
		struct rig_lookup l;

		l = kit_look_up(vm, call, KIT_GPA + (uint64_t)p->page * KIT_PAGE);
		tap_is(l.pfn, expected ? page->pfn : RIG_LOOKUP_NONE, "%s, %s%s: KVM %s", p->name,
		       calls[call], what, expected ? "finds it" : "finds nothing");
		/* An entry of a VM_MIXEDMAP VMA holds a reference of its own. */
		tap_is(l.count, expected ? page->count + (p->found == REFCOUNTED) + mixed : 0,
		       "%s, %s%s: it has %s", p->name, calls[call], what,
		       expected && p->found == REFCOUNTED ? "one reference more" :
							    "no reference to put");
		tap_is(l.flags, writable ? RIG_LOOKUP_WRITABLE : 0, "%s, %s%s: it is %swritable",
		       p->name, calls[call], what, writable ? "" : "not said to be ");
		tap_is(buf_stats(&b).faults - faults, called, "%s, %s%s: the driver is %scalled",
		       p->name, calls[call], what, called ? "" : "not ");
		((volatile char *)b.map)[(size_t)p->page * KIT_PAGE] = 1;
	}
	vm_destroy(vm);
	buf_end(&b, "%s, %s: counts are as before", p->name, calls[call]);
}

/* Memory whose content another thread will provide: KVM does not wait for that. */
static void test_wait(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct vm *vm = vm_create(0);
	struct uffdio_register reg;
	struct rig_lookup l;
	struct buf b;
	int fd;

	buf_open_anon(&b, 1);
	reg = (struct uffdio_register){
		.range = { (uintptr_t)b.map, b.size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		tap_bail("userfaultfd: %s", strerror(errno));
	l = kit_look_up(vm, RIG_LOOKUP_SLOT_ASYNC, KIT_GPA);
	tap_ok(l.pfn == RIG_LOOKUP_NONE && l.flags == RIG_LOOKUP_WAIT,
	       "memory that is not there yet, %s: KVM says so", calls[RIG_LOOKUP_SLOT_ASYNC]);
	close(fd);
	vm_destroy(vm);
	buf_close(&b);
}

/* Memory of the process itself: any KVM finds it. */
static void test_anon(enum rig_lookup_call call)
{
	struct vm *vm = vm_create(0);
	struct rig_lookup l;
	struct buf b;

	buf_open_anon(&b, 1);
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	*(volatile char *)b.map = 1;
	/* The entry holds a reference, and so does a batch of the LRU, for some time. */
	kit_settle();
	l = kit_look_up(vm, call, KIT_GPA);
	tap_ok(l.pfn != RIG_LOOKUP_NONE, "anonymous memory, %s: KVM finds it", calls[call]);
	tap_is(l.count, 2, "anonymous memory, %s: with a reference", calls[call]);
	kit_settle();
	l = kit_look_up(vm, call, KIT_GPA);
	tap_is(l.count, 2, "anonymous memory, %s: and has put it", calls[call]);
	l = kit_look_up(vm, call, KIT_GPA + KIT_PAGE);
	tap_is(l.pfn, RIG_LOOKUP_NONE, "no memslot, %s: KVM finds nothing", calls[call]);
	vm_destroy(vm);
	buf_close(&b);
}

int main(void)
{
	const char *param = getenv("KVM_ALLOW_UNSAFE_MAPPINGS");

	closed = tap_kvm_patched() && !(param && *param == '1');
	kit_start();
	for (enum rig_lookup_call call = 0; call < RIG_LOOKUP_NR_CALLS; call++) {
		test_anon(call);
		for (size_t i = 0; i < ARRAY_SIZE(places); i++)
			if (!buf_missing(&places[i].spec))
				test_place(&places[i], call);
	}
	test_wait();
	return kit_finish();
}
