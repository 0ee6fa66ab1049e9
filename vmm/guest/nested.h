/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * nested.h - running nested guests from the guest program, by SVM or VMX.
 */
#ifndef GUEST_NESTED_H
#define GUEST_NESTED_H

#include "vmm/guest/guest.h"

/* Carry out GUEST_VMRUN, by SVM or by VMX, and GUEST_VMSAVE; long mode only. */
void svm_run(struct guest_block *b, uint64_t value);
void vmx_run(struct guest_block *b, uint64_t value);
void svm_save(struct guest_block *b);

/* The nested guest's first access: gpa2 in RBX, value in RCX, the command's flags in RDX. */
#define L2_ACCESS               \
	"	test	%rbx, %rbx\n"    \
	"	jz	2f\n"              \
	"	test	$32, %dl\n"      \
	"	jnz	1f\n"             \
	"	mov	%rcx, (%rbx)\n"   \
	"	jmp	2f\n"             \
	"1:	mov	(%rbx), %rcx\n" \
	"2:\n"

_Static_assert(GUEST_L2_LOAD == 32, "L2_ACCESS tests this bit");

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

/* Read a control register. */
#define read_reg(name)                                            \
	({                                                        \
		uintptr_t reg_;                                   \
		asm volatile("mov %%" #name ", %0" : "=r"(reg_)); \
		reg_;                                             \
	})

#endif
