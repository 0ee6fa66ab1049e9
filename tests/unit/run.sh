#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Runs the unit tests and the rig command, all built with sanitizers: one check per unit test, one
# per use of the command. "make check-unit" sets the variables.
set -eu
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

# rig STATUS REGEX ARGUMENT...: the command ends with this status and prints something that matches.
# The options that it keeps until it ends are not leaks.
rig() {
	want=$1
	regex=$2
	shift 2
	ASAN_OPTIONS=detect_leaks=0 run "$RIG_ASAN" "$@"
	[ "$status" -eq "$want" ] && grep -Eq -- "$regex" "$work/out" &&
		! grep -q 'Sanitizer' "$work/out"
}

# program NAME [COMMAND] <<OUTPUT: a program for "rig tap", which prints this and ends with COMMAND.
program() {
	cat >"$work/$1.out"
	printf '#!/bin/sh\ncat "%s"\n%s\n' "$work/$1.out" "${2:-}" >"$work/$1"
	chmod +x "$work/$1"
}

# judges STATUS COUNTS NAME...: "rig tap" of these programs ends with this status and these counts.
judges() {
	want=$1
	counts=$2
	shift 2
	rm -f "$work/logs/x.counts"
	for program; do
		set -- "$@" "$work/$program"
		shift
	done
	rig "$want" '' tap "$work/logs" x "$@" && [ "$(cat "$work/logs/x.counts")" = "$counts" ]
}

# said WORD REGEX: the last command printed a line with this verdict that matches.
said() {
	grep -Eq "^$1 +$2" "$work/out"
}

for program in $UNIT_TESTS; do
	ok "unit test ${program##*/}" "$RIG" tap "$work" unit "$program"
done

ok 'rig --help' rig 0 '^usage: rig test' --help
ok 'rig without a command' rig 2 '^usage: rig test'
ok 'rig with an unknown command' rig 2 'no command "tets"' tets
ok 'rig test --list' rig 0 '^patched +tdp +slots$' test --list tests/amd.table
ok 'rig test --list: the shadow MMU' rig 0 '^stock +tdp_mmu0 +counts$' test --list tests/amd.table
ok 'rig test --list --kvm stock --only' rig 0 '^stock +shadow +slots$' \
	test --list --kvm stock --only slots tests/amd.table
ok 'rig test --only with an unknown name' rig 2 'no test "slto"' \
	test --list --only slto tests/amd.table
ok 'rig test of a missing table' rig 2 'No such file' test --list tests/no-table
ok 'rig test of a file that is not a table' rig 2 'rules.mk:[0-9]+: ' test --list tests/rules.mk
ok 'rig test of a kernel that is not built' rig 2 'no host of kernel 0.1 is built' \
	test --kernel 0.1 tests/amd.table
ok 'rig test with an unknown kind of paging' rig 2 'want tdp, tdp_mmu0, shadow or all' \
	test --paging x tests/amd.table
ok 'rig with a wrong number' rig 2 'not understood' test --mem x tests/amd.table
ok 'rig with a wrong timeout' rig 2 'want a number of seconds' test --timeout 10x tests/amd.table
ok 'rig with a huge timeout' rig 2 'want a number of seconds' test --timeout 4294967297 tests/amd.table
ok 'rig with a wrong number of workers' rig 2 'want a number of hosts' test --workers +2 tests/amd.table
ok 'rig with a device that is too long' rig 2 'too long' test --device "$(printf '%300s' '' | tr ' ' x)" \
	tests/amd.table
ok 'rig test --group with an unknown name' rig 2 'no group "memslto"' \
	test --list --group memslot,memslto tests/amd.table
ok 'rig test --stop with several hosts' rig 2 'stop needs --workers 1' \
	test --stop --list tests/amd.table
ok 'rig test with a missing initramfs' rig 2 'No such file' test --initramfs /nowhere tests/amd.table
ok 'rig with all options' rig 0 '^patched +tdp +slots$' test --list --param kvm-amd.npt=0 \
	--mem 512 --cpus 1 --icount --device e1000 --timeout 10 --name x --workers 1 --stop \
	--initramfs /dev/null \
	--group memslot --kvm patched --paging tdp tests/amd.table
ok 'rig run without a program' rig 2 'no program' run
ok 'rig matrix without results' rig 2 'want OUTPUT RESULTS' matrix /dev/null
ok 'rig tap without a program' rig 2 'want LOGS NAME PROGRAM' tap "$work/logs" x

program good <<'EOF'
1..3
ok 1 - one
noise
ok 2 - two # SKIP no room
ok 3 # SKIP no name
EOF
program bad <<'EOF'
ok 1 - one
not ok 2 - two
# the reason
ok 4 - four
ok 4 # SKIP
1..5
EOF
program status 'exit 3' <<'EOF'
1..1
ok 1 - one
EOF
program bail <<'EOF'
1..1
Bail out! enough
EOF
program none <<'EOF'
1..0 # SKIP no root
EOF
program silent </dev/null
# shellcheck disable=SC2016 # for that program
program killed 'kill -9 $$' <<'EOF'
1..1
ok 1 - one
EOF

ok 'rig tap counts passed and skipped checks' judges 0 '1 0 2' good
ok 'and shows a line for each' said ok 'one$'
ok 'with the reason of a skip' said SKIP 'two: no room$'
ok 'even without a name' said SKIP '.*/good: no name$'
ok 'and keeps the output' grep -qx noise "$work/logs/x.log"
ok 'rig tap counts what is wrong' judges 1 '1 4 0' bad
ok 'a failed check' said FAIL 'two$'
ok 'with its reason' grep -q '^ .*# the reason' "$work/out"
ok 'a wrong number' said FAIL '.*/bad: check 3 is missing'
ok 'a skip without a reason' said FAIL '.*/bad: a skip without a reason'
ok 'a wrong plan' said FAIL '.*/bad: 5 checks planned, 4 made'
ok 'and names the log' grep -q ' log: .*/x.log' "$work/out"
ok 'a status without a failed check is a failure' judges 1 '1 1 0' status
ok 'with the status' said FAIL '.*/status: exit status 3'
ok 'a signal is a failure, too' judges 1 '1 1 0' killed
ok 'with its number' said FAIL '.*/killed: killed by signal 9'
ok 'a program that bails out fails' judges 1 '0 1 0' bail
ok 'a program without a plan fails' judges 1 '0 1 0' silent
ok 'an empty plan with a reason is a skip' judges 0 '0 0 1' none
ok 'rig tap adds up its programs' judges 1 '3 1 5' good none status good
ok 'a program that cannot be run fails' judges 1 '0 1 0' missing
ok 'with the reason' said FAIL '.*/missing: .*No such file'

plan "$number"
