#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Run the parts of "make check" and sum them up: check.sh MAKE LOGS NAME... runs
# the target check-NAME of each, which leaves "passed failed skipped" in
# LOGS/NAME.counts. The last line is the sum; the status is 1 if anything failed.
set -eu

make=$1
logs=$2
shift 2

for name in "$@"; do
	rm -f "$logs/$name.counts"
	$make "check-$name" || :
	if ! [ -s "$logs/$name.counts" ]; then
		echo "not ok check-$name ended before its tests were done"
		mkdir -p "$logs"
		echo 0 1 0 >"$logs/$name.counts"
	fi
done

for name in "$@"; do
	cat "$logs/$name.counts"
done | awk '
	{ passed += $1; failed += $2; skipped += $3 }
	END {
		printf "%d passed, %d failed", passed, failed
		if (skipped)
			printf ", %d skipped", skipped
		print ""
		exit failed > 0
	}'
