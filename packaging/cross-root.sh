#!/usr/bin/env bash
# A Debian 12 in a folder that compiles for another architecture: cross-root.sh FOLDER ARCH PACKAGE...
# (backports/PACKAGE comes from bookworm-backports). Root, debootstrap and a Debian mirror are needed; this machine's own
# packages stay as they are.
set -euo pipefail
root=$1 arch=$2
shift 2
stable=() backports=()
for name in "$@"; do
	case $name in
	backports/*) backports+=("${name#backports/}:$arch") ;;
	*) stable+=("$name:$arch") ;;
	esac
done

if [ ! -e "$root/etc/debian_version" ]; then
	rm -rf "$root"
	mkdir -p "$root"
	debootstrap --variant=minbase --include=ca-certificates bookworm "$root" http://deb.debian.org/debian
	echo 'deb http://deb.debian.org/debian bookworm-backports main' >"$root/etc/apt/sources.list.d/backports.list"
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
fi
cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
inside() {
	unshare -m -- chroot "$root" sh -ec 'mount -t proc proc /proc; export DEBIAN_FRONTEND=noninteractive LC_ALL=C; "$@"' sh "$@"
}
inside dpkg --add-architecture "$arch"
inside apt-get update -qq
inside apt-get install -qq -y --no-install-recommends "crossbuild-essential-$arch" cmake ninja-build pkg-config "${stable[@]}"
[ ${#backports[@]} = 0 ] || inside apt-get install -qq -y --no-install-recommends -t bookworm-backports "${backports[@]}"
inside apt-get clean
