#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that the tests notice bugs: builds KVM with each of the mutants of tests/mutants/*.patch on top of
# the series and demands that a test fails, twice, which passes without the mutant. Prints TAP. "make
# mutants" calls it, and sets the variables: ONLY= has names of mutants, separated by commas; with
# ONLY=none, only the table of results is written.
#
# First the tests run that the mutant's head names, in this order, then, if none of them fails, those of
# the groups $MORE of tests/amd.table (core,direct; none if empty). The results of all mutants that were
# run since they and the series last changed are in build/mutants-KERNEL.md. With TRY=, the tests
# of tests/amd.table with these names run instead, and no result is kept.
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
mutated=$dir/initramfs.cpio

# The same path every time, or everything would be built anew.
build() {
	rm -rf "$dir/modules"
	# shellcheck disable=SC2086 # a command with arguments, or nothing
	run $IN kvm/build.sh "$dir/tree" "$KDIR" "$dir/modules"
	[ "$status" -eq 0 ]
}

# Nothing that follows would mean anything.
bail() {
	echo "Bail out! $*"
	exit 2
}

# Build the series once; each mutant starts with a copy, objects included.
build_base() {
	! cmp -s "$R/series.id" "$dir/base/series.id" || return 0
	rm -rf "$dir/base" "$dir/tree" "$sound"
	run kvm/prepare.sh "$R/stock" "$dir/tree" "$SERIES_DIR" "$NEW_DIR" "$SOURCE_VERSION"
	[ "$status" -eq 0 ] && build || return
	cp "$R/series.id" "$dir/tree/series.id" && mv "$dir/tree" "$dir/base"
}

# mutate FILE: build and pack the mutant; sets $why if that fails. It is called where errexit is off.
mutate() {
	why='cannot be copied'
	rm -rf "$dir/tree"
	cp -a "$dir/base" "$dir/tree" || return
	why='does not apply'
	run patch -d "$dir/tree" -p1 --fuzz=0 --force --no-backup-if-mismatch --reject-file=- --input="$top/$1"
	[ "$status" -eq 0 ] || return
	why='does not build'
	build || return
	# What comes later in an initramfs replaces what came before.
	why='cannot be packed'
	rm -rf "$dir/root"
	mkdir -p "$dir/root/modules/patched" &&
		cp "$dir/modules"/*.ko "$dir/root/modules/patched" || return
	(cd "$dir/root" && find modules | busybox cpio -o -H newc -R 0:0 2>/dev/null) >"$dir/modules.cpio" &&
		cat "$initramfs" "$dir/modules.cpio" >"$mutated"
}

# try INITRAMFS TABLE PAGING OPTION...: run tests up to the first that fails. If one does, the status is 1,
# $test and $paging say which, and $check says why.
try() {
	with=$1 table=$2 paging=$3
	shift 3
	[ "$table" = amd ] || set -- --host "$table" "$@"
	run build/bin/rig test --kernel "$REL" --kvm patched --paging "$paging" --workers 1 --stop \
		--initramfs "$with" --name "$run" "$@" "tests/$table.table"
	cat "$work/out" >>"$dir/log"
	case $status in
	0) return 0 ;;
	1) ;;
	*) bail "the tests cannot be run: $(head -n 1 "$work/out")" ;;
	esac
	grep -m1 '^failed ' "$logs/$run.results" >"$work/failed" || bail "no test failed, but the run did"
	IFS=' ' read -r _ _ paging _ test check <"$work/failed"
	return 1
}

# Does the test that failed pass without the mutant?
is_sound() {
	[ -n "$(find "$sound" -newer "$initramfs" 2>/dev/null)" ] || : >"$sound"
	grep -qx "$table $test $paging" "$sound" && return
	try "$initramfs" "$table" "$paging" --only "$test" || return
	echo "$table $test $paging" >>"$sound"
}

# tests FILE: print the table, name and paging of each test to run.
tests() {
	field Test "$1" >"$work/head"
	if [ -n "$TRY" ]; then
		first=$(awk '$1 == "amd" { print $3; exit }' "$work/head")
		echo "$TRY" | tr ',' '\n' | sed "s/.*/amd & ${first:-tdp}/"
	else
		cat "$work/head"
	fi
}

