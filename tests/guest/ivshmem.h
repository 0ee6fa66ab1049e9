/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The protocol between PID 1 of a Debian guest (ivshmem.c) and the tests that start the guest
 * (tests/lib/qemu.c).
 *
 * Machine to guest, on the console, one command per line:
 *
 *	find			look for the ivshmem device
 *	write STRIDE SEED	fill every STRIDE-th page of its memory (BAR 2), and read it back
 *	check STRIDE SEED	only read it back
 *	loop STRIDE SEED	write forever, with SEED, then with SEED + 1, and so on
 *	reboot, poweroff
 *
 * The guest prints GUEST_SAYS_UP when it listens, and GUEST_SAYS_DID after find, write and check.
 */
#ifndef IVSHMEM_GUEST_H
#define IVSHMEM_GUEST_H

#include <stdint.h>

#define GUEST_PAGE  4096u
#define GUEST_WORDS (GUEST_PAGE / sizeof(uint64_t))

#define GUEST_SAYS_UP "guest: PID 1 runs"

/*
 * A format for both printf and scanf: the bytes of memory that the device has (0: no device), the
 * bytes that were read back, and the words among them that do not have the pattern.
 */
#define GUEST_SAYS_DID "guest: of %zu bytes read %zu, %zu words wrong\n"

/* The word at index i of the device's memory, for the seed of the command. */
static inline uint64_t ivshmem_pattern(uint64_t i, uint64_t seed)
{
	return (i + 1) * 0xd1342543de82ef95ull + seed;
}

#endif
