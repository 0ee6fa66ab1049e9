#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What sparse says of files of KVM: sparse.sh TREE KDIR OBJECT... prints its
# warnings, sorted and without line numbers. TREE is a prepared tree, OBJECT the
# path of an object in it.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

tree=$(realpath "$1")
kdir=$2
shift 2
log=$(mktemp)
trap 'rm -f "$log"' EXIT

for object; do
	case $object in
	arch/x86/kvm/*)	set -- "$@" "${object#arch/x86/kvm/}" ;;
	*)		set -- "$@" "../../../$object" ;;
	esac
	shift
done

kvm_make "$tree" "$kdir" C=2 CHECK='sparse -fmax-warnings=unlimited' "$@" >"$log" ||
	die "sparse cannot be run on $tree: $(reason "$log")"
sed -n -e "s|$tree/||g" -e 's|arch/x86/kvm/\.\./\.\./\.\./||g' \
	-e 's/^\([^ :]*\):[0-9]*:[0-9]*: \(warning\|error\): /\1: \2: /p' "$log" | LC_ALL=C sort
