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
if ! { mkdir -p "$state" && : >"$state/log"; } 2>/dev/null; then
	echo "kvm-pfnmap: nothing is built, because $state cannot be written to:" \
		"then run $here/build-all.sh" >&2
	exit 0
fi
log=$state/log
# The scripts that DKMS runs leave the reason for a failure in this file. DKMS does not pass it on.
export KVM_PFNMAP_REASON="$state/reason"
trap 'rm -f "$log" "$KVM_PFNMAP_REASON"' EXIT
# Half of the modules would win over the kernel's own, and not fit them.
now=
trap '[ -z "$now" ] || clean "$now" >/dev/null; exit 130' INT TERM HUP
lock

# because REASON: fail, with that reason.
because() {
	echo "$*" >"$KVM_PFNMAP_REASON"
	return 1
}

# The kernel loads signed modules only: its command line says so, or the firmware, unless the
# validation is switched off in shim.
enforced() {
	efi=/sys/firmware/efi/efivars
	byte() { od -An -tu1 -j4 -N1 "$efi/$1" 2>/dev/null | tr -d ' '; }
	grep -qs Y /sys/module/module/parameters/sig_enforce && return
	[ "$(byte SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c)" = 1 ] &&
		[ "$(byte MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23)" != 1 ]
}

# The certificate of the key that DKMS signs with.
certificate() {
	cat /etc/dkms/framework.conf /etc/dkms/framework.conf.d/*.conf 2>/dev/null |
		sed -n "s/^[ \t]*mok_certificate=//p" | tail -n 1 | tr -d "\"'" | grep . ||
		echo /var/lib/dkms/mok.pub
}

# trusted CERTIFICATE: the running kernel has it in one of its keyrings, or will have it at the next
# boot.
trusted() {
	id=$(openssl x509 -inform DER -in "$1" -noout -ext subjectKeyIdentifier 2>/dev/null |
	     tail -n 1 | tr -d ' :' | tr A-F a-f)
	{ [ -n "$id" ] &&
	  grep -qi "asymmetri.*: X509\.[^ ]* ${id#"${id%????????}"} " /proc/keys; } ||
		mokutil --test-key "$1" 2>/dev/null |
			grep -Eq 'is already (enrolled|in db|in the built-in trusted keyring)'
}

# may_load: where signatures are enforced, modules signed with a key that the kernel does not trust
# would leave the machine without KVM. DKMS makes its key when it builds for the first time.
may_load() {
	enforced && [ -e "$(certificate)" ] || return 0
	trusted "$(certificate)" && return
	if command -v mokutil >/dev/null; then
		because "Secure Boot is on, and the key of DKMS is not enrolled:" \
			"mokutil --import $(certificate), reboot, then $here/build-all.sh"
	else
		because "Secure Boot is on, and whether the key of DKMS is enrolled is unknown:" \
			"apt install mokutil, then $here/build-all.sh"
	fi
}

# is_signed RELEASE: after the build.
is_signed() {
	enforced || return 0
	for module in kvm kvm-amd kvm-intel; do
		file=$(module_of "$dkms/$version/$1/x86_64/module" $module) &&
		[ -n "$(modinfo -F signer "$file")" ] ||
			because "Secure Boot is on, and DKMS did not sign $module" || return 1
	done
}

# buildable RELEASE HEADERS: everything is there, and the kernel would load the modules. The reason, if
# not, is a whole sentence.
buildable() {
	"$here/buildable.sh" "$1" "$2" 2>/dev/null || return 1
	if why=$(preferred "$1"); then
		because "$1 keeps its own KVM, and would not load other modules: $why"
	elif ! may_load; then
		because "$1 keeps its own KVM: $(cat "$KVM_PFNMAP_REASON")"
	fi
}

# build RELEASE HEADERS: DKMS reports success even if there was no room for the modules.
build() {
	dkms build -m kvm-pfnmap -v "$version" -k "$1" >"$log" 2>&1 9>&- &&
	is_signed "$1" && may_load &&
	dkms install -m kvm-pfnmap -v "$version" -k "$1" >"$log" 2>&1 9>&- &&
	{ is_installed "$1" "$2" ||
	  because "the modules in /lib/modules/$1/updates/dkms are incomplete: is the disk full?"; } &&
	{ initramfs "$1" >>"$log" 2>&1 ||
	  because "its initramfs, which holds modules of KVM, cannot be made again: $(reason "$log")"; }
}

# keeps RELEASE TEXT: say why a kernel keeps its own KVM, and remember it.
keeps() {
	echo "kvm-pfnmap: $2" >&2
	echo "$2" >"$state/$1.reason"
}

# Nothing is remembered of kernels that are gone.
for file in "$state"/*.reason "$state"/*.log; do
	release=${file##*/}
	[ -e "/lib/modules/${release%.*}/kernel" ] || rm -f "$file"
done
# shellcheck disable=SC2046 # releases
[ $# -gt 0 ] || set -- $(ls -v /lib/modules 2>/dev/null)
for release; do
	headers=/lib/modules/$release/build
	[ -e "/lib/modules/$release/kernel" ] || continue
	put_back "$release"
	if is_installed "$release" "$headers"; then
		if why=$(preferred "$release"); then
			keeps "$release" "$release has the modules, but does not load them: $why"
		else
			rm -f "$state/$release.reason"
		fi
		continue
	fi
	# Remove the rest of an interrupted run, and modules for another version of this kernel.
	had=
	! has_modules "$release" || had=1
	clean "$release"
	rm -f "$KVM_PFNMAP_REASON"
	if ! buildable "$release" "$headers"; then
		[ -z "$had" ] || initramfs "$release" >/dev/null 2>&1 ||
			echo "kvm-pfnmap: $release has no KVM until this works: update-initramfs -u -k $release" >&2
		keeps "$release" "$(cat "$KVM_PFNMAP_REASON")"
		continue
	fi
	# dkms.conf need not ask again.
	export KVM_PFNMAP_BUILDABLE="$release"
	echo "kvm-pfnmap: $release: building"
	now=$release
	if build "$release" "$headers"; then
		sync -f "/lib/modules/$release/updates/dkms"
		rm -f "$state/$release.reason"
		echo "kvm-pfnmap: $release: installed, used from the next load of KVM on"
	else
		why=$(cat "$KVM_PFNMAP_REASON" 2>/dev/null)
		[ -n "$why" ] || why=$(reason "$log")
		keeps "$release" "$release keeps its own KVM: $why"
		clean "$release" >/dev/null
		[ -z "$had" ] || initramfs "$release" >/dev/null 2>&1 ||
			echo "kvm-pfnmap: $release has no KVM until this works: update-initramfs -u -k $release" >&2
	fi
	mv -f "$log" "$state/$release.log" 2>/dev/null
	now=
done
exit 0
