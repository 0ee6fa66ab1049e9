#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that the Debian packages build from their source package, that a build elsewhere gives the
# same bytes, and that they hold the files that dkms/files lists. "make deb" has made the packages.
set -eu
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
version=$(cat VERSION)
deb=$top/build/deb
deb_version=$(dpkg-deb -f "$deb"/kvm-pfnmap-dkms_*_all.deb Version)
# On Debian 12: 0.1.0~deb12u1.
release=$(. /etc/os-release && echo "~deb${VERSION_ID}u1")
lines=20
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES V

versions() {
	for file in "$deb"/*.deb; do
		test "$(dpkg-deb -f "$file" Version)" = "$version$release" || return 1
	done
	test "$(dpkg-parsechangelog -S Version)" = "$version"
}

# sources DIR: print the source files in a directory. dpkg-source leaves out files for git.
sources() {
	(cd "$1" && find . \( -path ./build -o -path ./.git \) -prune -o -type f ! -name .gitignore -print |
		LC_ALL=C sort)
}

whole_tree() {
	dpkg-source -x "$deb/kvm-pfnmap_$deb_version.dsc" "$work/another-place/source" || return
	sources . >"$work/here"
	(cd "$work/another-place/source" && find . -type f | LC_ALL=C sort) >"$work/there"
	diff "$work/here" "$work/there"
}

# Build from newer files, which only their owner may read, and in a different environment.
build_again() {
	cd "$work/another-place/source"
	find . -exec touch {} +
	chmod -R go= .
	umask 077
	env TZ=Pacific/Apia LC_ALL=C.UTF-8 HOME=/nonexistent \
		dpkg-buildpackage -us -uc -b
}

same() {
	for file in "$deb"/*.deb; do
		cmp "$file" "$work/another-place/${file##*/}" || return 1
	done
}

cleans() {
	(cd "$work/another-place/source" && debian/rules clean && find . -type f | LC_ALL=C sort >"$work/after")
	diff "$work/there" "$work/after"
}

listed_files() {
	dpkg-deb -x "$deb/kvm-pfnmap-dkms_${deb_version}_all.deb" "$work/package"
	rm -r "$work/package/usr/share"
	dkms/install.sh files "$work/files"
	diff -r "$work/files" "$work/package"
}

hardened() {
	dpkg-deb -x "$deb/kvm-pfnmap_${deb_version}_amd64.deb" "$work/tool"
	readelf -dW "$work/tool/usr/bin/kvm-pfnmap" >"$work/elf"
	readelf -sW --dyn-syms "$work/tool/usr/bin/kvm-pfnmap" >>"$work/elf"
	grep 'BIND_NOW' "$work/elf" && grep '__stack_chk_fail' "$work/elf" && grep 'printf_chk' "$work/elf"
}

# There is no address to which mail for the authors could go.
lint() {
	lintian --allow-root --fail-on warning \
		--suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog "$deb"/*.changes
}

# refuses REGEX ARG...: make deb fails with one line that matches, and the earlier packages stay.
refuses() {
	regex=$1
	shift
	! PATH=$work/bin:$PATH make -s "$@" deb >"$work/make" 2>&1 || return 1
	cat "$work/make"
	test "$(grep -vc '^make' "$work/make")" -eq 1 && grep -Eq "^kvm-pfnmap: $regex" "$work/make" &&
		test -e "$deb/kvm-pfnmap-dkms_${deb_version}_all.deb"
}

mkdir "$work/another-place" "$work/bin"
plan 9
ok 'the packages have the version of the project, for this Debian' versions
ok 'the source package has the whole tree, and nothing that was built' whole_tree
(build_again) >"$work/build.log" 2>&1 || :
ok 'it builds elsewhere, to the same packages byte for byte' same
ok 'debian/rules clean leaves the source alone' cleans
ok 'the package has the files of the list' listed_files
ok 'the tool is built with the flags of Debian' hardened
ok 'lintian does not warn' lint
printf '#!/bin/sh\necho "dpkg-checkbuilddeps: error: Unmet build dependencies: debhelper" >&2\nexit 1\n' \
	>"$work/bin/dpkg-checkbuilddeps"
chmod +x "$work/bin/dpkg-checkbuilddeps"
ok 'a missing build dependency is one line' refuses 'Unmet build dependencies: debhelper: .*apt build-dep' -W VERSION
rm "$work/bin/dpkg-checkbuilddeps"
ok 'so is a changelog of another version' refuses "debian/changelog is of $version, VERSION is 9.9" VERSION=9.9
