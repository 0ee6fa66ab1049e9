/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The differences between the supported kernels.
 */
#ifndef PFNMAP_COMPAT_H
#define PFNMAP_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}
#endif

/*
 * Find the pfn in the entry that maps @addr in a VM_IO or VM_PFNMAP mapping. Call it
 * with mmap_lock held. Fails if there is no entry; before 6.12 also if it is huge.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
static inline int pfn_of_entry(struct vm_area_struct *vma, unsigned long addr,
			       unsigned long *pfn)
{
	return follow_pfn(vma, addr, pfn);
}
#else
static inline int pfn_of_entry(struct vm_area_struct *vma, unsigned long addr,
			       unsigned long *pfn)
{
	struct follow_pfnmap_args args = { .vma = vma, .address = addr };
	int err = follow_pfnmap_start(&args);

	if (err)
		return err;
	*pfn = args.pfn;
	follow_pfnmap_end(&args);
	return 0;
}
#endif

/* The second argument of vm_operations_struct.huge_fault. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
#define huge_fault_size		enum page_entry_size
#define HUGE_FAULT_PMD		PE_SIZE_PMD
#else
#define huge_fault_size		unsigned int
#define HUGE_FAULT_PMD		PMD_ORDER
#endif

#endif
