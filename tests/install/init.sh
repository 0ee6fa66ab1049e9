#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# PID 1 of the installed Debian in the emulated host: load KVM as anybody would, give
# a guest a buffer of bochs-drm, and say what came of it. The initramfs has mounted what
# there is to mount.
echo
echo "release: $(uname -r)"
modprobe -a kvm_amd bochs
for module in kvm kvm_amd; do
	echo "$module: file $(modinfo -n $module), loaded version $(cat /sys/module/$module/version || echo none)"
done
dmesg | grep 'kvm-pfnmap' || echo 'no line of kvm-pfnmap'
echo "tainted: $(cat /proc/sys/kernel/tainted)"
/usr/local/bin/pages bochs-drm
sync
echo o >/proc/sysrq-trigger
# No program can be started any more once the disk is off, and PID 1 must not end.
while :; do :; done
