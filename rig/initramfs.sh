#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Packs the initramfs of the emulated host: initramfs.sh RELEASE OUTPUT INIT [PROGRAM...]. $BUSYBOX
# is the host's busybox, by default the machine's.
set -eu

rel=$1 out=$2 init=$3
shift 3
dir=$(dirname "$out")
image=$dir/image

# The modules for the host, except those of KVM, which come in two variants.
modules="virtio_pci virtio_console 9p 9pnet_virtio irqbypass ccp bochs qxl vgem virtio_gpu cirrus brd \
	vivid snd-intel8x0 vfio_iommu_type1 vfio-pci"

die()
{
	echo "initramfs: $*" >&2
	exit 1
}

[ -f "$image/lib/modules/$rel/modules.dep" ] ||
	die "$image has no modules of $rel with dependencies: run 'make image'"

tmp=$(mktemp -d "$dir/initramfs.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
chmod 755 "$tmp"
mkdir -p "$tmp/bin" "$tmp/dev" "$tmp/proc" "$tmp/sys" "$tmp/tmp" "$tmp/machine" \
	"$tmp/modules/stock" "$tmp/modules/patched"

cp "$init" "$tmp/init"
cp "${BUSYBOX:-$(command -v busybox)}" "$tmp/bin/busybox"
for applet in $(busybox --list); do
	[ "$applet" = busybox ] || ln -s busybox "$tmp/bin/$applet"
done
for prog; do
	strip -o "$tmp/bin/$(basename "$prog")" "$prog"
done

# put FILE DIR: add a copy, uncompressed and without debug symbols; prints its path in the host.
put()
{
	name=$(basename "$1" .xz)
	if [ ! -e "$tmp/$2/$name" ]; then
		case $1 in
		*.xz) xz -dc "$1" >"$tmp/$2/$name" ;;
		*) cp "$1" "$tmp/$2/$name" ;;
		esac
		strip --strip-debug "$tmp/$2/$name"
	fi
	printf ' /%s/%s' "$2" "$name"
}

# files MODULE: print it and its dependencies, in the order of loading.
files()
{
	modprobe -C /dev/null -d "$image" -S "$rel" --show-depends "$1" |
		sed -n 's/^insmod \([^ ]*\).*/\1/p'
}

deps=$tmp/modules/deps
for m in $modules; do
	{
		printf '%s:' "$m"
		for f in $(files "$m"); do
			put "$f" modules
		done
		echo
	} >>"$deps"
done
for m in kvm-amd kvm-intel; do
	for kind in stock patched; do
		[ $kind = stock ] || [ -f "$dir/modules/$m.ko" ] || continue
		printf '%s/%s:' $kind $m
		for f in $(files $m); do
			name=$(basename "$f" .xz)
			case $kind/$name in
			stock/kvm*) put "$f" modules/stock ;;
			patched/kvm*) put "$dir/modules/$name" modules/patched ;;
			*) put "$f" modules ;;
			esac
		done
		echo
	done
done >>"$deps"
for f in "$dir"/exporter/*.ko "$dir"/rig/*.ko; do
	[ -f "$f" ] || continue
	printf '%s:' "$(basename "$f" .ko)"
	put "$f" modules
	echo
done >>"$deps"

# busybox's cpio reports the number of blocks on stderr.
(cd "$tmp" && find . | busybox cpio -o -H newc -R 0:0 2>/dev/null) >"$out.part" ||
	die "cannot write $out.part"
mv "$out.part" "$out"
