#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Remove the modules of every version from every kernel, whatever DKMS knows of them: remove-all.sh
# prints one line for each kernel that goes back to its own KVM.
set -u
here=$(dirname "$0")
# shellcheck source=dkms/lib.sh
. "$here/lib.sh"

lock
for dir in "$dkms"/[0-9]*; do
	[ ! -d "$dir" ] || dkms remove -m kvm-pfnmap -v "${dir##*/}" --all >/dev/null 2>&1 9>&- || :
done
for dir in /lib/modules/*; do
	take_away "${dir##*/}"
done
# A leftover directory would make DKMS skip modules of other packages.
rm -rf "${dkms:?}"
