#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# At boot: load KVM if that has failed, because the initramfs had a kvm.ko that does not fit the one on
# the disk, or because an update was interrupted; and say in the journal why the running kernel has no
# modules of kvm-pfnmap.
set -u
release=$(uname -r)
case $(grep -E -m1 -o -w 'svm|vmx' /proc/cpuinfo) in
svm)	vendor=kvm_amd ;;
vmx)	vendor=kvm_intel ;;
*)	vendor= ;;
esac

# lost: KVM does not load, and not because it is blacklisted or the machine has switched it off.
lost() {
	[ -n "$vendor" ] && [ ! -e "/sys/module/$vendor" ] && [ -e "/lib/modules/$release/kernel" ] &&
		! said=$(LC_ALL=C modprobe -b "$vendor" 2>&1) || return
	case $said in
	*'not supported'* | *'Input/output error'* | *busy*) return 1 ;;
	esac
}

# own MODULE: print the file of the kernel's own module.
own() {
	find "/lib/modules/$release/kernel/arch/x86/kvm" -name "$1.ko*" | head -n 1
}

if lost; then
	was=$(cat /sys/module/kvm/version 2>/dev/null || echo stock)
	depmod "$release"
	modprobe -rq kvm
	if modprobe -bq "$vendor"; then
		echo "KVM did not load ($was), and was loaded again: update-initramfs -u -k $release"
	else
		modprobe -rq kvm
		modprobe -abq irqbypass ccp
		vendor=$(echo $vendor | tr _ -)
		if insmod "$(own kvm)" && insmod "$(own "$vendor")"; then
			echo "the modules of kvm-pfnmap do not load, those of the kernel do: see dmesg"
		else
			echo "KVM cannot be loaded: see dmesg"
		fi
	fi
fi 2>/dev/null
case $(modinfo -n kvm 2>/dev/null) in
*/updates/dkms/*) ;;
*)	cat "/var/lib/kvm-pfnmap/$release.reason" 2>/dev/null || : ;;
esac
