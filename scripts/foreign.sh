#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Run a command to which apt offers the packages of another architecture:
# foreign.sh ARCH DIR CMD... keeps their lists in DIR. What the machine's own dpkg
# and apt know and may install stays as it is.
set -eu

arch=$1
dir=$(realpath -m "$2")
shift 2

mkdir -p "$dir/lists/partial" "$dir/archives/partial"
cat >"$dir/apt.conf" <<END
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Sandbox::User "root";
Dir::State::Lists "$dir/lists";
Dir::Cache "$dir";
END
APT_CONFIG=$dir/apt.conf exec "$@"
