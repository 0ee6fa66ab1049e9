#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Build every prefix of a series, each from stock in a fresh directory, to prove that
# git bisect can stop at any patch: bisect.sh STOCK SERIES NEW KDIR WORK.
set -eu
here=$(dirname "$0")
# shellcheck source=kvm/lib.sh
. "$here/lib.sh"

stock=$1
series=$(realpath "$2")
new=$3
kdir=$4
work=$5

trap 'exit 130' INT TERM HUP
rm -rf "$work"
mkdir -p "$work/series"
count=0
total=$(find "$series" -maxdepth 1 -name '*.patch' | wc -l)
for p in "$series"/*.patch; do
	[ -e "$p" ] || die "$series has no patches"
	count=$((count + 1))
	step BISECT "$count of $total: ${p##*/}"
	ln -s "$p" "$work/series"
	"$here/prepare.sh" "$stock" "$work/kvm" "$work/series" "$new" >/dev/null
	"$here/build.sh" "$work/kvm" "$kdir" "$work/modules" ||
		die "the series does not build after ${p##*/}"
	rm -rf "$work/kvm" "$work/modules"
done
rm -rf "$work"
step BISECT "all $count prefixes build"
