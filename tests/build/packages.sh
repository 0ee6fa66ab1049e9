#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that missing packages are installed in the version asked for, that a
# failure of that is one line, and that an interrupted download leaves nothing.
set -eu
# shellcheck source=tests/build/lib.sh
. tests/build/lib.sh
plan 10

headers=linux-headers-6.1.0-10-amd64
fake dpkg-query <<EOF
case \$* in
*'$headers') cat "$work/headers" 2>/dev/null || exit 1 ;;
*) printf 'installed 1.0' ;;
esac
EOF
# Root or not, apt-get is ours.
fake sudo <<'EOF'
exec "$@"
EOF

with_fakes() {
	run env PATH="$work/bin:$PATH" "$@"
}

fake apt-get <<EOF
echo "\$*" >>"$work/apt.log"
case \$* in
*install*) printf 'installed 6.1.10-1' >"$work/headers" ;;
esac
EOF
with_fakes "$top/scripts/deps.sh" "$headers=6.1.10-1"
ok 'a missing package is installed, and said' passes_with "installing $headers=6.1.10-1\$"
ok 'without recommended packages' grep -q -- "--no-install-recommends.* $headers=6.1.10-1\$" "$work/apt.log"
with_fakes "$top/scripts/deps.sh" "$headers=6.1.10-1"
ok 'nothing is done when all are there' test "$status" -eq 0 -a ! -s "$work/out"
with_fakes "$top/scripts/deps.sh" "$headers=6.1.11-1"
ok 'another version is a missing package' passes_with "installing $headers=6.1.11-1\$"

fake apt-get <<'EOF'
echo 'Reading package lists...'
echo 'E: Unable to fetch some archives'
exit 100
EOF
rm "$work/headers"
with_fakes "$top/scripts/deps.sh" "$headers=6.1.10-1"
ok 'a failure ends with its reason' test "$status" -ne 0 -a "$(tail -n 1 "$work/out")" = \
	"kvm-pfnmap: cannot install $headers=6.1.10-1: E: Unable to fetch some archives"
fake id <<'EOF'
echo 1000
EOF
fake sudo <<'EOF'
echo 'a test is not in the sudoers file' >&2
exit 1
EOF
with_fakes "$top/scripts/deps.sh" "$headers=6.1.10-1"
ok 'so does one to become root' test "$status" -ne 0 -a "$(tail -n 1 "$work/out")" = \
	"kvm-pfnmap: cannot install $headers=6.1.10-1: a test is not in the sudoers file"
rm "$work/bin/id" "$work/bin/sudo"
with_fakes "$top/scripts/fetch.sh" source linux-source-0 1.0 "$work/source.tar.xz"
ok 'a failed download ends with its reason' test "$status" -ne 0 -a "$(tail -n 1 "$work/out")" = \
	'kvm-pfnmap: cannot download linux-source-0 1.0: E: Unable to fetch some archives'
ok 'and leaves nothing' absent "$work/source.tar.xz" "$work/source.tar.xz.tmp"

# A download that is killed without a chance to clean up.
fake apt-get <<EOF
echo partial >partial.deb
kill -9 \$(cat "$work/pid")
EOF
# shellcheck disable=SC2016 # for the inner shell
with_fakes sh -c 'echo $$ >"$0/pid"; exec "$1/scripts/fetch.sh" source linux-source-0 1.0 "$0/source.tar.xz"' \
	"$work" "$top"
ok 'a killed download is not taken for the file' absent "$work/source.tar.xz"

# The next one gets a package that dpkg can unpack.
mkdir -p "$work/deb/DEBIAN" "$work/deb/usr/src"
echo tarball >"$work/deb/usr/src/linux-source-0.tar.xz"
printf 'Package: linux-source-0\nVersion: 1.0\nArchitecture: all\nMaintainer: a test\nDescription: a test\n' \
	>"$work/deb/DEBIAN/control"
dpkg-deb -b "$work/deb" "$work/linux-source-0.deb" >/dev/null
fake apt-get <<EOF
cp "$work/linux-source-0.deb" .
EOF
with_fakes "$top/scripts/fetch.sh" source linux-source-0 1.0 "$work/source.tar.xz"
ok 'and the next call recovers' grep -qx tarball "$work/source.tar.xz"
