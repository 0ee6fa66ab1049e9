/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * payload.h - what the files of the guest program share.
 */
#ifndef GUEST_PAYLOAD_H
#define GUEST_PAYLOAD_H

#include "guest/guest.h"

/* Carry out GUEST_VMRUN or GUEST_VMSAVE; long mode only. */
void svm_run(struct guest_block *b, uint64_t value);
void svm_save(struct guest_block *b);

#endif
