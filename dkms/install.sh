#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Put the source that DKMS builds from below a directory: install.sh files DIR makes
# DIR/usr/src/kvm-pfnmap-VERSION and the kernel's hooks. And, as root, do without the
# package what it does: install.sh install, install.sh uninstall.
set -eu
cd "$(dirname "$0")/.."

version=$(cat VERSION)
source=/usr/src/kvm-pfnmap-$version
# In the order of their names: before the initramfs is made.
hooks='/etc/kernel/postinst.d/dkms-kvm-pfnmap /etc/kernel/header_postinst.d/dkms-kvm-pfnmap'
# In a directory of /usr/src: whose it is.
mark=made-by-make-install

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

files() {
	dest=$1$source
	mkdir -p "$dest"
	cp -R kernels.conf VERSION kvm "$dest"
	mkdir -p "$dest/dkms"
		cp dkms/lib.sh dkms/buildable.sh dkms/prebuild.sh dkms/build-all.sh \
		dkms/remove-all.sh "$dest/dkms"
	sed "s/@VERSION@/$version/g" dkms/dkms.conf.in >"$dest/dkms.conf"
	for hook in $hooks; do
		mkdir -p "$1${hook%/*}"
		cp dkms/hooks/kernel "$1$hook"
		chmod 755 "$1$hook"
	done
}

as_root() {
	[ "$(id -u)" -eq 0 ] || die "run it as root: sudo make $1"
	command -v dkms >/dev/null || die 'dkms is missing: apt install dkms'
	case $(dpkg-query -W -f '${db:Status-Status}' kvm-pfnmap-dkms 2>/dev/null) in
	''|not-installed) ;;
	config-files) die 'the package kvm-pfnmap-dkms has left its hooks: apt purge kvm-pfnmap-dkms' ;;
	*) die 'the package kvm-pfnmap-dkms is installed: use apt' ;;
	esac
	case $PWD/ in
	/usr/src/kvm-pfnmap-*) die "$PWD is where DKMS has its copy: move this directory elsewhere" ;;
	esac
}

remove() {
	dkms/remove-all.sh
	for dir in /usr/src/kvm-pfnmap-*; do
		[ ! -e "$dir/$mark" ] || rm -rf "$dir"
	done
	# shellcheck disable=SC2086 # files
	rm -f $hooks
}

case $1 in
files)
	files "$2"
	;;
install)
	as_root install
	remove
	[ ! -e "$source" ] || die "$source is there and not of make install: move it elsewhere"
	files ''
	: >"$source/$mark"
	"$source/dkms/build-all.sh"
	;;
uninstall)
	as_root uninstall
	remove
	;;
*)	die "unknown command '$1'" ;;
esac
