/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * User interface of rig_lookup: one call of a function of KVM that looks a gfn up, as a module
 * outside of KVM makes it.
 */
#ifndef RIG_LOOKUP_H
#define RIG_LOOKUP_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define RIG_LOOKUP_PATH "/dev/rig_lookup"
#define RIG_LOOKUP_NONE (~0ull)

enum rig_lookup_call {
	RIG_LOOKUP_PFN,		/* gfn_to_pfn(), kvm_release_pfn_clean() */
	RIG_LOOKUP_PFN_DIRTY,	/* gfn_to_pfn(), kvm_release_pfn_dirty() */
	RIG_LOOKUP_PAGE,	/* gfn_to_page(), kvm_release_page_clean() */
	/* Those of page fault handlers, and kvm_release_pfn_clean(). */
	RIG_LOOKUP_PROT,	/* gfn_to_pfn_prot(), to read, or write if possible */
	RIG_LOOKUP_SLOT,	/* gfn_to_pfn_memslot() */
	RIG_LOOKUP_SLOT_ATOMIC,	/* gfn_to_pfn_memslot_atomic() */
	RIG_LOOKUP_SLOT_ASYNC,	/* __gfn_to_pfn_memslot(), to write, without waiting for I/O */
	RIG_LOOKUP_NR_CALLS
};

struct rig_lookup {
	__s32 vm;		/* file descriptor of a VM of the calling process */
	__u32 call;		/* enum rig_lookup_call */
	__u64 gfn;
	__u64 pfn;		/* output; RIG_LOOKUP_NONE: KVM found nothing */
	__s32 count;		/* output: the page's own reference count before the release */
	__u32 flags;		/* output */
#define RIG_LOOKUP_WRITABLE 1u	/* of RIG_LOOKUP_PROT and RIG_LOOKUP_SLOT_ASYNC */
#define RIG_LOOKUP_WAIT	    2u	/* of RIG_LOOKUP_SLOT_ASYNC: it found nothing yet */
};

/*
 * Look a gfn up, and release what was found. EBADF, EINVAL: no VM of the process, or no such call.
 * ENOENT: this KVM lacks the function.
 */
#define RIG_LOOKUP _IOWR(0xba, 0, struct rig_lookup)

#endif
