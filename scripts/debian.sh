#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Make a minimal Debian in a directory, from the archive that this machine's apt uses:
# debian.sh CODENAME DIR, as root. It keeps what it has made in build/cache, and starts there the
# next time. DIR appears only if everything succeeded. "debian.sh CODENAME" prints its sources.list.
set -eu
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

codename=$1
unset APT_CONFIG

# The machine's own release may have been mirrored elsewhere than others; one archive has them all.
sources() {
	apt-get indextargets --format "\$(REPO_URI) \$(RELEASE) \$(COMPONENT)" \
		'Created-By: Packages' 2>/dev/null | awk -v codename="$codename" '
			$3 != "main" || $1 ~ /[^a-z]debug/ { next }
			$2 ~ /-security$/ { security = $1; next }
			$2 ~ /^[a-z]+$/ && $1 ~ /debian\/?$/ && !archive { archive = $1 }
			END {
				if (!archive)
					exit
				print archive, codename, "main"
				print archive, codename "-updates", "main"
				if (security)
					print security, codename "-security", "main"
			}'
}

list=$(sources)
[ -n "$list" ] || die "apt knows no archive of Debian: $codename cannot be fetched"
if [ $# -eq 1 ]; then
	echo "$list" | sed 's/^/deb /'
	exit 0
fi

dir=$(realpath -m "$2")
new=$dir.new
log=$dir.log
cache=$(realpath -m "$(dirname "$0")/../build/cache")
made=$cache/debian-$codename.tar
mkdir -p "$cache" "$(dirname "$dir")"
command -v debootstrap >/dev/null || die "debootstrap is missing: run 'make deps'"

cleanup() {
	! mountpoint -q "$new/proc" || umount "$new/proc"
	rm -rf --one-file-system "$new" "$made.$$"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
cleanup

step DEBIAN "$codename, in $2"
if [ -n "$(find "$made" -newer "$0" 2>/dev/null)" ]; then
	mkdir "$new"
	tar -C "$new" -xf "$made"
else
	debootstrap --variant=minbase "$codename" "$new" "${list%% *}" >"$log" 2>&1 ||
		die "debootstrap of $codename failed: $(tail -n 1 "$log")"
	printf 'Dpkg::Use-Pty "0";\nDPkg::Options { "--force-unsafe-io"; };\n' \
		>"$new/etc/apt/apt.conf.d/99pfnmap"
	printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d"
	chmod 755 "$new/usr/sbin/policy-rc.d"
	tar -C "$new" -cf "$made.$$" .
	mv "$made.$$" "$made"
fi
echo "$list" | sed 's/^/deb /' >"$new/etc/apt/sources.list"
cp /etc/resolv.conf "$new/etc"
chroot "$new" apt-get -q update >"$log" 2>&1 ||
	die "apt-get update of $codename failed: $(tail -n 1 "$log")"
rm -rf --one-file-system "$dir"
mv "$new" "$dir"
