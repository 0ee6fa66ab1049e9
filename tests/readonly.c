// SPDX-License-Identifier: GPL-2.0-only
/*
 * readonly - A guest can read and execute memory that the host or the memslot makes read-only, and
 * never writes it, whether its pages are refcounted or not.
 *
 * Contract: 1 (writable), 3, 7. A store is handled as KVM always did, which the series keeps; the
 * table has the result for each case.
 *
 * Seen to fail: SPTEs that are writable where the host is not.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/kit.h"

enum result {
	DONE,	      /* the access worked */
	EFAULTS,      /* KVM_RUN failed with EFAULT */
	MMIO,	      /* KVM_EXIT_MMIO with the store */
	NO_EMULATION, /* KVM_EXIT_INTERNAL_ERROR: KVM cannot emulate the instruction */
};

enum scene {
	RO_SLOT,	/* KVM_MEM_READONLY, the mapping is writable */
	RO_VMA,		/* mmap(PROT_READ), the host has not touched the page */
	RO_VMA_PRESENT, /* mmap(PROT_READ), the host has read the page */
	MPROTECT,	/* the guest has written the page, then mprotect(PROT_READ) */
	MPROTECT_BACK,	/* likewise, then mprotect(PROT_READ | PROT_WRITE) */
	MKWRITE,	/* the driver inserts read-only entries first */
	MKWRITE_DONE,	/* likewise, the host has written the page */
};

enum how { READ, EXEC, STORE, READ_STORE, FSTORE };

/*
 * KVM emulates a store if the host's entry is present but not writable. That does not need a pfn,
 * so it works for any page, or ends as MMIO if the VMM's mapping is not writable either.
 */
static const struct row {
	const char *name;
	enum scene scene;
	enum how how;
	enum result refcounted; /* both variants */
	enum result stock;	/* a page that stock refuses */
	enum result patched;	/* the same page */
} rows[] = {
	/* clang-format off */
	{ "read of a read-only slot",		RO_SLOT,	READ,	DONE, EFAULTS, DONE },
	{ "execution in a read-only slot",	RO_SLOT,	EXEC,	DONE, EFAULTS, DONE },
	{ "store to a read-only slot",		RO_SLOT,	STORE,	MMIO, MMIO, MMIO },
	{ "read and store, read-only slot",	RO_SLOT,	READ_STORE, MMIO, MMIO, MMIO },
	{ "read of a read-only VMA",		RO_VMA,		READ,	DONE, EFAULTS, DONE },
	{ "execution in a read-only VMA",	RO_VMA,		EXEC,	DONE, EFAULTS, DONE },
	{ "store to a read-only VMA",		RO_VMA,		STORE,	EFAULTS, EFAULTS, EFAULTS },
	{ "read of a present read-only page",	RO_VMA_PRESENT, READ,	DONE, EFAULTS, DONE },
	{ "store to a present read-only page",	RO_VMA_PRESENT, STORE,	MMIO, MMIO, MMIO },
	{ "read and store, read-only VMA",	RO_VMA,		READ_STORE, MMIO, MMIO, MMIO },
	{ "read after mprotect",		MPROTECT,	READ,	DONE, EFAULTS, DONE },
	{ "store after mprotect",		MPROTECT,	STORE,	MMIO, MMIO, MMIO },
	{ "store after mprotect back",		MPROTECT_BACK,	STORE,	DONE, EFAULTS, DONE },
	{ "read before pfn_mkwrite",		MKWRITE,	READ,	DONE, EFAULTS, DONE },
	{ "execution before pfn_mkwrite",	MKWRITE,	EXEC,	DONE, EFAULTS, DONE },
	{ "store before pfn_mkwrite",		MKWRITE,	STORE,	DONE, DONE, DONE },
	{ "read and store before pfn_mkwrite",	MKWRITE,	READ_STORE, DONE, DONE, DONE },
	{ "fstp before pfn_mkwrite",		MKWRITE,	FSTORE,	NO_EMULATION, NO_EMULATION,
									NO_EMULATION },
	{ "store after pfn_mkwrite",		MKWRITE_DONE,	STORE,	DONE, EFAULTS, DONE },
	{ "fstp after pfn_mkwrite",		MKWRITE_DONE,	FSTORE,	DONE, EFAULTS, DONE },
	/* clang-format on */
};

static const char *const result_names[] = {
	[DONE] = "succeeds",
	[EFAULTS] = "fails with EFAULT",
	[MMIO] = "ends as MMIO",
	[NO_EMULATION] = "cannot be emulated",
};

static bool is_result(const struct guest_outcome *out, enum result expected)
{
	switch (expected) {
	case DONE:
		return out->end == GUEST_DONE;
	case EFAULTS:
		return kit_efault(out);
	case MMIO:
		return out->end == GUEST_EXIT && out->exit_reason == KVM_EXIT_MMIO &&
		       out->mmio_write;
	case NO_EMULATION:
		return out->end == GUEST_EXIT && out->exit_reason == KVM_EXIT_INTERNAL_ERROR;
	}
	return false;
}

