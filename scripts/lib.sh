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

# as_root CMD...: run a command as root; die when that is not possible.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "needs root, and sudo is not installed: run as root: $*"
	fi
}

# reason LOG: the line of a log that says best why a command failed. A full disk
# may have kept even that from being written.
reason() {
	if grep -qis 'no space left' "$1" ||
	   [ "$(df -Pk "$(dirname "$1")" | awk 'END { print $4 }')" -lt 16 ]; then
		echo "no space left on the disk of $(dirname "$1")"
	else
		grep -m1 -E '(^E:|[Ee]rror:|ERROR|fatal|[Ff]ailed)' "$1" || tail -n 1 "$1"
	fi
}

# apt_update: refresh the package lists, once a run.
apt_update() {
	[ -z "${apt_updated:-}" ] || return 0
	apt_updated=1
	step APT "updating the package lists"
	as_root apt-get -q update >/dev/null 2>&1 ||
		echo "${0##*/}: apt-get update failed; going on with the lists there are" >&2
}
