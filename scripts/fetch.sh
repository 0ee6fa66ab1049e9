#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Fetch a Debian package without installing it.
#   fetch.sh source PACKAGE VERSION OUT    OUT becomes the package's tarball
#   fetch.sh image PACKAGE VERSION DIR     DIR becomes the unpacked image
#   fetch.sh headers PACKAGE VERSION DIR   DIR becomes the unpacked headers, which
#       find the installed linux-kbuild, and a file "version"
#   fetch.sh package PACKAGE '' DIR        DIR becomes the newest version, unpacked
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

kind=$1
package=$2
version=$3
out=$4
tmp=$out.tmp

trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
rm -rf "$tmp"
mkdir -p "$tmp"
log=$tmp/log

fail() {
	die "$1 $package $version: $(reason "$log")"
}

download() {
	step FETCH "$package${version:+ $version}"
	# The sandbox user of apt cannot write below a private home directory.
	get="apt-get -q -o APT::Sandbox::User=root download $package${version:+=$version}"
	(cd "$tmp" && $get) >"$log" 2>&1 || {
		apt_update
		(cd "$tmp" && $get) >"$log" 2>&1
	} || fail "cannot download"
	dpkg -x "$tmp"/*.deb "$tmp/root" >"$log" 2>&1 || fail "cannot unpack"
	rm "$tmp"/*.deb
}

case $kind in
headers)
	download
	mkdir -p "$tmp/root/usr/lib"
	for name in $(find "$tmp/root/usr/src" -type l -printf '%l\n' |
		      sed -n 's|.*/lib/\(linux-kbuild-[^/]*\).*|\1|p' | sort -u); do
		ln -s "/usr/lib/$name" "$tmp/root/usr/lib"
	done
	echo "$version" >"$tmp/root/version"
	rm -rf "$out"
	mkdir -p "$(dirname "$out")"
	mv "$tmp/root" "$out"
	;;
source)
	tar=/usr/src/$package.tar.xz
	# shellcheck disable=SC2016 # dpkg's own variable
	if [ "$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null)" = "$version" ] &&
	   [ -s "$tar" ]; then
		ln -s "$tar" "$tmp/tar"
	else
		download
		mv "$tmp/root$tar" "$tmp/tar"
	fi
	touch -c "$tmp/tar"
	mv -f "$tmp/tar" "$out"
	;;
package)
	download
	rm -rf "$out"
	mv "$tmp/root" "$out"
	;;
image)
	download
	# All modules are below /lib for those who look for them, also where /lib is a link.
	[ -e "$tmp/root/lib" ] || ln -s usr/lib "$tmp/root/lib"
	for modules in "$tmp"/root/lib/modules/*; do
		depmod -b "$tmp/root" "${modules##*/}" >"$log" 2>&1 ||
			fail "cannot run depmod for"
	done
	rm -rf "$out"
	mv "$tmp/root" "$out"
	;;
esac
