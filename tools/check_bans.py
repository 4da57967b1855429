#!/usr/bin/python3
"""Finds calls that are not house style: functions that overrun, block, or go around a layer.

Prints `file:line: message` for each; exit status 1 if there is any.

A call that must stay says why on its line or the line above: `/* allowed: REASON */`.
Whole folders with a standing permission are in the table RULES.
"""

import pathlib
import re
import sys

ALLOCATORS = "malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf"
DESCRIPTORS = (
    "read write close send recv readv writev pread pwrite sendto recvfrom sendmsg recvmsg "
    "sendmmsg recvmmsg"
)

# (functions, where they are searched, where they are allowed: {prefix: reason}, what to do instead)
RULES = [
    (
        "strcpy strcat sprintf vsprintf strncpy strncat strtok gets alloca atoi atol atoll atof",
        ("src/", "tests/"),
        {},
        "no bound, or no error: use struct bytes, buf, reader, snprintf",
    ),
    (
        "sleep usleep nanosleep clock_nanosleep",
        ("src/", "tests/"),
        {},
        "wait for an event with a deadline (io/timer.h, the fake clock in tests)",
    ),
    (
        ALLOCATORS,
        ("src/",),
        {"src/base/": "wraps the allocator"},
        "use base/mem.h or an arena",
    ),
    (
        DESCRIPTORS,
        ("src/",),
        {
            "src/io/": "owns descriptors",
            "src/base/log.c": "writes the log",
            "src/base/random.c": "reads the kernel's random source",
            "src/sandbox/": "opens paths to name them to the kernel",
            "src/connector/service/": "writes unit files, talks to the service manager",
        },
        "descriptors belong to io/",
    ),
    (
        "getaddrinfo gethostbyname gethostbyaddr",
        ("src/",),
        {"src/io/": "resolves off the loop"},
        "blocks: use io/resolve.h",
    ),
]

PERMITTED = re.compile(r"/\* allowed: \S.*")
# Comments, strings and characters become blanks, so that only code is searched.
NOT_CODE = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL
)
# A call or a use as a value, but not a member (x.read, x->read) and not part of a longer name.
WORD = r"(?<![\w.])(?<!->)({names})\s*\("


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def check_text(path, text):
    code = NOT_CODE.sub(blank, text)
    lines = text.split("\n")
    for names, searched, allowed, instead in RULES:
        if not path.startswith(searched) or path.startswith(tuple(allowed)):
            continue
        pattern = re.compile(WORD.format(names="|".join(names.split())))
        for match in pattern.finditer(code):
            number = code.count("\n", 0, match.start()) + 1
            nearby = lines[max(0, number - 2) : number]
            if any(PERMITTED.search(line) for line in nearby):
                continue
            yield number, f"{match.group(1)}() is banned here: {instead}"


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    found = 0
    for folder in ("src", "tests"):
        for file in sorted((root / folder).rglob("*.[ch]")):
            path = file.relative_to(root).as_posix()
            for number, why in sorted(check_text(path, file.read_text(errors="replace"))):
                print(f"{path}:{number}: {why}")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
