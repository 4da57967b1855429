#!/usr/bin/python3
"""Runs the claims, keeps their samples, writes the report. Called by http.sh, which says how."""

import argparse
import datetime
import hashlib
import importlib
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import report
from lab import CORES, ROOT, CannotMeasure, Lab
from results import Results

CLAIMS = ("small", "bulk", "tunnel", "crowd", "memory", "start", "handshakes", "names", "access", "syscalls", "profile")


def output(*argv):
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=10, cwd=ROOT, check=False)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def first(pattern, text):
    match = re.search(pattern, text)
    return match.group(1) if match else "?"


def about(lab):
    """What a reader needs to know to believe or to repeat a figure."""
    cpu = first(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(first(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())) >> 20
    versions = [
        "nginx " + first(r"nginx/([\d.]+)", output("nginx", "-v")),
        "OpenSSL " + first(r"(?s:.*)OpenSSL ([\d.]+)", output("nginx", "-V")),
        "GnuTLS " + first(r"([\d.]+)", output("pkg-config", "--modversion", "gnutls")),
        "h2load " + first(r"nghttp2/([\d.]+)", output("h2load", "--version")),
        "curl " + first(r"curl ([\d.]+)", output("curl", "--version")),
    ]
    if lab.haproxy:
        versions.append("HAProxy " + first(r"version ([\d.]+)", output(lab.haproxy, "-v")))
    if lab.cloudflared:
        versions.append("cloudflared " + first(r"version ([\d.]+)", output(lab.cloudflared, "--version")))
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{cpu}, {CORES} cores, {memory} GiB, Linux {platform.release()}",
        "versions": ", ".join(versions),
        "load before": " ".join(f"{n:.2f}" for n in os.getloadavg()),
    }


def keep_programs(folder):
    """Copies what is measured, so that a build meanwhile does not change it. Says what it is."""
    built = pathlib.Path(os.environ["ADIT_BIN_DIR"])
    sums = []
    for name in ("adit", "adit-edge", "bench-crowd"):
        if (built / name).exists():
            copy = pathlib.Path(shutil.copy2(built / name, folder))
            sums.append(f"{name} {hashlib.sha256(copy.read_bytes()).hexdigest()[:12]}")
    os.environ["ADIT_BIN_DIR"] = folder
    changed = output("git", "status", "--porcelain", "--", "src", "CMakeLists.txt", "cmake")
    commit = output("git", "rev-parse", "--short=10", "HEAD") or "unknown"
    return {
        "commit": commit + (" and changes not committed" if changed else ""),
        "programs": ", ".join(sums) + " (SHA-256)",
    }


def measure(claims, what, quick, kept, rounds=None):
    """Runs the claims; True when every measurement was made."""
    complete = True
    for claim in claims:
        print(f"==> {claim}", flush=True)
        results = Results(claim)
        lab = None
        try:
            lab = Lab(quick)
            lab.rounds = rounds
            results.about = {**about(lab), **what}
            importlib.import_module(f"claim_{claim}").run(lab, results)
        except (CannotMeasure, OSError) as e:
            results.fail(claim, e)
        finally:
            if lab:
                lab.close()
        for text in results.missing:
            print(f"bench: not measured: {text}", file=sys.stderr, flush=True)
        complete = complete and not results.missing
        results.save(kept / f"{claim}.tsv")
    return complete


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round; writes build/bench/")
    parser.add_argument("--only", choices=CLAIMS, action="append", help="this claim (may be repeated)")
    parser.add_argument("--rounds", type=int, help="of the claims tunnel and crowd, instead of 5 and 3")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the report anew")
    args = parser.parse_args()
    kept = ROOT / "build/bench" if args.quick else ROOT / "bench/results"
    page = ROOT / "build/bench/benchmarks.md" if args.quick else ROOT / "docs/benchmarks.md"

    def stop(signum, _frame):
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, stop)
    complete = True
    if not args.report:
        with tempfile.TemporaryDirectory(prefix="adit-bench-programs-") as programs:
            what = keep_programs(programs)
            complete = measure(args.only or CLAIMS, what, args.quick, kept, args.rounds)
    report.write(kept, page, CLAIMS)
    print(f"==> {page.relative_to(ROOT)}")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
