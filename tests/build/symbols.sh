#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Proves that modules that are not rebuilt fit the patched kvm.ko (each symbol
# that kvmgt.ko imports keeps its CRC), and that stock and patched kvm-amd.ko and
# kvm-intel.ko never load on the other's kvm.ko (a CRC that they need differs).
set -eu
# shellcheck source=tests/build/lib.sh
. tests/build/lib.sh
plan 6

cd "$top"
built=build/$rel/modules
image=build/$rel/image/lib/modules/$rel/kernel
# Of the headers that the modules are built against, installed or unpacked.
stock=${KDIR:?"is set by make"}/Module.symvers

# compare MODULE SYMVERS: what MODULE imports, against a build's exports.
compare() {
	find "$1" -name "$2.ko*" -exec scripts/crc.sh {} "$stock" "$3" \; >"$work/out"
}

if [ -e "$image/drivers/gpu" ]; then
	compare "$image/drivers/gpu" kvmgt "$built/Module.symvers"
	ok 'kvmgt.ko imports from KVM' grep -q . "$work/out"
	changed=$(sed -n '/^same/!s/.* //p' "$work/out" | tr '\n' ' ')
	ok "each of its symbols keeps its CRC" test -z "$changed"
else
	skip 'kvmgt.ko imports from KVM' 'the kernel has no graphics drivers'
	skip "each of its symbols keeps its CRC" 'the kernel has no graphics drivers'
fi
for module in kvm-amd kvm-intel; do
	compare "$image/arch/x86/kvm" "$module" "$built/Module.symvers"
	ok "stock $module.ko does not fit the patched kvm.ko" grep -q '^changed' "$work/out"
	compare "$built" "$module" "$stock"
	ok "patched $module.ko does not fit the stock kvm.ko" grep -q '^changed' "$work/out"
done
