# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh disable=SC2034 # the variables are for the scripts
# Shared by the scripts that run on a user's machine: the supported kernels, the packages of a
# kernel, and the modules installed for it. A script sets $here to the directory of this file.

# A plain su keeps the user's PATH, in which depmod, modinfo and dkms are missing.
PATH=$PATH:/usr/sbin:/sbin
# reason() looks for words in messages of other programs.
export LC_ALL=C.UTF-8
# Once installed, kernels.conf and the others lie beside this file.
top=${here:?}
[ -e "$top/kernels.conf" ] || top=$here/..
# shellcheck source=kvm/lib.sh
. "$top/kvm/lib.sh"

version=$(cat "$top/VERSION")

# framework VARIABLE RELEASE: print a setting of DKMS, which reads it like this.
framework() {
	# shellcheck disable=SC2016 # for bash, as DKMS
	bash -c 'kernelver=$2
		for conf in /etc/dkms/framework.conf /etc/dkms/framework.conf.d/*.conf; do
			[ ! -e "$conf" ] || . "$conf"
		done
		echo "${!1}"' bash "$1" "$2" 2>/dev/null
}

dkms=$(framework dkms_tree '')
dkms=${dkms:-/var/lib/dkms}/kvm-pfnmap
# For each kernel: RELEASE.reason if it has no modules of ours, the RELEASE.log of its last build, and
# RELEASE.initramfs while its modules have changed, but its initramfs has not.
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
		2>/dev/null | sed -n 's/^.[^cn].//p' | head -n 1
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

# is_active RELEASE: modprobe would load all three modules from where DKMS puts them.
is_active() {
	for module in kvm kvm-amd kvm-intel; do
		case $(modinfo -k "$1" -n $module 2>/dev/null) in
		"/lib/modules/$1/updates/dkms/"*) ;;
		*) return 1 ;;
		esac
	done
}

# preferred RELEASE: print why depmod prefers other modules to ours, if it does: a file outside of
# the kernel's own directory, or a line of its configuration.
preferred() {
	for module in kvm kvm-amd kvm-intel; do
		find "/lib/modules/$1" \( -path "/lib/modules/$1/kernel" -o -path "/lib/modules/$1/updates/dkms" \) \
			-prune -o -name "$module.ko" -print -o -name "$module.ko.[gxz]*" -print 2>/dev/null
	done | sed 's/$/ is in the way/' | grep -m1 . && return
	for conf in /etc/depmod.d/*.conf /run/depmod.d/*.conf /usr/local/lib/depmod.d/*.conf /lib/depmod.d/*.conf; do
		[ ! -e "$conf" ] || awk -v release="$1" '
			$1 == "override" && $2 ~ /^kvm(|[-_]amd|[-_]intel)$/ && $4 != "updates/dkms" &&
			($3 == "*" || $3 == release) {
				print FILENAME " overrides " $2
				exit
			}' "$conf"
	done | grep -m1 .
}

# put_back RELEASE: return the kernel's own modules that DKMS has moved away to their place. Their
# copies are deleted one by one, once they are there. DKMS would put them over newer ones.
put_back() {
	archive=$dkms/original_module/$1
	[ -d "$archive" ] || return 0
	[ -e "/lib/modules/$1/kernel" ] || { rm -rf "$archive"; return 0; }
	find "$archive" -name '*.ko*' ! -name '*.origin' | while read -r file; do
		# DKMS writes this after it has moved the file.
		place=$(head -n 1 "$file.origin" 2>/dev/null)
		case $place in
		"/lib/modules/$1/"*.ko*) ;;
		*) place=/lib/modules/$1/kernel/arch/x86/kvm/${file##*/} ;;
		esac
		# A file that is there is newer, unless it is damaged. Half a file must not win over none.
		modinfo -F vermagic "$place" >/dev/null 2>&1 ||
			{ mkdir -p "${place%/*}" && cp -p "$file" "$place.new" && sync "$place.new" &&
			  mv -f "$place.new" "$place"; } ||
			{ rm -f "$place.new"
			  echo "kvm-pfnmap: $1: cannot put $place back: its copy is $file" >&2; return 1; }
		rm -f "$file" "$file.origin"
	done || return 1
	find "$archive" -depth -type d -empty -delete
	depmod "$1"
}

# fits RELEASE: the modules of KVM in the initramfs, whose files are $list, are those that the disk
# has. Without any, it fits.
fits() {
	case $list in
	*/updates/dkms/kvm.ko*)	has_modules "$1" ;;
	*/kvm.ko*)		! has_modules "$1" ;;
	esac
}

