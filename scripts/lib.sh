# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
# Shared by the scripts for developers: the functions of kvm/lib.sh, and how to call apt.

# shellcheck source=kvm/lib.sh
. "$(dirname "$0")/../kvm/lib.sh"

# find_root: set $root to the command that gives root privileges, or to nothing if they are not
# needed. Fails if there is no such command.
find_root() {
	root=
	[ "$(id -u)" -eq 0 ] || {
		root=sudo
		command -v sudo >/dev/null
	}
}

# codename: print the name of this machine's release of Debian, or nothing.
codename() {
	sed -n 's/^VERSION_CODENAME=//p' /etc/os-release
}

# apt_update: refresh the package lists, once per run. The lists of foreign.sh need no root.
apt_update() {
	[ -z "${apt_updated:-}" ] || return 0
	apt_updated=1
	step APT "updating the package lists"
	find_root || :
	[ -z "${APT_CONFIG:-}" ] || root=
	# shellcheck disable=SC2086 # empty, or one word
	$root apt-get -q update >/dev/null 2>&1 ||
		step APT "that failed: using the existing lists"
}

# source_versions PACKAGE: print the versions of a source package that Debian offers, oldest first.
# APT_CONFIG says whose lists are read.
source_versions() {
	apt-cache madison "$1" | awk '$NF != "Sources" { print $3 }' | sort -Vu
}
