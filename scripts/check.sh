#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Run the parts of "make check" and sum them up: check.sh MAKE BUILD PART... where
# PART is TARGET or TARGET@KERNEL[,KERNEL...], the target for each of these kernels,
# at the same time. Each leaves "passed failed skipped" in
# BUILD/logs/NAME[-KERNEL].counts, NAME being the target without "check-", and,
# if it ran in an emulated host, a file .results
# for the matrix, which is printed and kept in BUILD/matrix.md. The last line is
# the sum; the status is 1 if anything failed.
set -eu

make=$1
build=$2
logs=$2/logs
shift 2
mkdir -p "$logs"

# run TARGET NAME [KERNEL]: one part; one that does not come to its end counts as failed.
run() {
	$make "$1" ${3:+"KERNEL=$3"} || :
	if ! [ -s "$logs/$2.counts" ]; then
		echo "not ok $1${3:+ of $3} ended before its tests were done"
		echo 0 1 0 >"$logs/$2.counts"
	fi
}

trap 'trap - TERM; kill 0; exit 130' INT TERM HUP
done=
for part in "$@"; do
	target=${part%@*}
	kernels=$(echo "${part#"$target"}" | tr '@,' '  ')
	# shellcheck disable=SC2086 # kernels
	set -- $kernels
	for kernel in "${@:-}"; do
		name=${target#check-}${kernel:+-$kernel}
		rm -f "$logs/$name.counts" "$logs/$name.results"
		done="$done $name"
	done
	if [ $# -lt 2 ]; then
		echo "# $target${1:+, kernel $1}"
		run "$target" "${name}" "${1:-}"
		continue
	fi
	# What several kernels share is built before they run at the same time.
	for kernel; do
		$make initramfs programs "KERNEL=$kernel" || :
	done
	for kernel; do
		run "$target" "${target#check-}-$kernel" "$kernel" 2>&1 | sed -u "s/^/$kernel: /" &
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
