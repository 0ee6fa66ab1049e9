/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * guest.h - the interface between libvmm and its bare-metal guest program: operations, command
 * block, ports, memory map.
 */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#ifndef __ASSEMBLER__
#include <stdint.h>

/*
 * The operations of the guest program. Unless stated otherwise, each one walks [gpa, gpa + len) in
 * steps of `stride` bytes; 0 means 8, which is every word. A word has 8 bytes; it is accessed at
 * once in long mode, and as two halves of 4 bytes in the other modes. Guest-virtual addresses equal
 * guest-physical ones unless vm_map() has changed that.
 */
enum guest_op {
	GUEST_NOP,     /* nothing; result: 0 */
	GUEST_READ,    /* load words; result: guest_sum() of them */
	GUEST_FILL,    /* store `value` in every word; result: words stored */
	GUEST_PATTERN, /* store guest_pattern(value, offset); result: words stored */
	GUEST_VERIFY,  /* compare with GUEST_PATTERN; result: wrong words, result2: first offset */
	GUEST_ADD,     /* lock xadd of value, 4 bytes wide; result: sum of the old values */
	GUEST_COPY,    /* rep movsb of len bytes from gpa to gpa2, no stride; result: len */
	GUEST_FSTORE,  /* store 1.0 by fstp, which KVM does not emulate; result: words stored */
	GUEST_EXEC,    /* call the code at gpa, no stride; result: its eax (see vcpu_code()) */
	GUEST_VMRUN,   /* long mode: run a nested guest, see below; result: its exit code */
	GUEST_VMSAVE,  /* AMD, long mode: VMSAVE to the VMCB at gpa, no nested guest; result: 0 */
};

/* struct guest_cmd.flags */
#define GUEST_LOOP	   1u /* repeat until guest_stop() or a wrong word; pass n uses value + n */
#define GUEST_NPT	   2u /* GUEST_VMRUN with nested paging (NPT or EPT), see vm_map_nested() */
#define GUEST_MSR_BITMAP   4u /* GUEST_VMRUN on Intel: use the page at gpa3 as MSR bitmap */
#define GUEST_VIRTUAL_APIC 8u /* ... as virtual-APIC page, with a TPR shadow */
#define GUEST_APIC_ACCESS  16u /* ... as APIC-access page */
#define GUEST_L2_LOAD	   32u /* GUEST_VMRUN: the nested guest loads the word instead */

/*
 * GUEST_VMRUN builds a VMCB (AMD) or VMCS (Intel) in the page at `gpa` and enters a nested guest
 * (long mode, the caller's page tables) that stores `value` in the word at gpa2, when gpa2 is not
 * 0, loads `value` into CR8 with GUEST_VIRTUAL_APIC, reads the MSR FS.base with GUEST_MSR_BITMAP,
 * and then executes VMMCALL or VMCALL. Result:
 *	GUEST_L2_DONE	    success; result2 is the word of GUEST_L2_LOAD
 *	GUEST_L2_VMFAIL + n a VMX instruction failed, with error number n, or 0 if it has none
 *	other		    the exit code (AMD) or exit reason (Intel) of the nested guest; result2
 *			    is EXITINFO1 or the exit qualification
 * A VMCB that KVM will not map raises #GP (vector 13) in the guest at the VMRUN.
 */
#define GUEST_L2_DONE	0x81u /* AMD's exit code for VMMCALL */
#define GUEST_L2_VMFAIL 0x100000000ull

/* struct guest_block.nesting: how the processor can run nested guests. */
enum guest_nesting {
	GUEST_NO_NESTING,
	GUEST_SVM,
	GUEST_VMX,
};

/* A command. There is one per vCPU, in low guest memory. */
struct guest_cmd {
	uint32_t op;	 /* enum guest_op */
	uint32_t flags;	 /* GUEST_* flags */
	uint64_t gpa;	 /* start, bytes */
	uint64_t len;	 /* bytes */
	uint64_t stride; /* bytes; 0: 8 */
	uint64_t value;
	uint64_t gpa2;	 /* second address, for operations that use one */
	uint64_t gpa3;	 /* third one */
	uint64_t passes; /* of a GUEST_LOOP, after which it ends by itself; 0: no limit */
};

struct guest_block {
	struct guest_cmd cmd;	/* host to guest */
	volatile uint32_t stop; /* host to guest: end a GUEST_LOOP after this pass */
	uint32_t pad;
	volatile uint64_t progress; /* guest to host: finished passes */
	uint64_t result;	    /* guest to host */
	uint64_t result2;
	uint64_t hsave;	  /* host to guest: page for VM_HSAVE_PA or VMXON */
	uint64_t ncr3;	  /* host to guest: nested page tables of GUEST_NPT */
	uint32_t nesting; /* host to guest: enum guest_nesting */
};
#endif /* !__ASSEMBLER__ */

/* Ports: the guest reports with a one-byte OUT. */
#define GUEST_PORT_DONE	     0xe0 /* command finished, results are valid */
#define GUEST_PORT_EXCEPTION 0xe1 /* exception; the stack describes it */

/*
 * Memory map of the low slot. GUEST_SCRATCH and everything from GUEST_LOW_SIZE on are for the user
 * of the library.
 */
#define GUEST_LOW_SIZE	   0x100000u
#define GUEST_MAX_VCPUS	   16u
#define GUEST_BLOCKS	   0x1000u /* a struct guest_block for each vCPU */
#define GUEST_BLOCK_SIZE   0x100u
#define GUEST_GDT	   0x2000u
#define GUEST_IDT32	   0x2400u
#define GUEST_IDT64	   0x2800u
#define GUEST_TEXT16	   0x3000u /* the guest program, built for each mode */
#define GUEST_TEXT32	   0x4000u
#define GUEST_TEXT64	   0x5000u
#define GUEST_TEXT_SIZE	   0x1000u
#define GUEST_STACKS	   0x6000u /* below 64 KiB, because real mode uses SP */
#define GUEST_STACK_SIZE   0x800u
#define GUEST_HSAVE	   0x10000u /* a page for each vCPU */
#define GUEST_SCRATCH	   0x20000u /* for users: a VMCB or VMCS in ordinary memory, for example */
#define GUEST_SCRATCH_SIZE 0x4000u
#define GUEST_TABLES	   0x24000u /* page tables, to the end of the slot */

/*
 * The guest program starts with its exception stubs, one for each vector; its entry point follows.
 */
#define GUEST_VECTORS	32 /* without suffix, for start.S */
#define GUEST_STUB_SIZE 16
#define GUEST_ENTRY	(GUEST_VECTORS * GUEST_STUB_SIZE)

/* Selectors in the GDT. */
#define GUEST_CS32 0x08u
#define GUEST_DS   0x10u
#define GUEST_CS64 0x18u

#ifndef __ASSEMBLER__
/* The word that GUEST_PATTERN stores at `offset` bytes from the start of its range. */
static inline uint64_t guest_pattern(uint64_t value, uint64_t offset)
{
	return value + (offset + 1) * 0x9e3779b97f4a7c15ull;
}

/* One step of the checksum of GUEST_READ; starts from 0. */
static inline uint64_t guest_sum_step(uint64_t sum, uint64_t word)
{
	return (sum << 7 | sum >> 57) ^ word;
}
#endif /* !__ASSEMBLER__ */

#endif
