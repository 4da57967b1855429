#!/usr/bin/python3
"""Checks that includes go down only, and that each third-party library has one owner.

Prints `file:line: message` for each breach; exit status 1 if there is any.

The two tables below are the architecture (ARCHITECTURE.md tells it in words). A change to them is
a decision: record it in docs/decisions/.
"""

import pathlib
import re
import sys

# layer: the layers it may include, beside itself.
MAY_INCLUDE = {
    "base": "",
    "host": "base",
    "sandbox": "base",
    "io": "base",
    "wire": "base",
    "config": "base",
    "tls": "base io",
    "jose": "base io",
    "store": "base io",
    "quic": "base io tls",
    "http": "base io tls quic",
    "acme": "base io tls jose http",
    "transport": "base io tls quic http wire",
    "connector": "base host sandbox io config tls jose http acme wire transport",
    "edge": "base host sandbox io config tls jose http acme wire transport store",
}

# header of a library: the folders that may see it.
OWNERS = {
    r"uv\.h|uv/.*": "io",
    r"gnutls/.*": "tls",
    r"nghttp2/.*": "http",
    r"nghttp3/.*": "http",
    r"curl/.*": "http",
    r"ngtcp2/.*": "quic",
    r"libfyaml\.h": "config",
    r"sqlite3\.h": "store/sqlite",
    r"libpq-fe\.h": "store/postgres",
    r"cjose/.*": "jose",
    r"ldns/.*": "edge/dns",
    r"fido\.h|fido/.*": "edge/access",
    r"pcre2\.h": "connector/ingress",
    r"zip\.h": "connector/cli",
    r"jansson\.h": "wire jose http acme edge connector",
    r"sodium\.h|sodium/.*": "base tls store",
    r"seccomp\.h|cap-ng\.h": "sandbox",
    r"maxminddb\.h": "edge/access",
    r"systemd/.*": "",  # sd_notify is twenty lines of our own
    r"openssl/.*": "",  # GnuTLS is the only TLS library
}

# What libc and the kernel bring.
SYSTEM = re.compile(
    r"""(sys|net|netinet|netpacket|arpa|linux|asm|asm-generic|bits)/.*
    |(aio|alloca|assert|complex|cpuid|ctype|dirent|dlfcn|elf|endian|err|errno|error|execinfo|fcntl
     |features|fenv|float|fnmatch|ftw|getopt|glob|grp|iconv|ifaddrs|immintrin|inttypes|iso646
     |langinfo|libgen|limits|link|locale|malloc|math|memory|mntent|mqueue|netdb|nmmintrin|paths|poll|pthread|pty
     |pwd|regex|resolv|sched|search|semaphore|setjmp|shadow|signal|spawn|stdalign|stdarg|stdatomic
     |stdbool|stddef|stdint|stdio|stdlib|stdnoreturn|string|strings|stropts|syslog|termios|tgmath
     |threads|time|uchar|ucontext|unistd|utime|utmp|wait|wchar|wctype|wmmintrin|wordexp|x86intrin
     |arm_acle|arm_neon|emmintrin|smmintrin|tmmintrin|byteswap|crypt)\.h""",
    re.VERBOSE,
)

INCLUDE = re.compile(r'^\s*#\s*include(?:_next)?\s*([<"])([^>"]+)[>"]')


def within(path, folders):
    """Is src-relative PATH in one of the space-separated FOLDERS?"""
    return any(path.startswith(f + "/") for f in folders.split())


def check_file(src, file):
    here = file.relative_to(src).as_posix()
    layer = here.split("/")[0]
    bad = []
    text = file.read_text(errors="replace")
    if layer not in MAY_INCLUDE:
        bad.append((1, f"src/{layer} is not a layer; the layers are {' '.join(MAY_INCLUDE)}"))
        return bad
    if file.suffix == ".h" and not re.search(r"^#pragma once$", text, re.MULTILINE):
        bad.append((1, "a header begins with #pragma once"))

    for number, line in enumerate(text.split("\n"), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quote, name = match.groups()
        if quote == '"':
            bad += [(number, why) for why in check_ours(src, here, layer, name)]
        else:
            bad += [(number, why) for why in check_library(here, name)]
    return bad


def check_ours(src, here, layer, name):
    there = name.split("/")[0]
    if there not in MAY_INCLUDE:
        if any(re.fullmatch(p, name) for p in OWNERS):
            yield f'write <{name}>: quotes are for our own headers'
        else:
            yield f'"{name}" is not a full path from src/'
        return
    if there != layer and there not in MAY_INCLUDE[layer].split():
        allowed = MAY_INCLUDE[layer] or "nothing but libc"
        yield f"{layer} may not include {name} (it may include: {allowed})"
    if not (src / name).exists():
        yield f"there is no src/{name}"
    if name.endswith("_internal.h"):
        folder = name.rsplit("/", 1)[0]
        if not here.startswith(folder + "/"):
            yield f"{name} is private to src/{folder}"
    if name.endswith(".c"):
        yield f"{name}: do not include C files"


def check_library(here, name):
    for pattern, folders in OWNERS.items():
        if re.fullmatch(pattern, name):
            if not within(here, folders):
                owner = ", ".join("src/" + f for f in folders.split()) or "nobody"
                yield f"<{name}> belongs to {owner}"
            return
    if not SYSTEM.fullmatch(name):
        yield f"<{name}> has no owner; give it one in tools/check_layers.py and docs/dependencies.md"


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    src = root / "src"
    found = 0
    for file in sorted(src.rglob("*.[ch]")):
        for line, why in check_file(src, file):
            print(f"{file.relative_to(root)}:{line}: {why}")
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
