#!/usr/bin/env bash
# Makes the image of a program from a release build, without a registry: image.sh adit|adit-edge [BUILD [OUT]]
#
# The root of the image is the program, what it links and loads, the public certificates, and an account without rights.
# Leaves OUT/PROGRAM.tar, for `podman load` and `docker load`, and OUT/PROGRAM-rootfs.
set -euo pipefail
program=$1 build=${2:-build/release} out=${3:-build/oci}
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
case $program in
adit)
	loaded=(libcurl-gnutls.so.4 libcjose.so.0 libzip.so.4)
	;;
adit-edge)
	loaded=(libcurl-gnutls.so.4 libcjose.so.0 libfido2.so.1)
	;;
*)
	echo "image.sh: adit or adit-edge" >&2
	exit 2
	;;
esac
build=$(realpath "$build")
mkdir -p "$out"
out=$(realpath "$out")
root=$out/$program-rootfs
rm -rf "$root" "$out/$program.tar"
mkdir -p "$root/usr/bin" "$root/usr/lib" "$root/etc/ssl/certs" "$root/tmp" "$root/proc" "$root/sys" "$root/dev"
ln -s usr/lib "$root/lib"
ln -s usr/lib "$root/lib64"
ln -s usr/bin "$root/bin"

install -m 755 -s "$build/bin/$program" "$root/usr/bin/$program"

# What the linker finds, and what is loaded by name at the first use.
libraries() {
	local name path
	ldd "$build/bin/$program"
	for name in "${loaded[@]}"; do
		path=$(/sbin/ldconfig -p | awk -v name="$name" '$1 == name && !path { path = $NF } END { print path }')
		[ -n "$path" ] || { echo "image.sh: $name is not installed here" >&2; return 1; }
		echo "$name => $path (0)"
		ldd "$path"
	done
}
libraries | awk '$2 == "=>" { print $3 } $1 ~ /^\/.*ld-linux/ { print $1 }' | sort -u >"$out/$program.libraries"
while read -r path; do
	install -m 644 "$path" "$root/usr/lib/$(basename "$path")"
done <"$out/$program.libraries"
chmod 755 "$root"/usr/lib/ld-linux*
# Debian's libraries lie in a folder of the architecture, which the dynamic linker looks into by itself.
ln -s . "$root/usr/lib/$(gcc -print-multiarch)"

cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
printf 'root:x:0:0:root:/:/nonexistent\nadit:x:65532:65532:adit:/:/nonexistent\n' >"$root/etc/passwd"
printf 'root:x:0:\nadit:x:65532:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"
if [ "$program" = adit-edge ]; then
	mkdir -p "$root/var/lib"
fi
# Files are as old as what they were built from.
find "$root" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
echo "$root: $(du -sh "$root" | cut -f1)"

command -v buildah >/dev/null || { echo "image.sh: buildah is not installed, so no image was made of it" >&2; exit 0; }
# Its own store of images: this machine's is left alone.
tool() {
	buildah --root "$out/.store" --runroot "$out/.run" --storage-driver vfs "$@"
}
context=$(mktemp -d "$out/context.XXXXXX")
trap 'rm -rf "$context" "$out/.store" "$out/.run"' EXIT
cp -a "$root" "$context/rootfs"
mkdir -m 755 "$context/state"
mkdir -m 700 "$context/state/adit-edge"
tool bud --isolation chroot --format docker --timestamp "${SOURCE_DATE_EPOCH:-0}" -t "$program" \
	-f "$here/$program.Containerfile" "$context" >"$out/$program.log" 2>&1 || { tail "$out/$program.log" >&2; exit 1; }
tool push "$program" "docker-archive:$out/$program.tar:$program:latest" >>"$out/$program.log" 2>&1
echo "$out/$program.tar: $(du -sh "$out/$program.tar" | cut -f1)"
