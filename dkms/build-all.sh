#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Build and install the modules through DKMS: build-all.sh [RELEASE...] does it for
# these kernels, or for all that are installed, where it has not been done. One line
# a kernel; a kernel that it fails for keeps its own KVM, and the status is 0, since
# the package manager calls it in the middle of other work.
set -u
here=$(dirname "$0")
# shellcheck source=dkms/lib.sh
. "$here/lib.sh"

log=$(mktemp) || exit 0
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM HUP
lock

# keeps RELEASE: it does not get our modules, for the reason that the log has.
keeps() {
	why=$(grep -m1 '^kvm-pfnmap: ' "$log" ||
		grep -hm1 'build.sh: ' "$dkms/$version/build/make.log" 2>/dev/null ||
		grep -m1 -i 'error' "$log" || tail -n 1 "$log")
	why=${why#kvm-pfnmap: }
	echo "kvm-pfnmap: $1 keeps its own KVM: ${why#"$1: "}" >&2
}

# With Secure Boot, a module of a key that is not enrolled leaves the machine without KVM.
would_load() {
	mokutil --sb-state 2>/dev/null | grep -q 'SecureBoot enabled' || return 0
	! mokutil --test-key /var/lib/dkms/mok.pub 2>/dev/null | grep -q 'is already enrolled' || return 0
	echo "kvm-pfnmap: $1: Secure Boot is on, and the key of DKMS is not enrolled:" \
		"mokutil --import /var/lib/dkms/mok.pub, reboot, then $here/build-all.sh" >"$log"
	return 1
}

# shellcheck disable=SC2046 # releases
[ $# -gt 0 ] || set -- $(ls -v /lib/modules 2>/dev/null)
for release; do
	headers=/lib/modules/$release/build
	[ -e "/lib/modules/$release/kernel" ] || continue
	! is_installed "$release" "$headers" || continue
	# What an interrupted run has left, or what is for another version of this kernel.
	clean "$release"
	"$here/buildable.sh" "$release" "$headers" || continue
	echo "kvm-pfnmap: $release: building"
	if dkms build -m kvm-pfnmap -v "$version" -k "$release" >"$log" 2>&1 9>&- &&
	   would_load "$release" &&
	   dkms install -m kvm-pfnmap -v "$version" -k "$release" >"$log" 2>&1 9>&- &&
	   # DKMS does not look whether there was room for them.
	   { is_installed "$release" "$headers" || ! echo 'the modules are not whole' >"$log"; }; then
		sync -f "/lib/modules/$release/updates/dkms"
		echo "kvm-pfnmap: $release: installed, used from the next load of KVM on"
	else
		keeps "$release"
		clean "$release" >/dev/null
	fi
done
exit 0
