#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that all mutants of tests/mutants fit the series: each applies exactly, and names what it is
# about, kernels and tests that exist; and that each patch of the series has one.
set -eu
# shellcheck source=tests/build/lib.sh
. tests/build/lib.sh
# shellcheck source=tests/mutants/lib.sh
. tests/mutants/lib.sh
plan 6

# The patch without a mutant prints a line that no test reads.
without=0015

files=$(mutants "$series")

# silent CMD...: CMD has nothing to say.
silent() {
	run "$@"
	passes_silently
}

heads() {
	awk '
		function end() {
			if (file && !(licence && bug == 1 && number == 1 && kernels == 1 && test && !odd))
				print file ": lacks a line of the head, or has a wrong one"
		}
		FNR == 1 {
			end()
			file = FILENAME
			bug = number = kernels = test = odd = 0
			licence = $0 == "SPDX-License-Identifier: GPL-2.0-only"
			head = 1
		}
		/^---/ { head = 0 }
		head && /^Bug: [A-Za-z].*[.]$/ { bug++ }
		head && /^Patch: ([0-9 ]+|none)$/ { number++; next }
		head && /^Kernels: [0-9. ]+$/ { kernels++; next }
		head && /^Test: [a-z0-9]+ [a-z0-9_]+ [a-z0-9_]+$/ { test++; next }
		head && !/^(SPDX-License-Identifier: .*|Bug: .*|Hangs: yes|(diff|index) .*|)$/ { odd++ }
		END { end() }' tests/mutants/*.patch
}

# The kernels that a head lists have a series, and a file for one kernel lists that one.
kernels_exist() {
	for file in tests/mutants/*.patch; do
		listed=$(field Kernels "$file")
		for kernel in $listed; do
			[ -d "kvm/series/$kernel" ] || echo "$file: there is no series for $kernel"
		done
		suffix=$(basename "$file" .patch | sed 's/^[^.]*[.]*//')
		[ -z "$suffix" ] || [ "$suffix" = "$listed" ] || echo "$file: is for $suffix, but lists $listed"
	done
}

one_file_each() {
	for file in $files; do
		mutant_name "$file"
	done | sort | uniq -d
}

# Ask once about each run of a test.
named_tests() {
	sed -n 's/^Test: //p' tests/mutants/*.patch | sort -u | while read -r table test paging; do
		build/bin/rig test --list --kvm patched --paging "$paging" --only "$test" \
			"tests/$table.table" >/dev/null 2>&1 || echo "no such run: $table $test $paging"
	done
}

applied() {
	for file in $files; do
		patch -d "build/$rel/kvm" -p1 --fuzz=0 --force --dry-run --input="$top/$file" >/dev/null 2>&1 ||
			echo "$file does not apply"
	done
}

# Each patch is undone by a mutant, and what a mutant undoes is a patch.
covered() {
	for file in $files; do
		field Patch "$file" | tr ' ' '\n' | sed '/^none$/d'
	done | sort -u >"$work/undone"
	echo "$without" | sort - "$work/undone" >"$work/expected"
	find "kvm/series/$series" -name '*.patch' | sed 's|.*/||; s/-.*//' | sort | diff - "$work/expected"
}

ok 'each mutant says what it is' silent heads
ok 'names kernels that exist' silent kernels_exist
ok 'and has one file for this kernel' silent one_file_each
ok 'the tests that it names exist' silent named_tests
ok 'it applies to the series without fuzz' silent applied
ok 'each patch of the series has one' silent covered
