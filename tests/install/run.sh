#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that the package does what an administrator expects, on the Debian of $KERNEL with its own
# kernels: install it, boot, update the kernel, let things go wrong, replace the package
# by other versions, remove it, and boot again. CORE=1 leaves out the boot before the
# update, the second series, a newer version of the package, purge, and make install.
set -eu
: "${KERNEL:=6.1}"
# shellcheck source=tests/install/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" -eq 0 ] || { echo '1..0 # SKIP it needs root, for a Debian in a directory'; exit 0; }

# newest COUNT KERNEL: print "RELEASE VERSION" of the newest releases with all packages.
newest() {
	awk -v s="$2" '$1 == s { print $3, $4, $5 }' "$top/kernels.conf" | {
		read -r pattern oldest package
		count=0
		into "$root" apt-cache pkgnames linux-headers- | sed 's/^linux-headers-//' | grep -Ex "$pattern" |
		sort -Vr | while [ "$count" -lt "$1" ] && read -r r; do
			v=$(into "$root" apt-cache madison "linux-image-$r" "linux-headers-$r" "$package" |
			    awk '$NF != "Sources" { print $3 }' | sort | uniq -c |
			    awk '$1 >= 3 { print $2 }' | sort -V | tail -n 1)
			[ -n "$v" ] || continue
			dpkg --compare-versions "$v" ge "$oldest" || continue
			echo "$r $v"
			count=$((count + 1))
		done
	} | sort -V
}

# kernel RELEASE VERSION: install what an update of the kernel installs.
kernel() {
	apt_install "linux-image-$1" "linux-headers-$1" "$source=$2"
}

# small_source: keep only those files in the source package that the modules are built from. Without
# that, unpacking the others takes most of the time of the many builds.
small_source() {
	file=$root/usr/src/$source.tar.xz
	rm -rf "$work/small"
	mkdir "$work/small"
	"$top/kvm/prepare.sh" "$file" "$work/small/linux" >>"$work/log" 2>&1
	tar -C "$work/small" -c linux | xz -0 -T0 >"$file.new"
	mv "$file.new" "$file"
}

# ours RELEASE [VERSION], stock RELEASE: the kernel would load our modules, or its own.
file_of() {
	run modinfo -k "$1" -n "$2"
	cat "$work/out"
}

ours() {
	for m in kvm kvm-amd kvm-intel; do
		case $(file_of "$1" $m) in
		*/updates/dkms/$m.ko*) ;;
		*) return 1 ;;
		esac
		run modinfo -k "$1" -F version $m
		says "^${2:-$version}\$" || return 1
	done
}

stock() {
	for m in kvm kvm-amd kvm-intel; do
		case $(file_of "$1" $m) in
		*/kernel/arch/x86/kvm/$m.ko*) ;;
		*) return 1 ;;
		esac
	done
}

# intact RELEASE: the files of the kernel's package are as Debian made them.
intact() {
	run dpkg -V "linux-image-$1"
	passes && test ! -s "$work/out"
}

# newer_image RELEASE: unpack the image's modules of KVM again, as an update under the same name does.
# The copies that DKMS has are older then.
newer_image() {
	find "$root/var/lib/dkms/kvm-pfnmap/original_module/$1" -name 'kvm*.ko*' ! -name '*.origin' |
	while read -r copy; do
		cp "$copy" "$root/lib/modules/$1/kernel/arch/x86/kvm"
		cp "$root/lib/modules/$1/kernel/virt/lib/irqbypass${copy#"${copy%.ko*}"}" "$copy"
	done
	run depmod "$1"
}

# in_initramfs REGEX: the modules named kvm.ko in the initramfs of the new kernel match.
lister=lsinitramfs
in_initramfs() {
	run $lister "/boot/initrd.img-$new"
	grep '/kvm[.]ko' "$work/out" >"$work/part" || :
	mv "$work/part" "$work/out"
	says "$1" && test "$(wc -l <"$work/out")" -eq 1
}

# kvm_early: as machines that load KVM, or kvmgt, in the initramfs.
kvm_early() {
	echo kvm >>"$root/etc/initramfs-tools/modules"
	run update-initramfs -u -k "$new"
}

