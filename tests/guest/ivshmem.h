/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What PID 1 of a Debian guest (ivshmem.c) and the tests that start it (qemu.c) agree on.
 *
 * Machine to guest, on the console, one command a line:
 *
 *	find			only look for the ivshmem device
 *	write STRIDE SEED	fill every STRIDE-th page of its memory (BAR 2), and read it back
 *	check STRIDE SEED	read back only
 *	loop STRIDE SEED	write without end, by SEED, then by SEED + 1, and so on
 *	reboot, poweroff
 *
 * The guest says GUEST_SAYS_UP when it listens, and GUEST_SAYS_DID after each of the first three.
 */
#ifndef IVSHMEM_GUEST_H
#define IVSHMEM_GUEST_H

#include <stdint.h>

#define GUEST_PAGE  4096u
#define GUEST_WORDS (GUEST_PAGE / sizeof(uint64_t))

#define GUEST_SAYS_UP "guest: PID 1 runs"

/*
 * A format for printf and scanf alike: bytes of memory that the device has (0: there is no device),
 * bytes that were read back, words in them that are not the pattern.
 */
#define GUEST_SAYS_DID "guest: of %zu bytes did %zu, %zu words wrong\n"

/* The word at index i of the device's memory, by the seed of the command. */
static inline uint64_t ivshmem_pattern(uint64_t i, uint64_t seed)
{
	return (i + 1) * 0xd1342543de82ef95ull + seed;
}

#endif
