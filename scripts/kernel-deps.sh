#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Install what building for kernels needs: kernel-deps.sh "PACKAGE..." "PACKAGE..." FILE... installs
# the packages of the first list here, those of the second list in each other release of Debian, and
# the headers of the kernels, which kernel.sh describes in the files, where they belong.
set -eu
here=$(dirname "$0")
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

own=$1
others=$2
shift 2

# value NAME FILE...: print the values of a make variable.
value() {
	name=$1
	shift
	sed -n "s/^$name := //p" "$@"
}

# shellcheck disable=SC2086,SC2046 # package names
"$here/deps.sh" $own $(for file; do
	[ -n "$(value INSIDE "$file")" ] || value HEADERS_DEPS "$file"
done)

# shellcheck disable=SC2046 # directories
for dir in $(value INSIDE "$@" | sort -u); do
	if ! [ -e "$dir/etc/debian_version" ]; then
		find_root || die "building for another release of Debian needs root: install sudo"
		$root "$here/debian.sh" "$(basename "$dir")" "$dir"
	fi
	# shellcheck disable=SC2086 # package names
	set_of=$(for file; do
		[ "$(value INSIDE "$file")" != "$dir" ] || value HEADERS_DEPS "$file"
	done)
	# shellcheck disable=SC2086 # package names
	INSIDE=$dir "$here/deps.sh" -n $others $set_of >/dev/null ||
		"$here/inside.sh" -r "$dir" scripts/deps.sh $others $set_of
done
