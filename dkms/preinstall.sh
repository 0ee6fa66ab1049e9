#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Keep the kernel's own modules in their place: "preinstall.sh LINK". DKMS 3.2 moves them into its own
# directory, unless this link of its own says that a version of ours is installed already. It replaces
# the link when it has installed the modules.
set -eu

ln -sfn none "$1"
