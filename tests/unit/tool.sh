#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Tests kvm-pfnmap, built with sanitizers: it accepts correct command lines and rejects wrong ones in
# one line, status works on any machine, and the manual and the completion match the program. "make
# check-unit" sets the variables.
#
# Nothing here may use this machine's KVM, even if the tool is broken: probe gets devices that do not
# exist or provide no buffer, and reload is not run.
set -eu
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

none=/no/such/device
manual=tool/kvm-pfnmap.1
completion=tool/completion.bash

# tool ARGUMENT...: run the tool; $work/out is for ok().
tool() {
	status=0
	"$TOOL" "$@" >"$work/stdout" 2>"$work/stderr" </dev/null || status=$?
	cat "$work/stdout" "$work/stderr" >"$work/out"
}

# ends STATUS: it exited with STATUS, and standard error is empty.
ends() {
	[ "$status" -eq "$1" ] && [ ! -s "$work/stderr" ]
}

# ends_with STATUS REGEX: the same, and a line of standard output matches.
ends_with() {
	ends "$1" && grep -qE -- "$2" "$work/stdout"
}

# complains STATUS TEXT: it exited with STATUS and printed only this line, on standard error.
complains() {
	[ "$status" -eq "$1" ] && [ ! -s "$work/stdout" ] && [ "$(cat "$work/stderr")" = "kvm-pfnmap: $2" ]
}

# wrong TEXT ARGUMENT...: test one wrong command line.
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
ok '--help after a command' cmp "$work/help" "$work/stdout"
tool --version
ok '--version' test "$(cat "$work/out")" = "kvm-pfnmap $(cat VERSION)"

wrong 'missing command: use probe, status or reload'
wrong 'missing command: use probe, status or reload' --json
wrong 'missing command: use probe, status or reload' --
wrong "unknown command 'sattus': use probe, status or reload" sattus
wrong "unknown command 'prob': use probe, status or reload" prob
wrong "unknown command 'STATUS': use probe, status or reload" STATUS
wrong "unexpected argument 'probe'" status probe
wrong "unexpected argument 'more'" probe --drm "$none" more
wrong "unexpected argument '--json'" status -- --json
wrong "unknown option '--nonsense'" --nonsense
wrong "unknown option '--nonsense=1'" status --nonsense=1
wrong "unknown option '--d'" status --d "$none"
wrong "unknown option '-x'" -x
wrong "unknown option '-x'" status -xy
wrong "unknown option '-j'" status --json -json
tool status "$(printf -- '--a\nb')"
ok 'wrong usage with a line break is one line' complains 2 "unknown option '--a?b'; see kvm-pfnmap --help"
tool "$(printf '\033[31m')"
ok 'and has no escape sequence' complains 2 \
	"unknown command '?[31m': use probe, status or reload; see kvm-pfnmap --help"
wrong "option '--json' does not take an argument" status --json=yes
wrong "option '--all' does not take an argument" probe --drm "$none" --all=yes
for option in --drm --file --timeout --dirname; do
	wrong "option '$option' requires an argument" status "$option"
done

once='use only one of --drm, --file and --all'
wrong "$once" probe --drm "$none" --all
wrong "$once" probe --all --drm "$none"
wrong "$once" probe --all --file "$none"
wrong "$once" probe --drm "$none" --file "$none"
wrong "$once" --file "$none" probe --file "$none"
wrong "$once" probe --drm "$none" --drm "$none"
wrong '--dirname is only for status and reload' probe --drm "$none" --dirname /
for option in --all "--drm=$none" "--file=$none" --timeout=5; do
	wrong '--drm, --file, --all and --timeout are only for probe' status "$option"
done

for seconds in '' 0 00 010 0x10 -1 +5 ' 5' '5 ' 5s 1K 1.5 3601 18446744073709551617; do
	wrong "--timeout $seconds: must be 1 to 3600 seconds" probe --drm "$none" --timeout "$seconds"
done
wrong '--file : the path is empty' probe --file ''
wrong '--file :0:4096: the path is empty' probe --file :0:4096
wrong "--file $none:0:1: offset and size must be multiples of 4096" probe --file "$none:0:1"
wrong "--file $none:0:0: the size must be between 4096 and 1G" probe --file "$none:0:0"
wrong "--file $none:0:2G: the size must be between 4096 and 1G" probe --file "$none:0:2G"
wrong "--file $none:0x7ffffffffffff000:4K: the offset is too large" probe --file "$none:0x7ffffffffffff000:4K"

