#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that KERNEL resolves to the newest release whose image, headers and
# source have one version, and that what cannot be resolved is said in one line.
set -eu
# shellcheck source=tests/build/lib.sh
. tests/build/lib.sh
plan 26

# A release of Debian that this machine does not have.
own=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
cat >"$work/kernels.conf" <<EOF
# a comment
6.1  $own  6[.]1[.]0-[0-9]+-amd64  6.1.9-1  linux-source-6.1  linux-image-@-unsigned  linux-headers-@
6.1-686  $own  6[.]1[.]0-[0-9]+-686  6.1.9-1  linux-source-6.1  linux-image-@-unsigned  linux-headers-@  i386
6.12  other  6[.]12[.][0-9]+[+]deb99([.][0-9]+)?-amd64  6.12.5-1  linux-source-6.12  linux-image-@-unsigned  linux-headers-@
EOF

# The newest image has no source, the next one no headers of its version.
fake apt-cache <<'EOF'
case $1 in
pkgnames)
	[ -z "${APT_CONFIG:-}" ] || printf 'linux-image-6.1.0-%s-unsigned\n' 6-686 7-686 8-686
	printf 'linux-image-6.12.%s-amd64-unsigned\n' 9+deb99 9+deb99.1 10+deb98 9+deb99-rt
	printf 'linux-image-6.1.0-%s-unsigned\n' 9-amd64 12-amd64 11-amd64 10-amd64 12-rt-amd64 ;;
madison)
	shift
	while read -r name version; do
		case " $* " in
		*" $name "*) echo " $name | $version | archive Packages" ;;
		esac
	done <<'END'
linux-image-6.1.0-12-amd64-unsigned 6.1.20-1
linux-headers-6.1.0-12-amd64 6.1.20-1
linux-image-6.1.0-11-amd64-unsigned 6.1.15-2
linux-headers-6.1.0-11-amd64 6.1.15-1
linux-image-6.1.0-10-amd64-unsigned 6.1.10-1
linux-headers-6.1.0-10-amd64 6.1.10-1
linux-image-6.1.0-9-amd64-unsigned 6.1.9-1
linux-headers-6.1.0-9-amd64 6.1.9-1
linux-image-6.1.0-8-amd64-unsigned 6.1.8-1
linux-headers-6.1.0-8-amd64 6.1.8-1
linux-image-6.1.0-8-686-unsigned 6.1.8-1
linux-headers-6.1.0-8-686 6.1.7-1
linux-image-6.1.0-7-686-unsigned 6.1.7-1
linux-headers-6.1.0-7-686 6.1.7-1
linux-image-6.1.0-6-686-unsigned 6.1.6-1
linux-headers-6.1.0-6-686 6.1.6-1
linux-image-6.12.9+deb99-amd64-unsigned 6.12.9-1
linux-headers-6.12.9+deb99-amd64 6.12.9-1
linux-image-6.12.9+deb99.1-amd64-unsigned 6.12.9-2
linux-headers-6.12.9+deb99.1-amd64 6.12.9-2
linux-source-6.12 6.12.9-1
linux-source-6.12 6.12.9-2
linux-source-6.1 6.1.15-2
linux-source-6.1 6.1.10-1
linux-source-6.1 6.1.9-1
linux-source-6.1 6.1.8-1
END
	;;
show)
	case $2 in
	linux-headers-6.1.0-9-amd64=*)
		echo 'Depends: linux-headers-6.1.0-9-common (= 6.1.9-1), linux-image-6.1.0-9-amd64 (= 6.1.9-1), gcc-12, linux-kbuild-6.1 (>= 6.1.9-1)' ;;
	*)	echo 'Depends: linux-headers-common, gcc-12' ;;
	esac
	;;
esac
EOF
fake apt-get <<'EOF'
if [ "$1" = indextargets ]; then
	echo 'archive:/debian/ this main'
	echo 'archive:/debian-security/ this-security main'
	exit
fi
echo "$*" >>"$(dirname "$0")/apt-get.log"
EOF

