# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
# What the scripts that prepare and build KVM share: messages, and failing with one clear line.

step() {
	printf '  %-8s %s\n' "$1" "$2" >&2
}

die() {
	echo "${0##*/}: $*" >&2
	exit 1
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
