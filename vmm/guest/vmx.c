// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmx.c - runs a tiny nested guest on Intel processors, with the VMCS at a given address.
 *
 * Field encodings are from the Intel Software Developer's Manual, volume 3, appendix B. The bits of
 * the controls are in its chapter about the VMCS, the MSRs that allow them in appendix A.
 */
#include <stdbool.h>

#include "vmm/guest/nested.h"

#define MSR_FEATURE_CONTROL 0x03au
#define FEATURE_LOCKED	    (1u << 0)
#define FEATURE_VMXON	    (1u << 2)
#define MSR_VMX_BASIC	    0x480u
#define BASIC_TRUE_CTLS	    (1ull << 55)
#define MSR_VMX_PROC2_CTLS  0x48bu
#define MSR_VMX_EPT_CAP	    0x48cu
#define EPT_CAP_AD	    (1u << 21)
#define MSR_EFER	    0xc0000080u
#define CR4_VMXE	    (1ull << 13)

/* The first of four MSRs, for pin-based, processor-based, exit and entry controls. */
#define MSR_VMX_CTLS	  0x481u
#define MSR_VMX_TRUE_CTLS 0x48du

/* Bits are indented below their field. */
/* clang-format off */

#define VIRTUAL_APIC		0x2012
#define MSR_BITMAP		0x2004
#define APIC_ACCESS		0x2014
#define EPTP			0x201a
#define   EPTP_WB		(6u << 0)
#define   EPTP_4_LEVELS		(3u << 3)
#define   EPTP_AD		(1u << 6)
#define LINK_POINTER		0x2800
#define GUEST_EFER		0x2806
#define HOST_EFER		0x2c02

#define PIN_CTLS		0x4000
#define PROC_CTLS		0x4002
#define   PROC_HLT		(1u << 7)
#define   PROC_TPR_SHADOW	(1u << 21)
#define   PROC_MSR_BITMAP	(1u << 28)
#define   PROC_CTLS2		(1u << 31)
#define EXIT_CTLS		0x400c
#define   EXIT_HOST_64		(1u << 9)
#define   EXIT_LOAD_EFER	(1u << 21)
#define ENTRY_CTLS		0x4012
#define   ENTRY_GUEST_64	(1u << 9)
#define   ENTRY_LOAD_EFER	(1u << 15)
#define PROC_CTLS2_FIELD	0x401e
#define   PROC2_APIC_ACCESS	(1u << 0)
#define   PROC2_EPT		(1u << 1)

#define INSTRUCTION_ERROR	0x4400
#define EXIT_REASON		0x4402
#define   REASON_VMCALL		18u
#define EXIT_QUALIFICATION	0x6400

/* Segments in the order ES, CS, SS, DS, FS, GS, LDTR, TR */
#define GUEST_SELECTORS		0x0800
#define HOST_SELECTORS		0x0c00	/* all but LDTR */
#define GUEST_LIMITS		0x4800
#define GUEST_RIGHTS		0x4814
#define   SEG_CODE64		0xa09bu
#define   SEG_DATA		0xc093u
#define   SEG_TSS		0x008bu
#define   SEG_UNUSABLE		0x10000u

#define GUEST_CR0		0x6800
#define GUEST_CR3		0x6802
#define GUEST_CR4		0x6804
#define GUEST_DR7		0x681a
#define GUEST_RIP		0x681e
#define GUEST_RFLAGS		0x6820
#define HOST_CR0		0x6c00
#define HOST_CR3		0x6c02
#define HOST_CR4		0x6c04
#define HOST_GDTR		0x6c0c
#define HOST_IDTR		0x6c0e
#define HOST_RSP		0x6c14
#define HOST_RIP		0x6c16

/* clang-format on */

/* The host needs a selector for TR, but nothing uses it. */
#define HOST_TR 0x20u

