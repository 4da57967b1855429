"""Claim: a connector is registered at once. From exec to its first and its fourth connection.

The moment is the one at which the connector's own log line leaves it, read from a pipe.
"""

import os
import select
import signal
import subprocess
import time

import chains
from lab import CannotMeasure


def start_up(lab, edge, stock, seconds=15):
    """Milliseconds to the first and to the fourth registered connection."""
    argv, env = edge.connector(stock)
    began = time.monotonic()
    process = subprocess.Popen(
        [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, cwd=lab.scratch, env={**os.environ, **env},
    )  # fmt: skip
    moments, text = [], b""
    try:
        out = process.stderr.fileno()
        while len(moments) < 4:
            left = began + seconds - time.monotonic()
            if left <= 0 or not select.select([out], [], [], left)[0]:
                raise CannotMeasure(f"{len(moments)} connections after {seconds} s: {text[-200:]!r}")
            chunk = os.read(out, 65536)
            if not chunk:
                raise CannotMeasure(f"the connector ended: {text[-200:]!r}")
            now = time.monotonic()
            text += chunk
            moments += [now] * (text.count(chains.REGISTERED.encode()) - len(moments))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    return (moments[0] - began) * 1000, (moments[3] - began) * 1000


def run(lab, results):
    edge = chains.Edge(lab)
    rounds = 1 if lab.quick else 7
    subjects = [("adit", False)] + ([("cloudflared", True)] if lab.cloudflared else [])
    for turn in range(rounds):
        for name, stock in subjects:
            try:
                first, fourth = start_up(lab, edge, stock)
            except (CannotMeasure, OSError) as e:
                results.fail(f"start of {name}, round {turn + 1}", e)
                continue
            results.add("start", name, "first ms", turn, first)
            results.add("start", name, "fourth ms", turn, fourth)
            print(f"  {turn + 1}/{rounds} {name:12} first {first:7.1f} ms, fourth {fourth:7.1f} ms", flush=True)
    lab.stop(edge.program)
