#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Build the KVM selftests of a kernel's source: build.sh SOURCE OUT extracts what they need from the
# tarball SOURCE, and leaves the programs in OUT, where their own Makefile puts them, and the build
# log in OUT.log.
set -eu
# shellcheck source=kvm/lib.sh
. "$(dirname "$0")/../../kvm/lib.sh"

source=$1
out=$(realpath -m "$2")
src=$out.src
log=$out.log
kvm=$src/tools/testing/selftests/kvm

trap 'rm -rf "$src" "$out.tmp"' EXIT
trap 'exit 130' INT TERM HUP
rm -rf "$src" "$out.tmp"
mkdir -p "$src" "$out.tmp"

tar -C "$src" --strip-components=1 --wildcards --no-wildcards-match-slash -xf "$source" \
	'*/tools/testing/selftests/kvm' '*/tools/testing/selftests/rseq' \
	'*/tools/testing/selftests/lib.mk' '*/tools/testing/selftests/*.h' \
	'*/tools/build/Build.include' '*/tools/include' '*/tools/arch/x86/include' \
	'*/tools/lib/rbtree.c' '*/scripts/subarch.include' \
	'*/include/uapi' '*/arch/x86/include/uapi' 2>"$log" ||
	die "cannot unpack $source: $(reason "$log")"

# The headers for user space are used as they are in the source, without "make headers", which
# replaces __packed in them.
flags="-I$src/include/uapi -I$src/arch/x86/include/uapi -D'__packed=__attribute__((packed))'"
# 6.1's steal_time includes this before what it needs, and again later.
sed -i '/^#include <asm\/kvm.h>/d' "$kvm/steal_time.c"
# 6.1's dirty_log_test uses the name that the macro has in later kernels.
grep -q 'define TEST_ASSERT_EQ' "$kvm/include/test_util.h" ||
	flags="$flags -DTEST_ASSERT_EQ=ASSERT_EQ"

# Static programs need nothing of the host that they run in. The Makefile must not see the
# environment of a calling make.
env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES -u CFLAGS \
	make -C "$kvm" -j"$(nproc)" ARCH=x86 CC="${CC:-gcc}" OUTPUT="$out.tmp" \
	LDFLAGS='-static -s -pthread -no-pie' EXTRA_CFLAGS="$flags" >"$log" 2>&1 ||
	die "the selftests do not build: $(reason "$log") (log: $log)"
find "$out.tmp" -name '*.[do]' -delete
rm -rf "$out"
mv "$out.tmp" "$out"
