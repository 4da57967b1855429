"""Not a claim but an answer: where the CPU of our two programs goes, for what the other claims find.

`perf record` on the CPU clock, so that it works in virtual machines too. Left out, and said so, where
there is no perf or it is not allowed.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import chains
import claim_bulk
from claim_small import finish, load
from lab import CannotMeasure

CALLS = {  # what we call it: its entry in the kernel
    "read": r"ksys_read",
    "sendmsg": r"__sys_sendmsg",
    "send": r"__sys_sendto",
    "writev": r"do_writev",
    "epoll_wait": r"do_epoll_wait|__x64_sys_epoll_wait",
    "epoll_ctl": r"do_epoll_ctl|__x64_sys_epoll_ctl",
}
SYMBOLS = 15


def report(lab, data, *options):
    """[(percent, rest of the line)]"""
    text = lab.run(["perf", "report", "-i", data, "--stdio", "-g", "none", *options], seconds=120)
    found = []
    for line in text.splitlines():
        match = re.match(r"\s+([\d.]+)%\s+(.*?)\s*$", line)
        if match:
            found.append((float(match.group(1)), match.group(2)))
    return found


def record(lab, chain, work):
    """Runs `work` while perf watches both programs; gives {part: file}."""
    watchers = {}
    for part, program in chain.parts.items():
        data = lab.scratch / f"{part}.perf"
        data.unlink(missing_ok=True)
        watchers[part] = lab.start(
            f"perf-{part}",
            ["perf", "record", "-q", "-e", "cpu-clock", "-F", "4999", "-g", "-o", data, "-p", program.pid],
        )  # fmt: skip
    time.sleep(0.7)
    try:
        work()
    finally:
        for watcher in watchers.values():
            watcher.process.send_signal(signal.SIGINT)
        for watcher in watchers.values():
            try:
                watcher.process.wait(20)
            except subprocess.TimeoutExpired:
                pass
            lab.stop(watcher)
    return {part: lab.scratch / f"{part}.perf" for part in watchers}


def library(name):
    """libgnutls.so.30.34.3 → libgnutls"""
    if name.startswith("[kernel"):
        return "kernel"
    return pathlib.Path(name).name.split(".so")[0]


def measure(lab, chain, case, work, results):
    for part, data in record(lab, chain, work).items():
        if not data.exists():
            raise CannotMeasure(f"perf wrote nothing for {part}")
        for share, name in report(lab, data, "--no-children", "--sort", "dso"):
            if share >= 0.3:
                results.add(case, chain.name, f"{part} object {library(name)}", 0, share)
        everything = report(lab, data, "--children", "--sort", "symbol")
        for call, entry in CALLS.items():
            shares = [
                share for share, rest in everything if re.search(rf"\[k\] ({entry})(\.\S+)?(\s|$)", rest)
            ]
            if shares and max(shares) >= 0.3:
                results.add(case, chain.name, f"{part} call {call}", 0, max(shares))
        named = 0
        for share, rest in report(lab, data, "--no-children", "--sort", "symbol"):
            match = re.match(r"\[\.\] ([A-Za-z_]\w*)", rest)  # without .lto_priv.0, @GLIBC_2.2.5
            if match and named < SYMBOLS and share >= 0.2:
                results.add(case, chain.name, f"{part} symbol {match.group(1)}", 0, share)
                named += 1
    print(f"  {case}: profiled", flush=True)


def allowed(lab):
    if not shutil.which("perf"):
        return False
    try:
        lab.run(["perf", "record", "-q", "-e", "cpu-clock", "-g", "-o", lab.scratch / "probe.perf", "-p",
                 os.getpid(), "--", "sleep", "0.1"])  # fmt: skip
    except CannotMeasure:
        return False
    return True


def run(lab, results):
    if not allowed(lab):
        results.about["profiled by"] = "nothing: perf is not installed or not allowed here"
        print("  perf does not work here: skipped", flush=True)
        return
    results.about["profiled by"] = "perf record -e cpu-clock"
    chain = chains.ours(lab, chains.Edge(lab))
    lab.check_chain(chain)

    def requests(connections):
        def work():
            finish(lab, load(lab, chain, connections, 1.5 if lab.quick else 5, "/dev/null"))

        return work

    for case, work in (
        ("1 conn", requests(1)),
        ("64 conn", requests(64)),
        ("down", lambda: claim_bulk.transfer(lab, chain, False)),
        ("up", lambda: claim_bulk.transfer(lab, chain, True)),
    ):
        try:
            measure(lab, chain, case, work, results)
        except CannotMeasure as e:
            results.fail(f"profile, {case}", e)
    chains.stop(lab, [chain])