kvm_late() {
	sed -i '/^kvm$/d' "$root/etc/initramfs-tools/modules"
	run update-initramfs -u -k "$new"
}

configured() {
	run dpkg-query -W -f '${db:Status-Status}' kvm-pfnmap-dkms
	says '^installed$'
}

# fake RELEASE VERSION: add a kernel for which no modules can be built.
fake() {
	mkdir -p "$root/lib/modules/$1/kernel" "$root/lib/modules/$1/build/include/generated"
	: >"$root/lib/modules/$1/build/Makefile"
	echo "#define LINUX_PACKAGE_ID \" Debian $2\"" \
		>"$root/lib/modules/$1/build/include/generated/package.h"
}

# only_line WORD REGEX: exactly one line of the output has the word, and it matches.
only_line() {
	test "$(grep -cF "$1" "$work/out")" -eq 1 && says "$2"
}

# signed_by_dkms FILE: it is signed with the key that an administrator enrolls.
signed_by_dkms() {
	case $1 in
	*.xz)	xz -dc "$root$1" >"$work/module" ;;
	*)	cp "$root$1" "$work/module" ;;
	esac
	# The file ends with the signature, 12 bytes, of which 4 are its length, and 28 bytes of magic.
	size=$(stat -c %s "$work/module")
	length=$(tail -c 32 "$work/module" | od -An -tu1 -N4 |
		 awk '{ print (($1 * 256 + $2) * 256 + $3) * 256 + $4 }')
	head -c $((size - 40 - length)) "$work/module" >"$root/tmp/module"
	tail -c $((length + 40)) "$work/module" | head -c "$length" >"$root/tmp/signature"
	run openssl x509 -inform DER -in /var/lib/dkms/mok.pub -out /tmp/mok.pem
	run openssl cms -verify -binary -inform DER -in /tmp/signature -content /tmp/module \
		-certfile /tmp/mok.pem -nointern -noverify -out /dev/null
	passes
}

# killed RELEASE: kill DKMS in the middle of a build, as a power failure does.
killed() {
	# shellcheck disable=SC2016 # for the inner shell
	run setsid -w sh -c 'dkms install "$1" -k "$2" &
		while kill -0 $! && ! [ -e "/var/lib/dkms/$1/build/tree/arch/x86/kvm/x86.o" ]; do
			sleep 0.1
		done
		kill -KILL 0' sh "kvm-pfnmap/$version" "$1"
	test "$status" -eq 137 -a -e "$root/var/lib/dkms/kvm-pfnmap/$version/build"
}

# only_version VERSION RELEASE: its modules for this kernel are the only ones.
only_version() {
	ours "$2" "$1" || return 1
	run dkms status kvm-pfnmap
	only_line kvm-pfnmap/ "^kvm-pfnmap/$1, $2, x86_64: installed\$" || return 1
	find "$root/usr/src" "$root/var/lib/dkms/kvm-pfnmap" -maxdepth 1 \
		\( -name 'kvm-pfnmap-*' -o -name '[0-9]*' \) ! -name "$1" \
		! -name "kvm-pfnmap-$1" ! -name kvm-pfnmap-git >"$work/out"
	test ! -s "$work/out"
}

# copy_source DIR: make a copy of the project's source, without what was built in it.
copy_source() {
	rm -rf "$1"
	mkdir -p "$1"
	tar -C "$top" -cf - --exclude=./build --exclude=./.git . | tar -C "$1" -xf -
}

# another VERSION: make a package that differs only in its version.
another() {
	copy_source "$work/source/project"
	echo "$1" >"$work/source/project/VERSION"
	sed -i "1s/(.*)/($1)/" "$work/source/project/debian/changelog"
	(cd "$work/source/project" && exec dpkg-buildpackage -us -uc -A) >>"$work/log" 2>&1 &&
		cp "$work/source/kvm-pfnmap-dkms_${1}_all.deb" "$root/tmp"
	rm -rf "$work/source"
}

