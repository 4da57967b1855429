#!/usr/bin/env bash
# Builds the Debian packages from a folder where the release preset has been built: build-deb.sh BUILD OUT [VERSION]
# VERSION is another one than that of the changelog, for tests of upgrades.
set -euo pipefail
build=$(realpath "$1") out=$2 version=${3:-}
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
mkdir -p "$out"
out=$(realpath "$out")
tree=$(mktemp -d "$out/tree.XXXXXX")
trap 'rm -rf "$tree"' EXIT

cp -r "$here/debian" "$tree/debian"
[ -z "$version" ] || sed -i "1s/(.*)/($version)/" "$tree/debian/changelog"
# Files in packages are as old as what they were built from.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || dpkg-parsechangelog -l "$tree/debian/changelog" -S Timestamp)}
export SOURCE_DATE_EPOCH
# What the build needs was there when it was made.
(cd "$tree" && ADIT_BUILD=$build dpkg-buildpackage -d -b -uc -us \
	--buildinfo-option=-O"$out/adit.buildinfo" --changes-option=-O"$out/adit.changes") >"$out/build.log" 2>&1 || {
	tail -n 40 "$out/build.log" >&2
	exit 1
}
(cd "$out" && ls -- *_"${version:-$(dpkg-parsechangelog -l "$tree/debian/changelog" -S Version)}"_*.deb)
