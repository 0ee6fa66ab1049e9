/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * start.S - exception stubs and entry point of the guest program.
 */
#include "vmm/guest/guest.h"

#ifdef GUEST_REAL
	.code16gcc
#endif
	.section .stubs, "ax"

/* A stub pushes an error code, unless the processor has, and the vector on top of its frame. */
	.set	vector, 0
	.rept	GUEST_VECTORS
	.balign	GUEST_STUB_SIZE, 0xcc
#ifdef GUEST_REAL
	push	$0
#else
	.if	(1 << vector) & 0x60227d00 == 0	/* 8, 10-14, 17, 21, 29, 30 have one */
	push	$0
	.endif
#endif
	push	$vector
	jmp	exception
	.set	vector, vector + 1
	.endr

	.balign	GUEST_STUB_SIZE, 0xcc
	.globl	_start
_start:
#ifdef __x86_64__
	call	guest_main		/* block in %rdi */
#else
	push	%edi
	call	guest_main
#endif

exception:
	out	%al, $GUEST_PORT_EXCEPTION
	jmp	exception

	.section .note.GNU-stack, "", @progbits