# old_layout VERSION: make a package in the layout of the first one, whose scripts are all below
# the directory of its version in /usr/src, where the hooks look for the newest.
old_layout() {
	dir=$work/old
	old_src=/usr/src/kvm-pfnmap-$1
	rm -rf "$dir"
	dpkg-deb -x "$deb" "$dir"
	mv "$dir/usr/src/kvm-pfnmap-$version" "$dir$old_src"
	mv "$dir/usr/lib/kvm-pfnmap" "$dir$old_src/packaging"
	rm -r "${dir:?}/usr/lib" "${dir:?}/usr/share"
	echo "$1" | tee "$dir$old_src/VERSION" >"$dir$old_src/packaging/VERSION"
	sed -i -e "s,/usr/lib/kvm-pfnmap,$old_src/packaging," \
		-e "s/^PACKAGE_VERSION=.*/PACKAGE_VERSION=\"$1\"/" \
		"$dir$old_src/dkms.conf" "$dir$old_src/prebuild.sh"
	for hook in $hooks; do
		cat >"$dir$hook" <<'END'
#!/bin/sh
source=$(find /usr/src -maxdepth 1 -name 'kvm-pfnmap-*' | sort -V | tail -n 1)
script=$source/packaging/build-all.sh
! [ -x "$script" ] || ! command -v dkms >/dev/null || "$script" "$1"
exit 0
END
	done
	mkdir "$dir/DEBIAN"
	echo "$hooks" | tr ' ' '\n' >"$dir/DEBIAN/conffiles"
	cat >"$dir/DEBIAN/postinst" <<END
#!/bin/sh
case \$1 in
configure|triggered) $old_src/packaging/build-all.sh ;;
esac
END
	cat >"$dir/DEBIAN/prerm" <<END
#!/bin/sh
case \$1 in
remove|upgrade|deconfigure) $old_src/packaging/remove-all.sh ;;
esac
END
	chmod 755 "$dir/DEBIAN/postinst" "$dir/DEBIAN/prerm"
	dpkg-deb -f "$deb" Package Architecture Maintainer Depends >"$dir/DEBIAN/control"
	printf 'Version: %s\nDescription: a package in the old layout\n' "$1" >>"$dir/DEBIAN/control"
	dpkg-deb --root-owner-group -b "$dir" "$root/tmp/old.deb" >>"$work/log"
	rm -rf "$dir"
}

build_all() {
	run /usr/lib/kvm-pfnmap/build-all.sh "$@"
}

# count_asking: from now on, $root/tmp/asked gets a line each time buildable.sh is called.
count_asking() {
	mv "$lib/buildable.sh" "$lib/buildable.real"
	# shellcheck disable=SC2016 # for the script
	printf '#!/bin/sh\necho "$1" >>/tmp/asked\nexec /usr/lib/kvm-pfnmap/buildable.real "$@"\n' \
		>"$lib/buildable.sh"
	chmod 755 "$lib/buildable.sh"
}

# silent_hooks RELEASE: the kernel's hooks succeed, and do nothing.
silent_hooks() {
	for hook in $hooks; do
		run "$hook" "$1"
		passes && test ! -s "$work/out" || return 1
	done
}

again() {
	run dkms remove "kvm-pfnmap/$version" --all
	build_all "$@"
}

# efi_variable NAME VALUE: fake a machine whose firmware has this variable.
efi_variable() {
	efi=$root/sys/firmware/efi/efivars
	mkdir -p "$efi"
	printf '%b' "\\0006\\0000\\0000\\0000\\000$2" >"$efi/$1"
}

secure_boot() {
	efi_variable SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c 1
}

# mokutil WORDS: fake one that says this of the key.
mokutil() {
	cat >"$root/usr/bin/mokutil" <<END
#!/bin/sh
case \$* in
--test-key\ /var/lib/dkms/mok.pub) echo "\$2 $1" ;;
*) exit 1 ;;
esac
END
	chmod 755 "$root/usr/bin/mokutil"
}

# package_id RELEASE VERSION: change the version to which its headers belong.
package_id() {
	sed -i "s/\(LINUX_PACKAGE_ID \" Debian \).*\"/\1$2\"/" \
		"$root/usr/src/linux-headers-$1/include/generated/package.h"
}

# package_id_of_image RELEASE VERSION: change the version that dpkg has for its image.
package_id_of_image() {
	sed -i "/^Package: linux-image-$(echo "$1" | sed 's/[.+]/[&]/g')$/,/^Version:/ s/^Version: .*/Version: $2/" \
		"$root/var/lib/dpkg/status"
}

