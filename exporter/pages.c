// SPDX-License-Identifier: GPL-2.0-only
/*
 * A set of pages of one kind: allocation, content, description, release.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagevec.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "pages.h"

/* QEMU's ivshmem device and its BAR with shared memory; see its specification. */
#define IVSHMEM_VENDOR	0x1af4
#define IVSHMEM_DEVICE	0x1110
#define IVSHMEM_BAR	2

/* Emulators without such a device provide memory that is hidden from the kernel. */
#define UNTOLD_SIZE	(4UL << 20)
static unsigned long untold;
module_param(untold, ulong, 0444);
MODULE_PARM_DESC(untold, "address of 4 MiB of memory to use without a BAR");

/*
 * How long pages_free() waits in total for temporary references to go away: many times as long as
 * a lookup keeps them, since a page that counts as leaked fails a test. Those of LRU batches go
 * away when these are drained.
 */
#define PATIENCE_MS	2000
#define DRAIN_MS	100

atomic64_t pages_leaked = ATOMIC64_INIT(0);

static int alloc_chunks(struct pages *p, u32 nr)
{
	gfp_t gfp = GFP_KERNEL | __GFP_ZERO | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	u32 i;

	if (p->kind == PFNMAP_COMPOUND)
		gfp |= __GFP_COMP;

	while (p->nr < nr) {
		struct page *page = alloc_pages(gfp, p->order);

		if (!page)
			return -ENOMEM;

		for (i = 0; i < 1U << p->order; i++) {
			if (p->kind == PFNMAP_RESERVED)
				SetPageReserved(page + i);
			p->pfn[p->nr++] = page_to_pfn(page + i);
		}
	}
	return 0;
}

static int alloc_shmem(struct pages *p, u32 nr)
{
	struct file *file;

	file = shmem_file_setup(KBUILD_MODNAME, (loff_t)nr << PAGE_SHIFT, VM_NORESERVE);
	if (IS_ERR(file))
		return PTR_ERR(file);
	p->shmem = file;

	while (p->nr < nr) {
		struct page *page = shmem_read_mapping_page(file->f_mapping, p->nr);

		if (IS_ERR(page))
			return PTR_ERR(page);
		if (PageCompound(page)) {
			put_page(page);
			return -EOPNOTSUPP;
		}
		p->pfn[p->nr++] = page_to_pfn(page);
	}
	return 0;
}

/* Find and enable the BAR; *@pdev is NULL if other memory replaces it. */
static int find_bar(struct pci_dev **pdev, resource_size_t *start, resource_size_t *len)
{
	int err;

	*pdev = pci_get_device(IVSHMEM_VENDOR, IVSHMEM_DEVICE, NULL);
	if (!*pdev) {
		*start = untold;
		*len = UNTOLD_SIZE;
		return untold ? 0 : -ENODEV;
	}

	err = pci_enable_device(*pdev);
	if (err) {
		pci_dev_put(*pdev);
		return err;
	}
	*start = pci_resource_start(*pdev, IVSHMEM_BAR);
	*len = pci_resource_len(*pdev, IVSHMEM_BAR);
	return 0;
}

bool pages_untold_ok(void)
{
	if (!untold)
		return true;
	if (IS_ALIGNED(untold, PMD_SIZE) &&
	    untold <= (1ULL << boot_cpu_data.x86_phys_bits) - UNTOLD_SIZE &&
	    region_intersects(untold, UNTOLD_SIZE, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) ==
	    REGION_DISJOINT)
		return true;

	pr_err("untold=%#lx: not the address of 4 MiB that the kernel does not use\n", untold);
	return false;
}

static void put_bar(struct pci_dev *pdev)
{
	if (!pdev)
		return;
	pci_disable_device(pdev);
	pci_dev_put(pdev);
}

/*
 * Take the first free range of the BAR. The kernel's resource tree serves as the
 * allocator, so that the sets of different buffers never overlap.
 */
static int take_bar(struct pages *p, u32 nr)
{
	resource_size_t start, len, offset, size = (resource_size_t)nr << PAGE_SHIFT;
	struct pci_dev *pdev;
	int err;

	err = find_bar(&pdev, &start, &len);
	if (err)
		return err;

	for (offset = 0; offset + size <= len; offset += size) {
		if (!request_mem_region(start + offset, size, KBUILD_MODNAME))
			continue;
		p->pdev = pdev;
		for (; p->nr < nr; p->nr++)
			p->pfn[p->nr] = PHYS_PFN(start + offset) + p->nr;
		return 0;
	}
	put_bar(pdev);
	return -ENOSPC;
}

