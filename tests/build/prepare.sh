#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that a series is applied whole or not at all: fuzz and offsets are reported,
# a reject names the patch and the file, the reason for a failure reaches a caller, and a
# failed or killed run leaves nothing behind.
set -eu
# shellcheck source=tests/build/lib.sh
. tests/build/lib.sh
plan 19

prepare() {
	run "$top/kvm/prepare.sh" "$work/stock" "$work/out.d" "$work/series" "$work/new"
}

small_tree
add_patch 0001-a.patch virt/kvm/a.c 's/line 10$/patched/'
mkdir -p "$work/new/virt/kvm"
echo new >"$work/new/virt/kvm/new.c"
prepare
ok 'a patch that fits is applied silently' test "$status" -eq 0 -a ! -s "$work/out"
ok 'the file is changed' grep -qx patched "$work/out.d/virt/kvm/a.c"
ok 'the new files are in their places' test -e "$work/out.d/virt/kvm/new.c"
ok 'so is the Kbuild file' test -e "$work/out.d/arch/x86/kvm/Kbuild"

sed -i '1i line 0' "$work/stock/virt/kvm/a.c"
prepare
ok 'an offset is reported with patch and file' \
	passes_with '^0001-a.patch: virt/kvm/a.c: Hunk #1 .*offset 1 line'
sed -i 's/line 7$/line seven/' "$work/stock/virt/kvm/a.c"
prepare
ok 'fuzz is reported with patch and file' passes_with '^0001-a.patch: virt/kvm/a.c: Hunk #1 .*fuzz 1'

# The second of two patches does not apply.
before=$(find "$work/out.d" -type f -exec cat {} + | sha256sum)
add_patch 0002-b.patch arch/x86/kvm/b.c 's/row 20$/patched/'
sed -i 's/^row/other/' "$work/stock/arch/x86/kvm/b.c"
prepare
ok 'a reject ends with patch and file' test "$status" -ne 0 -a \
	"$(tail -n 1 "$work/out" | grep -c '0002-b.patch: does not apply to arch/x86/kvm/b.c')" -eq 1
ok 'what was there before is unchanged' \
	test "$before" = "$(find "$work/out.d" -type f -exec cat {} + | sha256sum)"
ok 'no partial result is left' absent "$work/out.d.tmp" "$work/out.d.log"

# A caller such as DKMS, which goes on after a failure, finds the first reason in a file.
export KVM_PFNMAP_REASON="$work/reason"
reason=$(sed -n '$s/^kvm-pfnmap: //p' "$work/out")
prepare
ok 'the reason is in the file that the caller names' \
	test "$status" -ne 0 -a -n "$reason" -a "$(cat "$work/reason")" = "$reason"
run "$top/kvm/build.sh" "$work/nowhere" "$work/nowhere" "$work/modules"
ok 'a failure that follows does not change it' \
	test "$status" -ne 0 -a "$(cat "$work/reason")" = "$reason"
unset KVM_PFNMAP_REASON

mkdir -p "$work/stock/mm"
seq 1 20 >"$work/stock/mm/c.c"
rm "$work/series"/*
add_patch 0001-c.patch mm/c.c 's/^9$/nine/'
rm -r "$work/stock/mm"
prepare
ok 'a patch of a file that is not built is refused' \
	fails_with '0001-c.patch: changes mm/c.c, which is not among the files'
ok 'the message names the project' fails_with '^kvm-pfnmap: '

rm "$work/series"/*
run "$top/kvm/prepare.sh" "$work/nowhere" "$work/out.d"
ok 'a missing source is one line' fails_with 'nowhere: no such tarball or directory'
echo truncated >"$work/broken.tar.xz"
run "$top/kvm/prepare.sh" "$work/broken.tar.xz" "$work/out.d"
ok 'a broken tarball is one line' fails_with 'cannot extract KVM from .*broken.tar.xz'

# A leftover of an earlier run that was killed.
mkdir -p "$work/out.d.tmp/virt/kvm"
echo stale >"$work/out.d.tmp/virt/kvm/stale.c"
prepare
ok 'a killed run does not disturb the next' passes
ok 'and nothing of it gets into the result' absent "$work/out.d/virt/kvm/stale.c" "$work/out.d.tmp"

if small_disk; then
	head -c 200000 /dev/zero >"$work/stock/virt/kvm/big.c"
	run "$top/kvm/prepare.sh" "$work/stock" "$work/small/out"
	ok 'a full disk is one line' fails_with 'cannot copy .*: .*No space left on device'
	rm "$work/stock/virt/kvm/big.c"
	run "$top/kvm/prepare.sh" "$work/stock" "$work/small/out"
	ok 'with room, the next call recovers' test "$status" -eq 0 -a -e "$work/small/out/virt/kvm/a.c"
else
	skip 'a full disk is one line' 'a small file system cannot be mounted here'
	skip 'with room, the next call recovers' 'a small file system cannot be mounted here'
fi