# keeps REASON: the kernel keeps its own KVM, one line says why, and status shows it.
keeps() {
	one_line "^kvm-pfnmap: $new keeps its own KVM: $1" || return 1
	run cat "/var/lib/kvm-pfnmap/$new.reason"
	says "^$new keeps its own KVM: $1" && stock "$new"
}

# unbuilt REASON: the same, before anything is built.
unbuilt() {
	fails says ': building$' && keeps "$1"
}

# stripped RELEASE: change the file of a module as tools for signing and compressing do.
stripped() {
	file=$(file_of "$1" kvm)
	case $file in
	*.xz)	run xz -d "$file" ;;
	esac
	run strip -g "${file%.xz}"
	run depmod "$1"
}

# interrupted RELEASE: stop the helper in the middle of a build, as ^C does.
interrupted() {
	# shellcheck disable=SC2016 # for the inner shell
	run sh -c 'setsid /usr/lib/kvm-pfnmap/build-all.sh "$2" & pid=$!
		while kill -0 $pid && ! [ -e "/var/lib/dkms/$1/build/tree/arch/x86/kvm/x86.o" ]; do
			sleep 0.1
		done
		kill -TERM -$pid
		wait $pid' sh "kvm-pfnmap/$version" "$1"
	test "$status" -eq 130 -a ! -e "$root/var/lib/dkms/kvm-pfnmap/$version/build"
}

# one_line REGEX: the output has one line beside that of the progress, and it matches.
one_line() {
	test "$(grep -vc ': building$' "$work/out")" -eq 1 && says "$1"
}

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

# Install it beside kernels that must be skipped.
kernel "$old" "$old_version"
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
ok "KVM of $old is ours" ours "$old"
run modinfo -k "$old" -F signer kvm
ok 'the modules are signed with the key of DKMS' says 'DKMS module signing key'
ok 'the signature is a good one' signed_by_dkms "$(file_of "$old" kvm)"
run find "/lib/modules/$old/kernel/" -name 'kvm.ko*'
ok "that of Debian's module is not of that key" fails signed_by_dkms "$(cat "$work/out")"
ok "the kernel's package is as it was" intact "$old"
if [ -z "${CORE:-}" ]; then
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
fi
for r in 9.9.0-1-amd64 "$ancient"; do
	run dkms build "kvm-pfnmap/$version" -k "$r"
	ok "DKMS skips $r" test "$status" -eq 77
	run /etc/kernel/postinst.d/dkms-kvm-pfnmap "$r"
	ok 'and it can be installed' passes
	rm -r "$root/lib/modules/$r"
done

# Upgrade, on a machine that loads KVM early.
echo kvm >>"$root/etc/initramfs-tools/modules"
kernel "$new" "$new_version"
ok "an update to $new goes well" passes
ok 'it builds for the new kernel' ours "$new"
ok 'its initramfs has ours, too' in_initramfs 'updates/dkms/kvm[.]ko'
ok 'the old one keeps its modules' ours "$old"
ok "the new kernel's package is as Debian made it" intact "$new"
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
	says_all "$old, supported; dkms: $version installed" \
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
if [ -z "${CORE:-}" ]; then
	# shellcheck disable=SC2046 # words
	set -- $(newest 1 "$other")
	apt_install "linux-image-$1" "linux-headers-$1" "$other_source=$2"
	ok "a second series, $1, is installed" passes
	ok 'and gets modules of its own' ours "$1"
	run apt-get -q -y purge "linux-image-$1" "linux-headers-$1"
	ok 'it can be removed' passes
fi

small_source

# What the initramfs has must fit what the disk has.
run dkms remove "kvm-pfnmap/$version" -k "$new"
run kvm-pfnmap status
ok 'status shows an initramfs that does not fit' \
	says '^  initramfs  *has the kvm-pfnmap kvm.ko, but the disk does not'
if [ -z "${CORE:-}" ]; then
	# The reverse, to be booted.
	run update-initramfs -u -k "$new"
	run dkms install "kvm-pfnmap/$version" -k "$new"
	ok 'the initramfs has the stock kvm.ko' in_initramfs 'kernel/arch/x86/kvm/kvm[.]ko'
	echo "$new has a reason" >"$root/var/lib/kvm-pfnmap/$new.reason"
	apt_install systemd
	cat >"$root/usr/lib/systemd/system/report.service" <<'END'
