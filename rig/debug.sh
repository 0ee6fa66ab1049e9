#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Builds a debug kernel for the emulated host: debug.sh SOURCE TREE RELEASE IMAGE CONFIG... unpacks SOURCE
# into TREE, which modules are built against afterwards, and lays out IMAGE as fetch.sh does. What is in
# several CONFIGs is taken from the last one, and what ends with "# 6.12" is for that kernel only.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"

source=$1 tree=$2 release=$3 image=$(realpath -m "$4")
shift 4
config=$(realpath -m "$tree.config")
log=$tree.log

# KASAN and KCSAN check each access of all modules, but of the kernel itself only in the files that
# handle what KVM or a driver owns: more would take twice the time to build and to run. Everywhere
# KASAN checks what is freed, and copies and fills of memory.
watched="mmu_notifier memory gup mmap mremap mprotect rmap interval_tree eventfd anon_inodes
	file_table wait workqueue hrtimer timer srcutree preempt-notifier notifier"
few() {
	# shellcheck disable=SC2046,SC2086 # words
	kernel KASAN_SANITIZE=n $(printf 'KASAN_SANITIZE_%s.o=y ' $watched) \
		KCSAN_SANITIZE=n $(printf 'KCSAN_SANITIZE_%s.o=y ' $watched) "$@"
}

kernel() {
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES \
		make -C "$tree" -j"$(nproc)" LOCALVERSION= "$@" >>"$log" 2>&1 ||
		die "the debug kernel does not build: $(reason "$log") (log: $log)"
}

: >"$log"
awk -F= -v series="${release%.*}" '
	match($0, /[ \t]+# /) && /^CONFIG_/ {
		if (substr($0, RSTART + RLENGTH) != series)
			next
		$0 = substr($0, 1, RSTART - 1)
	}
	/^CONFIG_/ { if (!($1 in line)) order[++n] = $1; line[$1] = $0 }
	END { for (i = 1; i <= n; i++) print line[order[i]] }' "$@" >"$config"
if [ "$(cat "$tree/unpacked" 2>/dev/null)" != "$source" ]; then
	rm -rf "$tree"
	mkdir -p "$tree"
	tar -C "$tree" --strip-components=1 -xf "$source"
	# 6.1 wants TCP/IP for 9p, which does not use it.
	sed -i 's/depends on INET && NET_9P$/depends on NET_9P/' "$tree/fs/9p/Kconfig"
	# The follow_pte() of 6.1 returns -EINVAL for a driver's huge entry, but has a BUG() before that with
	# DEBUG_VM. KVM, stock as well as patched, calls it for such entries.
	sed -i '/^int follow_pte(/,/^}/{/VM_BUG_ON(pmd_trans_huge/d}' "$tree/mm/memory.c"
	echo "$source" >"$tree/unpacked"
fi
KCONFIG_ALLCONFIG=$config kernel allnoconfig
lost=$(grep -v '=n$' "$config" | grep -vxFf "$tree/.config" || :)
[ -z "$lost" ] || die "$*: this kernel does not take" "$(echo "$lost" | paste -sd ' ')"
few vmlinux
kernel modules
[ "$(cat "$tree/include/config/kernel.release")" = "$release" ] ||
	die "the debug kernel is $(cat "$tree/include/config/kernel.release"), not $release"
rm -rf "$image"
kernel INSTALL_MOD_PATH="$image" modules_install
mkdir -p "$image/boot"
strip -o "$image/boot/vmlinux-$release" "$tree/vmlinux"
