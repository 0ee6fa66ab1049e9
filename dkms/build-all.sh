#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Build and install the modules through DKMS: build-all.sh [RELEASE...] does it for these kernels,
# or for all installed ones, unless they have their modules already. It prints one line for each
# kernel. If that fails, the kernel keeps its own KVM, and the reason and the log are kept below
# /var/lib/kvm-pfnmap. The status is 0 all the same, because the package manager calls this script in
# the middle of other work.
set -u
here=$(dirname "$0")
# shellcheck source=dkms/lib.sh
. "$here/lib.sh"

umask 022
lock
# A colon instead of true would end the shell.
log=$state/log
if ! { mkdir -p "$state" && true >"$log"; } 2>/dev/null; then
	echo "kvm-pfnmap: nothing is built, because $state cannot be written to:" \
		"then run $here/build-all.sh" >&2
	log=
fi
# The scripts that DKMS runs leave the reason for a failure in this file. DKMS does not pass it on.
export KVM_PFNMAP_REASON="$state/reason"
trap 'rm -f "$log" "$KVM_PFNMAP_REASON"' EXIT
# Half of the modules would win over the kernel's own, and not fit them.
now=
trap 'interrupted >/dev/null; exit 130' INT TERM HUP

# shellcheck disable=SC2317 # the trap calls it
interrupted() {
	[ -n "$now" ] || return 0
	clean "$now"
	remember "$now" "$now keeps its own KVM: the build was interrupted: run $here/build-all.sh"
	settle "$now"
}

# remember RELEASE TEXT: keep the reason why a kernel keeps its own KVM.
remember() {
	echo "$2" 2>/dev/null >"$state/$1.reason"
}

# because REASON: fail, with that reason.
because() {
	why=$*
	return 1
}

# The kernel loads signed modules only: its command line says so, or the firmware, unless the
# validation is switched off in shim.
enforced() {
	efi=/sys/firmware/efi/efivars
	byte() { od -An -tu1 -j4 -N1 "$efi/$1" 2>/dev/null | tr -d ' '; }
	grep -qs Y /sys/module/module/parameters/sig_enforce && return
	grep -Eqs '\[(integrity|confidentiality)\]' /sys/kernel/security/lockdown && return
	[ "$(byte SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c)" = 1 ] &&
		[ "$(byte MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23)" != 1 ]
}

# certificate RELEASE: print the file with that of the key that DKMS signs with.
certificate() {
	of=$(framework mok_certificate "$1")
	echo "${of:-/var/lib/dkms/mok.pub}"
}

# trusted CERTIFICATE: the running kernel has it in one of its keyrings, or will have it at the next
# boot.
trusted() {
	id=$(openssl x509 -inform DER -in "$1" -noout -ext subjectKeyIdentifier 2>/dev/null |
	     tail -n 1 | tr -d ' :' | tr A-F a-f)
	{ [ -n "$id" ] &&
	  grep -qi "asymmetri.*: X509\.[^ ]* ${id#"${id%????????}"} " /proc/keys; } ||
		mokutil --test-key "$1" 2>&1 |
			grep -Eq 'is already (enrolled|in db|in the built-in trusted keyring)'
}

# may_load RELEASE: where signatures are enforced, modules signed with a key that the kernel does not
# trust would leave the machine without KVM.
may_load() {
	enforced || return 0
	key=$(certificate "$1")
	if [ ! -e "$key" ]; then
		because "Secure Boot is on, and the certificate of DKMS is missing: $key"
	elif trusted "$key"; then
		return 0
	elif command -v mokutil >/dev/null; then
		because "Secure Boot is on, and the key of DKMS is not enrolled:" \
			"mokutil --import $key, reboot, then $here/build-all.sh"
	else
		because "Secure Boot is on, and whether the key of DKMS is enrolled is unknown:" \
			"apt install mokutil, then $here/build-all.sh"
	fi
}

# is_signed DIR: the modules there are, if they must be.
is_signed() {
	enforced || return 0
	for module in kvm kvm-amd kvm-intel; do
		file=$(module_of "$1" $module) &&
		[ -n "$(modinfo -F signer "$file")" ] ||
			because "Secure Boot is on, and DKMS did not sign $module" || return 1
	done
}

