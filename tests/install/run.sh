#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that the package does what an administrator expects, on the Debian of $KERNEL with its own
# kernels: install it, boot, update the kernel, let things go wrong, replace the package by other
# versions, remove it, and boot again. CORE=1 leaves out what the list at the end says, and builds for
# one kernel less.
set -eu
: "${KERNEL:=6.1}"
# shellcheck source=tests/install/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/install/package.sh
. "$(dirname "$0")/package.sh"

[ "$(id -u)" -eq 0 ] || { echo '1..0 # SKIP it needs root, for a Debian in a directory'; exit 0; }

for t in $(echo "${ONLY:-}" | tr ',' ' '); do
	grep -q "^$t() {\$" "$0" || { echo "there is no test $t"; exit 1; }
done

make_base
make_root
set -f
# shellcheck disable=SC2046 # words
set -- $(newest 2 "$KERNEL")
old=$1 old_version=$2 new=$3 new_version=$4
# Another one of this Debian: of another series if it has any, or else of another flavour.
# shellcheck disable=SC2046 # words
set -- $(awk -v k="$KERNEL" -v codename="$codename" '
	/^[0-9]/ && $2 == codename && $1 != k && NF == 7 {
		if (!other || ($1 !~ /cloud|rt/ && $1 !~ "^" k "(-|$)"))
			other = $1 " " $5
	}
	END { print other }' "$top/kernels.conf")
other=$1 other_source=$2
source=linux-source-$KERNEL
oldest=$(awk -v s="$KERNEL" '$1 == s { print $4 }' "$top/kernels.conf")
# A release of this series that never existed.
case $KERNEL in
6.1)	ancient=6.1.0-0-amd64 ;;
*)	ancient=$KERNEL.0+deb13-amd64 ;;
esac
set +f
deb=$(echo "$top"/build/deb/kvm-pfnmap-dkms_*_all.deb)
package=/tmp/${deb##*/}
tool=$(echo "$top"/build/deb/kvm-pfnmap_*_amd64.deb)
tool=/tmp/${tool##*/}
src=$root/usr/src/kvm-pfnmap-$version
lib=$root/usr/lib/kvm-pfnmap
hooks='/etc/kernel/postinst.d/dkms-kvm-pfnmap /etc/kernel/header_postinst.d/dkms-kvm-pfnmap'

cp "$deb" "$top/build/deb/${tool##*/}" "$root/tmp"

# core TEST...: run them. With ONLY=NAME,... run those that it names, of these and of the next.
core() {
	for t; do
		case ,${ONLY:-$t}, in
		*,"$t",*) note "$t"; $t ;;
		esac
	done
}

# more TEST...: those that CORE=1 leaves out.
more() {
	[ -n "${CORE:-}" ] || core "$@"
}

# signature RELEASE: the modules have one, and Debian's have another.
signature() {
	run modinfo -k "$1" -F signer kvm
	ok 'the modules are signed with the key of DKMS' says 'DKMS module signing key'
	ok 'the signature is a good one' signed_by_dkms "$(file_of "$1" kvm)"
	run find "/lib/modules/$1/kernel/" -name 'kvm.ko*'
	ok "that of Debian's module is not of that key" fails signed_by_dkms "$(cat "$work/out")"
}

# Install it beside kernels that must be skipped. With CORE=1 the first kernel is one of them, because
# its modules take minutes to build.
first_install() {
	if [ -n "${CORE:-}" ]; then
		apt_install "linux-image-$old" "$source=$new_version"
	else
		kernel "$old" "$old_version"
	fi
	ok "kernel $old is installed" passes
	run apt-get -q -y -s install "$package"
	ok 'the package brings headers along' says '^Inst linux-headers-'
	fake 9.9.0-1-amd64 9.9.1-1
	fake "$ancient" "$KERNEL.1-1"
	apt_install "$package" "$tool"
	ok 'the packages install' passes
	ok 'an unsupported kernel is one line' \
		only_line 9.9.0-1-amd64 '^kvm-pfnmap: 9.9.0-1-amd64 keeps its own KVM: Linux 6.13 and later need no patch'
	ok 'so is one that is too old' \
		only_line "$ancient" "^kvm-pfnmap: $ancient is of $KERNEL.1-1, supported from $oldest on"
	if [ -n "${CORE:-}" ]; then
		old_has=none
		ok 'so is one without headers and source' only_line "kvm-pfnmap: $old" \
			"^kvm-pfnmap: $old keeps its own KVM: apt install linux-headers-$old $source=$old_version"
	else
		old_has="$version installed"
		ok "KVM of $old is ours" ours "$old"
		signature "$old"
		ok "the kernel's package is as it was" intact "$old"
	fi
	for r in 9.9.0-1-amd64 "$ancient"; do
		run dkms build "kvm-pfnmap/$version" -k "$r"
		ok "DKMS skips $r" test "$status" -eq 77
		run /etc/kernel/postinst.d/dkms-kvm-pfnmap "$r"
		ok 'and it can be installed' passes
		rm -r "$root/lib/modules/$r"
	done
}

# Debian's QEMU gives a guest the memory, too.
first_boot() {
	apt_install qemu-system-x86
	boot "$old"
	part load
	ok "$old boots and loads ours" says "^kvm_amd: file .*/updates/dkms/.* loaded version $version"
	ok 'the kernel log has the line' \
		says "kvm: kvm-pfnmap $version, source of Linux $old_version"
	part pages
	ok 'a guest uses the memory of bochs-drm' says '^outcome: works, 1024 of 1024 pages'
	part qemu
	ok "so does one of Debian's QEMU" says '^outcome: 512 of 512 pages'
}

# Update the kernel, on a machine that loads KVM early, and boot it.
update() {
	echo kvm >>"$root/etc/initramfs-tools/modules"
	kernel "$new" "$new_version"
	ok "an update to $new goes well" passes
	ok 'it builds for the new kernel' ours "$new"
	ok 'its initramfs has ours, too' in_initramfs 'updates/dkms/kvm[.]ko'
	if [ -n "${CORE:-}" ]; then
		signature "$new"
		apt_install "linux-headers-$old" "$source=$new_version"
	else
		ok 'the old one keeps its modules' ours "$old"
	fi
	ok "the new kernel's package is as Debian made it" intact "$new"
}

updated_boots() {
	boot "$new"
	part load
	ok "$new boots and loads ours" says "^kvm_amd: file .*/updates/dkms/.* loaded version $version"
	ok 'the kernel log has the line' \
		says "kvm: kvm-pfnmap $version, source of Linux $new_version"
	part pages
	ok 'a guest uses the memory of bochs-drm' says '^outcome: works, 1024 of 1024 pages'
	part status
	ok 'kvm-pfnmap status says what is loaded' \
		says "^kvm  *kvm-pfnmap $version, .*/updates/dkms/kvm.ko"
	ok 'and what DKMS has for each kernel' \
		says_all "$old, supported; dkms: $old_has" \
			 "$new [(]running[)], supported; dkms: $version installed"
	part probe
	ok 'kvm-pfnmap probe finds that it works' says '^  result  *works: '
	part stock
	ok 'with the stock modules loaded, status knows both' \
		says_all '^kvm  *stock, .*/kernel/arch/x86/kvm/kvm.ko' \
			 "^  on reload  *kvm-pfnmap $version, .*/updates/dkms/kvm.ko"
	ok 'and probe fails' says '^  result  *first page only, then Bad address'
	part reload
	ok 'kvm-pfnmap reload swaps them' says "^KVM is now kvm-pfnmap $version, .*/updates/dkms/kvm.ko"
	ok 'and then probe works' says '^  result  *works: '

	# Where signatures are enforced, as with Secure Boot.
	part enforced
	ok 'a key that is not enrolled keeps the modules out' says 'Key was rejected by service'
	part enforced-stock
	ok "Debian's load" says '^outcome: Bad address'
	part enforced-reload
	ok 'a reload that fails brings back those of before' \
		says_all 'the previous modules are loaded again' '^kvm  *stock, ' \
			 'modules must be signed'
}

other_kernel() {
	# shellcheck disable=SC2046 # words
	set -- $(newest 1 "$other")
	apt_install "linux-image-$1" "linux-headers-$1" "$other_source=$2"
	ok "a second series, $1, is installed" passes
	ok 'and gets modules of its own' ours "$1"
	run apt-get -q -y purge "linux-image-$1" "linux-headers-$1"
	ok 'it can be removed' passes
}

# What the initramfs has must fit what the disk has. After the update, it has ours.
initramfs_follows() {
	run dkms remove "kvm-pfnmap/$version" -k "$new"
	run kvm-pfnmap status
	ok 'status shows an initramfs that does not fit' \
		says '^  initramfs  *has the kvm-pfnmap kvm.ko, but the disk does not'
	build_all "$new"
	ok 'after a build the initramfs has ours' in_initramfs 'updates/dkms/kvm[.]ko'
	run kvm-pfnmap status
	ok 'which status finds right' fails says '^  initramfs'
	run dkms uninstall "kvm-pfnmap/$version" -k "$new"
	run /usr/lib/kvm-pfnmap/remove-all.sh
	ok 'after a removal it has those of Debian' in_initramfs 'kernel/arch/x86/kvm/kvm[.]ko'
	kvm_late
}

# Modules that do not fit each other, and those that depmod still lists, are replaced at boot.
boot_repairs() {
	# It makes the initramfs again.
	apt_install systemd
	again "$new"
	kvm_early
	run dkms uninstall "kvm-pfnmap/$version" -k "$new"
	run update-initramfs -u -k "$new"
	run dkms install "kvm-pfnmap/$version" -k "$new"
	ok 'the initramfs has the stock kvm.ko' in_initramfs 'kernel/arch/x86/kvm/kvm[.]ko'
	cp "$top/tests/install/report.sh" "$root/usr/local/sbin"
	printf '%s\n' '[Unit]' After=kvm-pfnmap.service '[Service]' Type=oneshot \
		ExecStart=/usr/local/sbin/report.sh >"$root/usr/lib/systemd/system/report.service"
	ln -s ../report.service "$root/usr/lib/systemd/system/multi-user.target.wants"
	boot "$new" /usr/lib/systemd/systemd
	part report
	ok 'which is replaced at boot' \
		says_all 'kvm-pfnmap\[[0-9]*\]: KVM did not load .* and was loaded again' "^loaded: $version"
	kvm_late
	rm "$root/lib/modules/$new/updates/dkms/"kvm*.ko*
	echo "$new has a reason" >"$root/var/lib/kvm-pfnmap/$new.reason"
	boot "$new" /usr/lib/systemd/systemd
	part report
	ok 'after an interrupted removal, the stock modules are loaded' \
		says_all 'kvm-pfnmap\[[0-9]*\]: KVM did not load .* and was loaded again' '^loaded: stock'
	ok 'and the journal has the reason why a kernel has no modules' \
		says "kvm-pfnmap\[[0-9]*\]: $new has a reason"
	rm "$root/usr/lib/systemd/system/report.service" \
		"$root/usr/lib/systemd/system/multi-user.target.wants/report.service"
}

# It cannot be made again.
initramfs_fails() {
	run dkms remove "kvm-pfnmap/$version" --all
	kvm_early
	update_initramfs no
	build_all "$new"
	ok 'without a new initramfs, the kernel keeps its own' keeps 'its initramfs, .* cannot be made again'
	ok 'and its initramfs' in_initramfs 'kernel/arch/x86/kvm/kvm[.]ko'
	update_initramfs yes
	mkdir "$work/boot"
	cp "$root/boot/"*"-$new" "$work/boot"
	mount -t tmpfs -o "size=$(($(du -sk "$work/boot" | cut -f 1) + 64))k" tmpfs "$root/boot"
	cp "$work/boot/"* "$root/boot"
	build_all "$new"
	ok 'so it does if /boot is full' keeps 'its initramfs, .* cannot be made again: .*[Nn]o space left'
	ok 'and its initramfs' in_initramfs 'kernel/arch/x86/kvm/kvm[.]ko'
	unmount "$root/boot"
	build_all "$new"
	ok 'afterwards, it gets the modules' in_initramfs 'updates/dkms/kvm[.]ko'
	update_initramfs no
	again "$new"
	ok 'an initramfs with modules of another build is noticed' \
		says_all 'its initramfs, .* cannot be made again' 'may have no KVM after the next boot'
	update_initramfs yes
	build_all "$new"
	update_initramfs no
	run /usr/lib/kvm-pfnmap/remove-all.sh
	ok 'a removal leaves the modules that the initramfs holds' \
		only_line "$new" "^kvm-pfnmap: $new keeps the modules, which its initramfs holds: rm"
	sed -n 's/.*initramfs holds: //p' "$work/out" >"$root/tmp/command"
	ok 'both' ours "$new"
	update_initramfs yes
	run sh /tmp/command
	ok 'until the command in that line has worked' in_initramfs 'kernel/arch/x86/kvm/kvm[.]ko'
	ok 'which takes them away' stock "$new"
	kvm_late
}

dracut() {
	run /usr/lib/kvm-pfnmap/remove-all.sh
	mkdir -p "$root/etc/dracut.conf.d"
	echo 'compress=zstd' >"$root/etc/dracut.conf.d/quick.conf"
	apt_install dracut
	ok 'dracut takes the place of initramfs-tools' passes
	lister=lsinitrd
	echo 'add_drivers+=" kvm "' >"$root/etc/dracut.conf.d/kvm.conf"
	run dracut --force "/boot/initrd.img-$new" "$new"
	ok 'its initramfs has the stock modules' in_initramfs 'kernel/arch/x86/kvm/kvm[.]ko'
	build_all "$new"
	ok 'and ours after a build' in_initramfs 'updates/dkms/kvm[.]ko'
	run /usr/lib/kvm-pfnmap/remove-all.sh
	ok 'and those of Debian after a removal' in_initramfs 'kernel/arch/x86/kvm/kvm[.]ko'
	lister=lsinitramfs
	rm "$root/etc/dracut.conf.d/"*.conf
	apt_install initramfs-tools
	ok 'and back' passes
}

# Each time the kernel keeps its own KVM, and one line says why.
missing() {
	again "$old"
	ok 'another version of the source is one line with the package' \
		one_line "^kvm-pfnmap: $old keeps its own KVM: apt install $source=$old_version"
	ok 'and the kernel keeps its own' stock "$old"
	mv "$root/lib/modules/$old/build" "$work/build"
	build_all "$old"
	ok 'all that is missing is one line' \
		one_line "^kvm-pfnmap: $old keeps its own KVM: apt install linux-headers-$old $source=$old_version"
	mv "$work/build" "$root/lib/modules/$old/build"
	mv "$root/lib/modules/$new/build" "$work/build"
	again "$new"
	ok 'missing headers are one line with the package' unbuilt "apt install linux-headers-$new\$"
	run kvm-pfnmap status
	ok 'and status shows it' says "^  reason  *$new keeps its own KVM: apt install"
	mv "$work/build" "$root/lib/modules/$new/build"
}

no_room() {
	mkdir -p "$root/var/lib/dkms"
	mount -t tmpfs -o size=40m tmpfs "$root/var/lib/dkms"
	again "$new"
	ok 'a full disk is one line' keeps '.* MiB are needed'
	unmount "$root/var/lib/dkms"
	mount -t tmpfs -o size=4k tmpfs "$root/tmp"
	head -c 4096 /dev/zero >"$root/tmp/full"
	again "$new"
	ok 'so is a full /tmp' keeps '.*[Nn]o space left'
	unmount "$root/tmp"
	mount -t tmpfs -o size=4k tmpfs "$root/var/lib/kvm-pfnmap"
	head -c 4096 /dev/zero >"$root/var/lib/kvm-pfnmap/full"
	build_all "$old"
	ok 'on a full disk, the reason is still another one' \
		one_line "^kvm-pfnmap: $old keeps its own KVM: apt install $source=$old_version"
	unmount "$root/var/lib/kvm-pfnmap"
	mount -t tmpfs -o ro tmpfs "$root/var/lib/kvm-pfnmap"
	build_all "$new"
	ok 'so is a state that cannot be kept' \
		one_line '^kvm-pfnmap: nothing is built, because /var/lib/kvm-pfnmap cannot be written to'
	unmount "$root/var/lib/kvm-pfnmap"
}

no_compiler() {
	run dkms remove "kvm-pfnmap/$version" --all
	compiler=$(cd "$root/usr/bin" && echo x86_64-linux-gnu-gcc-[0-9]*)
	mv "$root/usr/bin/$compiler" "$work/compiler"
	run env PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/lib/kvm-pfnmap/build-all.sh "$new"
	ok 'so is a compiler that is missing' keeps '.*gcc-[0-9]*: (not found|No such file or directory)'
	ok 'and the log is kept' grep -Eq 'gcc-[0-9]*: (not found|No such file)' "$root/var/lib/kvm-pfnmap/$new.log"
	mv "$work/compiler" "$root/usr/bin/$compiler"
}

no_room_for_modules() {
	mkdir -p "$root/lib/modules/$new/updates/dkms"
	mount -t tmpfs -o size=256k tmpfs "$root/lib/modules/$new/updates/dkms"
	again "$new"
	ok 'so is one where the modules go' keeps '(the modules in .*/updates/dkms are incomplete: |.*[Nn]o space left)'
	unmount "$root/lib/modules/$new/updates/dkms"
}

# Nothing is built for a kernel that would not load the modules.
secure_boot_refuses() {
	run dkms remove "kvm-pfnmap/$version" --all
	mkdir -p "$root/sys/kernel/security"
	echo 'none [integrity] confidentiality' >"$root/sys/kernel/security/lockdown"
	build_all "$new"
	ok 'with lockdown, the kernel keeps its own' unbuilt 'Secure Boot is on, '
	rm "$root/sys/kernel/security/lockdown"
	secure_boot
	build_all "$new"
	ok 'with Secure Boot and without mokutil, the kernel keeps its own' \
		unbuilt 'Secure Boot is on, .* apt install mokutil'
	mokutil 'is not enrolled'
	build_all "$new"
	ok 'a key that is not enrolled is one line' unbuilt 'Secure Boot is on, .* mokutil --import'
	own_key
	build_all "$new"
	ok "so is an administrator's own" \
		unbuilt 'Secure Boot is on, .* mokutil --import /etc/own.der'
	no_own_key
	mokutil 'is already enrolled'
	count_asking
	build_all "$new"
	ok 'once it is enrolled, the modules are installed' ours "$new"
	mv "$lib/buildable.real" "$lib/buildable.sh"
	ok 'whether they can be built was asked once' test "$(cat "$root/tmp/asked")" = "$new"
	no_secure_boot
}

# Each way in which the kernel trusts a key.
secure_boot_trusts() {
	secure_boot
	mokutil 'is not enrolled'
	rm "$root"/var/lib/dkms/mok.*
	again "$new"
	ok 'the key that the first build makes is one line' keeps 'Secure Boot is on, .* mokutil --import'
	mokutil 'is already in db'
	again "$new"
	ok "with a key of the firmware's, the modules are installed" ours "$new"
	mokutil 'is not enrolled'
	efi_variable MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23 1
	again "$new"
	ok 'so they are where shim does not validate' ours "$new"
	rm "$root/sys/firmware/efi/efivars/MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23"
	own_key
	run openssl x509 -inform DER -in /etc/own.der -noout -ext subjectKeyIdentifier
	id=$(tail -n 1 "$work/out" | tr -d ' :' | tr A-F a-f)
	echo "1234abcd I------ 1 perm 1f030000 0 0 asymmetri an administrator: $id: X509.rsa ${id#"${id%????????}"} []" \
		>"$work/keys"
	run dkms remove "kvm-pfnmap/$version" --all
	mount --bind "$work/keys" "$root/proc/keys"
	build_all "$new"
	unmount "$root/proc/keys"
	ok 'and if the kernel has the key' ours "$new"
	run modinfo -k "$new" -F signer kvm
	ok 'which signed them' says 'an administrator'
	no_own_key
	mokutil 'is already enrolled'
	echo 'sign_file=/bin/true' >>"$root/etc/dkms/framework.conf"
	again "$new"
	ok 'the kernel keeps its own if DKMS does not sign' keeps 'Secure Boot is on, and DKMS did not sign kvm'
	sed -i '/^sign_file=/d' "$root/etc/dkms/framework.conf"
	no_secure_boot
}

# What others do to the modules.
changed_modules() {
	build_all "$new"
	stripped "$new"
	build_all "$new"
	ok 'modules that were stripped and compressed anew are not built again' test ! -s "$work/out"
	ok 'as they are still ours' ours "$new"
	mkdir -p "$root/etc/depmod.d"
	echo 'override kvm * kernel/arch/x86/kvm' >"$root/etc/depmod.d/other.conf"
	run depmod "$new"
	build_all "$new"
	ok 'an override is named before anything is built' \
		one_line "^kvm-pfnmap: $new keeps its own KVM, and would not load other modules: /etc/depmod.d/other.conf"
	ok 'and the modules are taken away, as they would not fit' stock "$new"
	rm "$root/etc/depmod.d/other.conf"
	mkdir "$root/lib/modules/$new/extra"
	cp "$root$(file_of "$new" kvm)" "$root/lib/modules/$new/extra"
	build_all "$new"
	ok 'so is a module that is in the way' \
		one_line "^kvm-pfnmap: $new keeps its own KVM, .*/extra/kvm.ko[.xz]* is in the way"
	rm -r "$root/lib/modules/$new/extra"
	run depmod "$new"
	build_all "$new"
	ok 'without it, the modules are installed' ours "$new"
}

# DKMS 3.2 would move the kernel's own modules away, as it did for an older version of the package.
moved_modules() {
	build_all "$new"
	sed -i.orig '/^PRE_INSTALL/d' "$src/dkms.conf"
	install_anew "$new"
	run dkms --version
	if dpkg --compare-versions "$(grep -o '[0-9][0-9.]*' "$work/out")" ge 3.2; then
		ok 'modules that DKMS has moved away are missed' fails intact "$new"
		build_all "$new"
		ok 'the next run puts them back' intact "$new"
		install_anew "$new"
		newer_image "$new"
		build_all "$new"
		ok 'except those that are older than what is there' intact "$new"
		install_anew "$new"
		newer_image "$new"
		run /usr/lib/kvm-pfnmap/remove-all.sh
		ok 'so does a removal' intact "$new"
		ok 'and depmod knows' stock "$new"
	fi
	mv "$src/dkms.conf.orig" "$src/dkms.conf"
}

# The scripts need no more than the PATH of a plain su, and no lock that cannot be made.
short_path() {
	run dkms remove "kvm-pfnmap/$version" --all
	mkdir "$root/run/kvm-pfnmap.lock.new" && rm -f "$root/run/kvm-pfnmap.lock"
	mv "$root/run/kvm-pfnmap.lock.new" "$root/run/kvm-pfnmap.lock"
	run env PATH=/usr/lib/ccache:/usr/local/bin:/usr/bin:/bin /usr/lib/kvm-pfnmap/build-all.sh "$new"
	ok 'a lock that cannot be made is one line' \
		says '^kvm-pfnmap: /run/kvm-pfnmap.lock cannot be locked'
	ok 'with a short PATH and without that lock, it builds' ours "$new"
	rmdir "$root/run/kvm-pfnmap.lock"
	run env PATH=/usr/local/bin:/usr/bin:/bin /usr/lib/kvm-pfnmap/build-all.sh "$new"
	ok 'with a short PATH, modules that are there stay' ours "$new"
	ok 'only root may hold the lock' test "$(stat -c %a "$root/run/kvm-pfnmap.lock")" = 600
	run env PATH=/usr/local/bin:/usr/bin:/bin /usr/lib/kvm-pfnmap/remove-all.sh
	ok 'with a short PATH, the kernel gets its own back' stock "$new"
}

# ^C, a power failure, and one of DKMS between the removal of the modules and depmod.
interruptions() {
	run dkms remove "kvm-pfnmap/$version" --all
	ok 'a build is interrupted' interrupted "$new"
	ok 'that leaves the stock modules' stock "$new"
	run kvm-pfnmap status
	ok 'and status says so' says "^  reason  *$new keeps its own KVM: the build was interrupted"
	ok 'a build is killed' killed "$new"
	ok 'that leaves the stock modules' stock "$new"
	build_all "$new"
	ok 'the next one goes well' ours "$new"
	rm "$root/lib/modules/$new/updates/dkms/"kvm*.ko* "$root/var/lib/dkms/kvm-pfnmap/kernel-$new-x86_64"
	run /usr/lib/kvm-pfnmap/remove-all.sh
	ok 'a removal that was interrupted is finished' stock "$new"
}

# Damage that somebody else has done: the next run repairs it.
damage() {
	build_all "$new"
	: >"$(ls "$root/lib/modules/$new/updates/dkms/"kvm-amd.ko*)"
	build_all "$new"
	ok 'a module that lost its content is replaced' ours "$new"
	rm "$root/lib/modules/$new/updates/dkms/"kvm.ko*
	build_all "$new"
	ok 'so is one that is gone' ours "$new"
	run dkms remove "kvm-pfnmap/$version" --all
	run dkms build "kvm-pfnmap/$version" -k "$new"
	rm "$root/var/lib/dkms/kvm-pfnmap/$version/$new/x86_64/module/"kvm-intel.ko*
	build_all "$new"
	ok 'a build of which a module is missing is done again' ours "$new"
}

# Image and headers of different versions under one name.
renewed_kernel() {
	build_all "$new"
	package_id_of_image "$new" 9.9-1
	build_all "$new"
	became="^kvm-pfnmap: $new is of 9.9-1 and its headers of $new_version: apt install linux-image-$new"
	ok 'a kernel that became another one under its name is one line' says "$became"
	ok 'and does not keep the modules' stock "$new"
	run apt-mark hold "linux-image-$new"
	build_all "$new"
	ok 'an image on hold is still an image' says "$became"
	run apt-mark unhold "linux-image-$new"
	package_id_of_image "$new" "$new_version"
	build_all "$new"
	ok 'when they are of one version, it gets them' ours "$new"
	package_id_of_image "$new" 9.9-1
	mount -t tmpfs -o ro tmpfs "$root/var/lib/kvm-pfnmap"
	build_all "$new"
	unmount "$root/var/lib/kvm-pfnmap"
	ok 'modules that do not fit go even if nothing can be built' stock "$new"
	package_id_of_image "$new" "$new_version"
	build_all "$new"
	package_id "$new" 9.9-1
	build_all "$new"
	ok 'and keeps them when headers come before their image' ours "$new"
	package_id "$new" "$new_version"
}

broken_series() {
	patches=$src/kvm/series/$KERNEL
	sed 's/^-.*struct/-no such struct/' "$patches"/0002-*.patch >"$patches/0009-broken.patch"
	again "$new"
	ok 'a patch that does not apply is one line' \
		keeps "kvm/series/$KERNEL/0009-broken.patch: does not apply"
	run /etc/kernel/postinst.d/dkms-kvm-pfnmap "$new"
	ok 'and the update of the kernel goes on' passes
	rm "$patches/0009-broken.patch"
	# A file that does not belong to the package survives a reinstallation.
	printf '%s\n' '--- a/arch/x86/kvm/pfnmap.c' '+++ b/arch/x86/kvm/pfnmap.c' '@@ -1,1 +1,2 @@' \
		'+#error it is broken' " $(head -n 1 "$src/kvm/new/arch/x86/kvm/pfnmap.c")" \
		>"$patches/0010-broken.patch"
	apt_install --reinstall "$package"
	ok 'a compiler error is one line' \
		only_line "$new keeps its own KVM" \
			"^kvm-pfnmap: $new keeps its own KVM: the modules do not build: .*it is broken"
	ok 'the package is configured all the same' configured
	ok 'with the stock modules' stock "$new"
	rm "$patches/0010-broken.patch"
}

# The source comes later, here of the older kernel: that is enough.
source_comes_later() {
	build_all "$new"
	apt_install --allow-downgrades "$source=$old_version"
	ok 'the source of a kernel triggers the build for it' ours "$old"
	ok 'another keeps the modules that it has' ours "$new"
	apt_install "$source=$new_version"
	small_source
}

kernel_removed() {
	build_all "$new"
	run apt-get -q -y purge "linux-image-$old" "linux-headers-$old"
	ok 'a kernel is removed' test ! -e "$root/lib/modules/$old"
	ok "KVM of $new is still ours" ours "$new"
}

# Back to a version with the old layout, and forth again with a hook that the administrator keeps.
older_package() {
	old_layout 0.0.1
	apt_install --allow-downgrades /tmp/old.deb
	ok 'a package with the old layout can be installed over this one' passes
	ok 'its modules are the only ones' only_version 0.0.1 "$new"
	ok 'and no helper is left' test ! -e "$lib"
	kept=$root${hooks%% *}
	echo '# changed' >>"$kept"
	apt_install -o DPkg::Options::=--force-confold "$package"
	ok 'this package can be installed over one with the old layout' passes
	ok 'and has the only modules again' only_version "$version" "$new"
	ok 'the old hook is still there' grep -q '^# changed' "$kept"
	ok 'and does no harm' silent_hooks "$new"
	mv "$kept.dpkg-dist" "$kept"
}

# No file of this one may be left. Then back.
newer_package() {
	next=$version.1
	ok "version $next of the package is there" another "$next"
	apt_install "/tmp/kvm-pfnmap-dkms_${next}_all.deb"
	ok 'it can be installed over this one' passes
	ok 'its modules are the only ones' only_version "$next" "$new"
	apt_install --allow-downgrades "$package"
	ok 'so can this one over it' passes
	ok 'and its modules are the only ones again' only_version "$version" "$new"
}

removed_by_hand() {
	build_all "$new"
	run /usr/lib/kvm-pfnmap/remove-all.sh
	ok 'whole modules are removed, with one line a kernel' \
		only_line "$new" "^kvm-pfnmap: $new: removed, its own KVM is used"
	build_all
	ok 'and are built again when asked for' ours "$new"
}

left() {
	find "$root/lib/modules" "$root/var/lib/dkms" "$root/usr/src" "$root/usr/lib" \
		\( -path '*/updates/dkms*' -o -name 'kvm-pfnmap*' \) ! -path '*/kvm-pfnmap-git*' -print >"$work/out"
	test ! -s "$work/out"
}

# The kernel after that.
stock_boots() {
	boot "$new"
	part load
	ok 'the stock modules load' says '^kvm_amd: file .*/kernel/arch/x86/kvm/.* loaded version none'
	part pages
	ok 'and fail as they did' says '^outcome: Bad address'
	part status
	ok 'kvm-pfnmap status says so' says_all '^kvm  *stock, .*/kernel/arch/x86/kvm/kvm.ko' \
		"$new [(]running[)], supported; dkms: none"
	part probe
	ok 'and so does probe' says_all '^  result  *first page only, then Bad address' '^exit status 1$'
	if [ -e "$root/usr/bin/qemu-system-x86_64" ]; then
		part qemu
		ok "a guest of Debian's QEMU does so, too" says 'kvm run failed Bad address'
	fi
}

# Remove the package, with a module that is damaged, on a machine that loads KVM early.
removal() {
	build_all "$new"
	: >"$(ls "$root/lib/modules/$new/updates/dkms/"kvm-amd.ko*)"
	kvm_early
	run apt-get -q -y remove kvm-pfnmap-dkms
	ok 'the package is removed, with one line a kernel' \
		only_line "$new" "^kvm-pfnmap: $new: removed, its own KVM is used"
	ok 'the stock modules are back' stock "$new"
	ok "the kernel's package is as it was" intact "$new"
	ok 'its initramfs has the stock modules' in_initramfs 'kernel/arch/x86/kvm/kvm[.]ko'
	ok 'the hooks are still there, and do nothing' silent_hooks "$new"
	ok 'nothing else is left' left
	[ -n "${CORE:-}" ] || stock_boots
}

make_install() {
	copy_source "$root/tmp/project"
	copy_source "$root/usr/src/kvm-pfnmap-git"
	run /tmp/project/dkms/install.sh install
	ok 'make install wants the hooks of the package away' \
		one_line '^kvm-pfnmap: .*: apt purge kvm-pfnmap-dkms$'
	run apt-get -q -y purge kvm-pfnmap-dkms kvm-pfnmap
	ok 'purge leaves no file' test -z "$(find "$root/etc" "$root/usr" "$root/var/lib" \
		-name '*kvm-pfnmap*' ! -path '*/kvm-pfnmap-git*')"
	run /usr/src/kvm-pfnmap-git/dkms/install.sh install
	ok 'make install wants another directory than that of DKMS' \
		one_line '^kvm-pfnmap: /usr/src/kvm-pfnmap-git is where DKMS .*: move this directory'
	run /tmp/project/dkms/install.sh install
	ok 'make install does the same without the package' ours "$new"
	# An older version has left its directory.
	mkdir -p "$root/usr/src/kvm-pfnmap-0.0.2/packaging"
	touch "$root/usr/src/kvm-pfnmap-0.0.2/made-by-make-install"
	printf '#!/bin/sh\n: >/tmp/removed\n' >"$root/usr/src/kvm-pfnmap-0.0.2/packaging/remove-all.sh"
	chmod 755 "$root/usr/src/kvm-pfnmap-0.0.2/packaging/remove-all.sh"
	apt_install "$package"
	ok 'the package takes its place' only_version "$version" "$new"
	ok 'and that of an older make install' test -e "$root/tmp/removed"
	run apt-get -q -y purge kvm-pfnmap-dkms
	run /tmp/project/dkms/install.sh install
	run /tmp/project/dkms/install.sh uninstall
	ok 'and make uninstall takes it away' left
	ok 'but not a directory of somebody else' test -e "$root/usr/src/kvm-pfnmap-git/VERSION"
}

# What the others need; then the tests.
first_install
more first_boot
update
core updated_boots
more other_kernel
small_source
core initramfs_follows
more boot_repairs initramfs_fails dracut
core missing no_room no_compiler
more no_room_for_modules interruptions
more secure_boot_refuses secure_boot_trusts changed_modules
core moved_modules
more short_path damage renewed_kernel
more broken_series source_comes_later kernel_removed
more older_package newer_package removed_by_hand
core removal
more make_install
cleanup
rm -rf --one-file-system "$root"
echo "1..$number"
