/* SPDX-License-Identifier: GPL-2.0-only */
/* What the guest's PID 1 (ivshmem_guest.c) and qemu_ivshmem.c, which starts it, agree on. */
#ifndef IVSHMEM_GUEST_H
#define IVSHMEM_GUEST_H

#include <stdint.h>

/* Lines on the guest's console: formats for printf and scanf alike. */
#define GUEST_SAYS_UP	 "guest: PID 1 runs"
#define GUEST_SAYS_FOUND "guest: writing %zu bytes of ivshmem memory\n"
#define GUEST_SAYS_DONE	 "guest: wrote and read back %zu bytes, %zu words wrong\n"

/* The word that the guest stores at index i of the device's memory. */
static inline uint64_t ivshmem_pattern(uint64_t i)
{
	return (i + 1) * 0xd1342543de82ef95ull;
}

#endif