[Unit]
After=kvm-pfnmap.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'journalctl --sync; journalctl -b -p warning -t kvm-pfnmap >/dev/ttyS0'
ExecStart=/bin/sh -c 'echo "loaded: $(cat /sys/module/kvm_amd/version)" >/dev/ttyS0'
ExecStart=/bin/sh -c 'sleep 1; systemctl poweroff --force --force'
END
	ln -s ../report.service "$root/usr/lib/systemd/system/multi-user.target.wants"
	boot "$new" /usr/lib/systemd/systemd
	cp "$work/console" "$work/out"
	ok 'which is replaced at boot' \
		says_all 'kvm-pfnmap\[[0-9]*\]: kvm.ko of the initramfs did not fit kvm_amd' \
			 "^loaded: $version"
	ok 'and the journal has the reason why a kernel has no modules' \
		says "kvm-pfnmap\[[0-9]*\]: $new has a reason"
	rm "$root/usr/lib/systemd/system/report.service" \
		"$root/usr/lib/systemd/system/multi-user.target.wants/report.service"
fi
build_all "$new"
run /usr/lib/kvm-pfnmap/remove-all.sh
ok 'after a removal the initramfs has those of Debian' in_initramfs 'kernel/arch/x86/kvm/kvm[.]ko'
build_all "$new"
ok 'and ours again after a build' in_initramfs 'updates/dkms/kvm[.]ko'
run kvm-pfnmap status
ok 'which status finds right' fails says '^  initramfs'
run dkms remove "kvm-pfnmap/$version" --all
run update-initramfs -u -k "$new"
echo update_initramfs=no >"$root/etc/initramfs-tools/update-initramfs.conf"
build_all "$new"
ok 'without a new initramfs, the kernel keeps its own' keeps 'its initramfs, .* cannot be made again'
ok 'and its initramfs' in_initramfs 'kernel/arch/x86/kvm/kvm[.]ko'
echo update_initramfs=yes >"$root/etc/initramfs-tools/update-initramfs.conf"
mkdir "$work/boot"
cp "$root/boot/"*"-$new" "$work/boot"
mount -t tmpfs -o "size=$(($(du -sk "$work/boot" | cut -f 1) + 64))k" tmpfs "$root/boot"
cp "$work/boot/"* "$root/boot"
build_all "$new"
ok 'so it does if /boot is full' keeps 'its initramfs, .* cannot be made again: .*[Nn]o space left'
ok 'and its initramfs' in_initramfs 'kernel/arch/x86/kvm/kvm[.]ko'
unmount "$root/boot"
kvm_late
if [ -z "${CORE:-}" ]; then
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
	rm "$root/etc/dracut.conf.d/kvm.conf"
	apt_install initramfs-tools
	ok 'and back' passes
fi

# What can go wrong. Each time the kernel keeps its own KVM, and one line says why.
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
mkdir -p "$root/var/lib/dkms"
mount -t tmpfs -o size=40m tmpfs "$root/var/lib/dkms"
again "$new"
ok 'a full disk is one line' keeps '.* MiB are needed'
unmount "$root/var/lib/dkms"
mkdir -p "$root/lib/modules/$new/updates/dkms"
mount -t tmpfs -o size=256k tmpfs "$root/lib/modules/$new/updates/dkms"
again "$new"
ok 'so is one where the modules go' keeps '(the modules in .*/updates/dkms are incomplete: |.*[Nn]o space left)'
unmount "$root/lib/modules/$new/updates/dkms"
mount -t tmpfs -o size=4k tmpfs "$root/tmp"
head -c 4096 /dev/zero >"$root/tmp/full"
again "$new"
ok 'so is a full /tmp' keeps '.*[Nn]o space left'
unmount "$root/tmp"
mount -t tmpfs -o ro tmpfs "$root/var/lib/kvm-pfnmap"
build_all "$new"
ok 'so is a state that cannot be kept' \
	one_line '^kvm-pfnmap: nothing is built, because /var/lib/kvm-pfnmap cannot be written to'
