#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Keep the kernel's own modules in their place: "preinstall.sh RELEASE ARCH". DKMS 3.2 moves them into
# its own directory, unless this link says that a version of ours is installed already. DKMS replaces
# the link when it has installed the modules.
set -eu

ln -sfn none "/var/lib/dkms/kvm-pfnmap/kernel-$1-$2"
