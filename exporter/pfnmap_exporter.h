/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * User interface of pfnmap_exporter: buffers of every kind of page that a driver
 * can map into user space.
 *
 * /dev/pfnmap_exporter	each open() creates a new buffer, which is empty until
 *			PFNMAP_CREATE and freed with the last reference to the
 *			file (a mapping holds one).
 * /dev/pfnmap_buffer	every open() refers to the same buffer, which exists until
 *			the module is removed; for programs that need a path.
 *
 * Both belong to root (mode 0600) and support the same calls:
 *
 * mmap		MAP_SHARED only, any number of mappings, any page offset inside
 *		the buffer. The mapping has VM_PFNMAP | VM_IO, or VM_MIXEDMAP for
 *		PFNMAP_MIXED. EINVAL: no PFNMAP_CREATE yet, MAP_PRIVATE, beyond
 *		the buffer. ENXIO: the pages were freed. EBUSY: PFNMAP_INSERT_ALL
 *		while PFNMAP_REFUSE is on.
 * read, write	(and pread, pwrite) access the content through the kernel, not
 *		through a mapping; they stop at the end of the buffer. ENXIO: no
 *		pages. ENOSPC: write at or beyond the end.
 * lseek	SEEK_END returns the size in bytes, 0 before PFNMAP_CREATE.
 *
 * Every ioctl returns 0, or -1 with errno. Any of them may fail with EFAULT for a
 * bad pointer, EINVAL for an unknown value or a reserved field that is not zero,
 * ENXIO if the buffer has no pages, or ENOTTY if it is unknown. The module
 * serializes calls on a buffer. A call returns only when its effect is complete for
 * all mappings of all processes.
 */
#ifndef PFNMAP_EXPORTER_H
#define PFNMAP_EXPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PFNMAP_EXPORTER_PATH	"/dev/pfnmap_exporter"
#define PFNMAP_BUFFER_PATH	"/dev/pfnmap_buffer"

#define PFNMAP_MAX_PAGES	16384	/* of 4 KiB, per buffer: 64 MiB */
#define PFNMAP_MAX_ORDER	9
#define PFNMAP_AROUND_PAGES	16	/* for PFNMAP_INSERT_AROUND, the same as TTM */

/* Fills pages that are freed or that a move replaces. */
#define PFNMAP_POISON		0xd6

/* struct pfnmap_create.kind: the buffer's pages. */
enum pfnmap_kind {
	/*
	 * Chunks of 2^order pages without __GFP_COMP, like those of TTM's pool: the
	 * first page of a chunk has reference count 1, the others have 0.
	 */
	PFNMAP_NONCOMPOUND,
	/* Chunks of 2^order pages with __GFP_COMP. */
	PFNMAP_COMPOUND,
	/* Single pages (order 0), each with a reference count of 1. */
	PFNMAP_SINGLE,
	/* Page cache pages of a shmem file (order 0): count 2, on the LRU. */
	PFNMAP_SHMEM,
	/* As PFNMAP_NONCOMPOUND, with PG_reserved set on every page. */
	PFNMAP_RESERVED,
	/*
	 * Memory without struct page (order 0): the first free range, aligned to its
	 * size, in BAR 2 of the first ivshmem device (PCI 1af4:1110). Without such a
	 * device, in the memory at the address in the module parameter "untold", a
	 * multiple of 2 MiB; the module does not load if the kernel uses that memory.
	 */
	PFNMAP_BAR,
	/*
	 * Single pages (order 0) inserted as refcounted pages into a VM_MIXEDMAP
	 * mapping: every mapping of a page increments its reference count.
	 */
	PFNMAP_MIXED,
	/*
	 * The memory of PFNMAP_BAR as device memory with struct pages, which are
	 * PG_reserved, in compound pages of 2^order. The size must be a multiple of
	 * 2 MiB.
	 */
	PFNMAP_DEVICE,
	PFNMAP_NR_KINDS
};

/* struct pfnmap_create.insert: when page table entries are inserted. */
enum pfnmap_insert {
	/* Only the page that was touched. */
	PFNMAP_INSERT_ONE,
	/* The page that was touched and the next 15 in the mapping. */
	PFNMAP_INSERT_AROUND,
	/* The whole mapping: in mmap(), and in a fault after a revocation. */
	PFNMAP_INSERT_ALL,
	/*
	 * 2 MiB at once if the mapping covers 2 MiB of the buffer with the same
	 * alignment (as mmap() without an address ensures on 64-bit kernels);
	 * otherwise, and on kernels without transparent huge pages, the same as
	 * PFNMAP_INSERT_ONE. Needs 2 MiB of contiguous pages: order 9, PFNMAP_BAR
	 * or PFNMAP_DEVICE.
	 */
	PFNMAP_INSERT_PMD,
	PFNMAP_NR_INSERTS
};

/*
 * struct pfnmap_create.flags: insert entries read-only, and make them writable one
 * by one in pfn_mkwrite. Not with PFNMAP_MIXED or PFNMAP_INSERT_PMD.
 */