# initramfs RELEASE: make the initramfs of a kernel again if it holds modules of KVM that are not those
# on the disk: a kvm.ko from there and a kvm-amd.ko from the disk must fit each other. What cannot be
# listed may hold some. update-initramfs may do nothing and succeed.
initramfs() {
	image=/boot/initrd.img-$1
	marker=$state/$1.initramfs
	if [ ! -e "$image" ]; then
		rm -f "$marker"
		return 0
	elif command -v update-initramfs >/dev/null; then
		lister=lsinitramfs
		make="update-initramfs -u -k $1"
	elif command -v dracut >/dev/null; then
		lister=lsinitrd
		make="dracut --force $image $1"
	else
		return 0
	fi
	if ! list=$($lister "$image" 2>/dev/null) || ! fits "$1" ||
	   { is_changed "$1" && echo "$list" | grep -q '/updates/dkms/kvm'; }; then
		was=$(stat -c '%i %z' "$image")
		$make >&2 9>&- && [ "$(stat -c '%i %z' "$image")" != "$was" ] &&
			list=$($lister "$image" 2>/dev/null) && fits "$1" || return 1
	fi
	rm -f "$marker"
}

# settle RELEASE: make the initramfs fit after the kernel went back to its own modules, and say what is
# left to do.
settle() {
	initramfs "$1" >/dev/null 2>&1 || may_lose "$1"
	is_own "$1" || :
}

# may_lose RELEASE: say that its initramfs could not be made again.
may_lose() {
	echo "kvm-pfnmap: $1 may have no KVM after the next boot until this works: $make" >&2
}

# is_own RELEASE: modprobe finds the kernel's own modules. If not, say so.
is_own() {
	! has_modules "$1" || { echo "kvm-pfnmap: $1 has no KVM until this works: depmod $1" >&2; return 1; }
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

# is_changed RELEASE: changing() was called for it, in this run or in one that was interrupted.
is_changed() {
	[ -e "$state/$1.initramfs" ] || case $changed in *" $1 "*) ;; *) return 1 ;; esac
}

# changing RELEASE: from now on, also if this run is interrupted, its initramfs may not fit.
changed=
changing() {
	changed="$changed $1 "
	{ mkdir -p "$state" && true >"$state/$1.initramfs"; } 2>/dev/null || :
}

# take_away RELEASE: remove our modules from a kernel, which then uses its own again. Copies stay, for
# bring_back, until they are deleted.
take_away() {
	place=/lib/modules/$1/updates/dkms
	has_modules "$1" || return 0
	changing "$1"
	mkdir -p "$place.removed" 2>/dev/null
	for module in kvm kvm-amd kvm-intel; do
		for file in "$place/$module".ko "$place/$module".ko.*; do
			[ ! -e "$file" ] || mv -f "$file" "$place.removed/${file##*/}.was" 2>/dev/null ||
				rm -f "$file"
		done
	done
	rmdir "$place" 2>/dev/null || :
	[ ! -e "/lib/modules/$1/kernel" ] || depmod "$1"
}

# bring_back RELEASE: undo that.
bring_back() {
	place=/lib/modules/$1/updates/dkms
	mkdir -p "$place"
	for file in "$place.removed"/*.was; do
		[ ! -e "$file" ] || { was=${file##*/}; mv -f "$file" "$place/${was%.was}"; }
	done
	depmod "$1"
}

# is_needed RELEASE: the initramfs, whose files are $list, holds the modules of which there are copies.
is_needed() {
	case $list in
	*/updates/dkms/kvm.ko*) [ "$(find "/lib/modules/$1/updates/dkms.removed" -name '*.was' | wc -l)" -eq 3 ] ;;
	*) return 1 ;;
	esac
}

# forget RELEASE: delete the copies.
forget() {
	rm -rf "/lib/modules/$1/updates/dkms.removed"
	rmdir "/lib/modules/$1/updates" 2>/dev/null || :
}

# clean RELEASE: also remove everything that DKMS keeps for it. Without the link, DKMS leaves the
# kernel's directory alone.
clean() {
	take_away "$1"
	forget "$1"
	put_back "$1"
	rm -f "$dkms/kernel-$1-x86_64"
	[ ! -e "$dkms" ] || dkms remove -m kvm-pfnmap -v "$version" -k "$1" >/dev/null 2>&1 9>&- || :
	rm -rf "${dkms:?}/$version/$1" "${dkms:?}/$version/build"
	# DKMS refuses all work on a version that it has half added.
	[ -e "$dkms/$version/source/dkms.conf" ] || rm -rf "${dkms:?}/$version"
}
