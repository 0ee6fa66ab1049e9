#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Build and install the modules through DKMS: build-all.sh [RELEASE...] does it for these kernels,
# or for all installed ones, unless they have their modules already. It prints one line for each
# kernel. If that fails, the kernel keeps its own KVM; the status is 0 all the same, because the
# package manager calls this script in the middle of other work.
set -u
here=$(dirname "$0")
# shellcheck source=dkms/lib.sh
. "$here/lib.sh"

work=$(mktemp -d) || exit 0
log=$work/log
# The scripts that DKMS runs leave the reason for a failure in this file. DKMS does not pass it on.
export KVM_PFNMAP_REASON="$work/reason"
trap 'rm -rf "$work"' EXIT
# Half of the modules would win over the kernel's own, and not fit them.
now=
trap '[ -z "$now" ] || clean "$now" >/dev/null; exit 130' INT TERM HUP
lock

# because REASON: fail, with that reason.
because() {
	echo "$*" >"$KVM_PFNMAP_REASON"
	return 1
}

# The kernel loads signed modules only: the firmware or the kernel's command line says so.
enforced() {
	efi=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
	[ "$(od -An -tu1 -j4 -N1 "$efi" 2>/dev/null | tr -d ' ')" = 1 ] ||
		grep -qs Y /sys/module/module/parameters/sig_enforce ||
		mokutil --sb-state 2>/dev/null | grep -q 'SecureBoot enabled'
}

# would_load RELEASE: where signatures are enforced, modules that are not signed, or with a key that
# is not enrolled, would leave the machine without KVM.
would_load() {
	enforced || return 0
	for module in kvm kvm-amd kvm-intel; do
		file=$(module_of "$dkms/$version/$1/x86_64/module" $module) &&
		[ -n "$(modinfo -F signer "$file")" ] ||
			because "Secure Boot is on, and DKMS did not sign $module" || return 1
	done
	command -v mokutil >/dev/null ||
		because "Secure Boot is on, and whether the key of DKMS is enrolled is unknown:" \
			"apt install mokutil, then $here/build-all.sh" || return 1
	mokutil --test-key /var/lib/dkms/mok.pub 2>/dev/null | grep -q 'is already enrolled' ||
		because "Secure Boot is on, and the key of DKMS is not enrolled:" \
			"mokutil --import /var/lib/dkms/mok.pub, reboot, then $here/build-all.sh"
}

# build RELEASE HEADERS: DKMS reports success even if there was no room for the modules.
build() {
	dkms build -m kvm-pfnmap -v "$version" -k "$1" >"$log" 2>&1 9>&- &&
	would_load "$1" &&
	dkms install -m kvm-pfnmap -v "$version" -k "$1" >"$log" 2>&1 9>&- &&
	{ is_installed "$1" "$2" ||
	  because "the modules in /lib/modules/$1/updates/dkms are incomplete: is the disk full?"; }
}

# shellcheck disable=SC2046 # releases
[ $# -gt 0 ] || set -- $(ls -v /lib/modules 2>/dev/null)
for release; do
	headers=/lib/modules/$release/build
	[ -e "/lib/modules/$release/kernel" ] || continue
	! is_installed "$release" "$headers" || continue
	# Remove the rest of an interrupted run, and modules for another version of this kernel.
	clean "$release"
	"$here/buildable.sh" "$release" "$headers" || continue
	# dkms.conf need not ask again.
	export KVM_PFNMAP_BUILDABLE="$release"
	echo "kvm-pfnmap: $release: building"
	rm -f "$KVM_PFNMAP_REASON"
	now=$release
	if build "$release" "$headers"; then
		sync -f "/lib/modules/$release/updates/dkms"
		echo "kvm-pfnmap: $release: installed, used from the next load of KVM on"
	else
		why=$(cat "$KVM_PFNMAP_REASON" 2>/dev/null)
		[ -n "$why" ] || why=$(reason "$log")
		echo "kvm-pfnmap: $release keeps its own KVM: $why" >&2
		clean "$release" >/dev/null
	fi
	now=
done
exit 0
