#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Identify the state of a series: series-id.sh SERIES NEW prints a checksum and a
# name for every patch and every new file.
set -eu

for dir in "$1" "$2"; do
	[ -d "$dir" ] || continue
	(cd "$dir" && find . -type f \( -name '*.patch' -o -path './*/*' \) -exec sha256sum {} + |
		sort -k 2)
done