#define PFNMAP_CREATE_MKWRITE	0x01

struct pfnmap_create {
	__u32 kind;		/* enum pfnmap_kind */
	__u32 insert;		/* enum pfnmap_insert */
	__u32 order;		/* 0 to PFNMAP_MAX_ORDER; 0 for some kinds */
	__u32 flags;		/* PFNMAP_CREATE_* */
	__u32 pages;		/* 1 to PFNMAP_MAX_PAGES, a multiple of 2^order */
	__u32 reserved;		/* 0 */
};

/* struct pfnmap_page.flags */
#define PFNMAP_PAGE_STRUCT	0x01	/* there is a struct page */
#define PFNMAP_PAGE_DIRTY	0x02
#define PFNMAP_PAGE_REFERENCED	0x04
#define PFNMAP_PAGE_ACTIVE	0x08
#define PFNMAP_PAGE_LRU		0x10
#define PFNMAP_PAGE_RESERVED	0x20
#define PFNMAP_PAGE_HEAD	0x40	/* first page of a compound page */
#define PFNMAP_PAGE_TAIL	0x80	/* any other page of it */
#define PFNMAP_PAGE_DEVICE	0x100	/* in ZONE_DEVICE */

/*
 * The page itself, not its compound head: count and flags of a tail page are its
 * own. Without a struct page, count, mapcount and flags are 0.
 */
struct pfnmap_page {
	__u64 pfn;
	__s32 count;		/* reference count */
	__s32 mapcount;		/* page table entries, except those of VM_PFNMAP */
	__u32 flags;		/* PFNMAP_PAGE_* */
	__u32 reserved;
};

struct pfnmap_report {
	__u32 first;		/* first page in the buffer */
	__u32 count;		/* number of pages */
	__u64 pages;		/* address of an array of struct pfnmap_page, output */
};

struct pfnmap_old {
	__u64 pages;		/* pages kept by PFNMAP_KEEP_OLD */
	__u64 changed;		/* bytes in them that are not PFNMAP_POISON */
	__u64 bad_counts;	/* pages whose reference count is not as allocated */
};

struct pfnmap_stats {
	__u64 faults;		/* faults on this buffer, whatever their result */
	__u64 mkwrites;		/* calls of its pfn_mkwrite, including refused ones */
	__u64 mappings;		/* current number of VMAs that map it */
	__u64 leaked;		/* chunks not freed, of all buffers since load */
};

/* Argument bit of PFNMAP_MOVE and PFNMAP_FREE. */
#define PFNMAP_KEEP_OLD		0x01

#define PFNMAP_IOC		0xb9

/*
 * Allocate the buffer's pages, zero-filled; BAR memory is zeroed, too. Frees earlier
 * pages and kept old ones, resets the two counters, and ends PFNMAP_REFUSE,
 * PFNMAP_HOLD and PFNMAP_LOSE.
 * Nothing changes on EBUSY (the buffer is mapped) and EINVAL (also for a combination
 * that is excluded above). The buffer is empty after ENOMEM; ENODEV: no ivshmem
 * device or, for PFNMAP_DEVICE, a kernel without ZONE_DEVICE; ENOSPC: no room in its
 * BAR; EOPNOTSUPP: the system's shmem uses huge pages.
 */
#define PFNMAP_CREATE		_IOW(PFNMAP_IOC, 0, struct pfnmap_create)

/* Describe pages first to first + count - 1. EINVAL: some are not in the buffer. */
#define PFNMAP_REPORT		_IOW(PFNMAP_IOC, 1, struct pfnmap_report)

/* Remove all page table entries of all mappings. Later faults insert them again. */
#define PFNMAP_REVOKE		_IO(PFNMAP_IOC, 2)

/*
 * Revoke, then continue with newly allocated pages of the same kind and content.
 * Argument, by value: 0 or PFNMAP_KEEP_OLD. The old pages are filled with
 * PFNMAP_POISON, then freed, or kept until the next PFNMAP_CREATE or the end of the
 * buffer. Nothing changes on ENOMEM and ENOSPC: no other room in the BAR, or more
 * than PFNMAP_MAX_PAGES old pages in total.
 */
#define PFNMAP_MOVE		_IO(PFNMAP_IOC, 3)

/*
 * Revoke, fill the pages with PFNMAP_POISON, and free or keep them as PFNMAP_MOVE
 * does. Later faults cause SIGBUS. The argument is that of PFNMAP_MOVE.
 */
#define PFNMAP_FREE		_IO(PFNMAP_IOC, 4)

/*
 * Argument of PFNMAP_REFUSE: what a GPU driver's fault handler does before it fails,
 * when it must move a buffer and finds no room for it.
 */