void vmx_l2_entry(void);
asm("vmx_l2_entry:\n" L2_ACCESS "	mov	%rcx, %rdi\n"
    "	test	$8, %dl\n" /* GUEST_VIRTUAL_APIC */
    "	jz	3f\n"
    "	mov	%rcx, %cr8\n"
    "3:	test	$4, %dl\n" /* GUEST_MSR_BITMAP */
    "	jz	4f\n"
    "	mov	$0xc0000100, %ecx\n" /* FS.base */
    "	rdmsr\n"
    "4:	vmcall\n"
    "	jmp	4b\n");

_Static_assert(GUEST_VIRTUAL_APIC == 8 && GUEST_MSR_BITMAP == 4, "vmx_l2_entry tests these bits");

/* Execute a VMX instruction with a memory operand. Did it succeed? */
#define vmx_op(name, operand)                                                          \
	({                                                                             \
		bool failed_;                                                          \
		asm volatile(name " %1" : "=@ccbe"(failed_), "+m"(operand)::"memory"); \
		!failed_;                                                              \
	})

static void put(uint64_t field, uint64_t value)
{
	asm volatile("vmwrite %1, %0" : : "r"(field), "r"(value) : "cc");
}

static uint64_t get(uint64_t field)
{
	uint64_t value = 0;

	asm volatile("vmread %1, %0" : "+r"(value) : "r"(field) : "cc");
	return value;
}

/* Set the wanted and the required bits. Bits that are not allowed make the entry fail. */
static void put_ctls(uint64_t field, uint32_t msr, uint32_t wanted)
{
	put(field, wanted | (uint32_t)rdmsr(msr));
}

static void put_segment(unsigned int segment, uint16_t selector, uint32_t rights)
{
	put(GUEST_SELECTORS + 2 * segment, selector);
	put(GUEST_LIMITS + 2 * segment, UINT32_MAX);
	put(GUEST_RIGHTS + 2 * segment, rights);
	put(HOST_SELECTORS + 2 * segment, selector);
}

/* Other fields are 0: KVM reads the VMCS from its page, which was zeroed. */
static void build(const struct guest_block *b)
{
	const struct guest_cmd *c = &b->cmd;
	bool true_ctls = rdmsr(MSR_VMX_BASIC) & BASIC_TRUE_CTLS;
	uint32_t ctls = true_ctls ? MSR_VMX_TRUE_CTLS : MSR_VMX_CTLS;
	uint32_t proc = PROC_HLT, proc2 = 0;

	if (c->flags & GUEST_NPT) {
		bool has_ad = rdmsr(MSR_VMX_EPT_CAP) & EPT_CAP_AD;

		proc2 |= PROC2_EPT;
		put(EPTP, b->ncr3 | EPTP_WB | EPTP_4_LEVELS | (has_ad ? EPTP_AD : 0));
	}
	if (c->flags & GUEST_MSR_BITMAP) {
		proc |= PROC_MSR_BITMAP;
		put(MSR_BITMAP, c->gpa3);
	}
	if (c->flags & GUEST_VIRTUAL_APIC) {
		proc |= PROC_TPR_SHADOW;
		put(VIRTUAL_APIC, c->gpa3);
	}
	if (c->flags & GUEST_APIC_ACCESS) {
		proc2 |= PROC2_APIC_ACCESS;
		put(APIC_ACCESS, c->gpa3);
	}
	if (proc2) {
		proc |= PROC_CTLS2;
		put_ctls(PROC_CTLS2_FIELD, MSR_VMX_PROC2_CTLS, proc2);
	}
	put_ctls(PIN_CTLS, ctls, 0);
	put_ctls(PROC_CTLS, ctls + 1, proc);
	put_ctls(EXIT_CTLS, ctls + 2, EXIT_HOST_64 | EXIT_LOAD_EFER);
	put_ctls(ENTRY_CTLS, ctls + 3, ENTRY_GUEST_64 | ENTRY_LOAD_EFER);
	put(LINK_POINTER, UINT64_MAX);

	/* The nested guest has no IDT: an exception ends it by a triple fault. */
	for (unsigned int i = 0; i < 4; i++)
		put_segment(i, GUEST_DS, SEG_DATA);
	put_segment(1, GUEST_CS64, SEG_CODE64);
	for (unsigned int i = 4; i < 7; i++)
		put(GUEST_RIGHTS + 2 * i, SEG_UNUSABLE);
	put(GUEST_LIMITS + 2 * 7, 0x67);
	put(GUEST_RIGHTS + 2 * 7, SEG_TSS);
	put(HOST_SELECTORS + 2 * 6, HOST_TR);
	put(HOST_GDTR, GUEST_GDT);
	put(HOST_IDTR, GUEST_IDT64);

	put(GUEST_EFER, rdmsr(MSR_EFER));
	put(HOST_EFER, rdmsr(MSR_EFER));
	put(GUEST_CR0, read_reg(cr0));
	put(HOST_CR0, read_reg(cr0));
	put(GUEST_CR3, read_reg(cr3));
	put(HOST_CR3, read_reg(cr3));
	put(GUEST_CR4, read_reg(cr4));
	put(HOST_CR4, read_reg(cr4));
	put(GUEST_DR7, 0x400);
	put(GUEST_RFLAGS, 2);
	put(GUEST_RIP, (uintptr_t)vmx_l2_entry);
}

