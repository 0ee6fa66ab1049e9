// SPDX-License-Identifier: GPL-2.0-only
/*
 * The versions of kvm-pfnmap and of the kernel source, for modinfo and for
 * DKMS, which doesn't replace a module with one that has no version.  kvm-amd
 * and kvm-intel have files like this one, because an object belongs to only one
 * module.
 */
#include <linux/module.h>

#include "pfnmap_version.h"

MODULE_VERSION(KVM_PFNMAP_VERSION);
MODULE_INFO(kvm_pfnmap_source, KVM_PFNMAP_SOURCE);
