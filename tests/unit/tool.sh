#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that kvm-pfnmap, built with sanitizers, understands its command line
# and refuses all others in one line, that status works on any machine, and that
# the manual and the completion know what the program does. "make check-asan"
# sets the variables.
#
# Nothing here may use this machine's KVM, not even if the tool is broken: probe
# gets the names of devices that are not there, and reload is left alone.
set -eu
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

none=/no/such/device
manual=tool/kvm-pfnmap.1
completion=tool/completion.bash

# tool ARGUMENT...: run it; $work/out is for ok().
tool() {
	status=0
	"$TOOL" "$@" >"$work/stdout" 2>"$work/stderr" </dev/null || status=$?
	cat "$work/stdout" "$work/stderr" >"$work/out"
}

# ends STATUS: it ended so, without a word on standard error.
ends() {
	[ "$status" -eq "$1" ] && [ ! -s "$work/stderr" ]
}

# ends_with STATUS REGEX: the same, and said something that matches.
ends_with() {
	ends "$1" && grep -qE -- "$2" "$work/stdout"
}

# complains STATUS TEXT: it ended so, and this line is all that it said.
complains() {
	[ "$status" -eq "$1" ] && [ ! -s "$work/stdout" ] && [ "$(cat "$work/stderr")" = "kvm-pfnmap: $2" ]
}

# wrong TEXT ARGUMENT...: one test, of wrong usage.
wrong() {
	text=$1
	shift
	tool "$@"
	ok "wrong usage: $*" complains 2 "$text; see kvm-pfnmap --help"
}

# ---- the command line ----

tool --help
ok '--help' ends_with 0 '^usage: kvm-pfnmap probe '
ok 'has lines of 100 columns at most' test -z "$(grep -E '^.{101}' "$work/stdout")"
cp "$work/stdout" "$work/help"
tool status --help
ok '--help behind a command' cmp "$work/help" "$work/stdout"
tool --version
ok '--version' test "$(cat "$work/out")" = "kvm-pfnmap $(cat VERSION)"

wrong 'want probe, status or reload'
wrong 'want probe, status or reload' --json
wrong 'want probe, status or reload' --
wrong 'sattus is no command: want probe, status or reload' sattus
wrong 'prob is no command: want probe, status or reload' prob
wrong 'STATUS is no command: want probe, status or reload' STATUS
wrong 'probe is one argument too many' status probe
wrong 'more is one argument too many' probe --drm "$none" more
wrong '--json is one argument too many' status -- --json
wrong '--nonsense is no option' --nonsense
wrong '--nonsense=1 is no option' status --nonsense=1
wrong '--d is no option' status --d "$none"
wrong '-x is no option' -x
wrong '-x is no option' status -xy
wrong '-j is no option' status --json -json
wrong '--json=yes: the option has no argument' status --json=yes
wrong '--all=yes: the option has no argument' probe --drm "$none" --all=yes
for option in --drm --file --timeout --dirname; do
	wrong "$option lacks its argument" status "$option"
done

once='want one of --drm, --file and --all, once'
wrong "$once" probe --drm "$none" --all
wrong "$once" probe --all --drm "$none"
wrong "$once" probe --all --file "$none"
wrong "$once" probe --drm "$none" --file "$none"
wrong "$once" --file "$none" probe --file "$none"
wrong "$once" probe --drm "$none" --drm "$none"
wrong '--dirname is for status and reload' probe --drm "$none" --dirname /
for option in --all "--drm=$none" "--file=$none" --timeout=5; do
	wrong '--drm, --file, --all and --timeout are for probe' status "$option"
done

for seconds in '' 0 00 010 0x10 -1 +5 ' 5' '5 ' 5s 1K 1.5 3601 18446744073709551617; do
	wrong "--timeout $seconds: want 1 to 3600 seconds" probe --drm "$none" --timeout "$seconds"
done
wrong '--file : the path is empty' probe --file ''
wrong '--file :0:4096: the path is empty' probe --file :0:4096
wrong "--file $none:0:1: offset and size have to be multiples of 4096" probe --file "$none:0:1"
wrong "--file $none:0:0: the size has to be between 4096 and 1G" probe --file "$none:0:0"
wrong "--file $none:0:2G: the size has to be between 4096 and 1G" probe --file "$none:0:2G"
wrong "--file $none:0x7ffffffffffff000:4K: the offset is too large" probe --file "$none:0x7ffffffffffff000:4K"