static void release_bar(struct pages *p)
{
	if (!p->nr)
		return;
	release_mem_region(PFN_PHYS(p->pfn[0]), (resource_size_t)p->nr << PAGE_SHIFT);
	put_bar(p->pdev);
	p->nr = 0;
}

static int alloc_bar(struct pages *p, u32 nr)
{
	int err = take_bar(p, nr);

	if (err)
		return err;

	p->bar = ioremap_wc(PFN_PHYS(p->pfn[0]), (size_t)nr << PAGE_SHIFT);
	if (!p->bar)
		return -ENOMEM;
	pages_fill(p, 0);
	return 0;
}

static void free_bar(struct pages *p)
{
	if (p->bar)
		iounmap(p->bar);
	release_bar(p);
}

#ifdef CONFIG_ZONE_DEVICE
/* Without ops: if the count of a head drops to 0, it stays visible. */
static int alloc_device(struct pages *p, u32 nr)
{
	struct dev_pagemap *pgmap;
	void *addr;
	int err;

	pgmap = kzalloc(sizeof(*pgmap), GFP_KERNEL);
	if (!pgmap)
		return -ENOMEM;

	err = take_bar(p, nr);
	if (err)
		goto free;

	pgmap->type = MEMORY_DEVICE_GENERIC;
	pgmap->vmemmap_shift = p->order;
	pgmap->nr_range = 1;
	pgmap->range.start = PFN_PHYS(p->pfn[0]);
	pgmap->range.end = pgmap->range.start + ((u64)nr << PAGE_SHIFT) - 1;
	addr = memremap_pages(pgmap, NUMA_NO_NODE);
	if (IS_ERR(addr)) {
		err = PTR_ERR(addr);
		release_bar(p);
		goto free;
	}

	p->pgmap = pgmap;
	pages_fill(p, 0);
	return 0;

free:
	kfree(pgmap);
	return err;
}

static void free_device(struct pages *p)
{
	memunmap_pages(p->pgmap);
	kfree(p->pgmap);
	release_bar(p);
}
#else
static int alloc_device(struct pages *p, u32 nr)
{
	return -ENODEV;
}

static void free_device(struct pages *p)
{
}
#endif

struct pages *pages_alloc(u32 kind, u32 order, u32 nr)
{
	struct pages *p;
	int err;

	p = kvzalloc(struct_size(p, pfn, nr), GFP_KERNEL);
	if (!p)
		return ERR_PTR(-ENOMEM);

	p->kind = kind;
	p->order = order;
	switch (kind) {
	case PFNMAP_SHMEM:
		err = alloc_shmem(p, nr);
		break;
	case PFNMAP_BAR:
		err = alloc_bar(p, nr);
		break;
	case PFNMAP_DEVICE:
		err = alloc_device(p, nr);
		break;
	default:
		err = alloc_chunks(p, nr);
	}
	if (err) {
		pages_free(p);
		return ERR_PTR(err);
	}
	return p;
}

static int count_expected(struct pages *p, u32 i)
{
	if (p->kind == PFNMAP_SHMEM)
		return 2;	/* the page cache and this set */
	return IS_ALIGNED(i, 1U << p->order);
}

bool pages_count_ok(struct pages *p, u32 i)
{
	return p->kind == PFNMAP_BAR ||
	       page_ref_count(pfn_to_page(p->pfn[i])) == count_expected(p, i);
}

/* Can the chunk at page @head be freed? If not, log why. */
static bool chunk_is_ours(struct pages *p, u32 head, int *patience)
{
	u32 i = head;

	while (i < head + (1U << p->order)) {
		if (pages_count_ok(p, i)) {
			i++;
		} else if (*patience > 0) {
			usleep_range(1000, 2000);
			/* A lookup that ended meanwhile may have left it in a batch. */
			if (--*patience % DRAIN_MS == 0)
				pages_settle(p);
		} else {
			pr_err("leaked pages at pfn %#lx, order %u: count of pfn %#lx is %d, not %d\n",
			       p->pfn[head], p->order, p->pfn[i],
			       page_ref_count(pfn_to_page(p->pfn[i])), count_expected(p, i));
			return false;
		}
	}
	return true;
}

static void free_chunk(struct pages *p, u32 head)
{
	u32 i;

	if (p->kind == PFNMAP_RESERVED) {
		for (i = 0; i < 1U << p->order; i++)
			ClearPageReserved(pfn_to_page(p->pfn[head + i]));
	}
	/* For a shmem page this drops our reference; the file holds the other. */
	__free_pages(pfn_to_page(p->pfn[head]), p->order);
}

