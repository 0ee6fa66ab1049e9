/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * internal.h - what the files of libvmm share and its users do not see.
 */
#ifndef VMM_INTERNAL_H
#define VMM_INTERNAL_H

#include "vmm/vmm.h"

/* Leave a printf-style line for vmm_error(), return -err. */
int vmm_fail(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The guest program for each mode, GUEST_TEXT_SIZE bytes or less (blob.S). */
extern const char vmm_guest16[], vmm_guest16_end[];
extern const char vmm_guest32[], vmm_guest32_end[];
extern const char vmm_guest64[], vmm_guest64_end[];

/*
 * Root of the page tables of VCPU_PAE or VCPU_LONG, which are built when there are none yet.
 * Dies.
 */
uint64_t vm_page_root(struct vm *vm, enum vcpu_mode mode);

/*
 * The same for the nested tables of GUEST_NPT. Using the guest's own as such would do harm: KVM
 * write-protects nested tables, a walk of the nested guest's tables counts as a write, so that KVM
 * would emulate the nested guest's instructions instead of mapping memory for them.
 */
uint64_t vm_nested_root(struct vm *vm);

#endif
