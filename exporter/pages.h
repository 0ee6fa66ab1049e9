/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A set of pages of one kind: allocation, content, description and release.
 *
 * No function here locks. The caller serializes calls on one set and, before
 * pages_free(), has removed every user mapping of it.
 */
#ifndef PFNMAP_PAGES_H
#define PFNMAP_PAGES_H

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/pci.h>

#include "pfnmap_exporter.h"

struct pages {
	struct list_head node;		/* for the owner's use */
	u32 kind;			/* enum pfnmap_kind */
	u32 order;			/* of a chunk */
	u32 nr;				/* number of pages */
	struct file *shmem;		/* PFNMAP_SHMEM */
	struct pci_dev *pdev;		/* PFNMAP_BAR and _DEVICE, if it has one */
	void __iomem *bar;		/* PFNMAP_BAR: its mapping */
	struct dev_pagemap *pgmap;	/* PFNMAP_DEVICE */
	unsigned long pfn[];		/* of each page */
};

/* Chunks that pages_free() did not dare to free, since module load. */
extern atomic64_t pages_leaked;

/*
 * Allocate @nr zero-filled pages in chunks of 2^@order, which divides @nr.
 * Returns ERR_PTR: -ENOMEM; for PFNMAP_BAR and PFNMAP_DEVICE -ENODEV without
 * the device, -ENOSPC without @nr free pages in its BAR; for PFNMAP_SHMEM -EOPNOTSUPP where shmem
 * hands out huge pages.
 */
struct pages *pages_alloc(u32 kind, u32 order, u32 nr);

/* Free the set, except chunks with a wrong reference count, and log those. */
void pages_free(struct pages *p);

/* Copy @len bytes at @offset of page @i, all of them inside that page. */
void pages_read(struct pages *p, u32 i, size_t offset, void *to, size_t len);
void pages_write(struct pages *p, u32 i, size_t offset, const void *from, size_t len);

/* Set every byte of the set to @byte. */
void pages_fill(struct pages *p, u8 byte);

/* Settle reference counts that the LRU code holds in per-CPU batches. */
void pages_settle(struct pages *p);

/* Whether page @i has the reference count that it was allocated with. */
bool pages_count_ok(struct pages *p, u32 i);

/* Describe page @i as it is now. */
void pages_describe(struct pages *p, u32 i, struct pfnmap_page *desc);

#endif
