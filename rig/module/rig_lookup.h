/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * User interface of rig_lookup: one call of gfn_to_pfn() or gfn_to_page(), as a module outside of
 * KVM makes it.
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
	RIG_LOOKUP_NR_CALLS
};

struct rig_lookup {
	__s32 vm;		/* file descriptor of a VM of the calling process */
	__u32 call;		/* enum rig_lookup_call */
	__u64 gfn;
	__u64 pfn;		/* output; RIG_LOOKUP_NONE: KVM found nothing */
	__s32 count;		/* output: the page's own reference count before the release */
	__u32 reserved;
};

/*
 * Look a gfn up, and release what was found. EBADF, EINVAL: no VM of the process, or no such call.
 * ENOENT: this KVM lacks the function.
 */
#define RIG_LOOKUP _IOWR(0xba, 0, struct rig_lookup)

#endif
