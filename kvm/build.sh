#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Build KVM's modules from a prepared tree: build.sh TREE KDIR OUT leaves the
# modules, stripped of debug information, and their Module.symvers in OUT, and the
# build log in TREE.log.
set -eu
# shellcheck source=kvm/lib.sh
. "$(dirname "$0")/lib.sh"

tree=$1
kdir=$2
out=$3
log=$tree.log
kvm=$(realpath -m "$tree")/arch/x86/kvm

# On a terminal, count the compiled files; with V set, show the whole build.
progress() {
	if [ -n "${V:-}" ]; then
		tee "$log"
	elif [ -t 2 ]; then
		tee "$log" | awk '/^  CC / { printf "\r  CC       %d files", ++n >"/dev/stderr" }
				  END { printf "\r\033[K" >"/dev/stderr" }'
	else
		cat >"$log"
	fi
}

[ -e "$kvm/Kbuild" ] || die "$tree is not a prepared tree"
[ -e "$kdir/Makefile" ] || die "$kdir is missing: run 'make deps'"
rm -rf "$out.tmp"
mkdir -p "$out.tmp"
trap 'rm -rf "$out.tmp"' EXIT
trap 'exit 130' INT TERM HUP

{
	kvm_make "$tree" "$kdir" ${V:+V=1} modules && echo built
} | progress
if [ "$(tail -n 1 "$log")" != built ]; then
	# A caller that asks for the reason removes the log.
	[ -n "${KVM_PFNMAP_REASON:-}" ] && see= || see=" (log: $log)"
	die "the modules do not build: $(reason "$log")$see"
fi

cp "$kvm/kvm.ko" "$kvm/kvm-amd.ko" "$kvm/kvm-intel.ko" "$kvm/Module.symvers" \
   "$out.tmp" 2>>"$log" || die "cannot copy the modules: $(reason "$log")"
strip --strip-debug "$out.tmp"/*.ko 2>>"$log" || die "cannot strip the modules: $(reason "$log")"
mkdir -p "$out"
mv -f "$out.tmp"/* "$out"
