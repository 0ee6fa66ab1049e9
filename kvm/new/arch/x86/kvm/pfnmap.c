// SPDX-License-Identifier: GPL-2.0-only
/*
 * The version of kvm-pfnmap and of the source, for modinfo; and for DKMS, which does not replace a
 * module by one without a version. svm and vmx have a file like it, since an
 * object belongs to one module.
 */
#include <linux/module.h>

#include "pfnmap_version.h"

MODULE_VERSION(KVM_PFNMAP_VERSION);
MODULE_INFO(kvm_pfnmap_source, KVM_PFNMAP_SOURCE);
