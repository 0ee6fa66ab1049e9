#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Run test scripts that print TAP: tap.sh LOGS NAME SCRIPT... shows one line a
# test, keeps the output in LOGS/NAME.log and leaves "passed failed skipped" in
# LOGS/NAME.counts. A script without a plan, or whose plan does not fit, fails.
set -eu

logs=$1
name=$2
shift 2
mkdir -p "$logs"
rm -f "$logs/$name.counts"
: >"$logs/$name.log"

for script in "$@"; do
	{
		echo "# $script"
		"$script" 2>&1 || echo "# $script: exit status $?"
	} | tee -a "$logs/$name.log"
done | awk -v counts="$logs/$name.counts" '
	function finish() {
		if (script != "" && (plan == "" || plan != ran)) {
			printf "not ok %s: %d tests ran, the plan was %s\n", script, ran,
			       plan == "" ? "missing" : plan
			failed++
		}
	}
	/^# [^ ]*\.sh$/ { finish(); script = $2; plan = ""; ran = 0; next }
	/^1\.\.[0-9]+/ { plan = substr($1, 4); next }
	/^ok / && / # SKIP/ { skipped++; ran++; print; next }
	/^ok / { passed++; ran++; print; next }
	/^not ok / { failed++; ran++; print; next }
	/^#/ { print; next }
	END {
		finish()
		print passed + 0, failed + 0, skipped + 0 >counts
		exit failed > 0
	}'
