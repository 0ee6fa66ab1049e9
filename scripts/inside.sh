#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Run a command in a Debian of another release: inside.sh [-r] DIR CMD... It is in the same
# directory of this repository, which has the same path there, and belongs to the same user, or
# with -r to root.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

user=$(id -u):$(id -g)
if [ "$1" = -r ]; then
	user=0:0
	shift
fi
dir=$(realpath -m "$1")
shift
top=$(realpath "$(dirname "$0")/..")
[ -e "$dir/etc/debian_version" ] || die "$dir is missing: run 'make deps'"
find_root || die "building for another release of Debian needs root: install sudo"

# The mounts end with the command.
# shellcheck disable=SC2016,SC2086 # the inner shell's variables; empty, or one word
exec $root unshare --mount --propagation private sh -c '
	dir=$1 top=$2 cwd=$3 user=$4
	shift 4
	mkdir -p "$dir$top"
	mount --bind "$top" "$dir$top"
	mount --rbind /dev "$dir/dev"
	mount -t proc proc "$dir/proc"
	exec chroot --userspec="$user" "$dir" /usr/bin/env -i -C "$cwd" \
		PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/tmp DEBIAN_FRONTEND=noninteractive "$@"' \
	inside.sh "$dir" "$top" "$PWD" "$user" ${V:+"V=$V"} ${KVM_WERROR+"KVM_WERROR=$KVM_WERROR"} "$@"
