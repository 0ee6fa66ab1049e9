/* SPDX-License-Identifier: GPL-2.0-only */
/* The memory layout that bochs.c and its option ROM share. */
#ifndef RIG_BOCHS_BOOT_H
#define RIG_BOCHS_BOOT_H

#define BOOT_ROM      0xd0000
#define BOOT_ROM_SIZE 512

/* One page: the start info for the kernel, and what the ROM loads before. */
#define BOOT_INFO      0xf00000
#define BOOT_INFO_SIZE 4096
#define BOOT_MODULES   0x80
#define BOOT_MAP       0x100
#define BOOT_ENTRY     0x300
#define BOOT_LOADS     0x304
#define BOOT_USED      0x3fc /* set by the ROM, so that a reset does not boot the host again */
#define BOOT_CMDLINE   0x400

#endif
