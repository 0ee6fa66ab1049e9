/* SPDX-License-Identifier: GPL-2.0-only */
/* The guest's drawing program, as data for picture.c. */
	.section .rodata
	.globl	scene_code, scene_code_end
scene_code:
	.incbin	"scene.bin"
scene_code_end:

	.section .note.GNU-stack, "", @progbits
