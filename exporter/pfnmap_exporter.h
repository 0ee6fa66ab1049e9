/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * User interface of pfnmap_exporter: buffers of every kind of page that a
 * driver can hand to user space.
 *
 * /dev/pfnmap_exporter	each open() is one buffer of its own, empty until
 *			PFNMAP_CREATE, freed with the last reference to the file
 *			(a mapping holds one).
 * /dev/pfnmap_buffer	every open() is the same buffer, which lives until the
 *			module is removed: for programs that only take a path.
 *
 * Both are root's (mode 0600) and take the same calls:
 *
 * mmap		MAP_SHARED only, any number of mappings, any page offset inside
 *		the buffer. The mapping has VM_PFNMAP | VM_IO, or VM_MIXEDMAP for
 *		PFNMAP_MIXED. EINVAL: no PFNMAP_CREATE yet, MAP_PRIVATE, beyond
 *		the buffer. ENXIO: the pages were freed. EBUSY: PFNMAP_INSERT_ALL
 *		while PFNMAP_REFUSE is on.
 * read, write	(and pread, pwrite) the content, from the kernel's side, without
 *		touching a mapping; they stop at the end of the buffer. ENXIO: no
 *		pages. ENOSPC: write at or beyond the end.
 * lseek	SEEK_END is the size in bytes, 0 before PFNMAP_CREATE.
 *
 * Every ioctl returns 0, or -1 with errno. Those that may be met anywhere: EFAULT
 * for a bad pointer, EINVAL for an unknown value or a reserved field that is not
 * zero, ENXIO where the buffer has no pages, ENOTTY for an unknown ioctl. Calls on
 * one buffer are serialized by the module, and a call returns only when what it
 * says is done for all mappings of all processes.
 */
#ifndef PFNMAP_EXPORTER_H
#define PFNMAP_EXPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PFNMAP_EXPORTER_PATH	"/dev/pfnmap_exporter"
#define PFNMAP_BUFFER_PATH	"/dev/pfnmap_buffer"

#define PFNMAP_MAX_PAGES	16384	/* of 4 KiB, a buffer: 64 MiB */
#define PFNMAP_MAX_ORDER	9
#define PFNMAP_AROUND_PAGES	16	/* of PFNMAP_INSERT_AROUND, TTM's number */

/* What freed and moved-away pages are filled with. */
#define PFNMAP_POISON		0xd6

/* struct pfnmap_create.kind: the pages behind the buffer. */
enum pfnmap_kind {
	/*
	 * Chunks of 2^order pages without __GFP_COMP, as TTM's pool allocates:
	 * reference count 1 on the first page of a chunk, 0 on the others.
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
	 * Memory without struct page (order 0): the first stretch of this size, at
	 * a multiple of it, that is free in BAR 2 of the first ivshmem device
	 * (PCI 1af4:1110), or in the memory that the module parameter
	 * "untold" names where there is no such device.
	 */
	PFNMAP_BAR,
	/*
	 * Single pages (order 0) inserted as counted pages in a VM_MIXEDMAP
	 * mapping: every mapping of a page adds to its reference count.
	 */
	PFNMAP_MIXED,
	/*
	 * The memory of PFNMAP_BAR as device memory with struct pages, which are
	 * PG_reserved, in compound pages of 2^order. Needs 2 MiB or a multiple of it.
	 */
	PFNMAP_DEVICE,
	PFNMAP_NR_KINDS
};

/* struct pfnmap_create.insert: when page table entries are made. */
enum pfnmap_insert {
	/* Only the page that was touched. */
	PFNMAP_INSERT_ONE,
	/* The page that was touched and the next 15, as far as mapped. */
	PFNMAP_INSERT_AROUND,
	/* The whole mapping: in mmap(), and again in a fault after a revocation. */
	PFNMAP_INSERT_ALL,
	/*
	 * 2 MiB at once, where the mapping covers 2 MiB of the buffer at an equal
	 * alignment (mmap() without an address sees to it on 64-bit kernels); else as
	 * PFNMAP_INSERT_ONE. Needs 2 MiB of contiguous pages: order 9, PFNMAP_BAR or
	 * PFNMAP_DEVICE.
	 */
	PFNMAP_INSERT_PMD,
	PFNMAP_NR_INSERTS
};

/*
 * struct pfnmap_create.flags: entries are inserted read-only and made writable one
 * by one in the driver's pfn_mkwrite. Not with PFNMAP_MIXED or PFNMAP_INSERT_PMD.
 */
#define PFNMAP_CREATE_MKWRITE	0x01

