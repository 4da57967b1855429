#!/usr/bin/python3
"""Compiles each header under src/ by itself: it must bring what its declarations need.

Prints the compiler's messages; exit status 1 if a header does not compile.
"""

import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys

FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]


def compile_alone(root, header):
    compiler = os.environ.get("CC", "gcc")
    name = header.relative_to(root / "src").as_posix()
    done = subprocess.run(
        [compiler, *FLAGS, f"-I{root / 'src'}", "-fsyntax-only", "-x", "c", "-"],
        input=f'#include "{name}"\n',
        cwd=root,
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        return ""
    return done.stderr.replace(f"{root}/", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    jobs = parser.parse_args().jobs

    root = pathlib.Path(__file__).resolve().parent.parent
    headers = sorted((root / "src").rglob("*.h"))
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for message in pool.map(lambda h: compile_alone(root, h), headers):
            if message:
                sys.stdout.write(message)
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
