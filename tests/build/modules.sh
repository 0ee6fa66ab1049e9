#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that the modules appear only when all of them are built, that a failure
# is one line, which also reaches a caller, that the next call recovers, and that make
# does nothing when nothing changed. A small kbuild stands in for the kernel's.
set -eu
# shellcheck source=tests/build/lib.sh
. tests/build/lib.sh
plan 12

small_tree
mkdir "$work/kdir"
kbuild() {
	cat >"$work/kdir/Makefile"
}
build() {
	run "$top/kvm/build.sh" "$work/tree" "$work/kdir" "$work/modules"
}
kbuild <<'EOF'
modules:
	cd $(M) && cp /bin/true kvm.ko && cp kvm.ko kvm-amd.ko && cp kvm.ko kvm-intel.ko
	touch $(M)/Module.symvers
EOF
good=$(cat "$work/kdir/Makefile")

build
ok 'a tree that is not prepared is one line' fails_with 'tree is not a prepared tree'
"$top/kvm/prepare.sh" "$work/stock" "$work/tree"
rm "$work/kdir/Makefile"
build
ok 'missing headers are one line with the remedy' fails_with "kdir is missing: run 'make deps'"

kbuild <<'EOF'
modules:
	@echo "a.c:1:1: error: KVM is '$(KVM)'" && false
EOF
export KVM=patched
build
unset KVM
ok "a variable KVM of the caller does not reach KVM's Makefile" fails_with "error: KVM is '' .*log:"
kbuild <<'EOF'
modules:
	@echo "a.c:7:9: error: unknown type name 'boool'" && false
EOF
build
ok 'a compiler error is one line' \
	fails_with "do not build: a.c:7:9: error: unknown type name 'boool' .*log:"
ok 'it leaves nothing' absent "$work/modules" "$work/modules.tmp"

export KVM_PFNMAP_REASON="$work/reason"
build
unset KVM_PFNMAP_REASON
ok 'the reason is in the file that the caller names' test "$(cat "$work/reason")" = \
	"the modules do not build: a.c:7:9: error: unknown type name 'boool'"

# Killed without a chance to clean up, when two of three modules are there.
kbuild <<EOF
modules:
	cp /bin/true \$(M)/kvm.ko && cp /bin/true \$(M)/kvm-amd.ko
	kill -9 \$\$(cat $work/pid)
EOF
# shellcheck disable=SC2016 # for the inner shell
run sh -c 'echo $$ >"$0/pid"; exec "$1/kvm/build.sh" "$0/tree" "$0/kdir" "$0/modules"' "$work" "$top"
ok 'a killed build leaves no modules' absent "$work/modules"
echo "$good" | kbuild
build
ok 'and the next call recovers' test "$status" -eq 0 -a \
	"$(find "$work/modules" -type f | wc -l)" -eq 4

if small_disk; then
	"$top/kvm/prepare.sh" "$work/stock" "$work/small/tree"
	run "$top/kvm/build.sh" "$work/small/tree" "$work/kdir" "$work/small/modules"
	ok 'a full disk is one line' fails_with 'do not build: .*[Nn]o space left'
else
	skip 'a full disk is one line' 'a small file system cannot be mounted here'
fi

cd "$top"
unset MAKEFLAGS MAKELEVEL
before=$(stat -c %Y.%i "build/$rel/modules"/*)
run make modules KERNEL="$KERNEL"
ok 'make modules says nothing when nothing changed' \
	test "$status" -eq 0 -a -z "$(grep -v '^make' "$work/out")"
ok 'and builds nothing' test "$before" = "$(stat -c %Y.%i "build/$rel/modules"/*)"
run make modules KERNEL=2.4
ok 'make stops at an unknown kernel' test "$status" -ne 0 -a \
	"$(head -n 1 "$work/out" | grep -c "unknown kernel '2.4'")" -eq 1
