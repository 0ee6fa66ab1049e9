# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh disable=SC2034 # the variables are for the tests
# A Debian 12 in a directory ($root), made from a cached one: running commands in it,
# and booting it in an emulated AMD host. Nothing of this machine's own is changed.

top=$(realpath "$(dirname "$0")/../..")
version=$(cat "$top/VERSION")
cache=$top/build/cache/install
work=$top/build/install-$KERNEL
root=$work/root
number=0

cleanup() {
	for dir in "$root/var/lib/dkms" "$root/var/cache/apt/archives" "$root/proc" \
		   "$cache/new/var/cache/apt/archives" "$cache/new/proc"; do
		! mountpoint -q "$dir" || umount "$dir"
	done
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# ok NAME CMD...: a test that passes if CMD does; if not, the last output is shown.
ok() {
	name=$1
	shift
	number=$((number + 1))
	if "$@"; then
		echo "ok $number - $name"
	else
		echo "not ok $number - $name"
		tail -n 12 "$work/out" | sed 's/^/#   /'
	fi
}

# says REGEX: the last command said it; a + is one, as in the names of releases.
says() {
	grep -Eq "$(echo "$1" | sed 's/+/[+]/g')" "$work/out"
}

# into DIR CMD...: run a command in a Debian, as its root.
into() {
	(
		dir=$1
		shift
		exec chroot "$dir" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C \
			DEBIAN_FRONTEND=noninteractive "$@"
	)
}

mount_root() {
	mkdir -p "$cache/archives/partial"
	mountpoint -q "$1/proc" || mount -t proc proc "$1/proc"
	mountpoint -q "$1/var/cache/apt/archives" ||
		mount --bind "$cache/archives" "$1/var/cache/apt/archives"
}

# run CMD...: in the Debian, with its output in the log and in $work/out. Sets $status.
run() {
	echo "# $*" >>"$work/log"
	status=0
	into "$root" "$@" >"$work/out" 2>&1 </dev/null || status=$?
	cat "$work/out" >>"$work/log"
}

passes() {
	test "$status" -eq 0
}

apt_install() {
	run apt-get -q -y --no-install-recommends --allow-downgrades install "$@"
}

# What an administrator's machine has anyway, from the archives this machine uses.
make_base() {
	[ ! -s "$cache/base.tar" ] || return 0
	mkdir -p "$cache"
	base=$cache/new
	rm -rf --one-file-system "$base"
	apt-get indextargets --format "\$(REPO_URI) \$(RELEASE) \$(COMPONENT)" \
		'Created-By: Packages' | grep -E ' bookworm' >"$cache/sources"
	mirror=$(awk '$2 == "bookworm" { print $1; exit }' "$cache/sources")
	debootstrap --variant=minbase bookworm "$base" "$mirror" >"$cache/log" 2>&1 ||
		{ tail -n 1 "$cache/log"; exit 1; }
	sed 's/^/deb /' "$cache/sources" >"$base/etc/apt/sources.list"
	cat >"$base/etc/apt/apt.conf.d/99check" <<'END'
APT::Keep-Downloaded-Packages "true";
Binary::apt::APT::Keep-Downloaded-Packages "true";
Dpkg::Use-Pty "0";
DPkg::Options { "--force-unsafe-io"; };
END
	printf '#!/bin/sh\nexit 101\n' >"$base/usr/sbin/policy-rc.d"
	chmod 755 "$base/usr/sbin/policy-rc.d"
	cp /etc/resolv.conf "$base/etc"
	mount_root "$base"
	into "$base" apt-get -q update >>"$cache/log" 2>&1
	into "$base" apt-get -q -y --no-install-recommends install dkms initramfs-tools zstd \
		xz-utils openssl libc6-dev >>"$cache/log" 2>&1 || { tail -n 1 "$cache/log"; exit 1; }
	cleanup
	tar -C "$base" -cf "$cache/base.tar.new" .
	mv "$cache/base.tar.new" "$cache/base.tar"
	rm -rf --one-file-system "$base"
}

make_root() {
	cleanup
	rm -rf --one-file-system "$work"
	mkdir -p "$root"
	: >"$work/log"
	tar -C "$root" -xf "$cache/base.tar"
	mount_root "$root"
	cp "$top/build/deb/kvm-pfnmap-dkms_${version}_all.deb" "$root/tmp"
}

# boot RELEASE: start this Debian with that kernel and its own initramfs; what it
# says of KVM is in $work/out.
boot() {
	echo "# boot $1" >>"$work/log"
	cp "$top/build/host/pages" "$root/usr/local/bin/pages"
	cp "$top/tests/install/init.sh" "$root/usr/local/sbin/init.sh"
	cleanup
	rm -f "$work/disk"
	mke2fs -q -t ext4 -E lazy_itable_init=1,lazy_journal_init=1 -O ^has_journal \
		-d "$root" "$work/disk" 6G >>"$work/log" 2>&1
	status=0
	timeout 300 qemu-system-x86_64 -accel tcg,thread=single -cpu EPYC -m 1G -smp 2 \
		-kernel "$root/boot/vmlinuz-$1" -initrd "$root/boot/initrd.img-$1" \
		-append 'root=/dev/vda rw init=/usr/local/sbin/init.sh console=ttyS0 quiet tsc=reliable' \
		-drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" -device VGA \
		-display none -serial stdio -monitor none -no-reboot -nic none \
		</dev/null >"$work/out" 2>>"$work/log" || status=$?
	tr -d '\r' <"$work/out" >>"$work/log"
	rm -f "$work/disk"
	mount_root "$root"
}
