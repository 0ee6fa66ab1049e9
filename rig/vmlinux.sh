#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Unpacks the kernel in a bzImage, which an emulated processor would need seconds for:
# vmlinux.sh BZIMAGE OUTPUT
set -eu

image=$1 out=$2

# field OFFSET SIZE: print a little-endian number of the x86 boot protocol's setup header.
field()
{
	od -An "-tu$2" -j"$1" -N"$2" "$image" | tr -d ' '
}

# The payload's offset is relative to the end of the boot sector and of setup_sects more sectors.
start=$((($(field 497 1) + 1) * 512 + $(field 584 4)))
length=$(field 588 4)

# The last four bytes, the unpacked size, are not part of the stream.
payload()
{
	tail -c "+$((start + 1))" "$image" | head -c "$((length - 4))"
}

case $(payload | od -An -tx1 -N4 | tr -d ' ') in
fd377a58) unpack=xz ;;
28b52ffd) unpack=zstd ;;
02214c18) unpack=lz4 ;;
*)	echo "vmlinux: $image: the kernel is compressed with none of xz, zstd and lz4" >&2
	exit 1 ;;
esac
command -v $unpack >/dev/null || { echo "vmlinux: $unpack is missing: apt install $unpack" >&2; exit 1; }
if ! payload | $unpack -dc >"$out.part"; then
	rm -f "$out.part"
	echo "vmlinux: $unpack cannot unpack $image" >&2
	exit 1
fi
mv "$out.part" "$out"
