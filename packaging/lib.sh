# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh disable=SC2034 # the variables are for the scripts
# What the scripts of the package share: kernels.conf, and a kernel's packages.

top=$(dirname "$0")/..

# What DKMS and apt print around it shows whose line it is.
die() {
	echo "kvm-pfnmap: $*" >&2
	exit 1
}

# find_row RELEASE: set $oldest and $source from the row of kernels.conf. A row with a 7th
# column is of another architecture.
find_row() {
	row=$(awk -v k="$1" '!/^[ \t]*(#|$)/ && NF == 6 && k ~ "^(" $2 ")$" { print $3, $4; exit }' \
	      "$top/kernels.conf")
	oldest=${row% *}
	source=${row#* }
	series=${source#linux-source-}
	[ -n "$row" ]
}

# The supported series, in words.
supported() {
	awk '!/^[ \t]*(#|$)/ && NF == 6 { printf "%s%s", s, $1; s = ", " }' "$top/kernels.conf"
}

# headers_version HEADERS: the Debian version of the kernel they are of.
headers_version() {
	[ -e "$1/Makefile" ] || return 1
	sed -n 's/^#define LINUX_PACKAGE_ID " Debian \(.*\)"$/\1/p' \
		"$1/include/generated/package.h" 2>/dev/null | grep .
}

tarball() {
	echo "${SOURCE_DIR:-/usr/src}/$source.tar.xz"
}

source_version() {
	# shellcheck disable=SC2016 # dpkg's own variable
	dpkg-query -W -f '${Version}' "$source" 2>/dev/null || :
}
