# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh disable=SC2154 # run.sh sets the variables
# What the tests of an installation do with the package, and ask about it; after lib.sh.

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

# newer_image RELEASE: unpack kvm.ko of the image again, as an update under the same name does. The copy
# that DKMS has is older then.
newer_image() {
	copy=$(find "$root/var/lib/dkms/kvm-pfnmap/original_module/$1" -name 'kvm.ko*' ! -name '*.origin')
	cp "$copy" "$root/lib/modules/$1/kernel/arch/x86/kvm"
	cp "$root/lib/modules/$1/kernel/virt/lib/irqbypass${copy#"${copy%.ko*}"}" "$copy"
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

# update_initramfs yes|no: what the administrator wants update-initramfs to do.
update_initramfs() {
	echo "update_initramfs=$1" >"$root/etc/initramfs-tools/update-initramfs.conf"
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

# install_anew RELEASE: let DKMS install the modules that it has built.
install_anew() {
	run dkms uninstall "kvm-pfnmap/$version" -k "$1"
	run dkms install "kvm-pfnmap/$version" -k "$1"
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

no_secure_boot() {
	rm -r "$root/usr/bin/mokutil" "$root/sys/firmware"
}

# own_key: an administrator's key and certificate that DKMS uses.
own_key() {
	run openssl req -new -x509 -newkey rsa:2048 -nodes -subj '/CN=an administrator/' \
		-outform DER -keyout /etc/own.key -out /etc/own.der
	mkdir -p "$root/etc/dkms/framework.conf.d"
	printf 'mok_%s\n' signing_key=/etc/own.key certificate=/etc/own.der \
		>"$root/etc/dkms/framework.conf.d/own.conf"
}

no_own_key() {
	rm "$root/etc/dkms/framework.conf.d/own.conf"
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
