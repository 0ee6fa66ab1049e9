#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Install Debian packages: deps.sh PACKAGE[=VERSION]... says in one line what it installs, and
# nothing when all are there. deps.sh -n PACKAGE... only prints those that are missing, and fails if
# there are any; with INSIDE, it looks in the Debian in that directory.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# What is installed is always the machine's own.
unset APT_CONFIG

# Prints the packages of the list that are not installed (in that version).
missing() {
	for p in "$@"; do
		case $p in
		*=*)	want=${p#*=} ;;
		*)	want= ;;
		esac
		# shellcheck disable=SC2016 # dpkg's own variables
		have=$(dpkg-query --admindir="${INSIDE:-}/var/lib/dpkg" -W -f '${db:Status-Status} ${Version}' "${p%%=*}" 2>/dev/null) || have=
		case $have in
		"installed ${want:-${have#* }}") ;;
		*)	echo "$p" ;;
		esac
	done
}

if [ "$1" = -n ]; then
	shift
	todo=$(missing "$@")
	[ -n "$todo" ] || exit 0
	echo "$todo"
	exit 1
fi

todo=$(missing "$@" | sort -u | tr '\n' ' ')
todo=${todo% }
[ -n "$todo" ] || exit 0

install_all() {
	# shellcheck disable=SC2086 # package names
	$root env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -y -o DPkg::Lock::Timeout=120 \
		--no-install-recommends --allow-downgrades install $todo \
		>"$log" 2>&1
}

find_root || die "packages are missing, run as root: apt-get install $todo"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
step APT "installing $todo"
if ! install_all; then
	apt_update
	install_all || die "cannot install $todo: $(reason "$log")"
fi
