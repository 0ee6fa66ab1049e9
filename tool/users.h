/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * users.h - who uses KVM, and whether its modules can be reloaded.
 */
#ifndef USERS_H
#define USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "tool/modules.h"

struct kvm_user {
	pid_t pid;
	char name[32];
	bool vm; /* has a VM, not just /dev/kvm open */
};

struct kvm_users {
	struct kvm_user list[32];
	size_t n;	   /* entries in list */
	size_t total;	   /* users found; may exceed n */
	bool complete;	   /* we could see all processes */
	char holders[256]; /* other modules that use KVM, separated by blanks */
	int refcount;	   /* of the vendor module: VMs and open /dev/kvm; -1: unknown */
};

void kvm_users_get(struct kvm_users *u, const struct kvm_state *s);

/* Say why the modules cannot be reloaded, in a static buffer. NULL: they can be. */
const char *reload_obstacle(const struct kvm_state *s, const struct kvm_users *u);

#endif
