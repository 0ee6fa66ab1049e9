#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Runs the parts of "make check" and sums them up: check.sh MAKE BUILD PART... where PART is TARGET or
# TARGET@KERNEL[,KERNEL...], the target for each of these kernels at the same time.
#
# A part leaves "passed failed skipped" in BUILD/logs/NAME[-KERNEL].counts, NAME being the target
# without "check-". If it ran in an emulated host, it also leaves a file .results for the matrix,
# which is printed and kept in BUILD/matrix.md. The last line is the sum; the status is 1 if anything
# failed.
set -eu

make=$1
build=$2
logs=$2/logs
shift 2
mkdir -p "$logs"

# run TARGET [KERNEL]: run one part; it has failed if it leaves no counts.
run() {
	out=$logs/${1#check-}${2:+-$2}
	rm -f "$out.counts" "$out.results"
	$make "$1" ${2:+"KERNEL=$2"} || :
	if ! [ -s "$out.counts" ]; then
		echo "FAIL  $1${2:+ of $2} ended before its tests were done"
		echo 0 1 0 >"$out.counts"
	fi
}

trap 'trap - TERM; kill 0; exit 130' INT TERM HUP

# Parts that need no kernel do not wait for the kernels' packages. If a package cannot be fetched, the
# parts that need it say so.
for kernel in $(printf '%s\n' "$@" | sed -n 's/.*@//p' | tr ',' '\n' | sort -u); do
	$make fetch "KERNEL=$kernel" || :
done &
fetching=$!
counts=
results=
for part; do
	begin=$(date +%s)
	target=${part%@*}
	kernels=$(echo "${part#"$target"}" | tr '@,' '  ')
	# shellcheck disable=SC2086 # kernels
	set -- $kernels
	[ $# -eq 0 ] || wait "$fetching" || :
	if [ $# -lt 2 ]; then
		echo "# $target${1:+, kernel $1}"
		run "$target" "${1:-}"
	else
		# Build what the kernels share before they run at the same time.
		for kernel; do
			$make initramfs programs "KERNEL=$kernel" || :
		done
		for kernel; do
			run "$target" "$kernel" 2>&1 | sed -u "s/^/$kernel: /" &
		done
		wait
	fi
	echo "# $target took $(($(date +%s) - begin)) s"
	for kernel in "${@:-}"; do
		out=$logs/${target#check-}${kernel:+-$kernel}
		counts="$counts $out.counts"
		! [ -e "$out.results" ] || results="$results $out.results"
	done
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
