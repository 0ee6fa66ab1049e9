// SPDX-License-Identifier: GPL-2.0-only
/*
 * counts - KVM leaves the reference count and mapcount of every page, and the flags of
 * non-refcounted pages, as it found them: while a guest has the pages mapped, and after memslot,
 * mapping and VM have gone, in various orders.
 *
 * Contract: 3, 7. Both variants pass, each on the pages that it can map; pages that stock refuses
 * must stay untouched as well.
 *
 * Seen to fail: a fault that keeps its reference; KVM marking all pages.
 */
#include <stdlib.h>

#include "tests/lib/kit.h"

/* Orders in which memslot (s), mapping (m) and VM (v) go. A VM takes its memslot with it. */
static const char *const sequences[] = { "smv", "msv", "vm", "mv", "svm" };

static const struct pfnmap_create specs[] = {
	{ .kind = PFNMAP_NONCOMPOUND, .order = 3, .pages = 32 },
	{ .kind = PFNMAP_NONCOMPOUND, .order = 9, .pages = 512 },
	{ .kind = PFNMAP_COMPOUND, .order = 3, .pages = 32 },
	{ .kind = PFNMAP_RESERVED, .order = 0, .pages = 32 },
	{ .kind = PFNMAP_SINGLE, .pages = 32 },
	{ .kind = PFNMAP_SHMEM, .pages = 32 },
	{ .kind = PFNMAP_BAR, .pages = 32 },
	{ .kind = PFNMAP_MIXED, .pages = 32 },
};

/* Have the guest write and execute; true if the driver sees what it wrote, and the code ran. */
static bool use(struct vcpu *v, const struct buf *b)
{
	struct guest_cmd cmd = {
		.op = GUEST_PATTERN,
		.gpa = KIT_GPA,
		.len = b->size,
		.stride = buf_stride(b),
		.value = rand(),
	};
	struct guest_outcome out;
	uint64_t code;

	VMM_MUST(guest_call(v, &cmd, NULL));
	for (uint64_t off = 0; off < b->size; off += cmd.stride)
		if (buf_word(b, off) != guest_pattern(cmd.value, off))
			return false;
	vcpu_code(v, &code, 0x1234);
	buf_set_word(b, 8, code);
	kit_touch(v, KIT_EXEC, KIT_GPA + 8, 0, &out);
	return out.end == GUEST_DONE && out.result == 0x1234;
}

/* Touch a page that this KVM does not map; true if that is EFAULT, or there is no such page. */
static bool use_refused(struct vcpu *v, const struct buf *b)
{
	struct guest_outcome out;

	for (uint32_t i = 0; i < b->spec.pages; i++) {
		if (page_usable(&b->start[i]))
			continue;
		kit_touch(v, KIT_WRITE, KIT_GPA + i * KIT_PAGE, 1, &out);
		return kit_efault(&out);
	}
	return true;
}

static void test(const struct pfnmap_create *spec, const char *sequence)
{
	struct pfnmap_page *unmapped;
	const char *why = NULL;
	struct vcpu *v;
	struct vm *vm;
	struct buf b;
	bool used;

	buf_open(&b, spec);
	buf_map(&b, KIT_RW);
	/* PFNMAP_MIXED pages count the host's own entries: make these, and compare with that. */
	for (uint32_t i = 0; i < spec->pages; i++)
		*(volatile char *)(b.map + i * KIT_PAGE);
	unmapped = b.start;
	b.start = buf_report(&b);

	vm = vm_create(0);
	v = vcpu_create(vm, kit_mode());
	VMM_MUST(vm_slot_set(vm, KIT_SLOT, KIT_GPA, b.size, b.map, 0));
	used = use(v, &b) && use_refused(v, &b);
	why = buf_changes(&b);
	if (!tap_ok(used && !why,
		    "%s: a guest that uses the pages leaves counts and flags unchanged",
		    buf_name(&b)))
		tap_diag("%s", used ? why : vmm_error());
	free(b.start);
	b.start = unmapped;

	for (const char *end = sequence; *end; end++) {
		if (*end == 's') {
			VMM_MUST(vm_slot_delete(vm, KIT_SLOT));
		} else if (*end == 'm') {
			buf_unmap(&b);
		} else {
			vcpu_destroy(v);
			vm_destroy(vm);
		}
	}
	buf_end(&b, "counts and flags are unchanged after sequence %s", sequence);
}

int main(void)
{
	kit_start();
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		for (uint32_t insert = 0; insert < PFNMAP_INSERT_PMD; insert++) {
			struct pfnmap_create spec = specs[i];

			spec.insert = insert;
			test(&spec, sequences[(i + insert) % ARRAY_SIZE(sequences)]);
		}
	}
	return kit_finish();
}
