// SPDX-License-Identifier: GPL-2.0-only
/*
 * svm.c - runs a tiny nested guest on AMD processors, with the VMCB at a given address.
 *
 * Offsets and bits are from the AMD64 Architecture Programmer's Manual, volume 2, appendix B.
 */
#include "vmm/guest/nested.h"

#define MSR_EFER	0xc0000080u
#define EFER_SVME	(1u << 12)
#define MSR_VM_HSAVE_PA 0xc0010117u

/* Bits are indented below their field. */
/* clang-format off */

/* Control area */
#define VMCB_INTERCEPT3		0x00c
#define   INTERCEPT3_HLT	(1u << 24)
#define   INTERCEPT3_SHUTDOWN	(1u << 31)
#define VMCB_INTERCEPT4		0x010
#define   INTERCEPT4_VMRUN	(1u << 0)
#define   INTERCEPT4_VMMCALL	(1u << 1)
#define VMCB_ASID		0x058
#define VMCB_EXITCODE		0x070
#define VMCB_EXITINFO1		0x078
#define VMCB_NESTED_CTL		0x090
#define VMCB_N_CR3		0x0b0

/* State save area; a segment is selector, attributes, limit, base */
#define VMCB_ES			0x400
#define VMCB_CS			0x410
#define VMCB_SS			0x420
#define VMCB_DS			0x430
#define   SEG_CODE64		0x0a9bu
#define   SEG_DATA		0x0c93u
#define VMCB_EFER		0x4d0
#define VMCB_CR4		0x548
#define VMCB_CR3		0x550
#define VMCB_CR0		0x558
#define VMCB_DR7		0x560
#define VMCB_DR6		0x568
#define VMCB_RFLAGS		0x570
#define VMCB_RIP		0x578
#define VMCB_G_PAT		0x668

/* clang-format on */

static void put32(uint64_t vmcb, unsigned int offset, uint32_t value)
{
	*(volatile uint32_t *)(vmcb + offset) = value;
}

static void put64(uint64_t vmcb, unsigned int offset, uint64_t value)
{
	*(volatile uint64_t *)(vmcb + offset) = value;
}

static uint64_t get64(uint64_t vmcb, unsigned int offset)
{
	return *(volatile uint64_t *)(vmcb + offset);
}

static void put_seg(uint64_t vmcb, unsigned int offset, uint16_t selector, uint32_t attributes)
{
	put32(vmcb, offset, attributes << 16 | selector);
	put32(vmcb, offset + 4, UINT32_MAX);
}

static void svm_enable(const struct guest_block *b)
{
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, b->hsave);
}

void svm_l2_entry(void);
asm("svm_l2_entry:\n" L2_ACCESS "3:	vmmcall\n"
    "	jmp	3b\n");

void svm_run(struct guest_block *b, uint64_t value)
{
	uint64_t vmcb = b->cmd.gpa, rcx = value, rdx = b->cmd.flags;

	svm_enable(b);
	for (unsigned int off = 0; off < 4096; off += 8)
		put64(vmcb, off, 0);

	put32(vmcb, VMCB_INTERCEPT3, INTERCEPT3_HLT | INTERCEPT3_SHUTDOWN);
	put32(vmcb, VMCB_INTERCEPT4, INTERCEPT4_VMRUN | INTERCEPT4_VMMCALL);
	put32(vmcb, VMCB_ASID, 1);
	if (b->cmd.flags & GUEST_NPT) {
		put64(vmcb, VMCB_NESTED_CTL, 1);
		put64(vmcb, VMCB_N_CR3, b->ncr3);
	}

	put_seg(vmcb, VMCB_CS, GUEST_CS64, SEG_CODE64);
	put_seg(vmcb, VMCB_DS, GUEST_DS, SEG_DATA);
	put_seg(vmcb, VMCB_ES, GUEST_DS, SEG_DATA);
	put_seg(vmcb, VMCB_SS, GUEST_DS, SEG_DATA);
	put64(vmcb, VMCB_EFER, rdmsr(MSR_EFER));
	put64(vmcb, VMCB_CR0, read_reg(cr0));
	put64(vmcb, VMCB_CR3, read_reg(cr3));
	put64(vmcb, VMCB_CR4, read_reg(cr4));
	put64(vmcb, VMCB_DR6, 0xffff0ff0);
	put64(vmcb, VMCB_DR7, 0x400);
	put64(vmcb, VMCB_RFLAGS, 2);
	put64(vmcb, VMCB_G_PAT, 0x0007040600070406);

	put64(vmcb, VMCB_RIP, (uintptr_t)svm_l2_entry);

	/* VMRUN passes all registers except RAX, RSP and RIP on to the nested guest. */
	asm volatile("	vmrun	%%rax\n"
		     "	stgi\n"
		     : "+c"(rcx), "+d"(rdx)
		     : "a"(vmcb), "b"(b->cmd.gpa2)
		     : "memory", "cc");

	b->result = get64(vmcb, VMCB_EXITCODE);
	b->result2 = b->result == GUEST_L2_DONE ? rcx : get64(vmcb, VMCB_EXITINFO1);
}

void svm_save(struct guest_block *b)
{
	svm_enable(b);
	asm volatile("vmsave %%rax" : : "a"(b->cmd.gpa) : "memory");
	b->result = 0;
}
