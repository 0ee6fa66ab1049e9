// SPDX-License-Identifier: GPL-2.0-only
/*
 * marks - KVM marks refcounted pages accessed and dirty at the same moments and as often as it
 * always did, and leaves every flag of other pages alone.
 *
 * Contract: 3, 5, 6, 7. Both variants must match the same table of marks, which is the point of the
 * test. A variant does not mark pages that it refuses.
 *
 * Seen to fail: SPTEs without the bit for refcounted pages, at 4 KiB or 2 MiB or after write
 * protection, or of what is mapped ahead; all SPTEs with it; lookups that always report a writable
 * page; a fault or a kvm_vcpu_unmap() that does not mark.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/kit.h"

enum memory { NONCOMPOUND, COMPOUND, SINGLE, SHMEM, MIXED, ANON, THP, NR_MEMORIES };

enum scene {
	READ, /* read through a writable mapping */
	WRITE,
	READ_VMA,  /* read through a read-only mapping */
	READ_SLOT, /* read in a read-only slot */
	LOG,	   /* write, then log dirty pages */
	VMSAVE,	   /* KVM writes through its own mapping; the guest does not write */
	NR_SCENES
};

static const char *const memory_names[NR_MEMORIES] = {
	"noncompound head", "compound head", "single", "shmem", "mixed", "anonymous", "THP",
};

static const char *const scene_names[NR_SCENES] = {
	"read",
	"written",
	"read, read-only VMA",
	"read, read-only slot",
	"written, then logged",
	"written by KVM",
};

/*
 * The flags of a page while it is mapped and after its SPTE is gone: dirty, referenced, active. A
 * page that was mapped writable counts as dirty when it is unmapped, written or not. PG_referenced
 * counts: each mark of a page flips it, and the second one makes a page on the LRU active.
 */
struct marks {
	const char *mapped, *gone;
};

static const struct marks marks[NR_MEMORIES][NR_SCENES] = {
/* clang-format off */
#define NO_LRU {				\
	[READ]		= { "-R-", "D--" },	\
	[WRITE]		= { "-R-", "D--" },	\
	[READ_VMA]	= { "-R-", "---" },	\
	[READ_SLOT]	= { "-R-", "---" },	\
	[LOG]		= { "-R-", "D--" },	\
	[VMSAVE]	= { "DR-", "DR-" },	\
}
	[NONCOMPOUND] = NO_LRU,
	[COMPOUND] = NO_LRU,
	[SINGLE] = NO_LRU,
	[SHMEM] = {
		[READ]		= { "-R-", "D-A" },
		[WRITE]		= { "-R-", "D-A" },
		[READ_VMA]	= { "-R-", "--A" },
		[READ_SLOT]	= { "-R-", "--A" },
		[LOG]		= { "-R-", "D-A" },
		[VMSAVE]	= { "DR-", "DR-" },
	},
	/* get_user_pages() marks these, too. */
	[MIXED] = {
		[READ]		= { "---", "DR-" },
		[WRITE]		= { "D--", "DR-" },
		[READ_VMA]	= { "---", "-R-" },
		[READ_SLOT]	= { "---", "-R-" },
		[LOG]		= { "D--", "DR-" },
		[VMSAVE]	= { "D--", "D--" },
	},
	[ANON] = {
		[READ]		= { "--A", "DRA" },
		[WRITE]		= { "--A", "DRA" },
		[READ_VMA]	= { "--A", "-RA" },
		[READ_SLOT]	= { "--A", "-RA" },
		[LOG]		= { "--A", "DRA" },
		[VMSAVE]	= { "D-A", "D-A" },
	},
	/* The TDP MMU splits a huge page when logging begins, which marks it. */
	[THP] = {
		[READ]		= { "--A", "DRA" },
		[WRITE]		= { "--A", "DRA" },
		[READ_VMA]	= { "-R-", "--A" },
		[READ_SLOT]	= { "-R-", "--A" },
		[LOG]		= { "DRA", "DRA" },
		[VMSAVE]	= { "D-A", "D-A" },
	},
	/* clang-format on */
};

/*
 * eptad=0: without a dirty bit the write permission means dirty, and whatever removes it must pass
 * that on. These are the flags while mapped; the rest is as above.
 */
static const char *const logged_eptad0[NR_MEMORIES] = {
	"DR-", "DR-", "DR-", "DR-", "D--", "D-A", "DRA",
};

