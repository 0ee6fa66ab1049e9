// SPDX-License-Identifier: GPL-2.0-only
/* The versions of kvm-pfnmap and of the kernel source: see ../pfnmap.c. */
#include <linux/module.h>

#include "pfnmap_version.h"

MODULE_VERSION(KVM_PFNMAP_VERSION);
MODULE_INFO(kvm_pfnmap_source, KVM_PFNMAP_SOURCE);
