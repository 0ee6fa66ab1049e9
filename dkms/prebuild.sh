#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Prepare KVM's source for DKMS: prebuild.sh RELEASE HEADERS makes "tree" in the
# current directory, a copy of this source. What is missing and what does not apply
# is one line. DKMS goes on all the same; without the tree its build then fails.
set -eu
here=$(dirname "$0")
# shellcheck source=dkms/lib.sh
. "$here/lib.sh"

release=$1
headers=$2
need_mib=150

rm -rf tree modules
"$here/buildable.sh" "$release" "$headers"
find_row "$release"
free=$(df -Pm . | awk 'END { print $4 }')
[ "$free" -ge "$need_mib" ] ||
	die "$release: $need_mib MiB are needed on the disk of $PWD, $free MiB are free"

# Stock first, and every patch on a copy of it: the tree appears when all apply.
export XZ_DEFAULTS=-T0
trap 'rm -rf stock' EXIT
trap 'exit 130' INT TERM HUP
kvm/prepare.sh "$(tarball)" stock 2>prepare.log ||
	die "$release: $(sed -n '$s/^prepare.sh: //p' prepare.log)"
# Nobody looks at what does not fit exactly. One line of context is what differs in the oldest
# supported 6.12.
PATCH_FUZZ=1 kvm/prepare.sh stock tree "kvm/series/$series" kvm/new "$(headers_version "$headers")" >prepare.log 2>&1 ||
	die "$release: $(sed -n '$s/^prepare.sh: //p' prepare.log)"