# What is right comes to the device that is not there.
for args in "--drm $none" "--file $none" "--file=$none:4K:1G --timeout 1" "--timeout=3600 --drm=$none"; do
	# shellcheck disable=SC2086 # arguments
	tool probe $args
	ok "right usage: probe $args" ends_with 4 '^  result +not mappable: '
done
tool --json probe --drm "$none"
ok 'right usage: --json probe' ends_with 4 '"verdict": "no_buffer"'
ok 'which is JSON' "$IS_JSON" "$work/stdout"

# ---- a render node, without libgbm ----

# render SUFFIX ARGUMENT...: probe by one of the programs for which /dev/null is a render node. Its
# libgbm is a file that cannot be loaded.
mkdir "$work/lib"
: >"$work/lib/libgbm.so.1"
render() {
	status=0
	LD_LIBRARY_PATH=$work/lib "$TOOL$1" probe "$2" --drm /dev/null >"$work/stdout" 2>"$work/stderr" </dev/null ||
		status=$?
	tr -s ' \n' ' ' <"$work/stdout" >"$work/out"
}

# finds TEXT: in the last report, whatever its line breaks; with the exit status of no buffer.
finds() {
	ends 4 && grep -qF -- "$1" "$work/out"
}

render -node --timeout=30
ok 'a render node, and libgbm is missing' finds \
	'a render node needs libgbm.so.1 (package libgbm1), which is missing'
ok 'says what to do' finds 'to do install it, or probe the driver'
render -no-gbm --timeout=30
ok 'a render node, and the program was built without GBM' finds \
	'GBM buffer of stub result not mappable: a render node needs GBM, without which this kvm-pfnmap was built'
ok 'says what to do' finds "to do probe the driver's other node, /dev/dri/card*"
render -no-gbm --json
ok 'the same in JSON' finds '"verdict": "no_buffer"'
ok 'which is JSON' "$IS_JSON" "$work/stdout"

# ---- status ----

# Of a kernel that nobody runs.
modules=$work/root/lib/modules
mkdir -p "$modules/6.1.0-999-amd64/kernel" "$modules/6.1.0-999-cloud-amd64/kernel" \
	"$modules/6.12.999+deb12-amd64/kernel" "$modules/6.1.0-998-amd64"
tool status
ok 'status' ends_with 0 '^kernel       Linux '
ok 'says what is supported' grep -qE 'supported' "$work/stdout"
ok 'and whether to reload' grep -qE '^reload       (possible|not now): ' "$work/stdout"
tool status --json
ok 'status --json' ends_with 0 '^  "kernel": \{$'
ok 'is JSON' "$IS_JSON" "$work/stdout"
ok 'of this kernel' grep -qF "\"release\": \"$(uname -r)\"" "$work/stdout"
ok 'and of this version' grep -qF "\"version\": \"$(cat VERSION)\"" "$work/stdout"

tool status --dirname "$work/root"
ok 'status --dirname' ends_with 0 '6[.]1[.]0-999-amd64, supported'
ok 'another series' grep -qE '6[.]12[.]999[+]deb12-amd64, supported' "$work/stdout"
ok 'a kernel that is not supported' grep -qE '6[.]1[.]0-999-cloud-amd64, not supported' "$work/stdout"
ok 'one that was removed' test -z "$(grep -F 6.1.0-998-amd64 "$work/stdout")"
ok 'and none of this machine' test "$(grep -cE ', (not )?supported' "$work/stdout")" -eq 3
tool status --json --dirname "$work/root"
ok 'status --json --dirname' ends_with 0 '"release": "6[.]1[.]0-999-amd64"'
ok 'is JSON' "$IS_JSON" "$work/stdout"
mkdir -p "$modules/$(printf 'a"\\\n\377')/kernel"
tool status --json "--dirname=$work/root"
ok 'a directory of any name is there' ends_with 0 '"release": "a\\"\\\\\\u000a\\ufffd"'
ok 'and in JSON' "$IS_JSON" "$work/stdout"
tool status --dirname "$none"
ok 'a directory that is not there' ends_with 0 '^kernel       Linux '
ok 'has no kernels' test -z "$(grep '^installed' "$work/stdout")"

# ---- what cannot be written ----

# full ARGUMENT...: one test, of a full device as standard output.
full() {
	status=0
	"$TOOL" "$@" >/dev/full 2>"$work/stderr" </dev/null || status=$?
	: >"$work/stdout"
	cp "$work/stderr" "$work/out"
	ok "$* without room" complains 5 'standard output: No space left on device'
}

