#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Take the modules of every version away from every kernel: remove-all.sh. One line a
# kernel, which goes back to its own KVM. It does so whatever DKMS thinks is there.
set -u
# shellcheck source=dkms/lib.sh
. "$(dirname "$0")/lib.sh"

lock
for dir in "$dkms"/[0-9]*; do
	[ ! -d "$dir" ] || dkms remove -m kvm-pfnmap -v "${dir##*/}" --all >/dev/null 2>&1 9>&- || :
done
for dir in /lib/modules/*; do
	take_away "${dir##*/}"
done
# With something of it left, DKMS would skip modules of others.
rm -rf "${dkms:?}"