# buildable RELEASE HEADERS: everything is there, and the kernel would load the modules. The reason, if
# not, is a whole sentence. DKMS makes its key when it builds for the first time.
buildable() {
	said=$(KVM_PFNMAP_REASON='' "$here/buildable.sh" "$1" "$2" 2>&1) || because "${said##*kvm-pfnmap: }" || return
	if said=$(preferred "$1"); then
		because "$1 keeps its own KVM, and would not load other modules: $said"
	elif [ -e "$(certificate "$1")" ] && ! may_load "$1"; then
		because "$1 keeps its own KVM: $why"
	fi
}

# build RELEASE HEADERS: DKMS reports success even if there was no room for the modules.
build() {
	place=/lib/modules/$1/updates/dkms
	dkms build -m kvm-pfnmap -v "$version" -k "$1" >"$log" 2>&1 9>&- &&
	is_signed "$dkms/$version/$1/x86_64/module" && may_load "$1" || return
	changing "$1"
	dkms install -m kvm-pfnmap -v "$version" -k "$1" >>"$log" 2>&1 9>&- || return
	put_back "$1"
	is_installed "$1" "$2" && sync -f "$place" ||
		because "the modules in $place are incomplete: is the disk full?" || return
	is_active "$1" ||
		because "modprobe does not look for its modules in $place: $(modinfo -k "$1" -n kvm 2>&1)" || return
	initramfs "$1" >>"$log" 2>&1 ||
		because "its initramfs, which holds modules of KVM, cannot be made again: $(reason "$log")"
}

# keep_logs: add what the failed build has written to the log.
keep_logs() {
	for file in "$dkms/$version/build/make.log" "$dkms/$version/build/tree.log"; do
		[ ! -e "$file" ] || cat "$file"
	done >>"$log" 2>/dev/null
}

# keeps RELEASE TEXT: say why a kernel keeps its own KVM, and remember it.
keeps() {
	echo "kvm-pfnmap: $2" >&2
	remember "$1" "$2"
	settle "$1"
}

# Nothing is remembered of kernels that are gone.
for file in "$state"/*.reason "$state"/*.log "$state"/*.initramfs; do
	release=${file##*/}
	[ -e "/lib/modules/${release%.*}/kernel" ] || rm -f "$file"
done
# shellcheck disable=SC2046 # releases
[ $# -gt 0 ] || set -- $(ls -v /lib/modules 2>/dev/null)
for release; do
	headers=/lib/modules/$release/build
	[ -e "/lib/modules/$release/kernel" ] || continue
	now=$release
	put_back "$release"
	# After an interrupted run, modprobe may not know the modules yet.
	if is_installed "$release" "$headers" && ! preferred "$release" >/dev/null &&
	   { is_active "$release" || { changing "$release" && depmod "$release" && is_active "$release"; }; } &&
	   is_signed "/lib/modules/$release/updates/dkms" && may_load "$release" &&
	   initramfs "$release" >"${log:-/dev/null}" 2>&1; then
		rm -f "$state/$release.reason"
		now=
		continue
	fi
	# Remove the rest of an interrupted run, and modules for another version of this kernel.
	clean "$release"
	rm -f "$KVM_PFNMAP_REASON"
	why=
	if [ -z "$log" ]; then
		settle "$release"
	elif ! buildable "$release" "$headers"; then
		keeps "$release" "$why"
	else
		# dkms.conf need not ask again.
		export KVM_PFNMAP_BUILDABLE="$release"
		echo "kvm-pfnmap: $release: building"
		if build "$release" "$headers"; then
			rm -f "$state/$release.reason"
			echo "kvm-pfnmap: $release: installed, used from the next load of KVM on"
		else
			[ -n "$why" ] || why=$(cat "$KVM_PFNMAP_REASON" 2>/dev/null)
			[ -n "$why" ] || why=$(reason "$log")
			keep_logs
			clean "$release" >/dev/null
			keeps "$release" "$release keeps its own KVM: $why"
		fi
		mv -f "$log" "$state/$release.log" 2>/dev/null
	fi
	now=
done
exit 0
