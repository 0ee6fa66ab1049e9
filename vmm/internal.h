/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * internal.h - declarations shared by the files of libvmm but hidden from its users.
 */
#ifndef VMM_INTERNAL_H
#define VMM_INTERNAL_H

#include "vmm/vmm.h"

/* Set the line for vmm_error(), printf-style, and return -err. */
int vmm_fail(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The guest program for each mode, GUEST_TEXT_SIZE bytes or less (blob.S). */
extern const char vmm_guest16[], vmm_guest16_end[];
extern const char vmm_guest32[], vmm_guest32_end[];
extern const char vmm_guest64[], vmm_guest64_end[];

/*
 * Root of the page tables for VCPU_PAE or VCPU_LONG; builds them on first use. Dies on failure.
 */
uint64_t vm_page_root(struct vm *vm, enum vcpu_mode mode);

/*
 * The same for the nested tables of GUEST_NPT. They must not be the guest's own tables: KVM
 * write-protects nested tables, and a walk of the nested guest's tables counts as a write, so KVM
 * would emulate the nested guest's instructions instead of mapping memory for them.
 */
uint64_t vm_nested_root(struct vm *vm);

#endif