enum pfnmap_refuse {
	PFNMAP_REFUSE_OFF,
	/* Nothing. */
	PFNMAP_REFUSE_FAIL,
	/* Remove all page table entries of this buffer, as PFNMAP_REVOKE does. */
	PFNMAP_REFUSE_UNMAP,
	/*
	 * Those of another buffer, PFNMAP_BUFFER_PATH, in any state. A fault that has
	 * begun may do so after a later PFNMAP_REFUSE has returned.
	 */
	PFNMAP_REFUSE_UNMAP_NAMED,
	/*
	 * The first attempt at a fault that may be retried releases mmap_lock and
	 * returns VM_FAULT_RETRY. Others fail.
	 */
	PFNMAP_REFUSE_RETRY,
	PFNMAP_NR_REFUSES
};

/*
 * Argument, by value: an enum pfnmap_refuse. Unless it is PFNMAP_REFUSE_OFF, every
 * fault causes SIGBUS from now on. Existing entries stay until a fault removes them.
 * pfn_mkwrite cannot be retried and treats PFNMAP_REFUSE_RETRY as
 * PFNMAP_REFUSE_FAIL. A concurrent mmap() with PFNMAP_INSERT_ALL in another process
 * may be missed. Works on a buffer without pages.
 */
#define PFNMAP_REFUSE		_IO(PFNMAP_IOC, 5)

/*
 * Argument of PFNMAP_HOLD: what a GPU driver's fault handler does when a signal
 * interrupts its wait for the GPU. It does nothing and reports success.
 */
enum pfnmap_hold {
	PFNMAP_HOLD_OFF,
	/* Return VM_FAULT_NOPAGE without inserting an entry. */
	PFNMAP_HOLD_NOPAGE,
	/*
	 * The first attempt at a fault that may be retried waits without mmap_lock and
	 * returns VM_FAULT_RETRY, whatever ended the wait. Others are as above.
	 */
	PFNMAP_HOLD_RETRY,
	/*
	 * The same without waiting, like a driver that makes no progress. With
	 * PFNMAP_MIXED, get_user_pages() then does not return before PFNMAP_HOLD_OFF.
	 */
	PFNMAP_HOLD_BUSY,
	PFNMAP_NR_HOLDS
};

/*
 * Added to the argument of PFNMAP_HOLD: PFNMAP_HOLD_OFF follows by itself, as soon as
 * this many milliseconds have passed. A hold keeps mmap_lock in most cases, so a thread
 * of the same process that means to end it may itself have to wait for it.
 */
#define PFNMAP_HOLD_MS(ms)	((ms) * 0x100UL)
#define PFNMAP_HOLD_MAX_MS	60000

/*
 * Argument, by value: an enum pfnmap_hold, with or without PFNMAP_HOLD_MS. From now on
 * every fault waits until PFNMAP_HOLD_OFF or until a signal is pending. The interrupted access then
 * continues, so that user space notices only the delay. A task that is being killed
 * gets SIGBUS instead, so that the kernel does not repeat the fault forever. Existing
 * entries stay, and pfn_mkwrite does not wait. Works on a buffer without pages.
 */
#define PFNMAP_HOLD		_IO(PFNMAP_IOC, 8)

/* The greatest argument of PFNMAP_LOSE. */
#define PFNMAP_MAX_LOSE		1000000

/*
 * Argument, by value: a number of faults, 0 to PFNMAP_MAX_LOSE, which replaces an earlier
 * one. That many of the next faults that succeed lose a race, as if a PFNMAP_REVOKE had
 * followed at once: they insert entries, remove all page table entries of all mappings of
 * the buffer again, and report success. Whoever needs an entry faults again. mmap() with
 * PFNMAP_INSERT_ALL and pfn_mkwrite lose nothing, and the former may be missed if another
 * process is in it. With PFNMAP_MIXED, get_user_pages() repeats the fault inside the kernel until
 * no more faults are lost; only a fatal signal ends that earlier. Works on a buffer without pages.
 */
#define PFNMAP_LOSE		_IO(PFNMAP_IOC, 9)

/*
 * Argument, by value: the number of a kept page, from 0, in any order. Flip a bit of its
 * first byte, as a device that still used it might, to show that PFNMAP_CHECK_OLD notices.
 * EINVAL: there is no such page. Works on a buffer without pages.
 */
#define PFNMAP_STRAY		_IO(PFNMAP_IOC, 10)

/* Examine kept pages. Works on a buffer without pages. */
#define PFNMAP_CHECK_OLD	_IOR(PFNMAP_IOC, 6, struct pfnmap_old)

/*
 * Get the counters. Works on a buffer without pages. A chunk that has a wrong
 * reference count when it should be freed is leaked instead, and the kernel log gets
 * a line "pfnmap_exporter: leaked ...".
 */
#define PFNMAP_STATS		_IOR(PFNMAP_IOC, 7, struct pfnmap_stats)

struct pfnmap_look {
	__u64 address;		/* in the calling process; input */
	struct pfnmap_page page;	/* output */
};

/*
 * Describe the page behind an address, of whatever driver: what its page table entry
 * maps now. EINVAL: not in a VM_IO or VM_PFNMAP mapping. ENXIO: no entry; before
 * Linux 6.12 also a huge one. Works on a buffer without pages.
 */
#define PFNMAP_LOOK		_IOWR(PFNMAP_IOC, 12, struct pfnmap_look)

#endif
