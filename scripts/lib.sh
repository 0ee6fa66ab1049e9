# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
# What the scripts share: messages, and failing with one clear line.

step() {
	printf '  %-8s %s\n' "$1" "$2" >&2
}

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# find_root: set $root to what a command that needs root is started with; fails
# if there is no way.
find_root() {
	root=
	[ "$(id -u)" -eq 0 ] || {
		root=sudo
		command -v sudo >/dev/null
	}
}

# reason LOG: the line of a log that says best why a command failed. A full disk
# may have kept even that from being written.
reason() {
	if grep -qis 'no space left' "$1" ||
	   [ "$(df -Pk "$(dirname "$1")" | awk 'END { print $4 }')" -lt 16 ]; then
		echo "no space left on the disk of $(dirname "$1")"
	else
		grep -m1 -E '(^E:|[Ee]rror:|ERROR|fatal|[Ff]ailed|[*]{3} )' "$1" || tail -n 1 "$1"
	fi
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
