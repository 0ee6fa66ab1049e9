#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# At boot: say in the journal why the running kernel has no modules of kvm-pfnmap. If the initramfs
# has loaded a kvm.ko that does not fit the disk's kvm-amd.ko or kvm-intel.ko, load both from the disk.
set -u
release=$(uname -r)
case $(grep -E -m1 -o -w 'svm|vmx' /proc/cpuinfo) in
svm)	vendor=kvm_amd ;;
vmx)	vendor=kvm_intel ;;
*)	vendor= ;;
esac
if [ -n "$vendor" ] && [ -e /sys/module/kvm/initstate ] && [ ! -e "/sys/module/$vendor" ] &&
   ! modprobe -q "$vendor" && modprobe -r kvm && modprobe "$vendor"; then
	echo "kvm.ko of the initramfs did not fit $vendor, and was replaced: update-initramfs -u -k $release"
fi
cat "/var/lib/kvm-pfnmap/$release.reason" 2>/dev/null || :
