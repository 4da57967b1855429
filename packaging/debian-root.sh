#!/usr/bin/env bash
# A fresh Debian 12 in a folder, with what packages need lying in apt's cache, so that they can be installed without a
# network: debian-root.sh FOLDER DEB... -- PACKAGE...
# Root, debootstrap and a Debian mirror are needed. Nothing outside of FOLDER is written.
set -euo pipefail
root=$1 debs=() names=()
shift
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	debs+=("$(realpath "$1")")
	shift
done
[ $# = 0 ] || shift
names=("$@")

if [ ! -e "$root/etc/debian_version" ]; then
	rm -rf "$root"
	mkdir -p "$root"
	debootstrap --variant=minbase --include=ca-certificates bookworm "$root" http://deb.debian.org/debian
	# Services do not start in a folder.
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
fi
mkdir -p "$root/tmp/debs"
[ ${#debs[@]} = 0 ] || cp "${debs[@]}" "$root/tmp/debs/"
cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
unshare -m -- chroot "$root" sh -c '
	mount -t proc proc /proc
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	[ $# = 0 ] || apt-get install -qq -y --no-install-recommends --download-only "$@"
	# With what packages recommend, as whoever installs them gets it.
	apt-get install -qq -y --download-only $(ls /tmp/debs/*.deb 2>/dev/null) "$@"
' sh "${names[@]}"
rm -rf "$root/tmp/debs"
