#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Remove the modules of every version from every kernel, whatever DKMS knows of them: remove-all.sh
# prints one line for each kernel that goes back to its own KVM.
set -u
here=$(dirname "$0")
# shellcheck source=dkms/lib.sh
. "$here/lib.sh"

lock
# DKMS removes its modules without a line for the user, and leaves damaged ones.
had=
for dir in /lib/modules/*; do
	release=${dir##*/}
	has_modules "$release" || continue
	had="$had $release"
	changing "$release"
done
for dir in "$dkms"/original_module/*; do
	[ ! -d "$dir" ] || put_back "${dir##*/}"
done
for dir in "$dkms"/[0-9]*; do
	[ ! -d "$dir" ] || dkms remove -m kvm-pfnmap -v "${dir##*/}" --all >/dev/null 2>&1 9>&- || :
done
for release in $had; do
	take_away "$release"
	settle "$release"
	if ! has_modules "$release" && [ ! -e "$state/$release.initramfs" ]; then
		echo "kvm-pfnmap: $release: removed, its own KVM is used from the next load on"
	fi
done
# A leftover directory would make DKMS skip modules of other packages. It may still have the only copy
# of a kernel's own modules, though.
rmdir "$dkms/original_module" 2>/dev/null
[ -d "$dkms/original_module" ] || rm -rf "${dkms:?}"
find "$state" -type f ! -name '*.initramfs' -delete 2>/dev/null
rmdir "$state" 2>/dev/null
# The package manager must be able to go on.
exit 0
