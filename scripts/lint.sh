#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Check what can be checked of our own files without running them or having a kernel, one test for
# each tool; prints TAP. "make lint" calls it, and sets the variables.
set -eu

# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
lines=1000

# check NAME CMD...: passes if CMD finds nothing to say.
check() {
	name=$1
	shift
	run "$@"
	ok "$name" passes_silently
}

shell_scripts() {
	grep -rlE --exclude-dir=build --exclude-dir=.git '^(#!/bin/sh|# shellcheck shell=)' . |
		xargs shellcheck -x
}

# On standard error it says which other manuals it does not know.
manual() {
	mandoc -T lint -W warning tool/kvm-pfnmap.1 2>/dev/null
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
	clang-format --dry-run --Werror --style=file $LINT_C 2>"$work/part" ||
		grep 'error: ' "$work/part"
}

# shellcheck disable=SC2086 # files
sources=$(printf '%s\n' $LINT_C | grep '[.]c$')

plan 5
check 'shellcheck' shell_scripts
check 'mandoc: the manual' manual
# shellcheck disable=SC2086 # files
check 'cppcheck' cppcheck --quiet --std=c11 --enable=warning,portability,performance \
	--inline-suppr --suppress=normalCheckLevelMaxBranches -D_GNU_SOURCE -I. $sources
check 'clang-tidy' clang_tidy
check 'clang-format (make format mends it)' clang_format