void pages_free(struct pages *p)
{
	int patience = PATIENCE_MS;
	bool leaked = false;
	u32 i;

	if (p->kind == PFNMAP_BAR) {
		free_bar(p);
		goto out;
	}

	pages_settle(p);
	for (i = 0; i < p->nr; i += 1U << p->order) {
		if (chunk_is_ours(p, i, &patience)) {
			if (!p->pgmap)
				free_chunk(p, i);
		} else {
			atomic64_inc(&pages_leaked);
			leaked = true;
		}
	}
	/* The name of its resource, which stays, is a string of this module. */
	if (p->pgmap && leaked)
		__module_get(THIS_MODULE);
	/* The file frees pages by their counts, which are not reliable after a leak. */
	if (p->shmem && !leaked)
		fput(p->shmem);
	/* With a wrong count, this would wait forever or free too early. */
	if (p->pgmap && !leaked)
		free_device(p);
out:
	kvfree(p);
}

void pages_read(struct pages *p, u32 i, size_t offset, void *to, size_t len)
{
	if (p->kind == PFNMAP_BAR)
		memcpy_fromio(to, p->bar + ((size_t)i << PAGE_SHIFT) + offset, len);
	else
		memcpy_from_page(to, pfn_to_page(p->pfn[i]), offset, len);
}

void pages_write(struct pages *p, u32 i, size_t offset, const void *from, size_t len)
{
	if (p->kind == PFNMAP_BAR)
		memcpy_toio(p->bar + ((size_t)i << PAGE_SHIFT) + offset, from, len);
	else
		memcpy_to_page(pfn_to_page(p->pfn[i]), offset, from, len);
}

void pages_fill(struct pages *p, u8 byte)
{
	u32 i;

	if (p->kind == PFNMAP_BAR) {
		memset_io(p->bar, byte, (size_t)p->nr << PAGE_SHIFT);
		return;
	}

	for (i = 0; i < p->nr; i++) {
		void *addr = kmap_local_page(pfn_to_page(p->pfn[i]));

		memset(addr, byte, PAGE_SIZE);
		kunmap_local(addr);
		cond_resched();
	}
}

/*
 * Drain this CPU's LRU batches. The only way for a module is to release a batch of
 * folios, which drains them first.
 */
static long drain_this_cpu(void *unused)
{
	struct page *page = alloc_page(GFP_KERNEL);
	struct folio_batch batch;

	if (!page)
		return -ENOMEM;

	folio_batch_init(&batch);
	folio_batch_add(&batch, page_folio(page));
	folio_batch_release(&batch);
	return 0;
}

void pages_settle(struct pages *p)
{
	int cpu;

	if (p->kind != PFNMAP_SHMEM)
		return;

	for_each_online_cpu(cpu)
		work_on_cpu(cpu, drain_this_cpu, NULL);
}

void pfn_describe(unsigned long pfn, struct pfnmap_page *desc)
{
	static const struct {
		int bit;
		u32 flag;
	} map[] = {
		{ PG_dirty, PFNMAP_PAGE_DIRTY },
		{ PG_referenced, PFNMAP_PAGE_REFERENCED },
		{ PG_active, PFNMAP_PAGE_ACTIVE },
		{ PG_lru, PFNMAP_PAGE_LRU },
		{ PG_reserved, PFNMAP_PAGE_RESERVED },
	};
	struct page *page;
	int j;

	*desc = (struct pfnmap_page){ .pfn = pfn };
	if (!pfn_valid(pfn))
		return;

	/* Raw fields: for a tail page, the accessors would use its head. */
	page = pfn_to_page(pfn);
	desc->count = page_ref_count(page);
	desc->mapcount = atomic_read(&page->_mapcount) + 1;
	desc->flags = PFNMAP_PAGE_STRUCT;
	for (j = 0; j < ARRAY_SIZE(map); j++) {
		if (test_bit(map[j].bit, &page->flags))
			desc->flags |= map[j].flag;
	}
	if (is_zone_device_page(page))
		desc->flags |= PFNMAP_PAGE_DEVICE;
	if (PageHead(page))
		desc->flags |= PFNMAP_PAGE_HEAD;
	if (PageTail(page))
		desc->flags |= PFNMAP_PAGE_TAIL;
}

void pages_describe(struct pages *p, u32 i, struct pfnmap_page *desc)
{
	if (p->kind == PFNMAP_BAR)
		*desc = (struct pfnmap_page){ .pfn = p->pfn[i] };
	else
		pfn_describe(p->pfn[i], desc);
}
