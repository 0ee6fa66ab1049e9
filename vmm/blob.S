/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * blob.S - the three images of the guest program, as data in libvmm.
 */
	.section .rodata

	.macro	blob name, file
	.globl	\name, \name\()_end
\name:
	.incbin	"\file"
\name\()_end:
	.endm

	blob	vmm_guest16, "guest16.bin"
	blob	vmm_guest32, "guest32.bin"
	blob	vmm_guest64, "guest64.bin"

	.section .note.GNU-stack, "", @progbits
