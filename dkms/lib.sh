# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh disable=SC2034 # the variables are for the scripts
# Shared by the scripts that run on a user's machine: the supported kernels, the packages of a
# kernel, and the modules installed for it. A script sets $here to the directory of this file.

# A plain su keeps the user's PATH, in which depmod, modinfo and dkms are missing.
PATH=$PATH:/usr/sbin:/sbin
# Once installed, kernels.conf and the others lie beside this file.
top=${here:?}
[ -e "$top/kernels.conf" ] || top=$here/..
# shellcheck source=kvm/lib.sh
. "$top/kvm/lib.sh"

version=$(cat "$top/VERSION")
dkms=/var/lib/dkms/kvm-pfnmap
# What the last run did for each kernel: RELEASE.reason if it has no modules of ours, and RELEASE.log.
state=/var/lib/kvm-pfnmap

# find_row RELEASE: set $oldest, $source and $series from the row of kernels.conf. A row with an
# 8th column is for another architecture.
find_row() {
	row=$(awk -v k="$1" '!/^[ \t]*(#|$)/ && NF == 7 && k ~ "^(" $3 ")$" { print $4, $5; exit }' \
	      "$top/kernels.conf")
	oldest=${row% *}
	source=${row#* }
	series=${source#linux-source-}
	[ -n "$row" ]
}

# The supported series, in words.
supported() {
	awk '$1 ~ /^[0-9.]+$/ { printf "%s%s", s, $1; s = ", " }' "$top/kernels.conf"
}

# headers_version HEADERS: print the Debian version of the kernel that the headers belong to.
headers_version() {
	[ -e "$1/Makefile" ] || return 1
	sed -n 's/^#define LINUX_PACKAGE_ID " Debian \(.*\)"$/\1/p' \
		"$1/include/generated/package.h" 2>/dev/null | grep .
}

tarball() {
	echo "/usr/src/$source.tar.xz"
}

source_version() {
	# shellcheck disable=SC2016 # dpkg's own variable
	dpkg-query -W -f '${Version}' "$source" 2>/dev/null || :
}

# image_version RELEASE: print the version of the kernel itself, if it is Debian's. The package
# name may have a suffix. The package is there whether or not it is configured or on hold.
image_version() {
	# shellcheck disable=SC2016 # dpkg's own variables
	dpkg-query -W -f '${db:Status-Abbrev}${Version}\n' "linux-image-$1" "linux-image-$1-unsigned" \
		2>/dev/null | sed -n 's/^.[^cn][^ ]* *//p' | head -n 1
}

# One run at a time, because DKMS has one directory to build in, which it does not lock. Only root
# may hold the lock. Without "command", the shell ends if it cannot open the file.
lock() {
	mask=$(umask)
	umask 077
	{ command exec 9>/run/kvm-pfnmap.lock && chmod 600 /run/kvm-pfnmap.lock && flock 9; } 2>/dev/null ||
		echo 'kvm-pfnmap: /run/kvm-pfnmap.lock cannot be locked: going on without' >&2
	umask "$mask"
}

# module_of DIR MODULE: print the file of the module, compressed or not.
module_of() {
	for file in "$1/$2.ko" "$1/$2.ko.xz" "$1/$2.ko.zst" "$1/$2.ko.gz"; do
		[ ! -e "$file" ] || { echo "$file"; return 0; }
	done
	return 1
}

# what FILE: print what identifies a module, and nothing if it is damaged. Signing, stripping or
# compressing it changes nothing of that.
what() {
	modinfo -F version "$1" 2>/dev/null && modinfo -F srcversion "$1" &&
		modinfo -F kvm_pfnmap_source "$1" && modinfo -F vermagic "$1"
}

# is_installed RELEASE HEADERS: all three modules are those that DKMS built, have this version, and
# are for exactly this version of the kernel. DKMS says "installed" without checking that. The
# headers tell the version of a kernel that is not a package.
is_installed() {
	of=$(image_version "$1")
	[ -n "$of" ] || of=$(headers_version "$2") || of=
	for module in kvm kvm-amd kvm-intel; do
		installed=$(module_of "/lib/modules/$1/updates/dkms" $module) &&
		built=$(module_of "$dkms/$version/$1/x86_64/module" $module) &&
		is=$(what "$installed") && [ "$is" = "$(what "$built")" ] &&
		[ "$(modinfo -F version "$installed")" = "$version" ] || return 1
		[ -z "$of" ] || [ "$(modinfo -F kvm_pfnmap_source "$installed")" = "$of" ] || return 1
	done
}

# preferred RELEASE: print why depmod prefers other modules to ours, if it does: a file outside of
# the kernel's own directory, or a line of its configuration.
preferred() {
	for module in kvm kvm-amd kvm-intel; do
		find "/lib/modules/$1" -name "$module.ko*" 2>/dev/null |
			grep -Ev "^/lib/modules/$1/(kernel|updates/dkms)/" | sed 's/$/ is in the way/'
	done | grep -m1 . || awk '
		$1 == "override" && $2 ~ /^kvm(|[-_]amd|[-_]intel)$/ && $4 != "updates/dkms" {
			print FILENAME " overrides " $2
			found = 1
			exit
		}
		END { exit !found }' /etc/depmod.d/*.conf /run/depmod.d/*.conf /lib/depmod.d/*.conf 2>/dev/null
}

# put_back RELEASE: return the kernel's own modules that DKMS has moved away to their place. A file
# that is there is newer.
put_back() {
	archive=$dkms/original_module/$1
	find "$archive" -name '*.origin' 2>/dev/null | while read -r origin; do
		file=${origin%.origin}
		place=$(head -n 1 "$origin")
		case $place in
		"/lib/modules/$1/updates/"* | "/lib/modules/$1/extra/"*) continue ;;
		"/lib/modules/$1/"*) ;;
		*) continue ;;
		esac
		[ -e "$file" ] && ! [ -e "$place" ] || continue
		# Half a file must not win over none.
		mkdir -p "${place%/*}" && cp -p "$file" "$place.new" && sync "$place.new" &&
			mv -f "$place.new" "$place" ||
			{ echo "kvm-pfnmap: $1: cannot put $place back: its copy is $file" >&2; return 1; }
	done && rm -rf "$archive"
}

