#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Run the parts of "make check" and sum them up: check.sh MAKE BUILD PART... where
# PART is NAME@KERNEL[,KERNEL...], the target check-NAME for each of these kernels,
# at the same time. Each leaves "passed failed skipped" in
# BUILD/logs/NAME-KERNEL.counts and, if it ran in an emulated host, a file .results
# for the matrix, which is printed and kept in BUILD/matrix.md. The last line is
# the sum; the status is 1 if anything failed.
set -eu

make=$1
build=$2
logs=$2/logs
shift 2
mkdir -p "$logs"

# run NAME KERNEL: one target; one that does not come to its end counts as failed.
run() {
	$make "check-$1" "KERNEL=$2" || :
	if ! [ -s "$logs/$1-$2.counts" ]; then
		echo "not ok check-$1 of $2 ended before its tests were done"
		echo 0 1 0 >"$logs/$1-$2.counts"
	fi
}

trap 'trap - TERM; kill 0; exit 130' INT TERM HUP
done=
for part in "$@"; do
	name=${part%@*}
	kernels=$(echo "${part#*@}" | tr ',' ' ')
	# What several kernels share is built before they run at the same time.
	[ "${kernels% *}" = "$kernels" ] ||
		for kernel in $kernels; do
			$make initramfs programs "KERNEL=$kernel" || :
		done
	for kernel in $kernels; do
		rm -f "$logs/$name-$kernel.counts" "$logs/$name-$kernel.results"
		done="$done $name-$kernel"
		if [ "$kernel" = "$kernels" ]; then
			echo "# check-$name, kernel $kernel"
			run "$name" "$kernel"
		else
			run "$name" "$kernel" 2>&1 | sed -u "s/^/$kernel: /" &
		fi
	done
	wait
done

counts=
results=
for i in $done; do
	counts="$counts $logs/$i.counts"
	! [ -e "$logs/$i.results" ] || results="$results $logs/$i.results"
done
if [ -n "$results" ]; then
	echo
	# shellcheck disable=SC2086 # files
	"$build/bin/rig" matrix "$build/matrix.md" $results
	echo
fi
# shellcheck disable=SC2086 # files
awk '
	{ passed += $1; failed += $2; skipped += $3 }
	END {
		printf "%d passed, %d failed", passed, failed
		if (skipped)
			printf ", %d skipped", skipped
		print ""
		exit failed > 0
	}' $counts
