#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Have the kernel headers that modules are built against: headers.sh PACKAGE
# VERSION DIR installs the package and prints its directory. Where the package
# depends on an image, whose maintainer scripts are not wanted, or is not of this
# machine's architecture (foreign.sh), it is unpacked below DIR instead, and only
# what else it depends on is installed, and what builds 32-bit programs.
set -eu
here=$(dirname "$0")
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

package=$1
version=$2
dir=$3
src=usr/src/$package

# shellcheck disable=SC2016 # dpkg's own variables
if [ "$(dpkg-query -W -f '${db:Status-Status} ${Version}' "$package" 2>/dev/null)" = \
     "installed $version" ]; then
	"$here/deps.sh"
	echo "/$src"
	exit 0
fi

# "NAME=VERSION" or "NAME" for each package that it depends on but an image.
others() {
	apt-cache show "$package=$version" | awk '
		sub(/^Depends: /, "") {
			n = split($0, dep, / *, */)
			for (i = 1; i <= n; i++) {
				if (dep[i] ~ /linux-image-/)
					continue
				name = dep[i]
				sub(/ .*/, "", name)
				if (match(dep[i], /\(= [^)]*\)/))
					name = name "=" substr(dep[i], RSTART + 3, RLENGTH - 4)
				print name
			}
			exit
		}'
}

foreign=${APT_CONFIG:-}
if [ -z "$foreign" ] &&
   ! apt-cache show "$package=$version" | grep -q '^Depends:.*linux-image-'; then
	"$here/deps.sh" "$package=$version"
	echo "/$src"
	exit 0
fi

# shellcheck disable=SC2046 # package names
"$here/deps.sh" $(others) ${foreign:+libc6-dev-i386 lib32gcc-12-dev}
if [ "$(cat "$dir/version" 2>/dev/null)" != "$version" ]; then
	"$here/fetch.sh" headers "$package" "$version" "$dir"
fi
realpath "$dir/$src"
