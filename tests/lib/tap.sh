# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh disable=SC2034 # the variables are for the tests
# TAP for the tests of the build, and a scratch directory ($work) for each.

top=$(realpath "$(dirname "$0")/../..")
work=$(mktemp -d)
number=0

# The release that make resolved KERNEL to, and its series.
: "${KERNEL:=6.1}"
rel=$(sed -n 's/^REL := //p' "$top/build/kernels/$KERNEL.mk")
series=$(sed -n 's/^SERIES := //p' "$top/build/kernels/$KERNEL.mk")

cleanup() {
	! mountpoint -q "$work/small" || umount "$work/small"
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

plan() {
	echo "1..$1"
}

# ok NAME CMD...: a test that passes if CMD does; if not, its output and the
# last output that run() kept are shown.
ok() {
	name=$1
	shift
	number=$((number + 1))
	if "$@" >"$work/ok.log" 2>&1; then
		echo "ok $number - $name"
	else
		echo "not ok $number - $name"
		echo "# failed: $*"
		[ ! -e "$work/out" ] || tail -q -n 10 "$work/ok.log" "$work/out" | sed 's/^/#   /'
	fi
}

skip() {
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

# run CMD...: run it with its output in $work/out; $status is its exit status.
run() {
	status=0
	"$@" >"$work/out" 2>&1 || status=$?
}

# What was run failed with one line, which matches the regular expression.
fails_with() {
	[ "$status" -ne 0 ] && [ "$(wc -l <"$work/out")" -eq 1 ] && grep -qE -- "$1" "$work/out"
}

passes() {
	[ "$status" -eq 0 ]
}

# What was run passed and said something that matches.
passes_with() {
	passes && grep -qE -- "$1" "$work/out"
}

absent() {
	for path in "$@"; do
		[ ! -e "$path" ] || return 1
	done
}

# small_disk: a file system of 64 KiB at $work/small; fails where none can be
# mounted.
small_disk() {
	mkdir "$work/small"
	mount -t tmpfs -o size=64k tmpfs "$work/small" 2>/dev/null
}

# fake NAME <<SCRIPT: put a command in front of the machine's own; run it with
# PATH="$work/bin:$PATH".
fake() {
	mkdir -p "$work/bin"
	{
		echo '#!/bin/sh'
		cat
	} >"$work/bin/$1"
	chmod +x "$work/bin/$1"
}

# small_tree: $work/stock, a stock tree of two files in KVM's places, and
# $work/series, an empty series.
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
