#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Take the modules of every version away from every kernel: remove-all.sh. One line a
# kernel, which goes back to its own KVM; what DKMS says only if it fails.
set -eu

log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM HUP
dkms status -m kvm-pfnmap >"$log"
versions=$(sed -n 's|^kvm-pfnmap[/, ]*\([^,: ]*\).*|\1|p' "$log" | sort -u)
releases=$(sed -n 's|^kvm-pfnmap/[^,]*, \([^,]*\), .*: installed.*|\1|p' "$log" | sort -uV)
for version in $versions; do
	dkms remove -m kvm-pfnmap -v "$version" --all >"$log" 2>&1 || {
		cat "$log" >&2
		exit 1
	}
done
for release in $releases; do
	echo "kvm-pfnmap: $release: removed, its own KVM is used from the next load on"
done