static const struct marks thp_log_shadow_mmu = { "--A", "DRA" };

/*
 * get_user_pages_fast() of 6.12 leaves small pages without an address_space to its slow path,
 * because they could be secretmem. Only the fast path finds out whether a page that is read is
 * writable.
 */
static const struct marks mixed_read_6_12 = { "---", "-R-" };

struct mem {
	enum memory memory;
	struct buf b;
	char *map;
	size_t size;
};

/* The flags of the first page. */
static const char *flags(const struct mem *m)
{
	static char text[4];
	struct pfnmap_page *p;

	if (m->memory >= ANON) {
		kit_settle();
		return kit_flags(m->map);
	}
	p = buf_report(&m->b);
	snprintf(text, sizeof(text), "%c%c%c", p->flags & PFNMAP_PAGE_DIRTY ? 'D' : '-',
		 p->flags & PFNMAP_PAGE_REFERENCED ? 'R' : '-',
		 p->flags & PFNMAP_PAGE_ACTIVE ? 'A' : '-');
	free(p);
	return text;
}

static void open_memory(struct mem *m, enum memory memory, enum scene scene)
{
	static const struct pfnmap_create specs[] = {
		[NONCOMPOUND] = { .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 8 },
		[COMPOUND] = { .kind = PFNMAP_COMPOUND, .order = 3, .pages = 8 },
		[SINGLE] = { .kind = PFNMAP_SINGLE, .pages = 8 },
		[SHMEM] = { .kind = PFNMAP_SHMEM, .pages = 8 },
		[MIXED] = { .kind = PFNMAP_MIXED, .pages = 8 },
	};

	*m = (struct mem){ .memory = memory, .size = memory == THP ? KIT_HUGE : 8 * KIT_PAGE };
	if (memory < ANON) {
		buf_open(&m->b, &specs[memory]);
		buf_map(&m->b, scene == READ_VMA ? PROT_READ : KIT_RW);
		m->map = m->b.map;
		return;
	}
	m->map = vm_anon(m->size, memory == THP ? KIT_HUGE : KIT_PAGE);
	if (madvise(m->map, m->size, memory == THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		tap_bail("madvise: %s", strerror(errno));
	memset(m->map, 1, m->size);
	if (scene == READ_VMA && mprotect(m->map, m->size, PROT_READ))
		tap_bail("mprotect: %s", strerror(errno));
}

static void close_memory(struct mem *m)
{
	if (m->memory < ANON)
		buf_close(&m->b);
	else
		munmap(m->map, m->size);
}

/* Have the guest access the page at `offset` of slot KIT_SLOT; returns as guest_call(). */
static int act(struct vcpu *v, enum scene scene, uint64_t offset, struct guest_outcome *out)
{
	struct guest_cmd vmsave = { .op = GUEST_VMSAVE, .gpa = KIT_GPA + offset };
	bool writes = scene == WRITE || scene == LOG;
	int ret;

	if (scene == VMSAVE)
		return guest_call(v, &vmsave, out);
	ret = kit_touch(v, writes ? KIT_WRITE : KIT_READ, KIT_GPA + offset, 1, out);

	if (scene == LOG)
		VMM_MUST(vm_slot_flags(v->vm, KIT_SLOT, KVM_MEM_LOG_DIRTY_PAGES));
	return ret;
}

static bool intel(void)
{
	return !access("/sys/module/kvm_intel", F_OK);
}

static bool eptad0(void)
{
	return intel() && !kit_param("kvm_intel", "eptad");
}

static void test_marked(struct vcpu *v, enum memory memory, enum scene scene)
{
	const struct marks *want = &marks[memory][scene];
	const char *want_mapped;
	struct guest_outcome out;
	char begin[4], mapped[4], gone[4];
	const struct marks unmarked = { begin, begin };
	/* Patched KVM does not map a driver's memory for itself. */
	bool refused = scene == VMSAVE && memory < MIXED && tap_kvm_patched();
	struct mem m;
	int ret;

	if (memory == THP && scene == LOG && !kit_tdp_mmu())
		want = &thp_log_shadow_mmu;
	if (memory == MIXED && scene == READ && kit_kernel(6, 12))
		want = &mixed_read_6_12;
	open_memory(&m, memory, scene);
	strcpy(begin, flags(&m));
	if (strcmp(begin, "---"))
		tap_diag("%s: the flags start as %s", memory_names[memory], begin);
	if (refused)
		want = &unmarked;
	want_mapped = scene == LOG && eptad0() ? logged_eptad0[memory] : want->mapped;
	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, m.size, m.map,
			     scene == READ_SLOT ? KVM_MEM_READONLY : 0));
	ret = act(v, scene, 0, &out);
	if (refused)
		tap_ok(ret && out.end == GUEST_EXCEPTION, "%s, %s: KVM refuses the page: %s",
		       memory_names[memory], scene_names[scene], guest_describe(&out));
	else
		VMM_MUST(ret);
	strcpy(mapped, flags(&m));
	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
	strcpy(gone, flags(&m));
	if (!tap_ok(!strcmp(mapped, want_mapped) && !strcmp(gone, want->gone),
		    "%s, %s: flags are %s, then %s", memory_names[memory], scene_names[scene],
		    want_mapped, want->gone))
		tap_diag("they are %s, then %s", mapped, gone);
	close_memory(&m);
}

