# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh disable=SC2034 # the variables are for the tests
# What the tests of the build share: stand-ins for commands, a small tree and a small disk.

# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

# The release that make resolved KERNEL to, and its series.
: "${KERNEL:=6.1}"
rel=$(sed -n 's/^REL := //p' "build/kernels/$KERNEL.mk")
series=$(sed -n 's/^SERIES := //p' "build/kernels/$KERNEL.mk")

cleanup() {
	! mountpoint -q "$work/small" || umount "$work/small"
	rm -rf "$work"
}

# small_disk: mount a file system of 64 KiB at $work/small; fails where that is not possible.
small_disk() {
	mkdir "$work/small"
	mount -t tmpfs -o size=64k tmpfs "$work/small" 2>/dev/null
}

# fake NAME <<SCRIPT: a script that replaces a command of this machine for PATH="$work/bin:$PATH".
fake() {
	mkdir -p "$work/bin"
	{
		echo '#!/bin/sh'
		cat
	} >"$work/bin/$1"
	chmod +x "$work/bin/$1"
}

# small_tree: create $work/stock, a stock tree with two files in KVM's directories, and $work/series,
# an empty series.
small_tree() {
	mkdir -p "$work/stock/arch/x86/kvm" "$work/stock/virt/kvm" "$work/series"
	seq 1 60 | sed 's/^/line /' >"$work/stock/virt/kvm/a.c"
	seq 1 60 | sed 's/^/row /' >"$work/stock/arch/x86/kvm/b.c"
}

# add_patch NAME FILE SED: add a patch to $work/series that edits FILE.
add_patch() {
	mkdir -p "$work/a/$(dirname "$2")" "$work/b/$(dirname "$2")"
	cp "$work/stock/$2" "$work/a/$2"
	sed "$3" "$work/a/$2" >"$work/b/$2"
	(
		cd "$work" || exit
		! diff -u "a/$2" "b/$2" >"series/$1"
	)
	rm -rf "$work/a" "$work/b"
}
