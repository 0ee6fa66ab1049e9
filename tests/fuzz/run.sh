#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Runs the fuzzers: each reads its corpus, and then a fixed number of inputs that libFuzzer derives
# from it, with a fixed seed. With LONG=1 ("make fuzz") it goes on for LIMIT seconds (60) or RUNS
# inputs, with a seed of its own, keeps what it finds below build/fuzz/corpus, and reads that, too.
# ONLY=NAME,... selects. An input that breaks something is build/logs/fuzz-NAME-*: give it to
# build/fuzz/NAME.
set -eu
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

runs=${RUNS:-}
limit=
if [ -n "${LONG:-}" ]; then
	case ${RUNS:-}${LIMIT:-} in
	*[!0-9]*) echo "Bail out! RUNS= and SECONDS= are numbers"; exit 1 ;;
	esac
	[ -n "$runs" ] || limit=-max_total_time=${LIMIT:-60}
else
	limit=-seed=1
	runs=15000
fi

fuzzers=$(for f in tests/fuzz/*.c; do basename "$f" .c; done | grep -vx main)
for fuzzer in $(echo "${ONLY:-}" | tr ',' ' '); do
	echo "$fuzzers" | grep -qx "$fuzzer" || { echo "Bail out! there is no fuzzer $fuzzer"; exit 1; }
done

# Without libFuzzer, a program takes only directories, and says how many files it read.
no_clang='clang or its libclang-rt-dev is missing'
if grep -qa max_total_time "$BUILD/fuzz/${fuzzers%%[!a-z]*}"; then
	no_clang=
elif [ -n "${LONG:-}" ]; then
	echo "Bail out! $no_clang"
	exit 1
else
	runs=
	limit=
fi

fuzz() {
	options="-artifact_prefix=$BUILD/logs/fuzz-$1- -print_final_stats=1 -verbosity=0 -max_len=1024"
	new=$work/$1
	[ -z "${LONG:-}" ] || new=$BUILD/fuzz/corpus/$1
	mkdir -p "$new"
	[ -z "$no_clang" ] || options=
	# shellcheck disable=SC2086 # options
	run "$BUILD/fuzz/$1" $options $limit ${runs:+-runs=$runs} "$new" "tests/fuzz/corpus/$1"
	passes
}

for fuzzer in $fuzzers; do
	case ,${ONLY:-$fuzzer}, in
	*,"$fuzzer",*) ;;
	*) continue ;;
	esac
	ok "fuzzer $fuzzer" fuzz "$fuzzer"
	inputs=$(sed -n 's/^stat::number_of_executed_units: *//p; s/ files$//p' "$work/out")
	files=$(find "tests/fuzz/corpus/$fuzzer" -type f | wc -l)
	ok "read the $files files of its corpus${runs:+, and $runs inputs in all}" \
		test "$files" -gt 0 -a "${inputs:-0}" -ge "${runs:-$files}"
	[ -z "$no_clang" ] || skip "other inputs for $fuzzer" "$no_clang"
done
plan "$number"
