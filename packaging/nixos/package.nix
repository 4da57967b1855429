# pkgs.callPackage ./packaging/nixos/package.nix { }
{
  lib,
  stdenv,
  cmake,
  ninja,
  pkg-config,
  cjose,
  curl,
  gnutls,
  jansson,
  ldns,
  libfido2,
  libcap_ng,
  libfyaml,
  libmaxminddb,
  libseccomp,
  libsodium,
  libuv,
  libzip,
  nghttp2,
  nghttp3,
  ngtcp2-gnutls,
  openssl,
  pcre2,
  sqlite,
}:
let
  # Loaded at their first use, by name: the linker does not see them, nor does what trims search paths.
  atFirstUse = [ cjose curl libfido2 libzip ];
in
stdenv.mkDerivation {
  pname = "adit";
  version = builtins.head (builtins.match ".*project\\(adit VERSION ([0-9.]+) .*" (builtins.readFile ../../CMakeLists.txt));
  src = lib.cleanSource ../..;

  nativeBuildInputs = [ cmake ninja pkg-config ];
  buildInputs = [
    gnutls
    jansson
    ldns
    libcap_ng
    libfyaml
    libmaxminddb
    libseccomp
    libsodium
    libuv
    nghttp2
    nghttp3
    ngtcp2-gnutls
    openssl
    pcre2
    sqlite
  ] ++ atFirstUse;

  cmakeFlags = [ "-DADIT_HARDENED=ON" "-DADIT_TESTS=OFF" ];

  postFixup = ''
    patchelf --add-rpath ${lib.makeLibraryPath atFirstUse} $out/bin/adit $out/bin/adit-edge
  '';

  meta = {
    description = "Publish services behind NAT and firewalls through tunnels of your own";
    mainProgram = "adit";
    platforms = lib.platforms.linux;
  };
}