unmount "$root/var/lib/kvm-pfnmap"
compiler=$(cd "$root/usr/bin" && echo x86_64-linux-gnu-gcc-[0-9]*)
mv "$root/usr/bin/$compiler" "$work/compiler"
run env PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/lib/kvm-pfnmap/build-all.sh "$new"
ok 'so is a compiler that is missing' keeps '.*gcc-[0-9]*: (not found|No such file or directory)'
ok 'and the log is kept' test -s "$root/var/lib/kvm-pfnmap/$new.log"
mv "$work/compiler" "$root/usr/bin/$compiler"
ok 'a build is interrupted' interrupted "$new"
ok 'that leaves the stock modules' stock "$new"

# Secure Boot, and what has its effect.
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
rm "$root"/var/lib/dkms/mok.*
build_all "$new"
ok 'so is the key that the first build makes' keeps 'Secure Boot is on, .* mokutil --import'
mokutil 'is already enrolled'
count_asking
build_all "$new"
ok 'once it is enrolled, the modules are installed' ours "$new"
mv "$lib/buildable.real" "$lib/buildable.sh"
ok 'whether they can be built was asked once' test "$(cat "$root/tmp/asked")" = "$new"
mokutil 'is already in db'
again "$new"
ok "so are they with a key of the firmware's" ours "$new"
mokutil 'is not enrolled'
efi_variable MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23 1
again "$new"
ok 'and where shim does not validate' ours "$new"
rm "$root/sys/firmware/efi/efivars/MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23"
run openssl req -new -x509 -newkey rsa:2048 -nodes -subj '/CN=an administrator/' \
	-outform DER -keyout /etc/own.key -out /etc/own.der
mkdir -p "$root/etc/dkms/framework.conf.d"
printf 'mok_%s\n' signing_key=/etc/own.key certificate=/etc/own.der \
	>"$root/etc/dkms/framework.conf.d/own.conf"
again "$new"
ok "an administrator's key that is not enrolled is one line" \
	unbuilt 'Secure Boot is on, .* mokutil --import /etc/own.der'
run openssl x509 -inform DER -in /etc/own.der -noout -ext subjectKeyIdentifier
id=$(tail -n 1 "$work/out" | tr -d ' :' | tr A-F a-f)
echo "1234abcd I------ 1 perm 1f030000 0 0 asymmetri an administrator: $id: X509.rsa ${id#"${id%????????}"} []" \
	>"$work/keys"
mount --bind "$work/keys" "$root/proc/keys"
build_all "$new"
unmount "$root/proc/keys"
ok 'the modules are installed if the kernel has it' ours "$new"
run modinfo -k "$new" -F signer kvm
ok 'and signed with it' says 'an administrator'
rm "$root/etc/dkms/framework.conf.d/own.conf"
mokutil 'is already enrolled'
echo 'sign_file=/bin/true' >>"$root/etc/dkms/framework.conf"
again "$new"
ok 'the kernel keeps its own if DKMS does not sign' keeps 'Secure Boot is on, and DKMS did not sign kvm'
sed -i '/^sign_file=/d' "$root/etc/dkms/framework.conf"
rm -r "$root/usr/bin/mokutil" "$root/sys/firmware"

# What others do to the modules.
build_all "$new"
stripped "$new"
build_all "$new"
ok 'modules that were stripped and compressed anew are still ours' ours "$new"
ok 'and nothing is built' test ! -s "$work/out"
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
# DKMS 3.2 would move the kernel's own modules away, as it did for an older version of the package.
cp "$src/dkms.conf" "$work/dkms.conf"
sed -i '/^PRE_INSTALL/d' "$src/dkms.conf"
again "$new"
moved=$(find "$root/var/lib/dkms/kvm-pfnmap/original_module" -name 'kvm*.ko*' 2>/dev/null)
if [ -n "$moved" ]; then
	ok 'modules that DKMS has moved away are missed' fails intact "$new"
	build_all "$new"
	ok 'the next run puts them back' intact "$new"
	again "$new"
	# DKMS would put them back, too.
	rm "$root/var/lib/dkms/kvm-pfnmap/kernel-$new-x86_64"
	run /usr/lib/kvm-pfnmap/remove-all.sh
	ok 'and so does a removal' intact "$new"
	again "$new"
	newer_image "$new"
	run /usr/lib/kvm-pfnmap/remove-all.sh
	ok 'which does not replace newer ones' intact "$new"
	ok 'which depmod knows' stock "$new"
