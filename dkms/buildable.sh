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

# unsupported: why the list has no such kernel.
unsupported() {
	case $release in
	*-686* | *-arm* | *-ppc* | *-s390*) echo 'only amd64 is supported' ;;
	6.1.0-* | 6.12.*+deb*) echo "the flavour is none of amd64, cloud-amd64 and rt-amd64" ;;
	6.1.* | 6.12.* | 6.1[12]-*) echo "it is not one of Debian's own kernels" ;;
	[0-5].* | 6.[0-9].* | 6.1[0-2].*) echo "the modules are for $(supported)" ;;
	*) echo 'Linux 6.13 and later need no patch' ;;
	esac
}

find_row "$release" || die "$release keeps its own KVM: $(unsupported)"
image=$(image_version "$release")
version=$(headers_version "$headers") || version=
[ -z "${image:-$version}" ] || dpkg --compare-versions "${image:-$version}" ge "$oldest" ||
	die "$release is of ${image:-$version}, supported from $oldest on: it keeps its own KVM"
# All that is missing, for one command.
missing=
if [ -z "$version" ]; then
	missing="linux-headers-$release"
elif [ -n "$image" ] && [ "$image" != "$version" ]; then
	die "$release is of $image and its headers of $version:" \
	    "apt install linux-image-$release linux-headers-$release $source"
fi
of=${image:-$version}
if [ -z "$of" ]; then
	missing="$missing $source"
elif [ "$(source_version)" != "$of" ] || ! [ -s "$(tarball)" ]; then
	missing="$missing $source=$of"
fi
[ -z "$missing" ] || die "$release keeps its own KVM: apt install ${missing# }"