static void prepare(struct vcpu *v, struct buf *b, enum scene scene, uint64_t offset)
{
	bool ro_vma = scene == RO_VMA || scene == RO_VMA_PRESENT;
	volatile char *p;

	buf_map(b, ro_vma ? PROT_READ : KIT_RW);
	p = b->map + offset;
	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, b->size, b->map,
			     scene == RO_SLOT ? KVM_MEM_READONLY : 0));
	switch (scene) {
	case RO_VMA_PRESENT:
		*p;
		break;
	case MKWRITE_DONE:
		*p = 0;
		break;
	case MPROTECT:
	case MPROTECT_BACK:
		*p = 0; /* for pages that the guest cannot write */
		kit_touch(v, KIT_WRITE, KIT_GPA + offset, 0, NULL);
		if (mprotect(b->map, b->size, PROT_READ) ||
		    (scene == MPROTECT_BACK && mprotect(b->map, b->size, KIT_RW)))
			tap_bail("mprotect: %s", strerror(errno));
		break;
	default:
		break;
	}
}

static void test(struct vcpu *v, const struct row *row, enum pfnmap_kind kind, uint32_t order,
		 uint32_t page)
{
	static const uint32_t ops[] = {
		[READ] = GUEST_READ,	   [EXEC] = GUEST_EXEC,	    [STORE] = GUEST_FILL,
		[READ_STORE] = GUEST_FILL, [FSTORE] = GUEST_FSTORE,
	};
	bool mkwrite = row->scene == MKWRITE || row->scene == MKWRITE_DONE;
	struct pfnmap_create spec = {
		.kind = kind,
		.order = order,
		.pages = 16,
		.flags = mkwrite ? PFNMAP_CREATE_MKWRITE : 0,
	};
	uint64_t offset = page * KIT_PAGE, code, after, want;
	struct guest_cmd cmd = {
		.op = ops[row->how],
		.gpa = KIT_GPA + offset,
		.len = 8,
		.value = 0x77,
	};
	struct guest_outcome out;
	enum result expected;
	struct buf b;

	buf_open(&b, &spec);
	if (page_usable(&b.start[page]) && (page_refcounted(&b.start[page]) || kind == PFNMAP_BAR))
		expected = row->refcounted;
	else
		expected = kit_takes_all() ? row->patched : row->stock;

	prepare(v, &b, row->scene, offset);
	vcpu_code(v, &code, 0x99);
	buf_set_word(&b, offset, code);
	/* The store must not go through the entry that the read created. */
	if (row->how == READ_STORE)
		kit_touch(v, KIT_READ, cmd.gpa, 0, NULL);
	guest_call(v, &cmd, &out);
	after = buf_word(&b, offset);
	want = code;
	if (expected == DONE && (row->how == STORE || row->how == READ_STORE))
		want = 0x77;
	else if (expected == DONE && row->how == FSTORE)
		want = 0x3ff0000000000000; /* 1.0 */

	/*
	 * A guest that is not 64-bit stores in two steps. KVM emulates the first one, which makes
	 * the host's entry writable, and then refuses to map the page for the second.
	 */
	if (kit_mode() != VCPU_LONG && row->scene == MKWRITE && expected == DONE && want == 0x77 &&
	    !page_usable(&b.start[page])) {
		expected = EFAULTS;
		want |= code & ~(uint64_t)UINT32_MAX;
	}

	if (!tap_ok(is_result(&out, expected) && after == want &&
			    (expected != DONE || row->how != READ || out.result == code) &&
			    (expected != DONE || row->how != EXEC || out.result == 0x99),
		    "%s page %u: %s %s", buf_name(&b), page, row->name, result_names[expected]))
		tap_diag("%s, content %#llx", guest_describe(&out), (unsigned long long)after);
	if (row->scene == MKWRITE)
		tap_is(buf_stats(&b).mkwrites, (uint32_t)want == 0x77,
		       "%s page %u: %s: number of pfn_mkwrite calls", buf_name(&b), page,
		       row->name);

	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
	buf_end(&b, "page %u: %s: counts and flags are unchanged", page, row->name);
}

int main(void)
{
	struct vcpu *v;
	struct vm *vm;

	kit_start();
	vm = vm_create(0);
	v = vcpu_create(vm, kit_mode());
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		test(v, &rows[i], PFNMAP_NONCOMPOUND, 3, 8);
		test(v, &rows[i], PFNMAP_NONCOMPOUND, 3, 11);
		test(v, &rows[i], PFNMAP_COMPOUND, 3, 11);
		test(v, &rows[i], PFNMAP_SHMEM, 0, 5);
		test(v, &rows[i], PFNMAP_BAR, 0, 5);
	}
	vcpu_destroy(v);
	vm_destroy(vm);
	return kit_finish();
}
