#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Compare what a module imports from KVM with what a build of KVM exports:
#
#   crc.sh MODULE STOCK BUILT
#
# STOCK is the Module.symvers of the headers package and says which symbols are
# KVM's, BUILT that of the build. Prints "same SYMBOL", "changed SYMBOL" or
# "gone SYMBOL" for each symbol that MODULE imports from KVM.
set -eu

modprobe --dump-modversions "$1" | awk -v stock="$2" -v built="$3" '
	BEGIN {
		while ((getline <stock) > 0)
			if ($3 == "arch/x86/kvm/kvm")
				kvm[$2] = 1
		close(stock)
		while ((getline <built) > 0)
			crc[$2] = $1
	}
	$2 in kvm {
		if (!($2 in crc))
			print "gone", $2
		else
			print $1 == crc[$2] ? "same" : "changed", $2
	}'
