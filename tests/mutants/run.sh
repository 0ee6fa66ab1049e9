#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that the tests notice bugs: builds KVM with each of the mutants of tests/mutants/*.patch on top of
# the series and demands that a test fails which passes without the mutant. Prints TAP. "make mutants"
# calls it, and sets the variables: ONLY= has names of mutants, separated by commas.
#
# First the tests run that the mutant's head names, in this order, then, if none of them fails, those of
# the groups $MORE of tests/amd.table (core,direct; none if empty). The results of all mutants that were
# run since they and the series last changed are in build/mutants-KERNEL.md.
set -eu
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
# shellcheck source=tests/mutants/lib.sh
. tests/mutants/lib.sh

dir=$R/mutants
results=$dir/results
sound=$dir/sound
logs=${R%/*}/logs
run=mutant-$KERNEL
initramfs=$R/initramfs.cpio

# The same path every time, or everything would be built anew.
build() {
	rm -rf "$dir/modules"
	# shellcheck disable=SC2086 # a command with arguments, or nothing
	run $IN kvm/build.sh "$dir/tree" "$KDIR" "$dir/modules"
	[ "$status" -eq 0 ]
}

# Build the series once; each mutant starts with a copy, objects included.
build_base() {
	! cmp -s "$R/series.id" "$dir/base/series.id" || return 0
	rm -rf "$dir/base" "$dir/tree" "$sound"
	run kvm/prepare.sh "$R/stock" "$dir/tree" "$SERIES_DIR" "$NEW_DIR" "$SOURCE_VERSION"
	[ "$status" -eq 0 ] && build || return
	cp "$R/series.id" "$dir/tree/series.id"
	mv "$dir/tree" "$dir/base"
}

# mutate FILE: build and pack the mutant; sets $why if that fails.
mutate() {
	rm -rf "$dir/tree"
	cp -a "$dir/base" "$dir/tree"
	why='does not apply'
	run patch -d "$dir/tree" -p1 --fuzz=0 --force --no-backup-if-mismatch --reject-file=- --input="$top/$1"
	[ "$status" -eq 0 ] || return
	why='does not build'
	build || return
	# What comes later in an initramfs replaces what came before.
	rm -rf "$dir/root"
	mkdir -p "$dir/root/modules/patched"
	cp "$dir/modules"/*.ko "$dir/root/modules/patched"
	(cd "$dir/root" && find modules | busybox cpio -o -H newc -R 0:0 2>/dev/null) |
		cat "$initramfs" - >"$dir/initramfs.cpio"
}

# try INITRAMFS TABLE PAGING OPTION...: run tests up to the first that fails. The status is rig's: 1 if one
# failed. Then $test and $paging say which, and $check says why.
try() {
	with=$1 table=$2 paging=$3
	shift 3
	[ "$table" = amd ] || set -- --host "$table" "$@"
	run build/bin/rig test --kernel "$REL" --kvm patched --paging "$paging" --workers 1 --stop \
		--initramfs "$with" --name "$run" "$@" "tests/$table.table"
	cat "$work/out" >>"$dir/log"
	[ "$status" -eq 1 ] || return "$status"
	# shellcheck disable=SC2046 # words
	set -- $(grep -m1 '^failed ' "$logs/$run.results")
	paging=$3 test=$5
	shift 5
	check=$*
	return 1
}

# Does the test that failed pass without the mutant?
is_sound() {
	[ -n "$(find "$sound" -newer "$initramfs" 2>/dev/null)" ] || : >"$sound"
	grep -qx "$table $test $paging" "$sound" && return
	kept=$check
	try "$initramfs" "$table" "$paging" --only "$test" || return
	check=$kept
	echo "$table $test $paging" >>"$sound"
}

# kill FILE: run tests until one fails; sets $why if none does.
kill_mutant() {
	mutate "$1" || return
	field Test "$1" >"$work/tests"
	while read -r table test paging; do
		status=0
		try "$dir/initramfs.cpio" "$table" "$paging" --only "$test" </dev/null || status=$?
		[ "$status" -eq 0 ] || break
	done <"$work/tests"
	if [ "$status" -eq 0 ] && [ -n "$MORE" ]; then
		try "$dir/initramfs.cpio" amd all --group "$MORE" || status=$?
	fi
	case $status in
	0)
		why=survived
		return 1
		;;
	1)
		why="$test ($paging) also fails without the mutant"
		is_sound
		;;
	*)
		echo "Bail out! the tests cannot be run: $(head -n 1 "$work/out")"
		exit 2
		;;
	esac
}

# What a result is about.
state() {
	cat "$R/series.id" "$1" | sha256sum
}

# The table, of all results that are not outdated.
write_table() {
	echo "$REL, $SOURCE_VERSION; $(qemu-system-x86_64 --version | head -n 1 | cut -d ' ' -f 1-4); $(date +%F)"
	echo
	echo "| mutant | undoes | what is wrong | killed by | failed check |"
	echo "| --- | --- | --- | --- | --- |"
	for file in $all; do
		result=$results/$(mutant_name "$file")
		[ "$(sed -n 1p "$result" 2>/dev/null)" = "$(state "$file")" ] || continue
		printf '| %s | %s | %s | %s | %s |\n' "$(mutant_name "$file")" "$(field Patch "$file")" \
			"$(field Bug "$file")" "$(sed -n 2p "$result")" \
			"$(sed -n 's/^not ok [0-9]* - //; s/^\[ *[0-9.]*\] //; s,[^ ]*/tree/,,; s/|/\\|/g; 3p' "$result")"
	done
}

mkdir -p "$results"
all=$(mutants "$SERIES")
selected=
for file in $all; do
	case ,${ONLY:-$(mutant_name "$file")}, in
	*,"$(mutant_name "$file")",*) selected="$selected $file" ;;
	esac
done
# shellcheck disable=SC2086 # files
set -- $selected
if [ -n "$ONLY" ] && [ $# -ne "$(echo "$ONLY" | tr ',' '\n' | wc -l)" ]; then
	echo "Bail out! ONLY=$ONLY: not all of them are mutants for $SERIES"
	exit 2
fi
plan $(($# + 1))
: >"$dir/log"
ok 'the series is built' build_base
for file; do
	number=$((number + 1))
	mutant=$(mutant_name "$file")
	state "$file" >"$results/$mutant.new"
	if kill_mutant "$file"; then
		case $table in
		amd) where=$paging ;;
		*) where="$paging, $table" ;;
		esac
		echo "ok $number - killed $mutant by $test ($where): $check"
		printf '%s\n%s\n' "$test ($where)" "$check" >>"$results/$mutant.new"
	else
		echo "not ok $number - $mutant $why"
		sed 's/^/#   /' "$work/out" | tail -n "$lines"
		printf '%s\n\n' "$why" >>"$results/$mutant.new"
	fi
	mv "$results/$mutant.new" "$results/$mutant"
	write_table >"${R%/*}/mutants-$KERNEL.md"
done
