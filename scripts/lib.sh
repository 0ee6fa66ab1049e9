# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
# What the scripts for developers share: those of kvm/lib.sh, and how apt is called.

# shellcheck source=kvm/lib.sh
. "$(dirname "$0")/../kvm/lib.sh"

# find_root: set $root to what a command that needs root is started with; fails
# if there is no way.
find_root() {
	root=
	[ "$(id -u)" -eq 0 ] || {
		root=sudo
		command -v sudo >/dev/null
	}
}

# apt_update: refresh the package lists, once a run. Those of foreign.sh take no root.
apt_update() {
	[ -z "${apt_updated:-}" ] || return 0
	apt_updated=1
	step APT "updating the package lists"
	find_root || :
	[ -z "${APT_CONFIG:-}" ] || root=
	# shellcheck disable=SC2086 # empty, or one word
	$root apt-get -q update >/dev/null 2>&1 ||
		step APT "that failed: going on with the lists there are"
}
