#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Install the files that dkms/files lists: "install.sh files DIR" puts them below DIR, for the
# package. As root, "install.sh install" does what installing the package does, and "install.sh
# uninstall" undoes it.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=kvm/lib.sh
. kvm/lib.sh

version=$(cat VERSION)
helpers=/usr/lib/kvm-pfnmap
source=/usr/src/kvm-pfnmap-$version
# Where systemd finds what a boot starts.
wants=/usr/lib/systemd/system/multi-user.target.wants
# The file that marks a directory as made by "make install".
mark=made-by-make-install

# list: print "FILE PLACE" for each line of dkms/files.
list() {
	sed -n "s/@VERSION@/$version/g; /^[^#]/p" dkms/files
}

files() {
	list | while read -r file place; do
		mkdir -p "$1${place%/*}"
		case $file in
		*.in)	sed "s/@VERSION@/$version/g" "$file" >"$1$place" ;;
		*.service)
			cp "$file" "$1$place"
			mkdir -p "$1$wants"
			ln -sf "../${place##*/}" "$1$wants"
			;;
		*)	cp -R "$file" "$1$place" ;;
		esac
	done
}

check() {
	[ "$(id -u)" -eq 0 ] || die "run this as root: sudo make $1"
	command -v dkms >/dev/null || die 'dkms is missing: apt install dkms'
	# shellcheck disable=SC2016 # dpkg's own variable
	case $(dpkg-query -W -f '${db:Status-Status}' kvm-pfnmap-dkms 2>/dev/null) in
	''|not-installed) ;;
	config-files) die 'the package kvm-pfnmap-dkms has left its hooks: apt purge kvm-pfnmap-dkms' ;;
	*) die 'the package kvm-pfnmap-dkms is installed: use apt' ;;
	esac
	case $PWD/ in
	/usr/src/kvm-pfnmap-*) die "$PWD is where DKMS keeps its copy: move this directory elsewhere" ;;
	esac
}

uninstall() {
	dkms/remove-all.sh
	for dir in $helpers /usr/src/kvm-pfnmap-*; do
		[ ! -e "$dir/$mark" ] || rm -rf "$dir"
	done
	list | while read -r file place; do
		case $file in
		dkms/hook | *.service) rm -f "$place" "$wants/${place##*/}" ;;
		esac
	done
}

install() {
	for dir in $helpers "$source"; do
		[ ! -e "$dir" ] || die "$dir exists, but not from 'make install': move it elsewhere"
	done
	umask 022
	# All or nothing.
	trap 'uninstall; echo "kvm-pfnmap: nothing is installed" >&2' EXIT
	trap 'exit 130' INT TERM HUP
	mkdir -p $helpers "$source"
	touch "$helpers/$mark" "$source/$mark"
	files ''
	trap - EXIT
	"$helpers/build-all.sh"
}

case $1 in
files)
	files "$2"
	;;
install)
	check install
	uninstall
	install
	;;
uninstall)
	check uninstall
	uninstall
	;;
*)	die "unknown command '$1'" ;;
esac
