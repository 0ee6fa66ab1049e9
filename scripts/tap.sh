#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Run programs that print TAP: tap.sh LOGS NAME PROGRAM... shows one line a
# test, keeps the output in LOGS/NAME.log and leaves "passed failed skipped" in
# LOGS/NAME.counts. A program without a plan, whose plan does not fit, or that
# ends with a status other than 0 though no test failed, fails.
set -eu

logs=$1
name=$2
shift 2
mkdir -p "$logs"
rm -f "$logs/$name.counts"
: >"$logs/$name.log"

for program in "$@"; do
	{
		echo "# run $program"
		"$program" 2>&1 || echo "# exit status $?"
	} | tee -a "$logs/$name.log"
done | awk -v counts="$logs/$name.counts" '
	function finish() {
		if (program == "")
			return
		if (plan == "" || plan != ran) {
			printf "not ok %s: %d tests ran, the plan was %s\n", program, ran,
			       plan == "" ? "missing" : plan
			failed++
		} else if (status && failed == before) {
			printf "not ok %s: exit status %d, see the log\n", program, status
			failed++
		}
	}
	/^# run / {
		finish()
		program = $3; plan = ""; ran = 0; status = 0; before = failed
		next
	}
	/^# exit status / { status = $4; next }
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