full --help
full --version
full status
full status --json
full probe --drm "$none"
full probe --drm "$none" --json
status=0
"$TOOL" --version >&- 2>"$work/stderr" || status=$?
: >"$work/stdout"
ok 'without a standard output' complains 5 'standard output: Bad file descriptor'
status=0
"$TOOL" --nonsense >&- 2>"$work/stderr" || status=$?
ok 'which matters only to those who write' complains 2 '--nonsense is no option; see kvm-pfnmap --help'

# ---- what it was started with ----

status=0
POSIXLY_CORRECT=1 "$TOOL" status --json >"$work/out" 2>&1 || status=$?
ok 'options behind the command, even with POSIXLY_CORRECT' "$IS_JSON" "$work/out"
status=0
"$TOOL" status <&- >"$work/out" 2>&- || status=$?
ok 'status without standard input and standard error' test "$status" -eq 0
many=$(printf %2048s '' | tr ' ' d)
wrong "--dirname $(echo "$many" | cut -c1-20)...: the name is too long" status --dirname "$many"

# ---- the manual and the completion ----

# Each in a line of its own, sorted.
sed -n 's/^\t{ "\([a-z]*\)", .*/--\1/p' tool/main.c | sort >"$work/options"
ok 'the program has options' test "$(wc -l <"$work/options")" -ge 8
grep -oE -- '--[a-z]+' "$work/help" | sort -u >"$work/out"
ok '--help names them all, and no others' diff "$work/options" "$work/out"
grep -oE 'Fl -[a-z]+' "$manual" | sed 's/Fl /-/' | sort -u >"$work/out"
ok 'so does the manual' diff "$work/options" "$work/out"
sed -n '/^The options are/,/^[.]Sh/p' "$manual" | grep '^[.]It' | grep -oE 'Fl -[a-z]+' |
	sed 's/Fl /-/' | sort >"$work/out"
ok 'which describes each once' diff "$work/options" "$work/out"
grep -oE -- '--[a-z]+' "$completion" | sort -u >"$work/out"
ok 'so does the completion' diff "$work/options" "$work/out"
sed -n '/^enum exit_code/,/}/p' tool/tool.h | grep -cE '^[[:space:]]EXIT_' >"$work/codes"
seq 0 $(($(cat "$work/codes") - 1)) >"$work/status"
sed -n '/^exit status/,$p' "$work/help" | grep -oE '(^| )[0-9] ' | tr -d ' ' | sort >"$work/out"
ok '--help has all exit codes' diff "$work/status" "$work/out"
sed -n '/^[.]Sh EXIT STATUS/,/^[.]Sh [^E]/s/^[.]It //p' "$manual" >"$work/out"
ok 'so does the manual' diff "$work/status" "$work/out"

# completes WANT WORD...: one test, that what the last word may become is WANT, with commas.
completes() {
	want=$1
	shift
	# shellcheck disable=SC2016 # for bash
	(cd "$work/files" && bash -uc '. "$0"
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
		_kvm_pfnmap kvm-pfnmap "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
		IFS=,; echo "${COMPREPLY[*]}"' "$top/$completion" kvm-pfnmap "$@") >"$work/out" 2>&1 || :
	ok "completes: $*|" test "$(cat "$work/out")" = "$want"
}

mkdir -p "$work/files/dri"
touch "$work/files/dri/card0" "$work/files/dri/renderD128" "$work/files/dri/a b"
ok 'bash has the completion' test "$(bash -c ". $completion; complete -p kvm-pfnmap")" = \
	'complete -F _kvm_pfnmap kvm-pfnmap'
completes 'probe,status,reload,--help,--version' ''
completes 'probe' p
completes 'probe' probe
completes 'status' --json st
completes '--help,--version' --
completes '--drm,--file,--all,--timeout,--json' probe ''
completes '--timeout' probe --json --t
completes '--drm' --all probe --dr
completes '--dirname,--json' status ''
completes '--dirname,--json' reload --
completes '' status --drm=x -x
completes '' status --t
completes '' probe --timeout ''
completes dri/card0 probe --drm dri/c
completes dri/renderD128 probe --drm = dri/r
completes '' probe --drm dri/x
completes 'dri/a b' probe --file dri/a
completes 'dri/a b' probe --file = dri/a
completes dri status --dirname d
completes dri status --dirname =
completes '' status --dirname dri/
completes '--dirname,--json' status --dirname probe ''
completes '--drm,--file,--all,--timeout,--json' probe --file status ''
plan "$number"
