#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# PID 1 of the installed Debian in the emulated host: load KVM with modprobe, give a guest
# a buffer of bochs-drm, and report the outcome; then let the tool replace the stock modules
# with ours, and load both while signatures are enforced. A line "== NAME" begins each part.
# The initramfs has mounted all file systems.
card=/dev/dri/card0
stock=/lib/modules/$(uname -r)/kernel/arch/x86/kvm
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

part() {
	echo
	echo "== $1"
}

# try CMD...: run a command as a user sees it, and show its status if it fails.
try() {
	echo "# $*"
	"$@" 2>&1 || echo "exit status $?"
}

load_stock() {
	modprobe -r kvm_amd kvm
	modprobe -a irqbypass ccp
	insmod "$stock"/kvm.ko*
	insmod "$stock"/kvm-amd.ko*
}

# await REGEX: wait until QEMU or its guest prints it, for about a minute.
await() {
	for _ in $(seq 60); do
		! grep -Eq "$1" /run/from || return 0
		sleep 1
	done
	return 1
}

# Run a guest with Debian's QEMU and kernel that writes to a buffer of bochs-drm. Fails if the guest
# hangs at boot.
guest() {
	: >/run/from
	LD_PRELOAD=/usr/local/lib/dumb.so timeout -k 5 200 qemu-system-x86_64 -nodefaults \
		-no-reboot -display none -serial stdio -accel kvm -cpu host -m 256M \
		-kernel "/boot/vmlinuz-$(uname -r)" -initrd /usr/local/lib/ivshmem.cpio \
		-append 'console=ttyS0 quiet panic=-1' \
		-object memory-backend-file,id=dumb,mem-path=/dev/dumb,size=2M,share=on \
		-device ivshmem-plain,memdev=dumb </run/to >/run/from 2>&1 &
	exec 3>/run/to
	status=0
	if await 'PID 1 runs'; then
		echo 'write 1 1' >&3
		await 'guest: of|run failed'
		echo poweroff >&3
		await 'Power down|run failed'
	else
		status=1
	fi
	# After a failed KVM_RUN, QEMU stays, with the guest paused.
	kill $!
	wait $!
	cat /run/from
	return $status
}

part load
echo "release: $(uname -r)"
modprobe -a kvm_amd bochs
for module in kvm kvm_amd; do
	echo "$module: file $(modinfo -n $module), loaded version $(cat /sys/module/$module/version || echo none)"
done
dmesg | grep 'kvm-pfnmap' || echo 'no line of kvm-pfnmap'
echo "tainted: $(cat /proc/sys/kernel/tainted)"
part pages
pages bochs-drm
if [ -e /usr/bin/qemu-system-x86_64 ]; then
	part qemu
	mkfifo /run/to
	# As in tests/lib/qemu.c: the emulated processor makes a guest hang now and then.
	guest || guest
fi
part status
try kvm-pfnmap status
part probe
try kvm-pfnmap probe --drm $card

case $(modinfo -n kvm) in
*/updates/dkms/*)
	part stock
	load_stock
	try kvm-pfnmap status
	try kvm-pfnmap probe --drm $card
	part reload
	try kvm-pfnmap reload
	try kvm-pfnmap probe --drm $card

	# As with Secure Boot, where the key of DKMS is not enrolled.
	part enforced
	echo Y >/sys/module/module/parameters/sig_enforce
	modprobe -r kvm_amd kvm
	try modprobe kvm_amd
	dmesg | tail -n 2
	part enforced-stock
	load_stock
	pages bochs-drm
	part enforced-reload
	try kvm-pfnmap reload
	try kvm-pfnmap status
	;;
esac
sync
echo o >/proc/sysrq-trigger
# Without the disk no program can start, and PID 1 must not end.
while :; do :; done
