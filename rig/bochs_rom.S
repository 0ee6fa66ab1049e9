/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The option ROM that boots a host in Bochs: it loads the kernel and the initramfs from the first
 * disk, as the page at BOOT_INFO describes, and enters the kernel at its PVH entry.
 *
 * bochs.c pads it and corrects its checksum.
 */
#include "rig/bochs_boot.h"

#define LOW(label)  (BOOT_ROM + (label) - bochs_rom)
#define DATA	    0x1f0
#define COUNT	    0x1f2
#define LBA_LOW	    0x1f3
#define LBA_MIDDLE  0x1f4
#define LBA_HIGH    0x1f5
#define DEVICE	    0x1f6
#define COMMAND	    0x1f7
#define READ	    0x20
#define SHUTDOWN    0x8900
#define STATUS_BUSY 0x80
#define STATUS_DATA 0x08

	.section .rodata
	.balign	16
	.globl	bochs_rom, bochs_rom_end
	.code16
bochs_rom:
	.byte	0x55, 0xaa, BOOT_ROM_SIZE / 512
	/* The BIOS calls this before it boots. */
	cli
	inb	$0x92, %al		/* the A20 gate */
	orb	$2, %al
	outb	%al, $0x92
	lgdtl	%cs:(gdt_pointer - bochs_rom)
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$8, $LOW(flat)

	.code32
flat:
	movw	$16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	cld
	btsl	$0, BOOT_INFO + BOOT_USED
	jc	again
	movl	$(BOOT_INFO + BOOT_LOADS), %esi

	/* The next piece to load: first sector, number of sectors, address. */
load:
	movl	(%esi), %ebx
	movl	4(%esi), %ebp
	movl	8(%esi), %edi
	addl	$12, %esi
	testl	%ebp, %ebp
	jz	enter

	/* At most 256 sectors per command. There is no stack: ESP counts them. */
chunk:
	movl	$256, %esp
	cmpl	%esp, %ebp
	jae	1f
	movl	%ebp, %esp
1:	movl	%ebx, %eax
	shrl	$24, %eax
	orb	$0xe0, %al		/* the first device, by LBA */
	movw	$DEVICE, %dx
	outb	%al, %dx
	movl	%esp, %eax
	movw	$COUNT, %dx
	outb	%al, %dx		/* 0 is 256 */
	movl	%ebx, %eax
	movw	$LBA_LOW, %dx
	outb	%al, %dx
	shrl	$8, %eax
	movw	$LBA_MIDDLE, %dx
	outb	%al, %dx
	shrl	$8, %eax
	movw	$LBA_HIGH, %dx
	outb	%al, %dx
	movb	$READ, %al
	movw	$COMMAND, %dx
	outb	%al, %dx

	/* An error sets neither bit: this waits until the machine gives up on the host. */
sector:
	movw	$COMMAND, %dx
	inb	%dx, %al
	andb	$(STATUS_BUSY | STATUS_DATA), %al
	cmpb	$STATUS_DATA, %al
	jne	sector
	movl	$256, %ecx
	movw	$DATA, %dx
	rep	insw
	incl	%ebx
	decl	%ebp
	decl	%esp
	jnz	sector
	testl	%ebp, %ebp
	jnz	chunk
	jmp	load

enter:
	movl	$BOOT_INFO, %ebx
	jmp	*(BOOT_INFO + BOOT_ENTRY)

	/* The kernel asked for a reset, as it does after a panic: end the emulator instead. */
again:
	movl	$LOW(farewell), %esi
	movl	$(farewell_end - farewell), %ecx
	movw	$SHUTDOWN, %dx
	rep	outsb
1:	hlt
	jmp	1b

farewell:
	.ascii	"Shutdown"
farewell_end:

	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff	/* 8: code */
	.quad	0x00cf93000000ffff	/* 16: data */
gdt_pointer:
	.word	gdt_pointer - gdt - 1
	.long	LOW(gdt)
bochs_rom_end:

	.section .note.GNU-stack, "", @progbits
