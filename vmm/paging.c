// SPDX-License-Identifier: GPL-2.0-only
/*
 * paging.c - the guest's page tables, for PAE and long mode, and its nested page tables, all in the
 * low slot.
 */
#include <errno.h>
#include <string.h>

#include "vmm/internal.h"

typedef unsigned long long ull;

#define PTE_P	 (1ull << 0)
#define PTE_W	 (1ull << 1)
#define PTE_U	 (1ull << 2) /* set, because all accesses through nested tables are user accesses */
#define PTE_A	 (1ull << 5)
#define PTE_D	 (1ull << 6)
#define PTE_PS	 (1ull << 7)
#define PTE_NX	 (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

/*
 * EPT entries: PTE_P, PTE_W and PTE_U mean read, write and execute, and PTE_PS a large page. The
 * memory type of a page, write-back, is where other formats have PTE_A.
 */
#define EPT_X  (1ull << 2)
#define EPT_WB (6ull << 3)
#define EPT_A  (1ull << 8)
#define EPT_D  (1ull << 9)

/* Formats of page tables. AMD's nested tables have the format of long mode. */
enum format { PAE, LONG, EPT };

#define SHIFT_4K   12
#define SHIFT_2M   21
#define SHIFT_1G   30
#define SHIFT_512G 39

static uint64_t *table_at(struct vm *vm, uint64_t gpa)
{
	return (uint64_t *)((char *)vm->low + gpa);
}

/* The address of a new, empty table, or -ENOSPC. */
static int64_t new_table(struct vm *vm)
{
	int64_t gpa = vm->next_table;

	if (gpa + 4096 > GUEST_LOW_SIZE)
		return vmm_fail(ENOSPC, "vm_map: no room for page tables");
	vm->next_table += 4096;
	return gpa;
}

/*
 * Make *entry, whose table has entries of 1 << shift bytes, point to a new table that maps the same
 * memory as the entry did before.
 */
static int make_table(struct vm *vm, uint64_t *entry, unsigned int shift, enum format format)
{
	int64_t gpa = new_table(vm);
	uint64_t bits = PTE_P | PTE_W | PTE_U;
	uint64_t *table;

	if (gpa < 0)
		return gpa;
	table = table_at(vm, gpa);
	bits |= format == EPT ? EPT_A : PTE_A;
	if (format == PAE && shift == SHIFT_1G)
		bits = PTE_P; /* the other bits are reserved in a PDPTE */
	if (*entry & PTE_P) {
		uint64_t child = *entry;

		shift -= 9;
		if (shift == SHIFT_4K)
			child &= ~PTE_PS;
		for (unsigned int i = 0; i < 512; i++)
			table[i] = child + ((uint64_t)i << shift);
	}
	*entry = gpa | bits;
	return 0;
}

/* Find the entry of 1 << leaf_shift bytes for gva, building missing tables above it. */
static int find_entry(struct vm *vm, uint64_t root, enum format format, uint64_t gva,
		      unsigned int leaf_shift, uint64_t **entry)
{
	unsigned int shift = format == PAE ? SHIFT_1G : SHIFT_512G;
	uint64_t *table = table_at(vm, root);

	for (; shift > leaf_shift; shift -= 9) {
		*entry = &table[gva >> shift & 511];
		if (!(**entry & PTE_P) || (**entry & PTE_PS)) {
			int ret = make_table(vm, *entry, shift, format);

			if (ret)
				return ret;
		}
		table = table_at(vm, **entry & PTE_ADDR);
	}
	*entry = &table[gva >> shift & 511];
	return 0;
}

static int map_range(struct vm *vm, uint64_t root, enum format format, uint64_t gva, uint64_t gpa,
		     uint64_t len, unsigned int shift, uint32_t flags)
{
	uint64_t bits = PTE_P;

	if (!(flags & VM_MAP_RO))
		bits |= PTE_W;
	if (format == EPT)
		bits |= EPT_WB | EPT_A | EPT_D | (flags & VM_MAP_NX ? 0 : EPT_X);
	else
		bits |= PTE_U | PTE_A | PTE_D | (flags & VM_MAP_NX ? PTE_NX : 0);
	if (shift > SHIFT_4K)
		bits |= PTE_PS;
	for (uint64_t off = 0; off < len; off += 1ull << shift) {
		uint64_t *entry;
		int ret = find_entry(vm, root, format, gva + off, shift, &entry);

		if (ret)
			return ret;
		*entry = (gpa + off) | bits;
	}
	return 0;
}

