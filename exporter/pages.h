/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A set of pages of one kind: allocation, content, description, release.
 *
 * The functions take no locks. Callers serialize calls on a set, and remove all
 * user mappings of it before they call pages_free().
 */
#ifndef PFNMAP_PAGES_H
#define PFNMAP_PAGES_H

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/pci.h>

#include "pfnmap_exporter.h"

struct pages {
	struct list_head node;		/* for the owner of the set */
	u32 kind;			/* enum pfnmap_kind */
	u32 order;			/* of a chunk */
	u32 nr;				/* number of pages */
	struct file *shmem;		/* PFNMAP_SHMEM */
	struct pci_dev *pdev;		/* PFNMAP_BAR, PFNMAP_DEVICE; may be NULL */
	void __iomem *bar;		/* PFNMAP_BAR: its mapping */
	struct dev_pagemap *pgmap;	/* PFNMAP_DEVICE */
	unsigned long pfn[];		/* of each page */
};

/* Number of chunks that pages_free() did not free, since module load. */
extern atomic64_t pages_leaked;

/*
 * Allocate @nr zero-filled pages in chunks of 2^@order, which divides @nr.
 * Returns an ERR_PTR on failure: -ENOMEM; for PFNMAP_BAR and PFNMAP_DEVICE,
 * -ENODEV without the device and -ENOSPC without @nr free pages in its BAR; for
 * PFNMAP_SHMEM, -EOPNOTSUPP if shmem uses huge pages.
 */
struct pages *pages_alloc(u32 kind, u32 order, u32 nr);

/*
 * Is the module parameter "untold" 0, or an address that PFNMAP_BAR and PFNMAP_DEVICE can use:
 * aligned to 2 MiB, with 4 MiB of physical addresses behind it, none of which is the kernel's
 * memory? If not, log that.
 */
bool pages_untold_ok(void);

/* Free the set. Chunks with a wrong reference count are logged and not freed. */
void pages_free(struct pages *p);

/* Copy @len bytes at @offset of page @i; they must not cross its end. */
void pages_read(struct pages *p, u32 i, size_t offset, void *to, size_t len);
void pages_write(struct pages *p, u32 i, size_t offset, const void *from, size_t len);

/* Set every byte of the set to @byte. */
void pages_fill(struct pages *p, u8 byte);

/* Drop the references that the LRU code holds in per-CPU batches. */
void pages_settle(struct pages *p);

/* Does page @i have the same reference count as after its allocation? */
bool pages_count_ok(struct pages *p, u32 i);

/* Describe the current state of page @i. */
void pages_describe(struct pages *p, u32 i, struct pfnmap_page *desc);

/* Describe any page, which need not be in a set. */
void pfn_describe(unsigned long pfn, struct pfnmap_page *desc);

#endif
