/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The differences between the supported kernels.
 */
#ifndef PFNMAP_COMPAT_H
#define PFNMAP_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>

#include "pages.h"

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_init(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags = flags;
}
#endif

/*
 * Describe the page in the entry that maps @addr in a VM_IO or VM_PFNMAP mapping. Call it
 * with mmap_lock held. The page table lock keeps the driver from freeing the page, and its
 * struct page, meanwhile. Fails if there is no entry; before 6.12 also if it is huge.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
static inline int describe_entry(struct vm_area_struct *vma, unsigned long addr,
				 struct pfnmap_page *desc)
{
	spinlock_t *lock;	/* of the page table */
	pte_t *pte;
	int err = follow_pte(vma->vm_mm, addr, &pte, &lock);

	if (err)
		return err;
	__acquire(lock);	/* for sparse, which does not know what follow_pte() does */
	pfn_describe(pte_pfn(*pte), desc);
	pte_unmap_unlock(pte, lock);
	return 0;
}
#else
static inline int describe_entry(struct vm_area_struct *vma, unsigned long addr,
				 struct pfnmap_page *desc)
{
	struct follow_pfnmap_args args = { .vma = vma, .address = addr };
	int err = follow_pfnmap_start(&args);

	if (err)
		return err;
	pfn_describe(args.pfn, desc);
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