/* Return *root, after building identity tables for the first 4 GiB if there are none yet. */
static uint64_t get_root(struct vm *vm, uint64_t *root, enum format format)
{
	if (!*root) {
		*root = VMM_MUST(new_table(vm));
		VMM_MUST(map_range(vm, *root, format, 0, 0, 1ull << 32, SHIFT_2M, 0));
	}
	return *root;
}

uint64_t vm_page_root(struct vm *vm, enum vcpu_mode mode)
{
	if (mode == VCPU_PAE)
		return get_root(vm, &vm->root_pae, PAE);
	return get_root(vm, &vm->root_long, LONG);
}

static enum format nested_format(const struct vm *vm)
{
	return vm->nesting == GUEST_VMX ? EPT : LONG;
}

uint64_t vm_nested_root(struct vm *vm)
{
	return get_root(vm, &vm->root_nested, nested_format(vm));
}

/* The shift of a page size, or -EINVAL if the format lacks that size. */
static int page_shift(enum format format, uint64_t page)
{
	if (page == 1ull << SHIFT_4K)
		return SHIFT_4K;
	if (page == 1ull << SHIFT_2M)
		return SHIFT_2M;
	if (page == 1ull << SHIFT_1G && format != PAE)
		return SHIFT_1G;
	return vmm_fail(EINVAL, "vm_map: page size 0x%llx", (ull)page);
}

static int check_and_map(struct vm *vm, uint64_t root, enum format format, uint64_t gva,
			 uint64_t gpa, uint64_t len, uint64_t page, uint32_t flags)
{
	uint64_t limit = format == PAE ? 1ull << 32 : 1ull << 47;
	int shift = page_shift(format, page);

	if (shift < 0)
		return shift;
	if (len > limit || gva > limit - len || ((gva | gpa | len) & (page - 1)) ||
	    (gpa & ~PTE_ADDR))
		return vmm_fail(EINVAL, "vm_map: gva 0x%llx gpa 0x%llx len 0x%llx", (ull)gva,
				(ull)gpa, (ull)len);
	return map_range(vm, root, format, gva, gpa, len, shift, flags);
}

int vm_map(struct vm *vm, enum vcpu_mode mode, uint64_t gva, uint64_t gpa, uint64_t len,
	   uint64_t page, uint32_t flags)
{
	if (mode == VCPU_REAL)
		return vmm_fail(EINVAL, "vm_map: no paging in real mode");
	return check_and_map(vm, vm_page_root(vm, mode), mode == VCPU_PAE ? PAE : LONG, gva, gpa,
			     len, page, flags);
}

int vm_map_nested(struct vm *vm, uint64_t gpa2, uint64_t gpa, uint64_t len, uint64_t page,
		  uint32_t flags)
{
	return check_and_map(vm, vm_nested_root(vm), nested_format(vm), gpa2, gpa, len, page,
			     flags);
}

static int64_t entry_4k(struct vm *vm, uint64_t root, enum format format, uint64_t gva)
{
	uint64_t *entry;
	int ret = find_entry(vm, root, format, gva, SHIFT_4K, &entry);

	return ret ? ret : (char *)entry - (char *)vm->low;
}

int64_t vm_entry(struct vm *vm, enum vcpu_mode mode, uint64_t gva)
{
	if (mode == VCPU_REAL)
		return vmm_fail(EINVAL, "vm_entry: no paging in real mode");
	return entry_4k(vm, vm_page_root(vm, mode), mode == VCPU_PAE ? PAE : LONG, gva);
}

int64_t vm_nested_entry(struct vm *vm, uint64_t gpa2)
{
	return entry_4k(vm, vm_nested_root(vm), nested_format(vm), gpa2);
}
