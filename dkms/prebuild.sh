#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Prepare KVM's source for DKMS: "prebuild.sh RELEASE HEADERS" makes the directory "tree" in the
# current directory, which is DKMS's copy of the source. dkms.conf or build-all.sh has checked that
# the modules can be built. DKMS ignores a failure, but without the tree its build fails, too.
set -eu
here=/usr/lib/kvm-pfnmap
# shellcheck source=dkms/lib.sh
. $here/lib.sh

release=$1
headers=$2
need_mib=150

rm -rf tree modules
find_row "$release" || die "$release is not a supported kernel ($(supported))"
of=$(headers_version "$headers") || die "the headers of $release are missing"
[ "$(source_version)" = "$of" ] || die "$source is not of $of"
free=$(df -Pm . | awk 'END { print $4 }')
[ "$free" -ge "$need_mib" ] ||
	die "$need_mib MiB are needed on the disk of $PWD, $free MiB are free"

# The stock source first, then the patches on a copy of it: the tree appears only if all apply.
# Nobody reads the report of inexact hunks here, so no fuzz is allowed.
export XZ_DEFAULTS=-T0
trap 'rm -rf stock' EXIT
trap 'exit 130' INT TERM HUP
kvm/prepare.sh "$(tarball)" stock
PATCH_FUZZ=0 kvm/prepare.sh stock tree "kvm/series/$series" kvm/new "$of"