# initramfs RELEASE: make the initramfs of a kernel again if it holds modules of KVM, after those on
# the disk have changed. A kvm.ko from there and a kvm-amd.ko from the disk must fit each other.
initramfs() {
	image=/boot/initrd.img-$1
	[ -e "$image" ] || return 0
	if command -v update-initramfs >/dev/null; then
		holds=$(lsinitramfs "$image" 2>/dev/null | grep -m1 '/kvm[^/]*\.ko') || return 0
		set -- update-initramfs -u -k "$1"
	elif command -v dracut >/dev/null; then
		holds=$(lsinitrd "$image" 2>/dev/null | grep -m1 '/kvm[^/]*\.ko') || return 0
		set -- dracut --force "$image" "$1"
	else
		return 0
	fi
	[ -n "$holds" ] || return 0
	"$@" >&2 9>&-
}

# has_modules RELEASE: modules of ours, or what is left of them, are installed for this kernel, or
# modprobe would look for them there because an interrupted removal did not get to depmod.
has_modules() {
	for module in kvm kvm-amd kvm-intel; do
		case $(module_of "/lib/modules/$1/updates/dkms" $module ||
		       modinfo -k "$1" -n $module 2>/dev/null) in
		*/updates/dkms/*) return 0 ;;
		esac
	done
	return 1
}

# take_away RELEASE: remove our modules from a kernel, which then uses its own again.
take_away() {
	place=/lib/modules/$1/updates/dkms
	has_modules "$1" || return 0
	for module in kvm kvm-amd kvm-intel; do
		rm -f "$place/$module".ko "$place/$module".ko.*
	done
	rmdir "$place" "${place%/*}" 2>/dev/null || :
	put_back "$1" || return 1
	[ ! -e "/lib/modules/$1/kernel" ] || depmod "$1"
}

# clean RELEASE: also remove everything that DKMS keeps for it.
clean() {
	[ ! -e "$dkms" ] || dkms remove -m kvm-pfnmap -v "$version" -k "$1" >/dev/null 2>&1 9>&- || :
	take_away "$1"
	put_back "$1"
	rm -rf "${dkms:?}/$version/$1" "${dkms:?}/$version/build" "${dkms:?}/kernel-$1-x86_64"
}
