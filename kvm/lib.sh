# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
# Shared by the scripts that prepare and build KVM, and by others: messages, and failing with one
# line that says why.

step() {
	printf '  %-8s %s\n' "$1" "$2" >&2
}

# die MESSAGE...: fail with one line. A caller that has to pass the reason on names a file in
# $KVM_PFNMAP_REASON, which gets the message of the first script that fails.
die() {
	echo "kvm-pfnmap: $*" >&2
	[ -z "${KVM_PFNMAP_REASON:-}" ] || [ -s "$KVM_PFNMAP_REASON" ] || echo "$*" 2>/dev/null >"$KVM_PFNMAP_REASON"
	exit 1
}

# reason LOG: print the line of a log that best explains why a command failed. On a full disk the
# log may not have that line.
reason() {
	if grep -qis 'no space left' "$1"; then
		grep -i -m1 'no space left' "$1"
	elif [ "$(df -Pk "$(dirname "$1")" | awk 'END { print $4 }')" -lt 16 ]; then
		echo "no space left on the disk of $(dirname "$1")"
	elif grep -Eqs 'Error 127$|: not found$' "$1"; then
		grep -E -m1 ': (command not found|not found|No such file or directory)$' "$1" ||
			grep -m1 'Error 127$' "$1"
	else
		grep -E -m1 '(^E:|^Error!|[^a-z]error:|ERROR|fatal|[*]{3} )' "$1" ||
			grep -E -m1 '([Ee]rror[:!]|[Ff]ailed)' "$1" || tail -n 1 "$1"
	fi
}

# kvm_make TREE KDIR ARG...: call make for the KVM of a prepared tree, always with the same flags, so
# that nothing is compiled twice.
kvm_make() {
	kvm_tree=$(realpath -m "$1")/arch/x86/kvm
	kvm_kdir=$2
	shift 2
	# Debug information takes a quarter of the time. The modules keep none of it, unless the headers
	# have the vmlinux that BTF is made with.
	kvm_flags=
	[ -e "$kvm_kdir/vmlinux" ] || kvm_flags=-g0
	# Kbuild must not see the environment of a calling make. KVM's Makefile has a variable KVM, too.
	# Only a kernel with CONFIG_GCOV_KERNEL heeds GCOV_PROFILE.
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES -u KVM \
		make -C "$kvm_kdir" M="$kvm_tree" KVM_WERROR="${KVM_WERROR-y}" \
		KCFLAGS="${KCFLAGS:-} $kvm_flags" GCOV_PROFILE=y -j"$(nproc)" "$@" 2>&1
}
