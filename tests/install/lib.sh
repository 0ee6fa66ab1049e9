# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh disable=SC2034 # the variables are for the tests
# A Debian in a directory ($root), of the release that the kernel belongs to, made from a cached one:
# run commands in it, and boot it in an emulated AMD host. Nothing on this machine changes.

top=$(realpath "$(dirname "$0")/../..")
version=$(cat "$top/VERSION")
codename=$(awk -v k="$KERNEL" '$1 == k { print $2 }' "$top/kernels.conf")
cache=$top/build/cache/install-$codename
tar=$cache/base-$(cat "$top/tests/install/lib.sh" "$top/scripts/debian.sh" | cksum | cut -d ' ' -f 1).tar
work=$top/build/install-$KERNEL
root=$work/root
number=0
begin=$(date +%s)

# unmount DIR: DKMS leaves a "sleep 3" behind, in a directory that may be there.
unmount() {
	for _ in $(seq 600); do
		! umount "$1" 2>/dev/null || return 0
		sleep 0.1
	done
	umount "$1"
}

cleanup() {
	for dir in "$root" "$cache/new"; do
		for mount in proc/keys tmp boot var/lib/kvm-pfnmap var/lib/dkms var/cache/ccache \
			     var/cache/apt/archives proc; do
			! mountpoint -q "$dir/$mount" || unmount "$dir/$mount"
		done
		for mount in "$dir"/lib/modules/*/updates/dkms; do
			! mountpoint -q "$mount" || unmount "$mount"
		done
	done
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# ok NAME CMD...: a test that passes if CMD does. If not, it shows the last output.
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

# says REGEX: a line of the last output matches. A + stands for itself, as in names of releases.
says() {
	grep -Eq "$(echo "$1" | sed 's/+/[+]/g')" "$work/out"
}

# says_all REGEX...: the last output matches all of them.
says_all() {
	for regex; do
		says "$regex" || return 1
	done
}

fails() {
	! "$@"
}

# into DIR CMD...: run a command as root in a Debian.
into() {
	(
		dir=$1
		shift
		# A second build from the same files need not compile again.
		exec chroot "$dir" env -i PATH=/usr/lib/ccache:/usr/sbin:/usr/bin:/sbin:/bin \
			CCACHE_DIR=/var/cache/ccache LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"
	)
}

mount_root() {
	mkdir -p "$cache/archives/partial" "$cache/ccache" "$1/var/cache/ccache"
	mountpoint -q "$1/proc" || mount -t proc proc "$1/proc"
	mountpoint -q "$1/var/cache/apt/archives" ||
		mount --bind "$cache/archives" "$1/var/cache/apt/archives"
	mountpoint -q "$1/var/cache/ccache" || mount --bind "$cache/ccache" "$1/var/cache/ccache"
}

# note TEXT: add a line to the log, with the seconds since the start.
note() {
	echo "# $(($(date +%s) - begin)) s: $*" >>"$work/log"
}

# run CMD...: run it in the Debian, with its output in the log and in $work/out; set $status.
run() {
	note "$*"
	status=0
	into "$root" "$@" >"$work/out" 2>&1 </dev/null || status=$?
	cat "$work/out" >>"$work/log"
}

passes() {
	test "$status" -eq 0
}

apt_install() {
	run apt-get -q -y --no-install-recommends install "$@"
}

# Make the cached Debian, with the packages that an administrator's machine has anyway.
make_base() {
	[ ! -s "$tar" ] || return 0
	mkdir -p "$cache/archives"
	rm -f "$cache"/base*.tar
	base=$cache/new
	"$top/scripts/debian.sh" "$codename" "$base" >"$cache/log" 2>&1 ||
		{ tail -n 1 "$cache/log"; exit 1; }
	cat >"$base/etc/apt/apt.conf.d/99check" <<'END'
APT::Keep-Downloaded-Packages "true";
Binary::apt::APT::Keep-Downloaded-Packages "true";
Dpkg::Use-Pty "0";
DPkg::Path "/usr/lib/ccache:/usr/sbin:/usr/bin:/sbin:/bin";
END
	mount_root "$base"
	into "$base" apt-get -q -y --no-install-recommends install dkms initramfs-tools zstd \
		xz-utils openssl libc6-dev ccache >>"$cache/log" 2>&1 ||
		{ tail -n 1 "$cache/log"; exit 1; }
	# The first compiler brings its links, but too late for the first build.
	[ -e "$base/usr/lib/ccache/gcc" ] ||
		for gcc in gcc-14 x86_64-linux-gnu-gcc-14; do
			ln -s ../../bin/ccache "$base/usr/lib/ccache/$gcc"
		done
	# An initramfs for the emulated host's disk, compressed quickly.
	printf '%s\n' MODULES=list COMPRESS=zstd COMPRESSLEVEL=1 \
		>"$base/etc/initramfs-tools/conf.d/check"
	printf '%s\n' virtio_pci virtio_blk ext4 >"$base/etc/initramfs-tools/modules"
	cleanup
	tar -C "$base" -cf "$tar.new" .
	mv "$tar.new" "$tar"
	rm -rf --one-file-system "$base"
}

make_root() {
	cleanup
	rm -rf --one-file-system "$work"
	mkdir -p "$root"
	: >"$work/log"
	tar -C "$root" -xf "$tar"
	mount_root "$root"
}

# boot RELEASE [INIT]: boot this Debian with that kernel and its initramfs. With a second processor,
# the guests of QEMU would hang more often.
boot() {
	note "boot $1"
	cp "$top/build/host/pages" "$root/usr/local/bin"
	cp "$top/build/host/dumb.so" "$top/build/guest/ivshmem.cpio" "$root/usr/local/lib"
	cp "$top/tests/install/init.sh" "$root/usr/local/sbin/init.sh"
	cleanup
	rm -f "$work/disk"
	mke2fs -q -t ext4 -E lazy_itable_init=1,lazy_journal_init=1 -O ^has_journal \
		-d "$root" "$work/disk" 6G >>"$work/log" 2>&1
	status=0
	timeout 300 qemu-system-x86_64 -accel tcg,thread=single -cpu EPYC -m 1G -smp 1 \
		-kernel "$root/boot/vmlinuz-$1" -initrd "$root/boot/initrd.img-$1" \
		-append "root=/dev/vda rw init=${2:-/usr/local/sbin/init.sh} console=ttyS0 quiet tsc=reliable" \
		-drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" -device VGA \
		-display none -serial stdio -monitor none -no-reboot -nic none \
		</dev/null >"$work/serial" 2>>"$work/log" || status=$?
	tr -d '\r' <"$work/serial" | tee "$work/console" >>"$work/log"
	rm -f "$work/disk"
	mount_root "$root"
}

# part NAME: put the output of that part of the last boot (init.sh) into $work/out.
part() {
	awk -v name="== $1" '/^== / { on = $0 == name; next } on' "$work/console" >"$work/out"
}