resolve() {
	run env PATH="$work/bin:$PATH" KERNELS_CONF="$work/kernels.conf" \
		"$top/scripts/kernel.sh" "$1" "$work/$1.mk" "$work/cache"
}

says() {
	grep -qx "$2 := $3" "$work/$1.mk"
}

resolve 6.1
ok 'a series is its newest complete release' says 6.1 REL 6.1.0-10-amd64
ok 'image, headers and source have one version' says 6.1 DEBIAN_VERSION 6.1.10-1

resolve 6.1.0-9-amd64
ok 'a release stands for itself' says 6.1.0-9-amd64 DEBIAN_VERSION 6.1.9-1

ok 'headers are installed by their package' \
	says 6.1 HEADERS_DEPS linux-headers-6.1.0-10-amd64=6.1.10-1
ok 'those that want an image are not, but what else they want is' says 6.1.0-9-amd64 HEADERS_DEPS \
	'linux-headers-6.1.0-9-common=6.1.9-1 gcc-12 linux-kbuild-6.1'

# No package is installed here.
fake dpkg-query <<'EOF'
exit 1
EOF
run env PATH="$work/bin:$PATH" "$top/scripts/headers.sh" 6.1 linux-headers-6.1.0-10-amd64 6.1.10-1 \
	"$work/headers" linux-headers-6.1.0-10-amd64=6.1.10-1
ok 'missing headers are one line with the remedy' \
	fails_with "needs linux-headers-6.1.0-10-amd64=6.1.10-1: run 'make deps KERNEL=6.1'"
ok 'and nothing is installed or left' test ! -e "$work/headers" -a ! -e "$work/bin/apt-get.log"

resolve 5.10
ok 'an unknown series is one line with the supported ones' \
	fails_with "unknown kernel '5.10'.* 6\.1"
resolve 6.1.0-10-rt-amd64
ok 'a release of another kind is an unknown kernel' fails_with 'unknown kernel'

resolve 6.1.0-8-amd64
ok 'a release that is too old for the series is refused in one line' \
	fails_with '6.1.8-1, too old .* 6.1.9-1 or newer'
ok 'nothing is left of that' absent "$work/6.1.0-8-amd64.mk"

resolve 6.1.0-11-amd64
ok 'headers and source of different versions are refused' \
	test "$status" -ne 0 -a "$(tail -n 1 "$work/out" | grep -c 'of one version')" -eq 1
ok 'nothing is left of a refusal' absent "$work/6.1.0-11-amd64.mk"
ok 'the package lists were updated once before' \
	test "$(cat "$work/bin/apt-get.log")" = '-q update'

resolve 6.1-686
ok 'another architecture has lists of its own' \
	grep -q "Dir::State::Lists \"$work/cache/$own-i386/lists\"" "$work/cache/$own-i386/apt.conf"
ok "and this machine's release" absent "$work/cache/$own-i386/sources.list"
ok 'there image and headers have one version' says 6.1-686 DEBIAN_VERSION 6.1.7-1
ok 'the source is the newest' says 6.1-686 SOURCE_VERSION 6.1.15-2
ok 'the series is the one in front of the hyphen' says 6.1-686 SERIES 6.1
ok 'elsewhere the source has the version of the others' says 6.1 SOURCE_VERSION 6.1.10-1

resolve 6.1
ok 'an answer is kept' test "$status" -eq 0 -a ! -s "$work/out"

resolve 6.12
ok 'a release with a point suffix is newer than one without' says 6.12 REL '6.12.9+deb99.1-amd64'
ok 'another release of Debian has lists of its own, from the same archive' \
	test "$(cat "$work/cache/other-amd64/sources.list")" = \
	     "$(printf 'deb archive:/debian/%s main\n' ' other' ' other-updates')
deb archive:/debian-security/ other-security main"
ok 'its modules are built in a directory with that release' \
	says 6.12 INSIDE "$work/cache/other"
ok 'those for this release are built here' says 6.1 INSIDE ''
run scripts/inside.sh "$work/cache/other" true
ok 'a directory that is missing is one line with the remedy' \
	fails_with "$work/cache/other is missing: run 'make deps'"
