#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Prepare the part of the kernel source that KVM's modules are built from:
#
#   prepare.sh SOURCE OUT [SERIES [NEW [VERSION]]]
#
# SOURCE is the stock tarball (linux-source-*.tar.xz) or a directory made by an
# earlier run without SERIES. OUT gets KVM's files at their places in the kernel
# tree, the files of the directory NEW, the patches SERIES/*.patch in the order of
# their names, and the Kbuild file beside this script. With NEW, it also gets
# arch/x86/kvm/pfnmap_version.h, which holds the version of this project and
# VERSION, the version of the package that the source comes from. A hunk that
# applies with fuzz, of up to $PATCH_FUZZ lines (2), or at an offset is reported;
# the first patch that does not apply ends the run. OUT appears or is replaced only
# if everything succeeded.
set -eu
here=$(dirname "$0")
# shellcheck source=kvm/lib.sh
. "$here/lib.sh"

kbuild=$here/Kbuild
version=$here/../VERSION
source=$1
out=${2%/}
series=${3:-}
new=${4:-}
of=${5:-unknown}

tmp=$out.tmp

# The files taken from the tarball; a patch can change only these. KVM of 6.1.187
# needs a newer insn-eval.h than the headers of 6.1.176 have.
wanted='*/arch/x86/kvm */virt/kvm */include/trace/events/kvm.h
	*/include/linux/kvm*.h */include/uapi/linux/kvm*.h
	*/arch/x86/include/asm/kvm*.h */arch/x86/include/uapi/asm/kvm*.h
	*/arch/x86/include/asm/insn-eval.h
	*/Documentation/virt/kvm
	*/Documentation/admin-guide/kernel-parameters.txt'

# try CMD...: run a command and keep its output in $said, since the disk may be too
# full for a log file.
try() {
	said=$("$@" 2>&1)
}

# The line of $said that explains why the command failed.
why() {
	echo "$said" | grep -m1 -i 'no space left' || echo "$said" | head -n 1
}

write_version() {
	mkdir -p "$tmp/arch/x86/kvm"
	printf '%s\n#define KVM_PFNMAP_VERSION "%s"\n#define KVM_PFNMAP_SOURCE "%s"\n' \
		'/* SPDX-License-Identifier: GPL-2.0-only */' \
		"$(cat "$version")" "$of" >"$tmp/arch/x86/kvm/pfnmap_version.h"
}

extract() {
	set -f
	# shellcheck disable=SC2086 # patterns, for tar to expand
	try tar -C "$tmp" --strip-components=1 --wildcards --no-wildcards-match-slash \
	    -xf "$source" $wanted || die "cannot extract KVM from $source: $(why)"
	set +f
}

# Apply one patch to the scratch copy.
apply() {
	try patch -d "$tmp" -p1 --force --no-backup-if-mismatch --reject-file=- \
	    --fuzz="${PATCH_FUZZ:-2}" \
	    --input="$(realpath "$1")" && return
	file=$(echo "$said" | awk '
		/^patching file / { file = $3 }
		/FAILED/ { print file; exit }
		/^can.t find file/ { lost = 1 }
		/^\|\+\+\+ / && lost { print substr($2, index($2, "/") + 1); exit }')
	if [ -n "$file" ] && ! [ -e "$tmp/$file" ]; then
		die "$1: changes $file, which is not among the files KVM is built from"
	elif [ -n "$file" ]; then
		die "$1: does not apply to $file: $(echo "$said" | grep -m1 FAILED)"
	fi
	die "$1: cannot be applied: $(why)"
}

# Report the hunks that did not apply exactly, one line each.
inexact() {
	echo "$said" | awk -v patch="${1##*/}" '
		/^patching file / { file = $3 }
		/^Hunk .*(fuzz|offset)/ { print patch ": " file ": " $0 }'
}

[ -e "$source" ] || die "$source: no such tarball or directory"
[ -z "$series" ] || [ -d "$series" ] || die "$series: no such directory of patches"
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
rm -rf "$tmp"
try mkdir -p "$tmp" || die "cannot create $tmp: $(why)"

if [ -d "$source" ]; then
	try cp -Rp "$source/." "$tmp" || die "cannot copy $source: $(why)"
else
	extract
fi
if [ -n "$new" ] && [ -d "$new" ]; then
	try cp -Rp "$new/." "$tmp" || die "cannot copy $new: $(why)"
	try write_version || die "cannot write the version: $(why)"
fi
if [ -n "$series" ]; then
	for p in "$series"/*.patch; do
		[ -e "$p" ] || continue
		apply "$p"
		inexact "$p"
	done
fi
try cp "$kbuild" "$tmp/arch/x86/kvm/Kbuild" || die "cannot copy $kbuild: $(why)"

rm -rf "$out"
mv "$tmp" "$out"