fi
cp "$work/dkms.conf" "$src/dkms.conf"

# The scripts need no more than the PATH of a plain su, and no lock that cannot be made.
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

# DKMS was killed between the removal of the modules and depmod.
build_all "$new"
rm "$root/lib/modules/$new/updates/dkms/"kvm*.ko* "$root/var/lib/dkms/kvm-pfnmap/kernel-$new-x86_64"
run /usr/lib/kvm-pfnmap/remove-all.sh
ok 'a removal that was interrupted is finished' stock "$new"
build_all "$new"

# Damage that somebody else has done: the next run repairs it.
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
package_id "$new" 9.9-1
build_all "$new"
ok 'and keeps them when headers come before their image' ours "$new"
package_id "$new" "$new_version"
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
	only_line 'keeps its own KVM' \
		"^kvm-pfnmap: $new keeps its own KVM: the modules do not build: .*it is broken"
ok 'the package is configured all the same' configured
ok 'with the stock modules' stock "$new"
rm "$patches/0010-broken.patch"
run dkms remove "kvm-pfnmap/$version" --all
ok 'a build is killed' killed "$new"
ok 'that leaves the stock modules' stock "$new"
build_all "$new"
ok 'the next one goes well' ours "$new"

# The source comes later, here of the older kernel: that is enough.
apt_install "$source=$old_version"
ok 'the source of a kernel triggers the build for it' ours "$old"
ok 'another keeps the modules that it has' ours "$new"
small_source

# Remove the kernel first, then the package.
run apt-get -q -y purge "linux-image-$old" "linux-headers-$old"
ok 'a kernel is removed' test ! -e "$root/lib/modules/$old"
ok "KVM of $new is still ours" ours "$new"

# Back to a version with the old layout, and forth again with a hook that the administrator keeps.
apt_install "$source=$new_version"
small_source
old_layout 0.0.1
apt_install /tmp/old.deb
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
if [ -z "${CORE:-}" ]; then
	# A newer version of the package: no file of this one may be left. Then back.
	next=$version.1
	ok "version $next of the package is there" another "$next"
	apt_install "/tmp/kvm-pfnmap-dkms_${next}_all.deb"
	ok 'it can be installed over this one' passes
	ok 'its modules are the only ones' only_version "$next" "$new"
	apt_install "$package"
	ok 'so can this one over it' passes
	ok 'and its modules are the only ones again' only_version "$version" "$new"
fi
run /usr/lib/kvm-pfnmap/remove-all.sh
ok 'whole modules are removed, with one line a kernel' \
	only_line "$new" "^kvm-pfnmap: $new: removed, its own KVM is used"
run /usr/lib/kvm-pfnmap/build-all.sh
ok 'and are built again when asked for' ours "$new"
: >"$(ls "$root/lib/modules/$new/updates/dkms/"kvm-amd.ko*)"
kvm_early
run apt-get -q -y remove kvm-pfnmap-dkms
ok 'the package is removed, with one line a kernel' \
	only_line "$new" "^kvm-pfnmap: $new: removed, its own KVM is used"
ok 'the stock modules are back' stock "$new"
ok "the kernel's package is as it was" intact "$new"
ok 'its initramfs has the stock modules' in_initramfs 'kernel/arch/x86/kvm/kvm[.]ko'
left() {
	find "$root/lib/modules" "$root/var/lib/dkms" "$root/usr/src" "$root/usr/lib" \
		\( -path '*/updates/dkms*' -o -name 'kvm-pfnmap*' \) ! -path '*/kvm-pfnmap-git*' -print >"$work/out"
	test ! -s "$work/out"
}
ok 'the hooks are still there, and do nothing' silent_hooks "$new"
ok 'nothing else is left' left
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
if [ -z "${CORE:-}" ]; then
	part qemu
	ok "a guest of Debian's QEMU does so, too" says 'kvm run failed Bad address'
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
fi
cleanup
rm -rf --one-file-system "$root"
echo "1..$number"
