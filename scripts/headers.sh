#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Print the directory of the kernel headers to build modules against: headers.sh KERNEL PACKAGE
# VERSION DIR DEPENDENCY... fails with one line if a dependency, as named by kernel.sh, is not
# installed. If PACKAGE itself is not installed, it is unpacked below DIR. With INSIDE, the packages
# are those of the Debian in that directory.
set -eu
here=$(dirname "$0")
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

kernel=$1
package=$2
version=$3
dir=$4
shift 4
src=usr/src/$package

if [ -n "${INSIDE:-}" ] && "$here/deps.sh" -n "$package=$version" >/dev/null; then
	realpath "$INSIDE/$src"
	exit 0
elif [ -z "${INSIDE:-}" ] && APT_CONFIG='' "$here/deps.sh" -n "$package=$version" >/dev/null; then
	echo "/$src"
	exit 0
fi
missing=$("$here/deps.sh" -n "$@") ||
	die "building for $kernel needs $(echo "$missing" | tr '\n' ' ' | sed 's/ $//'): run 'make deps KERNEL=$kernel'"
if [ "$(cat "$dir/version" 2>/dev/null)" != "$version" ]; then
	"$here/fetch.sh" headers "$package" "$version" "$dir"
fi
realpath "$dir/$src"