struct pfnmap_create {
	__u32 kind;		/* enum pfnmap_kind */
	__u32 insert;		/* enum pfnmap_insert */
	__u32 order;		/* 0 to PFNMAP_MAX_ORDER; 0 where the kind says so */
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
 * One page as it is, not as its compound head is: of a tail page count and flags
 * are its own. Without a struct page count, mapcount and flags are 0.
 */
struct pfnmap_page {
	__u64 pfn;
	__s32 count;		/* reference count */
	__s32 mapcount;		/* counted page table entries; none by VM_PFNMAP */
	__u32 flags;		/* PFNMAP_PAGE_* */
	__u32 reserved;
};

struct pfnmap_report {
	__u32 first;		/* page of the buffer */
	__u32 count;		/* number of pages */
	__u64 pages;		/* address of count struct pfnmap_page, written */
};

struct pfnmap_old {
	__u64 pages;		/* pages kept by PFNMAP_KEEP_OLD */
	__u64 changed;		/* bytes in them that are not PFNMAP_POISON */
	__u64 bad_counts;	/* pages whose reference count is not as allocated */
};

struct pfnmap_stats {
	__u64 faults;		/* faults that reached this buffer, ended how ever */
	__u64 mkwrites;		/* calls of its pfn_mkwrite, refused ones too */
	__u64 mappings;		/* VMAs that map it now */
	__u64 leaked;		/* chunks not freed, of all buffers, ever */
};

/* Argument bit of PFNMAP_MOVE and PFNMAP_FREE. */
#define PFNMAP_KEEP_OLD		0x01

#define PFNMAP_IOC		0xb9

/*
 * Give the buffer its pages, zero-filled. Replaces earlier pages, kept old ones
 * and the two counters, and ends PFNMAP_REFUSE and PFNMAP_HOLD. BAR memory is
 * zeroed too.
 * EBUSY: the buffer is mapped; EINVAL also for a combination ruled out above: then
 * nothing changed. ENOMEM; ENODEV: no ivshmem device, or, for PFNMAP_DEVICE, a
 * kernel without ZONE_DEVICE; ENOSPC: no room in its BAR;
 * EOPNOTSUPP: the system's shmem has huge pages: then the buffer is as new.
 */
#define PFNMAP_CREATE		_IOW(PFNMAP_IOC, 0, struct pfnmap_create)

/* Describe pages first to first + count - 1. EINVAL: not all in the buffer. */
#define PFNMAP_REPORT		_IOW(PFNMAP_IOC, 1, struct pfnmap_report)

/* Remove every page table entry of every mapping. Later faults insert again. */
#define PFNMAP_REVOKE		_IO(PFNMAP_IOC, 2)

/*
 * Revoke, then carry on with newly allocated pages of the same kind and the same
 * content. Argument, by value: 0, or PFNMAP_KEEP_OLD. The old pages are filled with
 * PFNMAP_POISON, then freed, or kept until the next PFNMAP_CREATE or the end of the
 * buffer. ENOMEM; ENOSPC: no other room in the BAR, or more than PFNMAP_MAX_PAGES
 * old pages in all: then nothing changed.
 */
#define PFNMAP_MOVE		_IO(PFNMAP_IOC, 3)

/*
 * Revoke, fill the pages with PFNMAP_POISON and free them, or keep them, as
 * PFNMAP_MOVE does. Later faults end in SIGBUS. Argument as for PFNMAP_MOVE.
 */
#define PFNMAP_FREE		_IO(PFNMAP_IOC, 4)

/*
 * Argument of PFNMAP_REFUSE. What the fault handlers of GPU drivers do before they
 * fail, since they have to move a buffer and find no room for it.
 */
enum pfnmap_refuse {
	PFNMAP_REFUSE_OFF,
	/* Nothing. */
	PFNMAP_REFUSE_FAIL,
	/* Remove every page table entry of this buffer, as PFNMAP_REVOKE does. */
	PFNMAP_REFUSE_UNMAP,
	/* Those of another buffer, PFNMAP_BUFFER_PATH, whatever it has. */
	PFNMAP_REFUSE_UNMAP_NAMED,
	/*
	 * The first attempt at a fault, if it may be repeated, releases mmap_lock and
	 * ends in VM_FAULT_RETRY. Others fail.
	 */
	PFNMAP_REFUSE_RETRY,
	PFNMAP_NR_REFUSES
};

/*
 * Argument, by value: an enum pfnmap_refuse. Unless it is PFNMAP_REFUSE_OFF, from
 * now on every fault ends in SIGBUS. What is mapped stays mapped until there is a
 * fault that removes it. pfn_mkwrite cannot be repeated: PFNMAP_REFUSE_RETRY is as
 * PFNMAP_REFUSE_FAIL for it. A mapping that an mmap() of another process is about to
 * make with PFNMAP_INSERT_ALL may be overlooked. Works on a buffer without pages.
 */
#define PFNMAP_REFUSE		_IO(PFNMAP_IOC, 5)

/*
 * Argument of PFNMAP_HOLD. What the fault handlers of GPU drivers do while they
 * wait for the GPU, if a signal interrupts them: nothing, and say that it is done.
 */
enum pfnmap_hold {
	PFNMAP_HOLD_OFF,
	/* VM_FAULT_NOPAGE without an entry. */
	PFNMAP_HOLD_NOPAGE,
	/*
	 * The first attempt at a fault, if it may be repeated, waits without mmap_lock
	 * and ends in VM_FAULT_RETRY, whatever ended the wait. Then as above.
	 */
	PFNMAP_HOLD_RETRY,
	/*
	 * The same without a wait, as a driver that does not get on. For PFNMAP_MIXED
	 * the kernel's get_user_pages() then does not end before PFNMAP_HOLD_OFF.
	 */
	PFNMAP_HOLD_BUSY,
	PFNMAP_NR_HOLDS
};

/*
 * Argument, by value: an enum pfnmap_hold. From now on every fault waits until
 * PFNMAP_HOLD_OFF or until a signal is pending. Access goes on where it was
 * interrupted, so that user space notices nothing but the time. A task that is
 * being killed gets SIGBUS instead, so that the kernel does not fault for ever on
 * its behalf. What is mapped stays mapped. Works on a buffer without pages.
 */
#define PFNMAP_HOLD		_IO(PFNMAP_IOC, 8)

/* Examine kept pages. Works on a buffer without pages. */
#define PFNMAP_CHECK_OLD	_IOR(PFNMAP_IOC, 6, struct pfnmap_old)

/*
 * Counters. Works on a buffer without pages. A chunk with a wrong reference count
 * at the time of freeing is not freed but left alone ("leaked"), with a line
 * "pfnmap_exporter: leaked ..." in the kernel log.
 */
#define PFNMAP_STATS		_IOR(PFNMAP_IOC, 7, struct pfnmap_stats)

#endif