/* Access the last page, which is not refcounted: nothing about the buffer may change. */
static void test_unmarked(struct vcpu *v, const struct pfnmap_create *spec, enum scene scene)
{
	uint32_t page = spec->pages - 1;
	const char *mapped, *gone;
	struct guest_outcome out;
	struct buf b;

	buf_open(&b, spec);
	buf_map(&b, scene == READ_VMA ? PROT_READ : KIT_RW);
	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, b.size, b.map,
			     scene == READ_SLOT ? KVM_MEM_READONLY : 0));
	act(v, scene, page * KIT_PAGE, &out);
	mapped = buf_changes(&b);
	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
	gone = buf_changes(&b);
	if (!tap_ok(!mapped && !gone && !page_refcounted(&b.start[page]) &&
			    (out.end == GUEST_DONE) == page_usable(&b.start[page]),
		    "%s, %s: KVM marks nothing", buf_name(&b), scene_names[scene]))
		tap_diag("%s, %s", guest_describe(&out),
			 mapped ? mapped :
			 gone	? gone :
				  "unchanged");
	buf_close(&b);
}

/*
 * Where the shadow MMU makes an SPTE, it also maps the pages next to it, if its own tables have
 * accessed bits. Those count as dirty when they are unmapped.
 */
static void test_ahead(struct vcpu *v)
{
	bool ahead = !kit_tdp_mmu() && !(kit_tdp() && eptad0());
	const char *next;
	struct mem m;

	open_memory(&m, ANON, READ);
	next = m.map + KIT_PAGE;
	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, m.size, m.map, 0));
	kit_settle();
	tap_ok(kit_flags(next)[0] != 'D', "anonymous: the next page is not dirty before");
	kit_touch(v, KIT_READ, KIT_GPA, 0, NULL);
	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
	kit_settle();
	tap_is(kit_flags(next)[0] == 'D', ahead,
	       "anonymous: KVM marks the next page dirty only if it maps it ahead");
	close_memory(&m);
}

int main(void)
{
	static const struct pfnmap_create not_refcounted[] = {
		{ .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 8 },
		{ .kind = PFNMAP_COMPOUND, .order = 3, .pages = 8 },
		{ .kind = PFNMAP_RESERVED, .pages = 8 },
		{ .kind = PFNMAP_BAR, .pages = 8 },
	};
	struct vcpu *v;
	struct vm *vm;

	kit_start();
	kit_count_marks();
	vm = vm_create(0);
	v = vcpu_create(vm, kit_mode());
	for (enum scene scene = 0; scene < NR_SCENES; scene++) {
		if (scene == VMSAVE && kit_mode() != VCPU_LONG) {
			tap_skip(1, "the program for 32-bit guests does not have VMSAVE");
			continue;
		}
		if (scene == VMSAVE && intel()) {
			tap_skip(1,
				 "VMSAVE exists on AMD only; nested_vmcs tests KVM's own mappings");
			continue;
		}
		for (enum memory memory = 0; memory < NR_MEMORIES; memory++)
			test_marked(v, memory, scene);
		/* nested_vmcb tests whether KVM maps these for itself. */
		for (size_t i = 0; i < ARRAY_SIZE(not_refcounted) && scene != VMSAVE; i++)
			test_unmarked(v, &not_refcounted[i], scene);
	}
	test_ahead(v);
	vcpu_destroy(v);
	vm_destroy(vm);
	return kit_finish();
}