# Correct command lines get as far as opening the device, which does not exist.
for args in "--drm $none" "--file $none" "--file=$none:4K:1G --timeout 1" "--timeout=3600 --drm=$none"; do
	# shellcheck disable=SC2086 # arguments
	tool probe $args
	ok "right usage: probe $args" ends_with 4 '^  result +not mappable: '
done
tool --json probe --drm "$none"
ok 'right usage: --json probe' ends_with 4 '"verdict": "no_buffer"'
ok 'which is JSON' "$IS_JSON" "$work/stdout"

# ---- a render node without GBM ----

# render SUFFIX ARGUMENT: probe with the variant of the tool that takes /dev/null for a render node.
# The libgbm that it finds cannot be loaded.
mkdir "$work/lib"
: >"$work/lib/libgbm.so.1"
render() {
	status=0
	LD_LIBRARY_PATH=$work/lib "$TOOL$1" probe "$2" --drm /dev/null >"$work/stdout" 2>"$work/stderr" </dev/null ||
		status=$?
	tr -s ' \n' ' ' <"$work/stdout" >"$work/out"
}

# finds TEXT: the last report contains TEXT, regardless of line breaks, and says "no buffer".
finds() {
	ends 4 && grep -qF -- "$1" "$work/out"
}

render -node --timeout=30
ok 'libgbm is missing' finds \
	'a render node needs libgbm.so.1 (package libgbm1), which is missing'
ok 'and the advice' finds "to do install libgbm1, or probe the driver's other node, /dev/dri/card*"
render -no-gbm --timeout=30
ok 'built without GBM' finds \
	'GBM buffer of stub result not mappable: a render node needs GBM, but this kvm-pfnmap was built without it'
ok 'and the advice' finds "to do probe the driver's other node, /dev/dri/card*"
render -no-gbm --json
ok 'the same in JSON' finds '"verdict": "no_buffer"'
ok 'which is JSON' "$IS_JSON" "$work/stdout"

# ---- status ----

# Modules of kernels that do not exist.
modules=$work/root/lib/modules
mkdir -p "$modules/6.1.0-999-amd64/kernel" "$modules/6.1.0-999-other-amd64/kernel" \
	"$modules/6.12.999+deb12-amd64/kernel" "$modules/6.1.0-998-amd64" \
	"$work/root/var/lib/kvm-pfnmap"
echo 'headers are "missing"' >"$work/root/var/lib/kvm-pfnmap/6.1.0-999-amd64.reason"
tool status
ok 'status' ends_with 0 '^kernel       Linux '
ok 'shows what is supported' grep -qE 'supported|needs no patch' "$work/stdout"
ok 'and whether to reload' grep -qE '^reload       (possible|not now): ' "$work/stdout"
# Linux 6.13 and later have this function.
if grep -q ' __kvm_faultin_pfn' /proc/kallsyms; then
	ok 'this kernel needs no patch' grep -q '^kernel  .*: needs no patch, ' "$work/stdout"
else
	ok 'this kernel may need a patch' test -z "$(grep 'needs no patch' "$work/stdout")"
fi
tool status --json
ok 'status --json' ends_with 0 '^  "kernel": \{$'
ok 'is JSON' "$IS_JSON" "$work/stdout"
ok 'for this kernel' grep -qF "\"release\": \"$(uname -r)\"" "$work/stdout"
ok 'and this version' grep -qF "\"version\": \"$(cat VERSION)\"" "$work/stdout"

