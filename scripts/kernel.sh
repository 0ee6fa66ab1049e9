#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Resolve KERNEL, a series (6.1) or a release (6.1.0-56-amd64), into a release
# and its packages: kernel.sh KERNEL OUT CACHE writes them to OUT as make variables;
# the package lists of other architectures are kept below CACHE. An answer stands
# until kernels.conf or the machine's package lists change; UPDATE=1 asks Debian for
# new lists first. KERNEL-debug is a kernel of the same source with rig/debug.config,
# and KERNEL-kcsan one with rig/kcsan.config on top, which are built instead of fetched.
set -eu
here=$(dirname "$0")
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

kernel=$1
out=$2
cache=$3
conf=${KERNELS_CONF:-$here/../kernels.conf}
lists=${APT_LISTS:-/var/lib/apt/lists}

if [ -s "$out" ] && [ -z "$(find "$conf" "$0" "$lists" -prune -newer "$out")" ]; then
	exit 0
fi

case $kernel in
*-debug | *-kcsan)
	flavour=${kernel##*-}
	base=$(dirname "$out")/${kernel%-*}.mk
	"$0" "${kernel%-*}" "$base" "$cache"
	upstream=$(sed -n 's/^SOURCE_VERSION := \([0-9.]*\).*/\1/p' "$base")
	sed -e '/^\(IMAGE\|HEADERS\)_PKG/d' -e "s/^NAME := .*/NAME := $kernel/" \
	    -e "s/^REL := .*/REL := $upstream-$flavour/" \
	    -e 's/^HEADERS_DEPS := .*/HEADERS_DEPS := bc bison flex gcc lcov libc6-dev libelf-dev xz-utils/' "$base" >"$out.tmp"
	echo "DEBUG := rig/debug.config$([ "$flavour" = debug ] || echo " rig/$flavour.config")" >>"$out.tmp"
	mv "$out.tmp" "$out"
	exit 0
	;;
esac

row=$(awk -v k="$kernel" '
	!/^[ \t]*(#|$)/ && (k == $1 || k ~ "^(" $3 ")$") { print; exit }' "$conf")
if [ -z "$row" ]; then
	die "unknown kernel '$kernel': KERNEL is one of" \
	    "$(awk '!/^[ \t]*(#|$)/ { printf "%s%s", s, $1; s = ", " }' "$conf")," \
	    "or a release of these (see kernels.conf)"
fi
# shellcheck disable=SC2086 # the columns of the row
set -f && set -- $row && set +f
name=$1 debian=$2 pattern=$3 oldest=$4 source=$5 image=$6 headers=$7 arch=${8:-amd64}

# From here on apt is of that release of Debian and of that architecture.
own=$(codename)
foreign=${APT_CONFIG:-}
if [ "$debian-$arch" != "$own-amd64" ] && [ -z "$foreign" ]; then
	[ "$debian" != "$own" ] || [ -z "${UPDATE:-}" ] || apt_update
	exec "$here/foreign.sh" "$arch" "$debian" "$cache/$debian-$arch" "$0" "$kernel" "$out" "$cache"
fi
any_source=
[ "$arch" = amd64 ] || any_source=1

# Prints "VERSION RELEASE" of the newest release that has an image, headers
# and source of one version; of another architecture, image and headers.
newest() {
	if [ "$kernel" = "$name" ]; then
		pre=${image%%@*}
		post=${image#*@}
		releases=$(apt-cache pkgnames "$pre" | sed -n "s/^$pre\(.*\)$post\$/\1/p" |
			   grep -Ex "$pattern" || :)
	else
		releases=$kernel
	fi
	[ -n "$releases" ] || return 0
	packages=$source
	for r in $releases; do
		packages="$packages ${image%%@*}$r${image#*@} ${headers%%@*}$r${headers#*@}"
	done
	# shellcheck disable=SC2086 # package names
	apt-cache madison $packages |
		awk -v source="$source" -v image="$image" -v headers="$headers" \
		    -v releases="$releases" -v any_source="$any_source" '
			$NF == "Sources" { next }
			{ has[$1, $3] = 1; version[$3] = 1 }
			function name(pattern, release) {
				sub(/@/, release, pattern)
				return pattern
			}
			END {
				n = split(releases, r)
				for (i = 1; i <= n; i++)
					for (v in version)
						if (((name(image, r[i]), v) in has) &&
						    ((name(headers, r[i]), v) in has) &&
						    (any_source || (source, v) in has))
							print v, r[i]
			}' | sort -V | tail -n 1
}

[ -z "${UPDATE:-}" ] || apt_update
found=$(newest)
if [ -z "$found" ]; then
	apt_update
	found=$(newest)
fi
if [ -z "$found" ] && [ -s "$out" ]; then
	step KERNEL "Debian no longer offers $kernel: keeping the earlier answer"
	touch "$out"
	exit 0
fi
[ -n "$found" ] ||
	die "Debian does not offer image, headers and source of one version for" \
	    "'$kernel': see 'apt-cache pkgnames ${image%%@*}${name%-*}.'"

version=${found% *}
release=${found#* }
source_version=$version
# The lists of this machine's architecture have a newer source.
[ -z "$any_source" ] ||
	source_version=$(unset APT_CONFIG && source_versions "$source" | tail -n 1)
dpkg --compare-versions "$source_version" ge "$oldest" ||
	die "$release is of $source_version, too old for the series: use a release of" \
	    "$oldest or newer (KERNEL=$name selects the newest that Debian offers)"

# The packages to install for the headers: normally the headers package itself, here or in the other
# release. If that depends on an image, whose maintainer scripts must not run here, or is for another
# architecture, it is unpacked instead, and only its other dependencies are installed.
headers=${headers%%@*}$release${headers#*@}
depends=$(apt-cache show "$headers=$version" 2>/dev/null | sed -n 's/^Depends: //p' | head -n 1)
inside=
[ "$debian" = "$own" ] || inside=$cache/$debian
case $any_source$depends in
1* | *linux-image-*)
	deps=$(echo "$depends" | tr ',' '\n' |
		sed -n '/linux-image-/d; s/^ *\([^ ]*\)[^(]*(= \([^)]*\)).*/\1=\2/p; t; s/^ *\([^ ]*\).*/\1/p' |
		paste -sd ' ')
	[ -z "$any_source" ] || deps="$deps libc6-dev-i386 lib32gcc-12-dev"
	;;
*)	deps=$headers=$version ;;
esac
mkdir -p "$(dirname "$out")"
cat >"$out.tmp" <<EOF
NAME := $name
REL := $release
SERIES := ${name%%-*}
ARCH := $arch
DEBIAN := $debian
INSIDE := $inside
DEBIAN_VERSION := $version
SOURCE_PKG := $source
SOURCE_VERSION := $source_version
IMAGE_PKG := ${image%%@*}$release${image#*@}
HEADERS_PKG := $headers
HEADERS_DEPS := $deps
EOF
mv "$out.tmp" "$out"
[ "$source_version" = "$version" ] || version="$version, with the source of $source_version"
step KERNEL "$release, Debian version $version"
