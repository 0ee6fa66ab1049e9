#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Runs the unit tests and the rig command, all built with sanitizers: one test
# for each program, one for each use of the command. "make check-asan" sets the
# variables.
set -eu

out=$(mktemp)
trap 'rm -f "$out"' EXIT
number=0

# check NAME CONDITION...: one test, with what the program said when it fails.
check() {
	name=$1
	shift
	number=$((number + 1))
	if "$@"; then
		echo "ok $number - $name"
	else
		echo "not ok $number - $name"
		sed 's/^/#   /' "$out"
	fi
}

# A unit test passes with all its checks, and without a word from a sanitizer.
unit() {
	"$1" >"$out" 2>&1 && [ "$(tail -n 1 "$out")" = "1..$(grep -c '^ok ' "$out")" ]
}

# rig STATUS REGEX ARGUMENT...: the command ends so, and says something that matches.
# What it keeps of its options until it ends is no leak.
rig() {
	want=$1
	regex=$2
	shift 2
	status=0
	ASAN_OPTIONS=detect_leaks=0 "$RIG_ASAN" "$@" >"$out" 2>&1 || status=$?
	[ "$status" -eq "$want" ] && grep -Eq -- "$regex" "$out" && ! grep -q 'Sanitizer' "$out"
}

for program in $UNIT_TESTS; do
	check "unit test ${program##*/}" unit "$program"
done
check 'rig --help' rig 0 '^usage: rig test' --help
check 'rig without a command' rig 2 '^usage: rig test'
check 'rig with an unknown command' rig 2 'no command "tets"' tets
check 'rig test --list' rig 0 '^patched +tdp +slots$' test --list tests/amd.table
check 'rig test --list --kvm stock --only' rig 0 '^stock +shadow +slots$' \
	test --list --kvm stock --only slots tests/amd.table
check 'rig test --only with a name that is not there' rig 2 'no test "slto"' \
	test --list --only slto tests/amd.table
check 'rig test of a table that is not there' rig 2 'No such file' \
	test --list tests/no-table
check 'rig test of something else' rig 2 'rules.mk:[0-9]+: ' test --list tests/rules.mk
check 'rig with a way of paging that is none' rig 2 'want tdp, tdp_mmu0, shadow or all' test --paging x tests/amd.table
check "rig test of a kernel that is not built" rig 2 "no host of kernel 0.1 is built" \
	test --kernel 0.1 tests/amd.table
check 'rig matrix without results' rig 2 'want OUTPUT RESULTS' matrix /dev/null
check 'rig with a wrong number' rig 2 'is not understood' test --mem x tests/amd.table
check 'rig with all options' rig 0 '^patched +tdp +slots$' test --list --param kvm-amd.npt=0 \
	--mem 512 --cpus 1 --icount --device e1000 --timeout 10 --name x --workers 3 \
	--group memslot --kvm patched --paging tdp tests/amd.table
echo "1..$number"
