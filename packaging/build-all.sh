#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Build and install the modules through DKMS: build-all.sh [RELEASE...] does it for
# these kernels, or for all that are installed, where it has not been done. One line
# a kernel; a kernel that it fails for keeps its own KVM, and the status is 0, since
# the package manager calls it in the middle of other work.
set -u
here=$(dirname "$0")
# shellcheck source=packaging/lib.sh
. "$here/lib.sh"

version=$(cat "$top/VERSION")

log=$(mktemp) || exit 0
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM HUP
# shellcheck disable=SC2046 # releases
[ $# -gt 0 ] || set -- $(ls -v /lib/modules 2>/dev/null)
for release; do
	headers=/lib/modules/$release/build
	if ! [ -e "/lib/modules/$release/kernel" ] ||
	   dkms status -m kvm-pfnmap -v "$version" -k "$release" | grep -q ': installed'; then
		continue
	fi
	"$here/buildable.sh" "$release" "$headers" || continue
	echo "kvm-pfnmap: $release: building"
	if dkms install -m kvm-pfnmap -v "$version" -k "$release" >"$log" 2>&1; then
		echo "kvm-pfnmap: $release: installed, used from the next load of KVM on"
	else
		why=$(grep -m1 '^kvm-pfnmap: ' "$log" || grep -hm1 'modules.sh: ' \
			"/var/lib/dkms/kvm-pfnmap/$version/build/make.log" 2>/dev/null ||
			grep -m1 -i 'error' "$log" || tail -n 1 "$log")
		why=${why#kvm-pfnmap: }
		echo "kvm-pfnmap: $release keeps its own KVM: ${why#"$release: "}" >&2
	fi
done
exit 0
