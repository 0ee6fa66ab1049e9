#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that the package does what an administrator expects of it, on a Debian 12
# with Debian's own kernels: install, boot, upgrade, what can go wrong, remove, boot.
# CORE=1 leaves out the second series, the boot before the upgrade, purge, and make install.
set -eu
: "${KERNEL:=6.1}"
# shellcheck source=tests/install/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" -eq 0 ] || { echo '1..0 # SKIP it needs root, for a Debian in a directory'; exit 0; }

# newest COUNT SERIES: "RELEASE VERSION" of its newest releases that have everything.
newest() {
	awk -v s="$2" '$1 == s { print $2, $3, $4 }' "$top/kernels.conf" | {
		read -r pattern oldest package
		apt-cache pkgnames linux-headers- | sed 's/^linux-headers-//' | grep -Ex "$pattern" |
		while read -r r; do
			v=$(apt-cache madison "linux-image-$r" "linux-headers-$r" "$package" |
			    awk '$NF != "Sources" { print $3 }' | sort | uniq -c |
			    awk '$1 >= 3 { print $2 }' | sort -V | tail -n 1)
			[ -z "$v" ] || ! dpkg --compare-versions "$v" ge "$oldest" || echo "$r $v"
		done
	} | sort -V | tail -n "$1"
}

# kernel RELEASE VERSION: what an update of the kernel installs.
kernel() {
	apt_install "linux-image-$1" "linux-headers-$1" "$source=$2"
}

# ours RELEASE, stock RELEASE: whose modules that kernel loads.
file_of() {
	run modinfo -k "$1" -n "$2"
	cat "$work/out"
}

ours() {
	for m in kvm kvm-amd kvm-intel; do
		case $(file_of "$1" $m) in
		*/updates/dkms/$m.ko*) ;;
		*) return 1 ;;
		esac
		run modinfo -k "$1" -F version $m
		says "^$version\$" || return 1
	done
}

stock() {
	for m in kvm kvm-amd kvm-intel; do
		case $(file_of "$1" $m) in
		*/kernel/arch/x86/kvm/$m.ko*) ;;
		*) return 1 ;;
		esac
	done
}

configured() {
	run dpkg-query -W -f '${db:Status-Status}' kvm-pfnmap-dkms
	says '^installed$'
}

again() {
	run sh -c 'dkms remove kvm-pfnmap/'"$version"' --all; rm -f /tmp/built'
	run "/usr/src/kvm-pfnmap-$version/packaging/build-all.sh" "$@"
}

# one_line REGEX: all that was said but what is going on.
one_line() {
	test "$(grep -vc ': building$' "$work/out")" -eq 1 && says "$1"
}

set -f
# shellcheck disable=SC2046 # words
set -- $(newest 2 "$KERNEL")
old=$1 old_version=$2 new=$3 new_version=$4
# shellcheck disable=SC2046 # words
set -- $(awk -v s="$KERNEL" '$1 ~ /^[0-9]/ && $1 != s { print $1, $4; exit }' "$top/kernels.conf")
other=$1 other_source=$2
source=linux-source-$KERNEL
set +f

plan=31
[ -n "${CORE:-}" ] || plan=40
echo "1..$plan"
make_base
make_root

# Install.
kernel "$old" "$old_version"
ok "kernel $old is installed" passes
run apt-get -q -y -s install "/tmp/kvm-pfnmap-dkms_${version}_all.deb"
ok 'the package brings headers along' says '^Inst linux-headers-'
apt_install "/tmp/kvm-pfnmap-dkms_${version}_all.deb"
ok 'the package installs' passes
ok "KVM of $old is ours" ours "$old"
run modinfo -k "$old" -F signer kvm
ok 'the modules are signed with the key of DKMS' says 'DKMS module signing key'
if [ -z "${CORE:-}" ]; then
	boot "$old"
	ok "$old boots and loads ours" says "^kvm_amd: file .*/updates/dkms/.* loaded version $version"
	ok 'the kernel log has the line' says "kvm: kvm-pfnmap $version, "
	ok 'a guest uses the memory of bochs-drm' says '^outcome: works, 1024 of 1024 pages'
fi

# Upgrade.
kernel "$new" "$new_version"
ok "an update to $new goes well" passes
ok 'it builds for the new kernel' ours "$new"
ok 'the old one keeps its modules' ours "$old"
boot "$new"
ok "$new boots and loads ours" says "^kvm_amd: file .*/updates/dkms/.* loaded version $version"
ok 'the kernel log has the line' says "kvm: kvm-pfnmap $version, "
ok 'a guest uses the memory of bochs-drm' says '^outcome: works, 1024 of 1024 pages'
if [ -z "${CORE:-}" ]; then
	# shellcheck disable=SC2046 # words
	set -- $(newest 1 "$other")
	apt_install "linux-image-$1" "linux-headers-$1" "$other_source=$2"
	ok "a second series, $1, is installed" passes
	ok 'and gets modules of its own' ours "$1"
	run apt-get -q -y purge "linux-image-$1" "linux-headers-$1"
	ok 'it can be removed' passes
