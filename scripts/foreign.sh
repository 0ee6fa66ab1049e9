#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Run a command to which apt offers the packages of another architecture or release of Debian:
# foreign.sh ARCH CODENAME DIR CMD... keeps their lists in DIR. What the machine's own dpkg and apt
# know and may install stays as it is.
set -eu
here=$(realpath "$(dirname "$0")")
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

arch=$1
codename=$2
dir=$(realpath -m "$3")
shift 3

mkdir -p "$dir/lists/partial" "$dir/archives/partial"
cat >"$dir/apt.conf" <<END
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Sandbox::User "root";
Dir::State::Lists "$dir/lists";
Dir::Cache "$dir";
END
if [ "$codename" != "$(codename)" ]; then
	"$here/debian.sh" "$codename" >"$dir/sources.list"
	cat >>"$dir/apt.conf" <<END
Dir::State::status "/dev/null";
Dir::Etc::SourceList "$dir/sources.list";
Dir::Etc::SourceParts "/dev/null";
END
fi
APT_CONFIG=$dir/apt.conf exec "$@"
