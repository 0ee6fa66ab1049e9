#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Tell whether the modules can be built for a kernel: buildable.sh RELEASE HEADERS fails with one
# line that says which package to install, or that the kernel is not supported. It is quick, and
# changes nothing.
set -eu
here=$(dirname "$0")
# shellcheck source=dkms/lib.sh
. "$here/lib.sh"

release=$1
headers=$2

find_row "$release" ||
	die "$release is not a supported kernel ($(supported)), it keeps its own KVM"
version=$(headers_version "$headers") ||
	die "the headers of $release are missing: apt install linux-headers-$release"
dpkg --compare-versions "$version" ge "$oldest" ||
	die "$release is of $version, supported from $oldest on: it keeps its own KVM"
image=$(image_version "$release")
[ -z "$image" ] || [ "$image" = "$version" ] ||
	die "$release is of $image and its headers of $version: apt install linux-image-$release linux-headers-$release"
if [ "$(source_version)" != "$version" ] || ! [ -s "$(tarball)" ]; then
	die "the source of $release is missing: apt install $source=$version, or update the kernel"
fi
