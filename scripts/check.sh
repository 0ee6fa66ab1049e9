#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Runs the parts of "make check" and sums them up: check.sh MAKE BUILD PART... where PART is TARGET,
# TARGET@KERNEL[,KERNEL...], the target for each of these kernels at the same time, or several of
# these with + between them, all at the same time.
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

# pairs PART: print "TARGET KERNEL" for each run of a part; KERNEL is empty if it needs none.
pairs() {
	echo "$1" | tr '+' '\n' | while IFS=@ read -r target kernels; do
		for kernel in $(echo "${kernels:-none}" | tr ',' ' '); do
			echo "$target ${kernel#none}"
		done
	done
}

# kernels PART...: print all kernels of these parts, once.
kernels() {
	for part; do
		pairs "$part"
	done | sed -n 's/.* \(.\)/\1/p' | sort -u
}

trap 'trap - TERM; kill 0; exit 130' INT TERM HUP

# Parts that need no kernel do not wait for the kernels' packages. If a package cannot be fetched, the
# parts that need it say so.
for kernel in $(kernels "$@"); do
	$make fetch "KERNEL=$kernel" || :
done &
fetching=$!
counts=
results=
for part; do
	begin=$(date +%s)
	pairs "$part" >"$logs/part"
	! grep -q ' .' "$logs/part" || wait "$fetching" || :
	read -r target kernel <"$logs/part"
	if [ "$(wc -l <"$logs/part")" -eq 1 ]; then
		echo "# $target${kernel:+, kernel $kernel}"
		run "$target" "$kernel"
	else
		# Build what they share before they run at the same time.
		for kernel in $(kernels "$part"); do
			$make initramfs programs "KERNEL=$kernel" || :
		done
		while read -r target kernel; do
			run "$target" "$kernel" 2>&1 | sed -u "s/^/${kernel:-$target}: /" &
		done <"$logs/part"
		wait
	fi
	echo "# $part took $(($(date +%s) - begin)) s"
	while read -r target kernel; do
		out=$logs/${target#check-}${kernel:+-$kernel}
		counts="$counts $out.counts"
		! [ -e "$out.results" ] || results="$results $out.results"
	done <"$logs/part"
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
