#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Reports which lines and branches of the series a run of tests executed: coverage.sh STOCK PATCHED
# LOGS OUT, where LOGS has the directories of the hosts of "rig test --coverage". Leaves the list of
# lines in OUT/missed.txt, of all of KVM in OUT/html, and prints the sum.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"

stock=$1 patched=$(realpath "$2") logs=$3 out=$4
log=$out/log

rm -rf "$out" && mkdir -p "$out"
n=0
for dir in "$logs"/host-*/gcov; do
	[ -n "$(find "$dir" -name '*.gcda' -print -quit)" ] || continue
	n=$((n + 1))
	if [ $n -eq 1 ]; then
		cp -R "$dir" "$out/1"
	else
		gcov-tool merge -o "$out/$n" "$out/$((n - 1))" "$dir" >>"$log" 2>&1 ||
			die "cannot merge $dir: $(reason "$log")"
		rm -r "${out:?}/$((n - 1))"
	fi
done
[ $n -gt 0 ] || die "$logs: no host left counts: run the tests with --coverage on a debug kernel"
mv "$out/$n" "$out/counts"
find "$out/counts" -name '*.gcda' | while read -r f; do
	path=${f#"$out/counts"}
	cp "${path%.gcda}.gcno" "${f%.gcda}.gcno"
done
# lcov 2 is strict about what gcov writes of inlined functions.
case $(lcov --version) in
*"version 1."*) branches=lcov_branch_coverage lenient= ;;
*) branches=branch_coverage lenient="--ignore-errors mismatch,mismatch,inconsistent,corrupt,unused" ;;
esac
# shellcheck disable=SC2086 # nothing, or two words
lcov --quiet --capture --rc $branches=1 $lenient --directory "$out/counts" --output "$out/all.info" \
	>>"$log" 2>&1 || die "lcov failed: $(reason "$log")"
# shellcheck disable=SC2086
genhtml --quiet --branch-coverage $lenient --output-directory "$out/html" "$out/all.info" >>"$log" 2>&1 ||
	die "genhtml failed: $(reason "$log")"

# Which lines are the series': "FILE LINE TEXT" of all that it adds or changes.
(cd "$patched" && find . -name '*.[ch]' | sort) | while read -r f; do
	old=$stock/$f
	[ -e "$old" ] || old=/dev/null
	diff -U0 "$old" "$patched/$f" | awk -v f="$patched/${f#./}" '
		/^@@/ { split($3, a, ","); n = a[1] + 0; next }
		/^\+/ && n { print f, n++, substr($0, 2) }'
done >"$out/lines"
# A line of paging_tmpl.h, which is compiled three times, counts once.
awk -v out="$out" -v prefix="$patched/" '
	NR == FNR { key = $1 SUBSEP $2; sub(/^[^ ]* [^ ]*[ \t]*/, ""); ours[key] = $0; order[++n] = key; next }
	/^SF:/ { f = substr($0, 4) }
	/^DA:/ { split(substr($0, 4), a, ","); if ((f, a[1]) in ours) count[f, a[1]] += a[2] }
	/^BRDA:/ { split(substr($0, 6), a, ",")
		   if ((f, a[1]) in ours) branch[f, a[1], a[2], a[3]] += a[4] }
	END {
		for (i = 1; i <= n; i++) {
			if (!(order[i] in count))
				continue
			lines++
			if (count[order[i]] > 0) {
				run++
				continue
			}
			split(order[i], a, SUBSEP)
			print substr(a[1], length(prefix) + 1) ":" a[2] ": " ours[order[i]] >(out "/missed.txt")
		}
		for (b in branch) {
			branches++
			taken += branch[b] > 0
		}
		printf "%d of %d lines, %d of %d branches of the series were executed\n", run, lines, taken, branches
	}' "$out/lines" "$out/all.info"
