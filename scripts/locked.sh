#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Run a command while holding a lock, so that two calls of make at once take
# turns: locked.sh LOCK CMD...
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

exec 9>"$1"
shift
if ! flock -n 9; then
	step WAIT "for another make that is at work in build/"
	flock 9
fi
exec "$@"
