#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Remove the modules of every version from every kernel, whatever DKMS knows of them: remove-all.sh
# prints one line for each kernel that goes back to its own KVM.
set -u
here=$(dirname "$0")
# shellcheck source=dkms/lib.sh
. "$here/lib.sh"

lock
for dir in "$dkms"/original_module/*; do
	[ ! -d "$dir" ] || put_back "${dir##*/}"
done
# A kernel whose initramfs cannot be made again keeps the modules that it holds.
for dir in /lib/modules/*/kernel; do
	release=${dir%/kernel}
	release=${release##*/}
	had=
	! has_modules "$release" || had=1
	take_away "$release"
	if initramfs "$release" >/dev/null 2>&1; then
		! is_own "$release" || [ -z "$had" ] ||
			echo "kvm-pfnmap: $release: removed, its own KVM is used from the next load on"
	elif is_needed "$release"; then
		bring_back "$release"
		echo "kvm-pfnmap: $release keeps the modules, which its initramfs holds:" \
			"rm $place/kvm*.ko* && depmod $release && $make" >&2
	else
		may_lose "$release"
		is_own "$release"
	fi
	forget "$release"
done
# Without these links, DKMS leaves the kernels' directories alone.
rm -f "$dkms"/kernel-*
for dir in "$dkms"/[0-9]*; do
	[ ! -d "$dir" ] || dkms remove -m kvm-pfnmap -v "${dir##*/}" --all >/dev/null 2>&1 9>&- || :
done
# A leftover directory would make DKMS skip modules of other packages. It may still have the only copy
# of a kernel's own modules, though.
rmdir "$dkms/original_module" 2>/dev/null
[ -d "$dkms/original_module" ] || rm -rf "${dkms:?}"
find "$state" -type f ! -name '*.initramfs' -delete 2>/dev/null
rmdir "$state" 2>/dev/null
# The package manager must be able to go on.
exit 0
