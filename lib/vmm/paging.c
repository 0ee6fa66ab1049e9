// SPDX-License-Identifier: GPL-2.0-only
/*
 * paging.c - the guest's own page tables, PAE and long mode, kept in the low slot.
 */
#include <errno.h>
#include <string.h>

#include "lib/vmm/internal.h"

typedef unsigned long long ull;

#define PTE_P	 (1ull << 0)
#define PTE_W	 (1ull << 1)
#define PTE_U	 (1ull << 2) /* set, for nested paging makes user accesses only */
#define PTE_A	 (1ull << 5)
#define PTE_D	 (1ull << 6)
#define PTE_PS	 (1ull << 7)
#define PTE_NX	 (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

#define SHIFT_4K 12
#define SHIFT_2M 21
#define SHIFT_1G 30

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
 * Make *entry, of a table whose entries span 1 << shift bytes, point to a new table that maps
 * what the entry mapped before.
 */
static int make_table(struct vm *vm, uint64_t *entry, unsigned int shift, bool pdpte)
{
	int64_t gpa = new_table(vm);
	uint64_t *table;

	if (gpa < 0)
		return gpa;
	table = table_at(vm, gpa);
	if (*entry & PTE_P) {
		uint64_t child = *entry;

		shift -= 9;
		if (shift == SHIFT_4K)
			child &= ~PTE_PS;
		for (unsigned int i = 0; i < 512; i++)
			table[i] = child + ((uint64_t)i << shift);
	}
	/* PAE reserves these bits of a PDPTE */
	*entry = gpa | PTE_P | (pdpte ? 0 : PTE_W | PTE_U | PTE_A);
	return 0;
}

/* Tables of `levels` levels, 3 for PAE, 4 for long mode and nested ones. */
static int map_page(struct vm *vm, uint64_t root, unsigned int levels, uint64_t gva, uint64_t leaf,
		    unsigned int leaf_shift)
{
	unsigned int shift = SHIFT_4K + 9 * (levels - 1);
	uint64_t *table = table_at(vm, root);

	for (; shift > leaf_shift; shift -= 9) {
		uint64_t *entry = &table[gva >> shift & 511];

		if (!(*entry & PTE_P) || (*entry & PTE_PS)) {
			int ret = make_table(vm, entry, shift, levels == 3 && shift == SHIFT_1G);

			if (ret)
				return ret;
		}
		table = table_at(vm, *entry & PTE_ADDR);
	}
	table[gva >> shift & 511] = leaf;
	return 0;
}

static int map_range(struct vm *vm, uint64_t root, unsigned int levels, uint64_t gva, uint64_t gpa,
		     uint64_t len, unsigned int shift, uint32_t flags)
{
	uint64_t bits = PTE_P | PTE_U | PTE_A | PTE_D;

	if (!(flags & VM_MAP_RO))
		bits |= PTE_W;
	if (flags & VM_MAP_NX)
		bits |= PTE_NX;
	if (shift > SHIFT_4K)
		bits |= PTE_PS;
	for (uint64_t off = 0; off < len; off += 1ull << shift) {
		int ret = map_page(vm, root, levels, gva + off, (gpa + off) | bits, shift);

		if (ret)
			return ret;
	}
	return 0;
}

/* The root in *root, after building identity tables for the first 4 GiB if there are none. */
static uint64_t get_root(struct vm *vm, uint64_t *root, unsigned int levels)
{
	if (!*root) {
		*root = VMM_MUST(new_table(vm));
		VMM_MUST(map_range(vm, *root, levels, 0, 0, 1ull << 32, SHIFT_2M, 0));
	}
	return *root;
}

uint64_t vm_page_root(struct vm *vm, enum vcpu_mode mode)
{
	if (mode == VCPU_PAE)
		return get_root(vm, &vm->root_pae, 3);
	return get_root(vm, &vm->root_long, 4);
}

uint64_t vm_nested_root(struct vm *vm)
{
	return get_root(vm, &vm->root_nested, 4);
}

int vm_map(struct vm *vm, enum vcpu_mode mode, uint64_t gva, uint64_t gpa, uint64_t len,
	   uint64_t page, uint32_t flags)
{
	uint64_t limit = mode == VCPU_PAE ? 1ull << 32 : 1ull << 47;
	unsigned int shift;

	switch (page) {
	case 1ull << SHIFT_4K:
		shift = SHIFT_4K;
		break;
	case 1ull << SHIFT_2M:
		shift = SHIFT_2M;
		break;
	case 1ull << SHIFT_1G:
		shift = SHIFT_1G;
		break;
	default:
		return vmm_fail(EINVAL, "vm_map: page size 0x%llx", (ull)page);
	}
	if (mode == VCPU_REAL || (mode == VCPU_PAE && shift == SHIFT_1G) || len > limit ||
	    gva > limit - len || ((gva | gpa | len) & (page - 1)) || (gpa & ~PTE_ADDR))
		return vmm_fail(EINVAL, "vm_map: gva 0x%llx gpa 0x%llx len 0x%llx", (ull)gva,
				(ull)gpa, (ull)len);
	return map_range(vm, vm_page_root(vm, mode), mode == VCPU_PAE ? 3 : 4, gva, gpa, len, shift,
			 flags);
}
