#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that the runner can fail: checks its verdicts on the misbehaving tests of
# tests/rig/misbehave.table. "make check-runner" sets the variables.
set -eu
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

run "$BUILD/bin/rig" test --kernel "$REL" --name rig-self tests/rig/misbehave.table

# verdict NAME: the runner's line about a test and the reasons below it.
verdict() {
	awk -v name="$1" '/^[^ ]/ { mine = $4 == name } mine' "$work/out"
}

# says NAME VERDICT REGEX: the verdict, and the reason for it.
says() {
	verdict "$1" | head -n 1 | grep -q "^$2 " && verdict "$1" | grep -Eq "$3"
}

while read -r test word regex; do
	ok "$test: $word, $regex" says "$test" "$word" "$regex"
done <<'END'
good ok \(1 checks\)
fail FAIL not ok 1 - the only check
fail FAIL # at tests/rig/misbehave.c:
no-plan FAIL no plan
silent FAIL no plan
short FAIL 2 checks planned, 1 made
renumbered FAIL check 2 is missing
bail FAIL Bail out! enough
status FAIL exit status 3
crash FAIL signal 11
leave FAIL left over: .*rig_misbehave
skip-all SKIP skipped: for the sake of it
skip-no-reason FAIL skip without a reason
check SKIP this does not hold: test -e /nowhere
missing FAIL no_such_program: No such file
hang FAIL timeout: killed after 2 s
hang FAIL thread [0-9]+ .rig_misbehave.*pause
warn FAIL WARNING: CPU: 0 PID: 1 at made/up.c
warn-expected ok \(1 checks\)
warn-missing FAIL the kernel log lacks: made/up.c:1
panic FAIL host lost: kernel panic
panic FAIL Kernel panic - not syncing: sysrq
good-again ok \(1 checks\)
parameter FAIL unknown parameter
module FAIL no_such_module: not in the initramfs
END
ok 'only the test that panics loses its host' [ "$(grep -c 'host lost' "$work/out")" = 1 ]
ok 'the last line counts them all' \
	[ "$(tail -n 1 "$work/out")" = '3 passed, 17 failed, 2 skipped' ]
ok 'the counts are left in a file' [ "$(cat "$BUILD/logs/rig-self.counts")" = '3 17 2' ]
ok 'the exit status says that tests failed' [ "$status" = 1 ]

run "$BUILD/bin/rig" test --kernel "$REL" --name rig-self --only good,fail,short --workers 1 --stop \
	--initramfs "$BUILD/$REL/initramfs.cpio" tests/rig/misbehave.table
ok 'with --stop, the first failure is the end' test "$status" -eq 1 -a \
	"$(tail -n 1 "$work/out")" = '1 passed, 1 failed'
plan "$number"