tool status --dirname "$work/root"
ok 'status --dirname' ends_with 0 '6[.]1[.]0-999-amd64, supported'
ok 'a kernel of another series' grep -qE '6[.]12[.]999[+]deb12-amd64, supported' "$work/stdout"
ok 'a kernel that is not supported' grep -qE '6[.]1[.]0-999-other-amd64, not supported' "$work/stdout"
ok 'no kernel that was removed' test -z "$(grep -F 6.1.0-998-amd64 "$work/stdout")"
ok 'and no others' test "$(grep -cE ', (not )?supported' "$work/stdout")" -eq 3
ok 'the reason why one has no modules' grep -q '^  reason     headers are "missing"$' "$work/stdout"
ok 'and none for others' test "$(grep -c '^  reason' "$work/stdout")" -eq 1
tool status --json --dirname "$work/root"
ok 'status --json --dirname' ends_with 0 '"release": "6[.]1[.]0-999-amd64"'
ok 'with the reason' grep -qF '"reason": "headers are \"missing\""' "$work/stdout"
ok 'and its modules' grep -qF '"modules": "stock"' "$work/stdout"
ok 'is JSON' "$IS_JSON" "$work/stdout"
mkdir -p "$modules/$(printf 'a"\\\n\377')/kernel"
tool status --json "--dirname=$work/root"
ok 'a directory with any name is listed' ends_with 0 '"release": "a\\"\\\\\\u000a\\ufffd"'
ok 'in valid JSON' "$IS_JSON" "$work/stdout"
tool status --dirname "$none"
ok 'a directory that does not exist' ends_with 0 '^kernel       Linux '
ok 'has no kernels' test -z "$(grep '^installed' "$work/stdout")"

# ---- output that cannot be written ----

# full ARGUMENT...: test one command with a full device as standard output.
full() {
	status=0
	"$TOOL" "$@" >/dev/full 2>"$work/stderr" </dev/null || status=$?
	: >"$work/stdout"
	cp "$work/stderr" "$work/out"
	ok "$* on a full device" complains 5 'standard output: No space left on device'
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
ok 'a closed standard output' complains 5 'standard output: Bad file descriptor'
status=0
"$TOOL" --nonsense >&- 2>"$work/stderr" || status=$?
ok 'which matters only when something is printed there' complains 2 "unknown option '--nonsense'; see kvm-pfnmap --help"

# ---- unusual environments ----

status=0
POSIXLY_CORRECT=1 "$TOOL" status --json >"$work/out" 2>&1 || status=$?
ok 'options after the command, even with POSIXLY_CORRECT' "$IS_JSON" "$work/out"
status=0
"$TOOL" status <&- >"$work/out" 2>&- || status=$?
ok 'status without standard input and standard error' test "$status" -eq 0
many=$(printf %2048s '' | tr ' ' d)
wrong "--dirname $(echo "$many" | cut -c1-20)...: the name is too long" status --dirname "$many"

# ---- the manual and the completion ----

# One option per line, sorted.
sed -n 's/^\t{ "\([a-z]*\)", .*/--\1/p' tool/main.c | sort >"$work/options"
ok 'the program has options' test "$(wc -l <"$work/options")" -ge 8
grep -oE -- '--[a-z]+' "$work/help" | sort -u >"$work/out"
ok '--help lists them all, and no others' diff "$work/options" "$work/out"
grep -oE 'Fl -[a-z]+' "$manual" | sed 's/Fl /-/' | sort -u >"$work/out"
ok 'so does the manual' diff "$work/options" "$work/out"
sed -n '/^[.]Sh OPTIONS/,/^[.]Sh [^O]/p' "$manual" | grep '^[.]It' | grep -oE 'Fl -[a-z]+' |
	sed 's/Fl /-/' | sort >"$work/out"
ok 'which describes each once' diff "$work/options" "$work/out"
grep -oE -- '--[a-z]+' "$completion" | sort -u >"$work/out"
ok 'so does the completion' diff "$work/options" "$work/out"
sed -n '/^enum exit_code/,/}/p' tool/tool.h | grep -cE '^[[:space:]]EXIT_' >"$work/codes"
seq 0 $(($(cat "$work/codes") - 1)) >"$work/status"
sed -n '/^exit status/,$p' "$work/help" | grep -oE '(^| )[0-9] ' | tr -d ' ' | sort >"$work/out"
ok '--help lists all exit codes' diff "$work/status" "$work/out"
sed -n '/^[.]Sh EXIT STATUS/,/^[.]Sh [^E]/s/^[.]It //p' "$manual" >"$work/out"
ok 'so does the manual' diff "$work/status" "$work/out"

# completes WANT WORD...: test that the completions of the last word are WANT, joined by commas.
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
