#!/usr/bin/env bash
# Builds what the connector links, for musl and statically, from Debian's own sources: static-libs.sh FOLDER
#
# Debian has these libraries for glibc only. The sources come through apt, which checks their signatures; nothing is kept in
# our tree. FOLDER/prefix has the result. Needs musl-tools, dpkg-dev, linux-libc-dev.
set -euo pipefail
mkdir -p "$1/apt/lists/partial" "$1/apt/cache/archives/partial" "$1/src" "$1/done" "$1/prefix/include"
top=$(realpath "$1") prefix=$top/prefix jobs=${ADIT_JOBS:-$(nproc)}
machine=$(uname -m)

cat >"$top/apt/sources.list" <<LIST
deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main
deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security bookworm-security main
deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-backports main
LIST
apt() {
	apt-get -q -o Dir::Etc::sourcelist="$top/apt/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State::lists="$top/apt/lists" -o Dir::Cache="$top/apt/cache" -o APT::Sandbox::User=root "$@"
}
[ -e "$top/done/update" ] || { apt update >"$top/apt/update.log" 2>&1 && touch "$top/done/update"; }

# The kernel's headers are no part of musl.
for name in linux asm-generic mtd; do
	[ ! -e "/usr/include/$name" ] || ln -sfn "/usr/include/$name" "$prefix/include/$name"
done
ln -sfn "/usr/include/$machine-linux-gnu/asm" "$prefix/include/asm"

export CC=musl-gcc
export CFLAGS="-O2 -g -fPIE -ffunction-sections -fdata-sections -fstack-protector-strong -isystem $prefix/include"
export LDFLAGS="-L$prefix/lib" PKG_CONFIG_LIBDIR=$prefix/lib/pkgconfig PKG_CONFIG_PATH=
host=$machine-linux-musl

# SOURCE[/RELEASE] unpacked; its folder. From a release that is named the upstream's part alone is taken, whose checksum
# stands in Debian's signed index: mirrors do not have all of Debian's own parts of backports, which change nothing in what
# is built here. Of security updates they may have the index and not the sources; then it is the last point release.
unpack() {
	local source=${1%%/*} line
	rm -rf "$top/src/$source"
	mkdir -p "$top/src/$source"
	(
		cd "$top/src/$source"
		if [ "$source" = "$1" ]; then
			apt source "$1" || { rm -f ./* && apt source "$1/bookworm"; }
		else
			line=$(apt source --print-uris "$1" | grep -E "orig\.tar\.(gz|xz|bz2) " | tail -n 1) &&
				read -r url name _ sum <<<"$line" && curl -fsS -o "$name" "${url//\'/}" &&
				echo "${sum#SHA256:}  $name" | sha256sum -c && tar -xf "$name"
		fi
	) >"$top/src/$source.fetch.log" 2>&1 || { cat "$top/src/$source.fetch.log" >&2; return 1; }
	find "$top/src/$source" -mindepth 1 -maxdepth 1 -type d
}

made() { # NAME: once
	[ -e "$top/done/$1" ]
}

autotools() { # SOURCE[/RELEASE] CONFIGURE-ARGUMENTS...
	local source=$1 name=${1%%/*} folder
	shift
	made "$name" && return
	echo "$name"
	folder=$(unpack "$source")
	# Debian leaves GMP's manual out, which its configure looks for.
	[ "$name" != gmp ] || { mkdir -p "$folder/doc" && printf 'all install install-am:\n' >"$folder/doc/Makefile.in"; }
	(cd "$folder" && { [ -x configure ] || autoreconf -fi; } &&
		./configure --host="$host" --build="$machine-pc-linux-gnu" --prefix="$prefix" --libdir="$prefix/lib" --disable-shared --enable-static "$@" &&
		make -j"$jobs" && make install) >"$top/src/$name.log" 2>&1 || { tail -n 30 "$top/src/$name.log" >&2; return 1; }
	touch "$top/done/$name"
}

with_cmake() { # SOURCE[/RELEASE] ARGUMENTS...
	local source=$1 name=${1%%/*} folder
	shift
	made "$name" && return
	echo "$name"
	folder=$(unpack "$source")
	(cmake -G Ninja -S "$folder" -B "$top/src/$name/out" -DCMAKE_BUILD_TYPE=None -DCMAKE_INSTALL_PREFIX="$prefix" \
		-DCMAKE_INSTALL_LIBDIR=lib -DBUILD_SHARED_LIBS=OFF -DBUILD_TESTING=OFF -DCMAKE_FIND_ROOT_PATH="$prefix" \
		-DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY -DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY "$@" &&
		ninja -C "$top/src/$name/out" -j "$jobs" install) >"$top/src/$name.log" 2>&1 ||
		{ tail -n 30 "$top/src/$name.log" >&2; return 1; }
	touch "$top/done/$name"
}

autotools jansson
autotools libsodium
with_cmake pcre2 -DPCRE2_SUPPORT_JIT=ON -DPCRE2_BUILD_PCRE2GREP=OFF -DPCRE2_BUILD_TESTS=OFF
with_cmake libuv1 -DLIBUV_BUILD_TESTS=OFF
autotools libfyaml --disable-network
autotools nghttp2 --enable-lib-only
autotools libseccomp
autotools libcap-ng --without-python --without-python3
autotools gmp --disable-cxx
autotools nettle --disable-documentation --disable-openssl --with-include-path="$prefix/include" --with-lib-path="$prefix/lib"
autotools gnutls28 --without-p11-kit --with-included-libtasn1 --with-included-unistring --without-idn --without-tpm \
	--without-tpm2 --without-zlib --without-brotli --without-zstd --disable-doc --disable-tools --disable-tests \
	--disable-cxx --disable-nls --disable-libdane --disable-guile --disable-full-test-suite \
	--with-default-trust-store-file=/etc/ssl/certs/ca-certificates.crt
# The connector does not speak HTTP/3; what it links asks for the names.
autotools nghttp3 --enable-lib-only
autotools ngtcp2/bookworm-backports --enable-lib-only --with-gnutls --without-openssl
# Its file for pkg-config names a library that there is shared alone.
ln -sfn libuv_a.a "$prefix/lib/libuv.a"
rm -f "$prefix"/lib/*.so*
LIBS="-lgnutls -lhogweed -lnettle -lgmp" autotools curl --with-gnutls="$prefix" --without-zlib --without-brotli --without-zstd --without-libpsl --without-libidn2 --without-librtmp \
	--without-libssh2 --without-nghttp2 --without-ngtcp2 --disable-ldap --disable-manual --disable-ftp --disable-file \
	--disable-tftp --disable-dict --disable-gopher --disable-imap --disable-pop3 --disable-rtsp --disable-telnet --disable-mqtt \
	--disable-smb --with-ca-bundle=/etc/ssl/certs/ca-certificates.crt

# What is loaded at its first use has no place in a static program; its headers are looked at all the same.
for name in cjose openssl zip.h zipconf.h; do
	for from in /usr/include "/usr/include/$machine-linux-gnu"; do
		[ ! -e "$from/$name" ] || cp -rn "$from/$name" "$prefix/include/"
	done
done
echo "all in $prefix"
