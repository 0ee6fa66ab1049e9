#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Run by systemd in the emulated host: report what kvm-pfnmap.service has said and which KVM is loaded,
# then power off.
exec >/dev/ttyS0
echo
echo '== report'
journalctl --sync
journalctl -b -p warning -t kvm-pfnmap
[ ! -d /sys/module/kvm_amd ] || echo "loaded: $(cat /sys/module/kvm_amd/version 2>/dev/null || echo stock)"
sleep 1
systemctl poweroff --force --force
