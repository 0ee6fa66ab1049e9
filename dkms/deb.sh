#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Build the Debian packages: deb.sh BUILD leaves them in BUILD/deb. The tool has to be
# there as BUILD/bin/kvm-pfnmap.
set -eu
here=$(dirname "$0")
# shellcheck source=scripts/lib.sh
. "$here/../scripts/lib.sh"

version=$(cat VERSION)
build=$1
out=$build/deb
tree=$out/kvm-pfnmap-$version

log=$(dpkg-parsechangelog -l debian/changelog -S Version)
[ "$log" = "$version" ] || die "debian/changelog is of $log, VERSION is $version"

rm -rf "$out"
mkdir -p "$tree/build/bin"
cp -R VERSION kernels.conf kvm dkms "$tree"
cp -R debian "$tree/debian"
cp -R tool "$tree"
cp "$build/bin/kvm-pfnmap" "$tree/build/bin"

step DEB "kvm-pfnmap-dkms and kvm-pfnmap, $version"
(cd "$tree" && exec env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES \
	SOURCE_DATE_EPOCH="$(dpkg-parsechangelog -S Timestamp)" \
	dpkg-buildpackage -us -uc -b) >"$out/build.log" 2>&1 ||
	die "the packages cannot be built: $(reason "$out/build.log") (log: $out/build.log)"
rm -rf "$tree"