# kill_mutant FILE: run tests until one fails; sets $why if none does, or if that proves nothing.
kill_mutant() {
	table=amd
	mutate "$1" || return
	tests "$1" >"$work/tests"
	failed=
	while read -r table test paging; do
		try "$mutated" "$table" "$paging" --only "$test" </dev/null && continue
		failed=yes
		break
	done <"$work/tests"
	if [ -z "$failed" ] && [ -n "$MORE" ]; then
		try "$mutated" amd all --group "$MORE" || failed=yes
	fi
	if [ -z "$failed" ]; then
		why="survived ${TRY:-the tests that it names}${MORE:+ and those of $MORE}"
		return 1
	fi

	kept=$check
	why="inconclusive: $test ($paging): $kept"
	case $kept in
	'host lost: '* | 'the host does not boot: '* | 'cannot load '* | 'not run'*)
		[ "$(field Hangs "$1")" = yes ] || return
		;;
	esac
	why="inconclusive: $test ($paging) failed once and passed once: $kept"
	! try "$mutated" "$table" "$paging" --only "$test" || return
	why="inconclusive: $test ($paging) also fails without the mutant"
	is_sound || return
	check=$kept
}

# What a result is about: the series, and all of the mutant but two lines for readers.
state() {
	grep -v -e '^Bug: ' -e '^Patch: ' "$1" | cat "$R/series.id" - | sha256sum
}

# When and where this run takes place.
circumstances() {
	case $1 in
	intel) emulator=Bochs ;;
	*) emulator="QEMU $(qemu-system-x86_64 --version | sed -n '1s/.*version \([^ ]*\).*/\1/p')" ;;
	esac
	echo "$(date +%F), $SOURCE_VERSION, $emulator"
}

# A result is a file of four lines: what it is about, what killed the mutant, or why nothing did, the
# check that failed, and the circumstances.
line() {
	sed -n "$1p" "$result"
}

# The table, of all results that are not outdated.
write_table() {
	print_table >"${R%/*}/mutants-$KERNEL.md"
}

print_table() {
	echo "| mutant | undoes | what is wrong | killed by | failed check | run |"
	echo "| --- | --- | --- | --- | --- | --- |"
	count=0 total=0 killed=0
	for file in $all; do
		total=$((total + 1))
		result=$results/$(mutant_name "$file")
		[ "$(line 1 2>/dev/null)" = "$(state "$file")" ] || continue
		count=$((count + 1))
		[ -z "$(line 3)" ] || killed=$((killed + 1))
		printf '| %s | %s | %s | %s | %s | %s |\n' "$(mutant_name "$file")" "$(field Patch "$file")" \
			"$(field Bug "$file")" "$(line 2)" \
			"$(line 3 | sed 's/^not ok [0-9]* - //; s/^\[ *[0-9.]*\] //; s,[^ ]*/tree/,,; s/|/\\|/g')" \
			"$(line 4)"
	done
	echo
	echo "$count of $total mutants were run on $REL, and $killed of them killed."
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
if [ "$ONLY" = none ]; then
	plan 1
	ok 'the table is written' write_table
	exit
elif [ -n "$ONLY" ] && [ $# -ne "$(echo "$ONLY" | tr ',' '\n' | wc -l)" ]; then
	bail "ONLY=$ONLY: not all of them are mutants for $SERIES"
fi
plan $(($# + 1))
: >"$dir/log"
ok 'the series is built' build_base
cmp -s "$R/series.id" "$dir/base/series.id" || bail 'there is nothing to mutate'
for file; do
	number=$((number + 1))
	mutant=$(mutant_name "$file")
	state "$file" >"$results/$mutant.new"
	if kill_mutant "$file"; then
		where="$test ($paging$([ "$table" = amd ] || echo ", $table"))"
		echo "ok $number - killed $mutant by $where: $check"
		printf '%s\n%s\n' "$where" "$check" >>"$results/$mutant.new"
	else
		echo "not ok $number - $mutant: $why"
		sed 's/^/#   /' "$work/out" | tail -n "$lines"
		printf '%s\n\n' "$why" >>"$results/$mutant.new"
	fi
	[ -z "$TRY" ] || {
		rm "$results/$mutant.new"
		continue
	}
	circumstances "$table" >>"$results/$mutant.new"
	mv "$results/$mutant.new" "$results/$mutant"
	write_table
done
