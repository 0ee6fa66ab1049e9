#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Check what can be checked without running it, one test for each tool; prints
# TAP. "make lint" calls it, and sets the variables.
set -eu

lint=$R/lint
out=$(mktemp)
trap 'rm -f "$out" "$out.part" "$out.error"' EXIT
number=0

# check NAME CMD...: passes if CMD finds nothing to say.
check() {
	name=$1
	shift
	number=$((number + 1))
	if "$@" >"$out" 2>&1 && ! [ -s "$out" ]; then
		echo "ok $number - $name"
	else
		echo "not ok $number - $name"
		sed 's/^/#   /' "$out"
	fi
}

checkpatch() {
	perl "$lint/checkpatch.pl" --strict --no-tree --quiet --terse --no-summary "$@"
}

# On standard input, since checkpatch takes what git tracks for source. Nobody
# has given a sign-off for the patches.
patches() {
	for p in "$SERIES_DIR"/*.patch; do
		checkpatch --ignore MISSING_SIGN_OFF - <"$p" >"$out.part" ||
			sed "s|^-|$p|" "$out.part"
	done
}

# compat.h is the one place that may ask for the kernel's version, which checkpatch
# then takes for a constant on the wrong side.
kernel_files() {
	for f in exporter/*.[ch] $(find "$NEW_DIR" -name '*.[ch]' 2>/dev/null); do
		case $f in
		*/compat.h)	checkpatch --ignore LINUX_VERSION_CODE,CONSTANT_COMPARISON -f "$f" ;;
		*)		checkpatch -f "$f" ;;
		esac || :
	done
}

# What sparse does not say of stock KVM.
sparse_series() {
	# shellcheck disable=SC2086 # objects
	scripts/locked.sh "$R/kvm.lock" scripts/sparse.sh "$R/kvm" "$KDIR" $LINT_OBJS \
		>"$out.part" 2>"$out.error" || { cat "$out.error"; return; }
	LC_ALL=C comm -13 "$lint/stock.sparse" "$out.part"
}

sparse_exporter() {
	rm -rf "$lint/exporter"
	mkdir "$lint/exporter"
	cp exporter/Kbuild exporter/*.[ch] "$lint/exporter"
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES \
		make -C "$KDIR" M="$(realpath "$lint/exporter")" C=2 CHECK=sparse >"$out.part" 2>&1 ||
		tail -n 3 "$out.part"
	grep -E '(warning|error):' "$out.part" || :
}

shell_scripts() {
	grep -rlE --exclude-dir=build --exclude-dir=.git '^(#!/bin/sh|# shellcheck shell=)' . |
		xargs shellcheck -x
}

# On standard error it says which other manuals it does not know.
manual() {
	mandoc -T lint -W warning cmd/kvm-pfnmap/kvm-pfnmap.1 2>/dev/null
}

# There is no address that mail to the authors could go to.
packages() {
	lintian --allow-root --fail-on warning \
		--suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog build/deb/*.changes
}

# One file a call, because what clang-tidy 14 says of va_list depends on the
# files before. It counts the warnings that it does not show on standard error.
clang_tidy() {
	# shellcheck disable=SC2086 # files and flags
	printf '%s\n' $sources |
		xargs -P "$(nproc)" -I FILE clang-tidy --quiet FILE -- $LINT_FLAGS 2>/dev/null
}

# Without the lines themselves. It leaves comments as they are.
clang_format() {
	for f in $LINT_C; do
		expand "$f" | grep -EHn --label="$f" '^.{101}' | grep -E '^[^:]*:[0-9]*: *(/[*]|[*])' || :
	done
	# shellcheck disable=SC2086 # files
	clang-format --dry-run --Werror --style="file:$lint/clang-format" $LINT_C 2>"$out.part" ||
		grep 'error: ' "$out.part"
}

# shellcheck disable=SC2086 # files
sources=$(printf '%s\n' $LINT_C | grep '[.]c$')

echo 1..10
check 'checkpatch: the patches' patches
check 'checkpatch: the exporter and the new files of KVM' kernel_files
check 'sparse: the files that the series changes' sparse_series
check 'sparse: the exporter' sparse_exporter
check 'shellcheck' shell_scripts
check 'mandoc: the manual' manual
check 'lintian: the packages' packages
# shellcheck disable=SC2086 # files
check 'cppcheck' cppcheck --quiet --std=c11 --enable=warning,portability,performance \
	--inline-suppr -D_GNU_SOURCE -I. -Ilib/vmm -Iexporter -Itests $sources
check 'clang-tidy' clang_tidy
check 'clang-format (make format mends it)' clang_format
