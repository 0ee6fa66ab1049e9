#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Prove that the series applies, without fuzz, to each version of its source package that Debian
# offers, from the oldest one in kernels.conf on. "make check-sources" sets the variables.
set -eu
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
export PATCH_FUZZ=0 XZ_DEFAULTS=-T0

# shellcheck disable=SC2153 # it is set
oldest=$(awk -v k="$NAME" '$1 == k { print $4 }' kernels.conf)
versions=$(source_versions "$SOURCE_PKG" |
	   while read -r v; do ! dpkg --compare-versions "$v" ge "$oldest" || echo "$v"; done)

applies() {
	tarball=$CACHE/${SOURCE_PKG}_$1.tar.xz
	[ -e "$tarball" ] || scripts/fetch.sh source "$SOURCE_PKG" "$1" "$tarball" || return
	rm -rf "$work/stock" "$work/tree"
	kvm/prepare.sh "$tarball" "$work/stock" &&
		kvm/prepare.sh "$work/stock" "$work/tree" "$SERIES_DIR" kvm/new "$1"
}

plan $(($(echo "$versions" | wc -l) + 1))
ok "Debian offers $oldest or newer" test -n "$versions"
for version in $versions; do
	ok "the series applies to $version" applies "$version"
done