fi

# What can go wrong. Each time the kernel keeps its own KVM, and one line says why.
again "$old"
ok 'another version of the source is one line with the package' \
	one_line "^kvm-pfnmap: the source of $old is missing: apt install $source=$old_version"
ok 'and the kernel keeps its own' stock "$old"
mkdir -p "$root/lib/modules/9.9.0-1-amd64/kernel"
again 9.9.0-1-amd64
ok 'an unsupported kernel is one line' one_line '^kvm-pfnmap: 9.9.0-1-amd64 is not a supported'
ln -s "/usr/src/linux-headers-$new" "$root/lib/modules/9.9.0-1-amd64/build"
run dkms build "kvm-pfnmap/$version" -k 9.9.0-1-amd64
ok 'DKMS skips it' test "$status" -eq 77
run /etc/kernel/postinst.d/kvm-pfnmap 9.9.0-1-amd64
ok 'and it can be installed' passes
rm -r "$root/lib/modules/9.9.0-1-amd64"
mv "$root/lib/modules/$new/build" "$work/build"
again "$new"
ok 'missing headers are one line with the package' \
	one_line "the headers of $new are missing: apt install linux-headers-$new"
mv "$work/build" "$root/lib/modules/$new/build"
mkdir -p "$root/var/lib/dkms"
mount -t tmpfs -o size=40m tmpfs "$root/var/lib/dkms"
again "$new"
ok 'a full disk is one line' one_line "^kvm-pfnmap: $new keeps its own KVM: .* MiB are needed"
umount "$root/var/lib/dkms"
patches=$root/usr/src/kvm-pfnmap-$version/kvm/series/$KERNEL
sed 's/^-.*struct/-no such struct/' "$patches"/0002-*.patch >"$patches/0009-broken.patch"
again "$new"
ok 'a patch that does not apply is one line' \
	one_line "^kvm-pfnmap: $new keeps its own KVM: .*0009-broken.patch: does not apply"
run /etc/kernel/postinst.d/kvm-pfnmap "$new"
ok 'and the update of the kernel goes on' passes
rm "$patches/0009-broken.patch"
into "$root" dkms remove "kvm-pfnmap/$version" --all >/dev/null 2>&1 || :
run timeout -s KILL 15 dkms install "kvm-pfnmap/$version" -k "$new"
ok 'a build that is killed leaves the stock modules' stock "$new"
run "/usr/src/kvm-pfnmap-$version/packaging/build-all.sh" "$new"
ok 'the next one goes well' ours "$new"

# The source comes later: that is enough.
run dkms remove "kvm-pfnmap/$version" --all
apt_install "$source=$old_version"
ok 'the source of a kernel triggers the build for it' ours "$old"
ok 'and not for another' stock "$new"

# Remove the kernel first, then the package.
run apt-get -q -y purge "linux-image-$old" "linux-headers-$old"
ok 'a kernel is removed' test ! -e "$root/lib/modules/$old"
apt_install "$source=$new_version"
ok "KVM of $new is ours again" ours "$new"
run apt-get -q -y remove kvm-pfnmap-dkms
ok 'the package is removed' passes
ok 'the stock modules are back' stock "$new"
left() {
	find "$root/lib/modules" "$root/var/lib/dkms" "$root/usr/src" \
		\( -path '*/updates/dkms*' -o -name 'kvm-pfnmap*' \) -print >"$work/out"
	test ! -s "$work/out"
}
ok 'nothing is left' left
boot "$new"
ok 'the stock modules load' says '^kvm_amd: file .*/kernel/arch/x86/kvm/.* loaded version none'
ok 'and fail as they did' says '^outcome: Bad address'
if [ -z "${CORE:-}" ]; then
	run apt-get -q -y purge kvm-pfnmap-dkms
	ok 'purge leaves no file' test -z "$(find "$root/etc" "$root/usr" "$root/var/lib" -name '*kvm-pfnmap*')"
	mkdir "$root/tmp/project"
	cp -R "$top/VERSION" "$top/kernels.conf" "$top/kvm" "$top/packaging" "$top/scripts" \
		"$root/tmp/project"
	run /tmp/project/packaging/install.sh install
	ok 'make install does the same without the package' ours "$new"
	run /tmp/project/packaging/install.sh uninstall
	ok 'and make uninstall takes it away' left
fi
cleanup
rm -rf --one-file-system "$root"