/*
 * Enter the nested guest; false if the entry failed. It shares all registers except RSP and RIP.
 * *word becomes the word of L2_ACCESS.
 */
static bool launch(const struct guest_cmd *c, uint64_t value, uint64_t *word)
{
	uint64_t rcx = value, rdx = c->flags;
	bool failed;

	asm volatile("	lea	1f(%%rip), %%rax\n"
		     "	vmwrite	%%rax, %[rip]\n"
		     "	vmwrite	%%rsp, %[rsp]\n"
		     "	vmlaunch\n"
		     "	mov	$1, %%eax\n"
		     "	jmp	2f\n"
		     "1:	xor	%%eax, %%eax\n"
		     "2:\n"
		     : "=&a"(failed), "=&D"(*word), "+c"(rcx), "+d"(rdx)
		     : "b"(c->gpa2), [rip] "r"((uint64_t)HOST_RIP), [rsp] "r"((uint64_t)HOST_RSP)
		     : "memory", "cc");
	return !failed;
}

/* The tables may have changed since the last command. */
static void invept_all(void)
{
	const uint64_t descriptor[2] = { 0 }, all_contexts = 2;

	asm volatile("invept %0, %1" : : "m"(descriptor), "r"(all_contexts) : "memory", "cc");
}

static void *zero_page(uint64_t gpa)
{
	for (unsigned int off = 0; off < 4096; off += 8)
		*(volatile uint64_t *)(gpa + off) = 0;
	return (void *)gpa;
}

void vmx_run(struct guest_block *b, uint64_t value)
{
	uint64_t region = b->hsave, vmcs = b->cmd.gpa, word;
	uint32_t revision = rdmsr(MSR_VMX_BASIC) & 0x7fffffff;

	if (!(rdmsr(MSR_FEATURE_CONTROL) & FEATURE_LOCKED))
		wrmsr(MSR_FEATURE_CONTROL, FEATURE_LOCKED | FEATURE_VMXON);
	asm volatile("mov %0, %%cr4" : : "r"(read_reg(cr4) | CR4_VMXE));
	*(volatile uint32_t *)zero_page(region) = revision;
	*(volatile uint32_t *)zero_page(vmcs) = revision;

	b->result = GUEST_L2_VMFAIL;
	if (!vmx_op("vmxon", region))
		return;
	if (vmx_op("vmclear", vmcs) && vmx_op("vmptrld", vmcs)) {
		build(b);
		if (b->cmd.flags & GUEST_NPT)
			invept_all();
		if (!launch(&b->cmd, value, &word)) {
			b->result += get(INSTRUCTION_ERROR);
		} else if (get(EXIT_REASON) == REASON_VMCALL) {
			b->result = GUEST_L2_DONE;
			b->result2 = word;
		} else {
			b->result = get(EXIT_REASON);
			b->result2 = get(EXIT_QUALIFICATION);
		}
		vmx_op("vmclear", vmcs);
	}
	asm volatile("vmxoff" : : : "cc");
}
