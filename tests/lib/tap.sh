# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh disable=SC2034 # the variables are for the tests
# TAP from shell tests: numbered checks and a scratch directory, $work. make runs the tests in the
# top directory, $top.

top=$PWD
work=$(mktemp -d)
number=0
# How much of its output a failed check shows.
lines=10

cleanup() {
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

plan() {
	echo "1..$1"
}

# ok NAME CMD...: a check that passes if CMD does. If it fails, it shows the end of CMD's output and
# of what run() kept last.
ok() {
	name=$1
	shift
	number=$((number + 1))
	if "$@" >"$work/ok.log" 2>&1; then
		echo "ok $number - $name"
	else
		echo "not ok $number - $name"
		echo "# failed: $*"
		[ ! -e "$work/out" ] || tail -q -n "$lines" "$work/ok.log" "$work/out" | sed 's/^/#   /'
	fi
}

# skip NAME REASON
skip() {
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

# run CMD...: keep CMD's output in $work/out and its exit status in $status.
run() {
	status=0
	"$@" >"$work/out" 2>&1 || status=$?
}

# The last run succeeded,
passes() {
	[ "$status" -eq 0 ]
}

# succeeded without any output,
passes_silently() {
	passes && [ ! -s "$work/out" ]
}

# succeeded with output that matches the regular expression,
passes_with() {
	passes && grep -qE -- "$1" "$work/out"
}

# or failed with a single line, which matches.
fails_with() {
	[ "$status" -ne 0 ] && [ "$(wc -l <"$work/out")" -eq 1 ] && grep -qE -- "$1" "$work/out"
}

# None of these files exists.
absent() {
	for path in "$@"; do
		[ ! -e "$path" ] || return 1
	done
}
