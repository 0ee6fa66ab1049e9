#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Check the patches and the other kernel code with the kernel's own checkpatch and with sparse;
# prints TAP. "make lint-series" calls it, and sets the variables.
set -eu

# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
lines=1000
lint=$R/lint

# check NAME CMD...: passes if CMD finds nothing to say.
check() {
	name=$1
	shift
	run "$@"
	ok "$name" passes_silently
}

checkpatch() {
	perl "$lint/checkpatch.pl" --strict --no-tree --quiet --terse --no-summary "$@"
}

# On standard input, since checkpatch takes what git tracks for source. Nobody
# has given a sign-off for the patches.
patches() {
	for p in "$SERIES_DIR"/*.patch; do
		checkpatch --ignore MISSING_SIGN_OFF - <"$p" >"$work/part" ||
			sed "s|^-|$p|" "$work/part"
	done
}

# compat.h is the one place that may ask for the kernel's version, which checkpatch
# then takes for a constant on the wrong side.
kernel_files() {
	for f in exporter/*.[ch] rig/module/*.[ch] $(find "$NEW_DIR" -name '*.[ch]' 2>/dev/null); do
		case $f in
		*/compat.h)	checkpatch --ignore LINUX_VERSION_CODE,CONSTANT_COMPARISON -f "$f" ;;
		*)		checkpatch -f "$f" ;;
		esac || :
	done
}

# What sparse does not say of stock KVM.
sparse_series() {
	# shellcheck disable=SC2086 # objects
	scripts/locked.sh "$R/kvm.lock" ${IN:-} scripts/sparse.sh "$R/kvm" "$KDIR" $LINT_OBJS \
		>"$work/part" 2>"$work/error" || { cat "$work/error"; return; }
	LC_ALL=C comm -13 "$lint/stock.sparse" "$work/part"
}

sparse_modules() {
	for dir in exporter rig/module; do
		copy=$lint/$dir
		rm -rf "$copy"
		mkdir -p "$copy"
		cp "$dir"/* "$copy"
		${IN:-} env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES \
			make -C "$KDIR" M="$(realpath "$copy")" C=2 CHECK=sparse >"$work/part" 2>&1 ||
			tail -n 3 "$work/part"
		grep -E '(warning|error):' "$work/part" || :
	done
}

plan 4
check 'checkpatch: the patches' patches
check 'checkpatch: our own modules and the new files of KVM' kernel_files
check 'sparse: the files that the series changes' sparse_series
check 'sparse: our own modules' sparse_modules
