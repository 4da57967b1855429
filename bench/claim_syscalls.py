"""Claim: a small request costs few system calls (DESIGN.md, section 13).

Counted by `perf trace` where the kernel lets us, else by `strace`, which slows the program down so much
that it finds more to do in each turn: its counts are too low. The table says which it was. The count
covers one whole run of the client; its handshakes are too few to matter.
"""

import re
import shutil
import signal
import subprocess
import time

import accounting
import chains
from lab import CannotMeasure

CONNECTIONS = (1, 64)


def command(tool, program):
    pids = ",".join(str(pid) for pid in accounting.tree(program.pid))
    if tool == "perf trace":
        return ["perf", "trace", "-s", "-m", "8192", "-p", pids]
    return ["strace", "-c", "-f", "-p", pids]


def parse(tool, text):
    """{system call: how often}."""
    found = {}
    for line in text.splitlines():
        if tool == "perf trace":
            match = re.match(r"\s+(\w+)\s+(\d+)\s+\d+\s+[\d.]+\s", line)
            name, count = (match.group(1), match.group(2)) if match else (None, 0)
        else:
            match = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
            name, count = (match.group(2), match.group(1)) if match else (None, 0)
        if name and name != "total":
            found[name] = found.get(name, 0) + int(count)
    return found


def stop_counting(counter):
    counter.process.send_signal(signal.SIGINT)
    try:
        counter.process.wait(20)
    except subprocess.TimeoutExpired as e:
        raise CannotMeasure(f"{counter.name} does not stop") from e


def measure(lab, tool, chain, connections, turn, results):
    case = f"{connections} conn"
    asked = (1000 if lab.quick else 5000) * (1 if connections == 1 else 4)
    for part, program in chain.parts.items():
        counter = lab.start(f"calls-{program.name}", command(tool, program))
        try:
            time.sleep(1)  # until it is attached
            before = lab.requests_at_origin()
            lab.run(
                ["h2load", "--h1", "-t", 1, "-c", connections, "-n", asked,
                 "--connect-to", f"127.0.0.1:{chain.port}", f"https://{chain.host}:{chain.port}/small"],
                seconds=60,
            )  # fmt: skip
            requests = lab.requests_at_origin() - before
            stop_counting(counter)
        finally:
            lab.stop(counter)
        calls = parse(tool, counter.log.read_text(errors="replace"))
        if not calls or requests < asked:
            raise CannotMeasure(f"{tool}: {requests} requests, {len(calls)} calls: {counter.tail()}")
        for name, count in calls.items():
            if count / requests >= 0.01:
                results.add(case, chain.name, f"{part} {name}", turn, count / requests)
        total = sum(calls.values()) / requests
        results.add(case, chain.name, f"{part} all", turn, total)
        print(f"  {case:8} {chain.name:16} {part:10} {total:6.2f} calls/request", flush=True)


def tool_that_works(lab):
    if shutil.which("perf"):
        probe = lab.start("perf-probe", ["perf", "trace", "-s", "-p", lab.origin.pid, "--", "sleep", "0.1"])
        try:
            code = probe.process.wait(15)
        except subprocess.TimeoutExpired:
            code = 1
        lab.stop(probe)
        if code == 0 and "Summary of events" in probe.log.read_text(errors="replace"):
            return "perf trace"
    if shutil.which("strace"):
        return "strace"
    return None


def run(lab, results):
    tool = tool_that_works(lab)
    if tool is None:
        results.about["counted by"] = "nothing: neither perf nor strace works here"
        print("  neither perf nor strace works here: skipped", flush=True)
        return
    results.about["counted by"] = tool
    subjects = []
    try:
        subjects.append(chains.ours(lab, chains.Edge(lab)))
    except CannotMeasure as e:
        results.fail("adit", e)
    subjects.append(chains.nginx_two(lab))
    for connections in CONNECTIONS:
        for turn in range(1 if lab.quick else 3):
            for chain in subjects:
                try:
                    lab.check_chain(chain)
                    measure(lab, tool, chain, connections, turn, results)
                except CannotMeasure as e:
                    results.fail(f"system calls of {chain.name} at {connections}", e)
    chains.stop(lab, subjects)
