// SPDX-License-Identifier: GPL-2.0-only
/*
 * fault_matrix - A guest can read, write and execute every kind of page that a driver exports,
 * however the driver inserts it, if and only if the table below says so; otherwise KVM_RUN fails
 * with EFAULT and nothing is written.
 *
 * Contract: 2, 3, 5 (the PAE formats), 7.
 *
 * Seen to fail: stock KVM with the column of patched; device memory taken for reserved pages.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/kit.h"

#define ORDERS	(1u << 0 | 1u << 1 | 1u << 3 | 1u << 9)
#define CHUNK_3 (1u << 3)

/* The result of a guest's first access to a page. */
enum touch { OK, EFAULTS };

struct expected {
	enum touch first; /* the first page of a chunk */
	enum touch others;
};

struct row {
	enum pfnmap_kind kind;
	uint32_t orders; /* bits */
	struct expected stock;
	struct expected patched;	/* nested paging, with or without the TDP MMU */
	struct expected patched_shadow; /* npt=0, ept=0, or a 32-bit host */
};

/*
 * 4 KiB entries. KVM refuses a page if it concludes from the struct page that it needs a reference,
 * and the count is 0.
 */
static const struct row rows[] = {
	/* clang-format off */
	{ PFNMAP_NONCOMPOUND, ORDERS, { OK, EFAULTS }, { OK, OK }, { OK, EFAULTS } },
	{ PFNMAP_COMPOUND,    ORDERS, { OK, EFAULTS }, { OK, OK }, { OK, EFAULTS } },
	{ PFNMAP_RESERVED,    ORDERS, { OK, OK },      { OK, OK }, { OK, OK } },
	{ PFNMAP_SINGLE,      1,      { OK, OK },      { OK, OK }, { OK, OK } },
	{ PFNMAP_SHMEM,       1,      { OK, OK },      { OK, OK }, { OK, OK } },
	{ PFNMAP_BAR,         1,      { OK, OK },      { OK, OK }, { OK, OK } },
	{ PFNMAP_MIXED,       1,      { OK, OK },      { OK, OK }, { OK, OK } },
	{ PFNMAP_DEVICE,      1u << 9, { OK, EFAULTS }, { OK, OK }, { OK, EFAULTS } },
	/* clang-format on */
};

/*
 * Without unrestricted guests, that is with ept=0, Intel's processors cannot run the real mode that
 * the guest program uses. KVM emulates each instruction, and reaches memory through the VMM's
 * mapping.
 */
static const struct expected emulated = { OK, OK };

static const struct expected *expectation(const struct row *row, enum vcpu_mode mode)
{
	if (mode == VCPU_REAL && !access("/sys/module/kvm_intel", F_OK) &&
	    !kit_param("kvm_intel", "unrestricted_guest"))
		return &emulated;
	if (!tap_kvm_patched())
		return &row->stock;
	return kit_takes_all() ? &row->patched : &row->patched_shadow;
}

static uint64_t token(void)
{
	static uint64_t n;

	return ++n * 0x9e3779b97f4a7c15;
}

/* Have the guest access one page, and check the content. Returns NULL or what is wrong. */
static const char *touch(struct vcpu *v, struct buf *b, uint32_t page, enum kit_access access,
			 enum touch expected)
{
	uint64_t offset = (uint64_t)page * KIT_PAGE + 8 * (page % 512);
	uint64_t before = token(), value = token(), after, want;
	static char text[160];
	struct guest_outcome out;

	if (access == KIT_EXEC)
		vcpu_code(v, &before, value);
	buf_set_word(b, offset, before);
	kit_touch(v, access, KIT_GPA + offset, value, &out);
	after = buf_word(b, offset);

	if (expected == EFAULTS) {
		if (kit_efault(&out) && after == before)
			return NULL;
	} else if (out.end == GUEST_DONE) {
		want = access == KIT_WRITE ? value : before;
		if (after == want &&
		    (access == KIT_WRITE ||
		     out.result == (access == KIT_READ ? before : (uint32_t)value)))
			return NULL;
	}
	snprintf(text, sizeof(text), "page %u: %s, content %#llx -> %#llx, expected %s", page,
		 guest_describe(&out), (unsigned long long)before, (unsigned long long)after,
		 expected == OK ? "success" : "EFAULT");
	return text;
}

/* Every page of a small buffer, some of a large one. */
static bool touches(uint32_t page)
{
	return page < 32 || page % 61 == 0 || page % 512 == 511;
}

static void test_accesses(struct vcpu *v, struct buf *b, const struct expected *expected,
			  const char *mode)
{
	uint32_t chunk = 1u << b->spec.order;

	for (enum kit_access access = 0; access < KIT_NR_ACCESSES; access++) {
		const char *why = NULL;

		/* Have this kind of access create the host's entries, too. */
		buf_do(b, PFNMAP_REVOKE, 0);
		for (uint32_t i = 0; i < b->spec.pages && !why; i++)
			if (touches(i))
				why = touch(v, b, i, access,
					    i % chunk ? expected->others : expected->first);
		if (!tap_ok(!why, "%s: %s in %s mode gives the expected result", buf_name(b),
			    kit_access_names[access], mode))
			tap_diag("%s", why);
	}
}

static void test_buffer(struct vcpu *v, const struct row *row, uint32_t order,
			enum pfnmap_insert insert, const char *mode)
{
	struct pfnmap_create spec = {
		.kind = row->kind,
		.insert = insert,
		.order = order,
		.pages = order > 4 ? 1u << order : 32,
	};
	struct buf b;

	if (row->kind == PFNMAP_DEVICE && buf_missing(&spec))
		return;
	buf_open(&b, &spec);
	buf_map(&b, KIT_RW);
	VMM_MUST(vm_slot_set(v->vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	test_accesses(v, &b, expectation(row, v->mode), mode);
	VMM_MUST(vm_slot_delete(v->vm, KIT_SLOT));
	buf_unmap(&b);
	tap_ok(!buf_changes(&b), "%s: counts and flags are unchanged", buf_name(&b));
	buf_close(&b);
}

int main(void)
{
	struct vm *vm;
	struct vcpu *v;

	kit_start();
	vm = vm_create(0);
	v = vcpu_create(vm, kit_mode());
	for (size_t r = 0; r < ARRAY_SIZE(rows); r++)
		for (uint32_t order = 0; order <= PFNMAP_MAX_ORDER; order++)
			for (uint32_t insert = 0; insert < PFNMAP_INSERT_PMD; insert++)
				if (rows[r].orders & 1u << order)
					test_buffer(v, &rows[r], order, insert,
						    kit_mode() == VCPU_LONG ? "long" : "PAE");
	vcpu_destroy(v);

	/* With shadow paging these modes use PAE page tables, whose entries have no spare bit. */
	for (enum vcpu_mode mode = VCPU_REAL; mode <= VCPU_PAE; mode++) {
		v = vcpu_create(vm, mode);
		for (size_t r = 0; r < ARRAY_SIZE(rows); r++)
			test_buffer(v, &rows[r],
				    rows[r].orders & CHUNK_3 ? 3 : __builtin_ctz(rows[r].orders),
				    PFNMAP_INSERT_ONE, mode == VCPU_REAL ? "real" : "PAE");
		vcpu_destroy(v);
	}
	vm_destroy(vm);
	return kit_finish();
}
